CREATE DATABASE shop_of_a_complaint;
CREATE TABLE kept (n int);

SET client_encoding = "UTF8";
CREATE TABLE kept (n int);

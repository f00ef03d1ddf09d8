CREATE TABLE more (n int);

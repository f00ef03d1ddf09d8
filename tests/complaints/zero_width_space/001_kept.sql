CREATE TABLE kept (
  n int,​ m int
);

CREATE TABLE lost (
  n int,
);

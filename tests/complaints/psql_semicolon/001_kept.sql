CREATE TABLE kept (n int)\;SELECT 1;

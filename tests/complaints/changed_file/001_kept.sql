CREATE TABLE kept (n bigint);

-- migrator: no transaction
CREATE TABLE kept (n int);

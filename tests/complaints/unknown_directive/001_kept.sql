-- migrator: no-transactions
CREATE TABLE kept (n int);

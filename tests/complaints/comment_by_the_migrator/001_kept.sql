-- Migrator: Jane
CREATE TABLE kept (n int);

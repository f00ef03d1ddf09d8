CREATE TABLE kept (n int);
ALTER ROLE CURRENT_USER SET search_path = app;

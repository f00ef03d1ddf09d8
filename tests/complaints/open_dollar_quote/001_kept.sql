CREATE TABLE kept (n int);
DO $do$ BEGIN
  NULL;
END $$;

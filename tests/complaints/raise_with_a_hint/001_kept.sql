CREATE TABLE lost (n int);
DO $$ BEGIN
  RAISE EXCEPTION 'not yet' USING HINT = 'Load the rows first.';
END $$;

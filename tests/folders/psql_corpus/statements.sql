CREATE SCHEMA one
    CREATE TABLE t (a int)
    CREATE VIEW v AS SELECT a FROM t;
DO 'BEGIN PERFORM 1; END';
DO LANGUAGE plpgsql $$ BEGIN FOR i IN 1..2 LOOP PERFORM CASE i WHEN 1 THEN 1 END; END LOOP; END $$;
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $function$
BEGIN
    IF NEW.a = 1 THEN RAISE NOTICE 'one; % $$', NEW.a; END IF;
    RETURN NEW;
END;
$function$;
CREATE TRIGGER tell BEFORE INSERT ON one.t FOR EACH ROW EXECUTE FUNCTION tell();
COMMENT ON TABLE one.t IS 'a; comment -- with /* all';
CREATE TYPE mood AS ENUM ('sad;', 'ok'); ALTER TYPE mood ADD VALUE 'happy;';
SET search_path = one, public; RESET search_path;
VALUES (1), (2); TABLE one.t; EXPLAIN SELECT 1;
DECLARE c CURSOR WITH HOLD FOR SELECT 1; CLOSE c;
SELECT 1 -- no semicolon at the end, and no line end
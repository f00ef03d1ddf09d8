CREATE TEMPORARY TABLE t (a int);
CREATE FUNCTION one() RETURNS int LANGUAGE sql
BEGIN ATOMIC
    SELECT 0;
    SELECT CASE WHEN true THEN CASE 1 WHEN 1 THEN 2 END ELSE (CASE WHEN false THEN 3 END) END;
END;
SELECT one();
create or replace function one() returns int
begin atomic
    select case when 1 = 1 then 1 /* end; */ end; -- end;
    select ' end; '::text is null, "end;" from (select 1 as "end;") as x;
    select 3;
end; select one();
create procedure two(in a int default (case when true then 1 end))
begin atomic
end;
CREATE PROCEDURE three()
BEGIN ATOMIC
    INSERT INTO pg_temp.t SELECT CASE WHEN true THEN 1 END; DELETE FROM pg_temp.t;
END; CALL three();
CREATE OR REPLACE PROCEDURE four() LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
SELECT CASE WHEN true THEN 1 END; SELECT 2;
CREATE FUNCTION quoted() RETURNS int LANGUAGE sql AS 'SELECT 1; --BEGIN';
SELECT 1 AS begin; SELECT quoted() AS case;

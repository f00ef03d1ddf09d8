CREATE TABLE t (a text);
INSERT INTO t VALUES ('a
;b'), (''), (E'\';'); -- c
SELECT $$x
;$$;
SELECT 2 -- d  ;
;SELECT 3;

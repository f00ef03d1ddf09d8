CREATE TABLE t (a$1 int, e text, b date);
INSERT INTO t (a$1, e, b) VALUES (1,E'it\'s; \\', date'2024-01-01'), (2, '\', NULL);
INSERT INTO t VALUES (3, e'\';', '2024-01-01'); SELECT e from t where e like'\;'; SELECT name'\'
  ; SELECT a$1 FROM t AS e$;
INSERT INTO t (e) SELECT $e$;'$e$||E';\''||$$;$$ FROM t AS t$a$ WHERE t$a$.e=E'\';';
SELECT 2;

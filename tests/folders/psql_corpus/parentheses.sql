CREATE TABLE t (a int, b text DEFAULT ';', c int[]);
CREATE TABLE log (LIKE t);
CREATE RULE several AS ON INSERT TO t DO ALSO (
    INSERT INTO log VALUES (new.a, ';', new.c);
    DELETE FROM log WHERE a = ((1)); -- ;
    UPDATE log SET b = $$;)$$
);
CREATE RULE another AS ON DELETE TO t DO (SELECT 1; SELECT (2));
INSERT INTO t VALUES (1, ')', '{1,2,3}'), ((2), '(', ARRAY[1, 2]), (3, E'\');', NULL);
SELECT c[1:2], c[:2], (c)[1], (((a))) FROM t WHERE (a, b) IN ((1, ')'), (2, '('));
(SELECT 1) UNION (SELECT ((2)));
WITH x AS (SELECT ';' AS s), y AS (SELECT (SELECT (SELECT (SELECT (1))))) SELECT * FROM x, y;

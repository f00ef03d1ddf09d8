CREATE TABLE "semi;colon" ("quo""te;" int, "it's; $$ -- /*" text, "end" int, "Begin" int);
SELECT "quo""te;", "end" FROM "semi;colon";
CREATE TABLE begın (größe int, caſe int, "名;前" int, 名前 int, _x int, ŀ int);
SELECT größe, 名前, caſe FROM begın; SELECT '', 1 AS é;
CREATE FUNCTION begın() RETURNS int LANGUAGE sql AS 'SELECT 1;'; SELECT begın();
CREATE FUNCTION atomic(atomic int) RETURNS int RETURN atomic; SELECT atomic(1);
CREATE TABLE atomic (atomic int, begin int, procedure int, function int);
SELECT atomic, begin, function, procedure AS end FROM atomic; SELECT 1 AS begin; SELECT 2 AS case;

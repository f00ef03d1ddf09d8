SELECT $$;$$, $a$ ; $b$ ; $$ ; $a$, $a_1$;$a$;$a_1$;
SELECT $é$;$é$ AS "é";
SELECT $x$ $x ; x$ $$ $x$;
DO $outer$
BEGIN
    EXECUTE $inner$ SELECT 1; $inner$;
    PERFORM $$ ; $outer $$;
END
$outer$;
SELECT 1 AS a$b$c; SELECT a$b$c FROM (SELECT 2 AS a$b$c) AS a$;
PREPARE one (int) AS SELECT $1; EXECUTE one(1);
PREPARE two (text) AS SELECT $1||$$;$$||$1;
SELECT $$
-- ;
/* ; */ '
$$;

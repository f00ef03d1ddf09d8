SELECT 'it''s; fine', '', '\', 'a\';
SELECT E'it\'s; fine', E'\\', e'a''b;\\\';', E'\x27;\u0027;\047;';
SELECT E'over
two; lines\
';
SELECT 'one;'
  'string;' -- with a comment;

    'of three;';
SELECT E'one;'
  'string;'
  'no escapes;';
SELECT U&'d\0061t!+000061;' UESCAPE '!', U&'\0027;' ;
SELECT B'01', b'', X'1F', x'ff', N'nat;', n'it''s;';
SELECT 'b' LIKE'b;', date'2020-01-01', time'00:00', 'x;'::text IS NULL
WHERE false;
SELECT 'tail;
' ;
SELECT 1 AS U&"d\0061t;", 2 AS u&"d!0061t;" UESCAPE '!', U&"d\0061t;" FROM (SELECT 3 AS "dat;") AS x;

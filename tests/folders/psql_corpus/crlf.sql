SELECT 1;
SELECT $$a
;b$$, -- c;
  2;

/* d
; */SELECT E'x\
y', 'a'
  'b';

-- a comment; with a semicolon, a ' and a $$
/* a comment; /* nested; */ still one; ' " $$ -- */ SELECT 1 /**/;/***/
SELECT /*/ not yet ; /**/ ; */ 2 /* ; */ ; -- ; SELECT 3
SELECT 3 -- ; no
  , 4;
;; ; /* alone; */ ;
SELECT 5 - -6, 7--8;
;
SELECT 1 /*
-- */ , 9; -- the end /* ;
SELECT 10 /* ** / * ; */;
/* last; /* words */ */
-- and the very last;

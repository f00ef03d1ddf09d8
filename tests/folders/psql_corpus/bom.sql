-- with a BOM
SELECT 1;
	SELECT 2 ;
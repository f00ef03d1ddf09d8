CREATE TABLE kept (n int);
\copy kept FROM 'rows.csv' CSV

CREATE TABLE kept (n int);
SELECT 'GRANT SELECT ON kept TO ' || quote_ident(rolname) FROM pg_roles
\gexec

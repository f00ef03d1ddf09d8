SET client_encoding = 'UTF8';

CREATE DATABASE shop WITH TEMPLATE = template0 ENCODING = 'UTF8';

\connect shop

CREATE TABLE public.kept (n int);

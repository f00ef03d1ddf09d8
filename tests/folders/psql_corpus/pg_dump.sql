--
-- PostgreSQL database dump
--

\restrict 0123456789abcdefABCDEF

SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);

CREATE TABLE public.t (
    a integer NOT NULL,
    b text DEFAULT ';'::text
);

\unrestrict 0123456789abcdefABCDEF

SELECT 1;

"""What of a dump is for review, which pg_dump writes it, and what a committed one lacks."""

from __future__ import annotations

import pytest

from migrator.scratch.dump_rules import (
    choose_program,
    for_review,
    in_what_it_differs,
    version_of,
)

DUMP = """--
-- PostgreSQL database dump
--

\\restrict abc

-- Dumped from database version 15.18
-- Dumped by pg_dump version 15.18

SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);

--
-- Name: citext; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS citext WITH SCHEMA public;


--
-- Name: EXTENSION citext; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON EXTENSION citext IS 'of its own';


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: a; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.a (
    id integer
);


--
-- Name: DEFAULT PRIVILEGES FOR TABLES; Type: DEFAULT ACL; Schema: -; Owner: -
--

ALTER DEFAULT PRIVILEGES FOR ROLE {role} GRANT SELECT ON TABLES TO b;


--
-- PostgreSQL database dump complete
--

\\unrestrict abc

"""
TEXT = """-- What the migrations make, on PostgreSQL 15, by pg_dump 16.
-- Written by `migrator dump`, to be read in review; nothing runs it.

CREATE EXTENSION IF NOT EXISTS citext WITH SCHEMA public;

CREATE TABLE public.a (
    id integer
);

ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO b;
"""


@pytest.mark.parametrize(("login", "named"), [("app", "app"), ("My role", '"My role"')])
def test_the_noise_is_left_out(login: str, named: str) -> None:
    assert for_review(DUMP.format(role=named), login, 15, 16) == TEXT


def test_another_roles_privileges_keep_their_role() -> None:
    assert "FOR ROLE other GRANT" in for_review(DUMP.format(role="other"), "app", 15, 16)


def test_nothing_is_a_head_alone() -> None:
    assert for_review("--\n-- PostgreSQL database dump\n--\n", "a", 15, 15).count("\n") == 2


def test_the_oldest_that_is_new_enough_is_taken() -> None:
    known = {"a": 17, "b": 15, "c": 14}
    assert [choose_program(known, server) for server in (14, 15, 16, 18)] == ["c", "b", "a", None]
    assert version_of("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n") == 15
    assert version_of("") is None


@pytest.mark.parametrize(
    ("committed", "problem"),
    [
        (TEXT, None),
        (TEXT.replace("id", "no"), "is not what the files make, from line 7 on"),
        (TEXT + "\nmore\n", "is not what the files make, from line 11 on"),
        (TEXT.replace("by pg_dump 16", "by pg_dump 17"), "was not written as here, and is"),
        ("", "was not written as here, and is not compared"),
    ],
)
def test_a_committed_text_is_compared(committed: str, problem: str | None) -> None:
    found = in_what_it_differs(committed, TEXT)
    assert found == problem or (found and problem and found.startswith(problem))

"""A file may raise any SQLSTATE, those by which our own statements speak to the runner too.

Then it is an error of the file like any other, with the file's line, and steers nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database
from tests.job import run_job

CODES = [f"MG{number:03}" for number in range(1, 10)]
#: What a DETAIL of ours may look like, and does not.
DETAILS = ("no JSON", "[1]", '{"code": [], "owners": []}', '{"pid": 7, "triggers": [1]}')
ALONE = "-- migrator: no-transaction\n"
BEFORE = """CREATE TABLE public.t (a int);
CREATE FUNCTION public.refuse(code text, detail text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RAISE EXCEPTION 'raised by the file' USING ERRCODE = code, DETAIL = detail;
END $$;
CREATE FUNCTION public.refuse_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RETURN public.refuse(TG_ARGV[0], TG_ARGV[1]);
END $$;
"""
TRIGGER = "CREATE TRIGGER r BEFORE INSERT ON public.t FOR EACH ROW"
DEFERRED = "CREATE CONSTRAINT TRIGGER r AFTER INSERT ON public.t DEFERRABLE INITIALLY DEFERRED"
DO = "DO $$BEGIN RAISE EXCEPTION 'raised by the file' USING ERRCODE = '{0}', DETAIL = '{1}'; END$$;"
CALL = "SELECT public.refuse('{0}', '{1}');"
CALLS = "EXECUTE FUNCTION public.refuse_row('{0}', '{1}');\n"


@dataclass(frozen=True)
class Way:
    """How a file raises the code, and the line that is named for it."""

    text: str
    line: int | None
    name: str = "002_b.sql"
    words: tuple[str, ...] = ("up",)


WAYS = {
    "a DO block": Way(f"SELECT 1;\n{DO}", 2),
    "a function": Way(f"SELECT 1;\n{CALL}", 2),
    "a trigger": Way(f"{TRIGGER} {CALLS}INSERT INTO public.t VALUES (1);", 2),
    "a deferred trigger": Way(
        f"{DEFERRED} FOR EACH ROW {CALLS}INSERT INTO public.t VALUES (1);", None
    ),
    "rows of a COPY": Way(f"{TRIGGER} {CALLS}COPY public.t FROM stdin;\n1\n\\.\n", 3),
    "several messages": Way(
        f"SELECT '{'x' * 700_000}';\nSELECT '{'x' * 700_000}';\n{CALL}\nSELECT 1;", 3
    ),
    "several messages, deferred": Way(
        f"{DEFERRED} FOR EACH ROW {CALLS}INSERT INTO public.t VALUES (1);\n"
        f"SELECT '{'x' * 700_000}';\nSELECT '{'x' * 700_000}';\n",
        None,
    ),
    "a repeatable": Way(f"SELECT 1;\n{DO}", 2, "R__b.sql"),
    "an undo": Way(f"SELECT 1;\n{CALL}", 2, "001_a.down.sql", ("rollback", "--steps", "1")),
    "outside, in a transaction": Way(f"{ALONE}SELECT 1;\n{CALL}", 3),
    "outside, a DO block": Way(f"{ALONE}SELECT 1;\n{DO}", 3),
    "outside, deferred": Way(
        f"{ALONE}{DEFERRED} FOR EACH ROW {CALLS}INSERT INTO public.t VALUES (1);", None
    ),
    "outside, alone": Way(
        f"{ALONE}INSERT INTO public.t VALUES (1);\n"
        "CREATE INDEX CONCURRENTLY i ON public.t (public.refuse('{0}', '{1}'));",
        3,
    ),
    "outside, an undo": Way(
        f"{ALONE}SELECT 1;\n{CALL}", 3, "001_a.down.sql", ("rollback", "--steps", "1")
    ),
}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("way", WAYS)
def test_an_error_of_a_file_with_a_code_of_ours_is_the_file_s(
    database: Database, tmp_path: Path, way: str, code: str
) -> None:
    how = WAYS[way]
    for detail in DETAILS[: 4 if way == "a function" else 1]:
        text = how.text.replace("{0}", code).replace("{1}", detail)
        folder = write_folder(tmp_path, {"001_a.sql": BEFORE, how.name: text})
        if how.words[0] == "rollback":
            assert run_job(database.url, folder, "up").code == 0
        result = run_job(database.url, folder, *how.words)
        assert result.code == 15, (result.report["outcome"], result.report["error"])
        assert (result.error["sqlstate"], result.error.get("line")) == (code, how.line)
        assert result.error["file"] == how.name
        assert f"ERROR {code}: raised by the file" in result.error["message"]
        assert "MIGRATIONS_SCHEMA" not in result.error["remedy"]
        assert "lock.waiting" not in result.events
        assert "connection.retry" not in result.events
        assert len(result.of("plan.made")) <= 1
        assert len(result.of("migration.started")) <= 1 + (how.words[0] == "up")
        done = database.query("SELECT version FROM schema_migrations")
        assert done == [("001_a",)]

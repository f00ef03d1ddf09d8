"""The gate of `up`: facts that travel with the files, judged by the live database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import write_folder
from tests.conftest import Database, in_charge
from tests.job import Result, run_job
from tests.postgres import Address
from tests.wire import Wire

LIMIT = "200kB"
FIRST = {
    "001_a.sql": "CREATE TABLE a (id int PRIMARY KEY, note text);\n"
    "CREATE TABLE b (id int PRIMARY KEY);\n"
}
INDEX = {"002_index.sql": "SELECT 1;\nCREATE INDEX a_note ON a (note);\n"}
REQUIRED = {"002_required.sql": "ALTER TABLE b ADD COLUMN must int NOT NULL;\n"}
FILL = "INSERT INTO a SELECT i, repeat('x', 100) FROM generate_series(1, 5000) AS i"


@pytest.fixture
def wire(server: Address) -> Iterator[Wire]:
    made = Wire(server)
    yield made
    made.stop()


@pytest.fixture
def folder(database: Database, tmp_path: Path) -> Path:
    """A folder whose first file is applied to the database, with 5,000 rows in a."""
    made = write_folder(tmp_path / "m", FIRST)
    assert run_job(database.url, made).code == 0
    database.query(FILL)
    database.query("ANALYZE")
    return made


def facts(folder: Path, server: Address, *words: str, code: int | None = None) -> Result:
    """`check --write`, without a database whose sizes are known."""
    settings = {"SHADOW_DATABASE_URL": in_charge(server).url}
    result = run_job(None, folder, "check", "--write", *words, **settings)
    assert result.code in ((0, 17) if code is None else (code,)), result.stderr
    return result


def up(url: str, folder: Path, preflight: str = "fail", **settings: str) -> Result:
    return run_job(url, folder, PREFLIGHT=preflight, PREFLIGHT_SIZE=LIMIT, **settings)


def stored(folder: Path, version: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / ".preflight" / f"{version}.json").read_text())
    return found


def flights(wire: Wire) -> list[str]:
    return [query.text for query in wire.queries if "/* migrator 00" in query.text]


def test_a_refused_release_sends_nothing(
    database: Database, folder: Path, server: Address, wire: Wire
) -> None:
    write_folder(folder, {**INDEX, "003_c.sql": "CREATE TABLE c (id int);\nDROP TABLE a;\n"})
    facts(folder, server)
    result = up(wire.through(database.url), folder)
    assert (result.code, result.applied, flights(wire)) == (17, [], [])
    assert result.report["outcome"] == "nothing was changed"
    found = [(one["file"], one["line"]) for one in result.report["findings"]]
    assert found == [("002_index.sql", 2), ("003_c.sql", 2)]
    assert all(one["remedy"] and one["problem"] for one in result.report["findings"])
    assert database.query("SELECT to_regclass('c')") == [(None,)]


def test_by_default_it_warns_and_applies(database: Database, folder: Path, server: Address) -> None:
    facts(write_folder(folder, INDEX), server)
    result = up(database.url, folder, "warn")
    assert (result.code, result.applied) == (0, ["002_index"])
    [warned] = result.of("plan.warning")
    assert (warned["file"], warned["line"]) == ("002_index.sql", 2)
    assert "public.a" in warned["problem"]


def test_a_small_table_is_no_reason(database: Database, folder: Path, server: Address) -> None:
    facts(write_folder(folder, {"002_i.sql": "CREATE INDEX b_i ON b (id);\n"}), server)
    assert up(database.url, folder).code == 0


def test_a_run_with_nothing_to_do_asks_nothing_and_a_judged_one_asks_once(
    database: Database, folder: Path, server: Address, wire: Wire
) -> None:
    url = wire.through(database.url)

    def asked(preflight: str) -> int:
        before = len(wire.queries)
        assert up(url, folder, preflight).code == 0
        return len(wire.queries) - before

    facts(folder, server)
    assert asked("fail") == asked("warn") == asked("off")
    write_folder(folder, {"002_i.sql": "CREATE TABLE c (id int);\n"})
    without = asked("off")
    write_folder(folder, {"003_i.sql": "CREATE TABLE d (id int);\n"})
    assert asked("warn") == without, "no facts: nothing is asked"
    write_folder(folder, {"004_i.sql": "CREATE TABLE e (id int);\n"})
    facts(folder, server)
    assert asked("fail") == without + 1


@pytest.mark.parametrize("preflight", ["warn", "fail"])
def test_what_is_sure_to_fail_is_not_tried_but_only_where_there_is_a_row(
    database: Database, folder: Path, server: Address, wire: Wire, preflight: str
) -> None:
    facts(write_folder(folder, REQUIRED), server)
    database.query("INSERT INTO b VALUES (1)")
    result = up(wire.through(database.url), folder, preflight)
    assert (result.code, flights(wire)) == (17, [])
    database.query("DELETE FROM b")  # no vacuum has seen it: the size says nothing
    assert database.query("SELECT pg_relation_size('b') > 0") == [(True,)]
    assert up(database.url, folder, preflight).code == 0


def test_a_pending_statement_that_empties_the_table_lets_it_pass(
    database: Database, folder: Path, server: Address
) -> None:
    database.query("INSERT INTO b VALUES (1)")
    write_folder(folder, {"002_empty.sql": "DELETE FROM b;\n"})
    text = REQUIRED["002_required.sql"]
    facts(write_folder(folder, {"003_required.sql": text}), server)
    assert up(database.url, folder).code == 0


def test_facts_are_void_once_the_file_or_an_earlier_one_has_changed(
    database: Database, folder: Path, server: Address
) -> None:
    write_folder(folder, {**INDEX, "003_c.sql": "CREATE TABLE c (id int);\nDROP TABLE b;\n"})
    database.query("INSERT INTO b VALUES (1)")
    facts(folder, server)
    assert sorted(path.name for path in (folder / ".preflight").iterdir()) == [
        "001_a.json",
        "002_index.json",
        "003_c.json",
    ]
    before = (folder / ".preflight" / "001_a.json").read_bytes()
    write_folder(folder, {"002_index.sql": "CREATE INDEX CONCURRENTLY a_note ON a (note);\n"})
    result = up(database.url, folder)
    assert (result.code, result.applied) == (17, []), "both are void, which may not pass"
    [one] = result.report["findings"]
    assert one["problem"] == (
        "without valid facts, so nothing is known of what they do: 002_index.sql, 003_c.sql"
    )
    assert "`check --write`" in one["remedy"]
    facts(folder, server)
    assert stored(folder, "002_index")["facts"] == []
    assert (folder / ".preflight" / "001_a.json").read_bytes() == before
    (folder / "003_c.sql").unlink()
    facts(folder, server)
    assert not (folder / ".preflight" / "003_c.json").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 99}', "null"])
def test_facts_that_cannot_be_read_are_none(
    database: Database, folder: Path, server: Address, text: str
) -> None:
    facts(write_folder(folder, INDEX), server)
    (folder / ".preflight" / "002_index.json").write_text(text)
    refused = up(database.url, folder)
    assert refused.code == 17
    assert refused.error["message"] == "what pending files do to tables in use is not known"
    assert "`check --write`" in refused.error["remedy"]
    assert up(database.url, folder, "warn").of("plan.warning") == []


def test_a_file_without_facts_beside_others_is_named(
    database: Database, folder: Path, server: Address
) -> None:
    facts(write_folder(folder, {"002_c.sql": "CREATE TABLE c (id int);\n"}), server)
    write_folder(folder, {"003_d.sql": "CREATE TABLE d (id int);\n"})
    refused = up(database.url, folder)
    assert (refused.code, refused.applied) == (17, [])
    assert [one["problem"] for one in refused.report["findings"]] == [
        "without valid facts, so nothing is known of what they do: 003_d.sql"
    ]
    result = up(database.url, folder, "warn")
    [said] = result.of("plan.warning")
    assert (result.code, said["problem"]) == (0, refused.report["findings"][0]["problem"])


FILLED = "-- migrator: placeholders\n"


def test_facts_are_those_of_the_values_that_change_what_runs(
    database: Database, folder: Path, server: Address
) -> None:
    """A table's name does; a string does not, and no digest of it is kept."""
    text = f"{FILLED}CREATE INDEX ON ${{name}} (id);\nCREATE ROLE x PASSWORD '${{word}}';\n"
    write_folder(folder, {"002_index.sql": f"{text}DROP ROLE x;\n"})
    values = {"PLACEHOLDER_NAME": "b", "PLACEHOLDER_WORD": "hunter2"}
    settings = {"SHADOW_DATABASE_URL": in_charge(server).url, **values}
    assert run_job(None, folder, "check", "--write", **settings).code == 17
    before = stored(folder, "002_index")
    run_job(None, folder, "check", "--write", **{**settings, "PLACEHOLDER_WORD": "other"})
    assert stored(folder, "002_index") == before
    other = up(database.url, folder, **{**values, "PLACEHOLDER_NAME": "a"})
    assert (other.code, "002_index.sql" in other.report["findings"][0]["problem"]) == (17, True)
    charge = database.as_superuser().url
    assert up(charge, folder, **{**values, "PLACEHOLDER_WORD": "other"}).code == 0


def test_nothing_secret_is_in_the_facts(folder: Path, server: Address) -> None:
    sql = (
        "UPDATE a SET note = 'hunter2' WHERE note = 'geheim';\n"
        "DO $$ BEGIN EXECUTE 'ALTER TABLE a ADD CHECK (note <> ''hunter3'')'; END $$;\n"
        "ALTER TABLE a ADD COLUMN token text DEFAULT 'hunter4' || random();\n"
    )
    facts(write_folder(folder, {"002_secret.sql": sql}), server)
    text = (folder / ".preflight" / "002_secret.json").read_text()
    assert {one["class"] for one in json.loads(text)["facts"]} >= {"mass", "scan", "rewrite"}
    assert "hunter" not in text
    assert "geheim" not in text


def test_the_live_planner_says_how_many_rows_change_and_nothing_is_written(
    database: Database, folder: Path, server: Address, wire: Wire
) -> None:
    files = {
        "002_few.sql": "UPDATE a SET note = 'y' WHERE id < 5;\n",
        "003_many.sql": "UPDATE a SET note = 'y' WHERE id > 5;\n",
        "004_new.sql": "ALTER TABLE a ADD COLUMN c int;\n",
        "005_of_new.sql": "UPDATE a SET c = 1;\n",
    }
    facts(write_folder(folder, files), server)
    result = up(wire.through(database.url), folder)
    assert result.code == 17
    found = {one["file"]: one["problem"] for one in result.report["findings"]}
    assert set(found) == {"003_many.sql", "005_of_new.sql"}
    assert "about 4,995 rows of public.a" in found["003_many.sql"]
    planned = [query.text for query in wire.queries if "EXPLAIN" in query.text]
    assert len(planned) == 3
    assert all("BEGIN READ ONLY" in text for text in planned)
    assert database.query("SELECT count(*) FROM a WHERE note = 'y'") == [(0,)]


def test_rows_that_change_behind_an_earlier_lock_of_the_file_are_counted_too(
    database: Database, folder: Path, server: Address
) -> None:
    text = "ALTER TABLE a ADD COLUMN c int;\nUPDATE a SET note = 'y' WHERE id > 5;\n"
    facts(write_folder(folder, {"002_many.sql": text}), server)
    result = up(database.url, folder)
    assert [(one["file"], one["line"]) for one in result.report["findings"]] == [
        ("002_many.sql", 2)
    ]
    assert "changes about 4,995 rows of public.a" in result.report["findings"][0]["problem"]


def test_what_a_file_allows_is_said_and_passes(
    database: Database, folder: Path, server: Address
) -> None:
    allow = '-- migrator: allow scan a "at night"\n'
    facts(write_folder(folder, {"002_index.sql": allow + INDEX["002_index.sql"]}), server)
    result = up(database.url, folder)
    assert result.code == 0
    [said] = result.of("plan.warning")
    assert said["problem"].endswith("; allowed: at night")
    found = {"class": "scan", "relation": "public.a", "line": 3, "reason": "at night"}
    query = "SELECT detail->'allowed' FROM schema_migrations_log WHERE version = '002_index'"
    assert database.query(query) == [([found],)]
    shown = run_job(database.url, folder, "history").stdout
    words = "allowed line 3, class scan, reason at night, relation public.a"
    assert words in " ".join(shown.split())


def test_what_a_file_without_a_transaction_allows_is_in_the_log(
    database: Database, folder: Path, server: Address
) -> None:
    text = '-- migrator: no-transaction\n-- migrator: allow scan a "at night"\n'
    facts(write_folder(folder, {"002_r.sql": f"{text}REINDEX TABLE a;\n"}), server)
    assert up(database.url, folder).code == 0
    query = "SELECT detail->'allowed'->0->>'reason' FROM schema_migrations_log"
    query += " WHERE version = '002_r' AND event = 'applied'"
    assert database.query(query) == [("at night",)]


def test_a_table_that_another_session_has_shut_is_measured_by_the_catalog(
    database: Database, folder: Path, server: Address
) -> None:
    facts(write_folder(folder, INDEX), server)
    database.query("VACUUM a")
    with database.connect() as other, other.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE a IN ACCESS EXCLUSIVE MODE")
        assert up(database.url, folder).code == 17
        cursor.execute("ROLLBACK")


def test_the_facts_cannot_be_written_where_the_folder_cannot(folder: Path, server: Address) -> None:
    (folder / ".preflight").write_text("a file in the way")
    result = facts(folder, server, code=2)
    assert "`check --write`" in result.error["remedy"]


def test_plan_and_report_show_what_up_would_judge(
    database: Database, folder: Path, server: Address
) -> None:
    table = {"003_c.sql": "-- migrator: requires 002_index\nCREATE TABLE c (id int);\n"}
    facts(write_folder(folder, {**INDEX, **table}), server)
    settings = {"PREFLIGHT_SIZE": LIMIT}
    result = run_job(database.url, folder, "plan", "--json", PREFLIGHT="fail", **settings)
    answer = json.loads(result.stdout)
    [one] = answer["preflight"]["findings"]
    assert (result.code, one["file"], one["line"]) == (17, "002_index.sql", 2)
    assert one["does"] == "CREATE INDEX reads all of public.a behind SHARE"
    assert (one["shut_out"], one["how_long"]) == ("nobody writes it", "about a second")
    assert one["size"].endswith("5,000 rows")
    index, fresh = answer["would_apply"]
    assert (index["locks"], index["requires"]) == ([["public.a", "SHARE"]], [])
    assert (fresh["locks"], fresh["requires"]) == ([], ["002_index"])
    for command, words in (("plan", ()), ("report", ()), ("report", ("--markdown",))):
        result = run_job(database.url, folder, command, *words, **settings)
        assert result.code == 0, result.stderr
        text = " ".join(result.stdout.split())
        assert "002_index.sql:2" in text
        assert "nobody writes it, for about a second" in text
        assert "`CREATE INDEX CONCURRENTLY a_note ON public.a (note)`" in text
        off = run_job(database.url, folder, command, *words, PREFLIGHT="off", **settings)
        assert "CONCURRENTLY" not in off.stdout
    report = run_job(database.url, folder, "report", "--json", PREFLIGHT="fail", **settings)
    assert "`up` would end with 17" in json.loads(report.stdout)["verdict"]


def test_plan_shows_the_statements_without_secrets(
    database: Database, folder: Path, tmp_path: Path
) -> None:
    values = tmp_path / "values"
    values.mkdir()
    (values / "word").write_text("hunter2")
    text = f"{FILLED}CREATE TABLE c (id int); COMMENT ON TABLE c IS '${{word}}'"
    write_folder(folder, {"002_c.sql": f"{text};\nCREATE ROLE x PASSWORD 'hunter3';\n"})
    settings = {"PLACEHOLDERS_DIR": str(values)}
    for words in ((), ("--json",)):
        result = run_job(database.url, folder, "plan", "--sql", *words, **settings)
        assert result.code == 0, result.stderr
        assert "CREATE TABLE c (id int)" in result.stdout
        assert "CREATE ROLE x" in result.stdout
        assert "hunter" not in result.stdout

"""Values in the place of placeholders: what runs, what is recorded, and what is shown nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer
from tests.job import Result, run_job
from tests.ways import WAYS, way_to

HEAD = "-- migrator: placeholders\n"
SECRET, SHORT = "Hunter2-w0rd", "q7"


@pytest.fixture
def values(tmp_path: Path) -> dict[str, str]:
    """Settings of a mounted folder, as Kubernetes makes one, and of a variable."""
    folder = write_folder(
        tmp_path / "values" / "..2026", {"pw": f"{SECRET}\n", "pin": SHORT, "pem": "line-one\ntwo"}
    )
    (folder.parent / "..data").symlink_to(folder)
    for name in ("pw", "pin", "pem"):
        (folder.parent / name).symlink_to(folder.parent / "..data" / name)
    return {"PLACEHOLDERS_DIR": str(folder.parent), "PLACEHOLDER_APP": "api"}


def shows(result: Result) -> bool:
    said = (result.stderr + result.stdout).lower()
    return SECRET.lower() in said or f"{SHORT}'" in said or f" {SHORT} " in said


def recorded(database: Database) -> str:
    rows = database.query("SELECT l::text FROM schema_migrations_log AS l")
    rows += database.query("SELECT h::text FROM schema_migrations AS h")
    return "".join(text for (text,) in rows)


FILES = {
    "001_a.sql": f"{HEAD}CREATE TABLE ${{app}}_a (a text DEFAULT '${{pw}}'); -- ${{pin}}\n"
    "DO $x$ BEGIN RAISE WARNING 'set to ${pw} for ${pin} now'; END $x$;\n"
    "COMMENT ON TABLE api_a IS '${pem}';\n",
    "001_a.down.sql": f"{HEAD}DROP TABLE ${{app}}_a; -- ${{pw}}\n",
    "R__b.sql": f"{HEAD}CREATE OR REPLACE VIEW ${{app}}_b AS SELECT '${{pw}}'::text AS pw;\n",
}


@pytest.mark.parametrize("way", WAYS)
def test_values_run_and_are_neither_recorded_nor_shown(
    way: str,
    database: Database,
    pgbouncer: MakePgBouncer,
    tmp_path: Path,
    values: dict[str, str],
) -> None:
    url = way_to(database, pgbouncer, way)
    folder = write_folder(tmp_path / "migrations", FILES)
    up = run_job(url, folder, LOG_LEVEL="debug", **values)
    assert up.code == 0, up.stderr
    assert database.query("SELECT pw FROM api_b") == [(SECRET,)]
    assert database.query("SELECT obj_description('api_a'::regclass)") == [("line-one\ntwo",)]
    [notice] = up.of("migration.notice")[:1]
    assert notice["notice"] == "set to *** for *** now"
    (Path(values["PLACEHOLDERS_DIR"]) / "pw").unlink()
    (Path(values["PLACEHOLDERS_DIR"]) / "pw").write_text("another-value")
    again = run_job(url, folder, **values)
    assert again.applied == [], "the checksum is that of the file"
    runs = [up, again]
    for words in (
        ["status"],
        ["plan"],
        ["verify"],
        ["history"],
        ["report"],
        ["rollback", "--plan"],
    ):
        runs.append(run_job(url, folder, *words, "--json", **values))
        assert runs[-1].code == 0, runs[-1].stderr
    assert "DROP TABLE ${app}_a; -- ${pw}" in runs[-1].stdout
    assert not any(map(shows, runs))
    assert SECRET not in recorded(database)
    assert "${pw}" in recorded(database)
    back = run_job(url, folder, "rollback", "--to", "none", **values)
    assert back.code == 2
    back = run_job(url, folder, "rollback", "--steps", "1", **values)
    assert back.code == 0, back.stderr
    assert database.query("SELECT to_regclass('api_a')::text") == [(None,)]


@pytest.mark.parametrize(
    ("sql", "place", "says"),
    [
        pytest.param(
            "SELECT '${pw}', '${pem}' FROM nowhere;", ":2:31: ", "nowhere", id="a position"
        ),
        pytest.param('SELECT "${pw}";', ":2:8: ", 'column "***"', id="the value is named"),
        pytest.param("SELECT ${pw}_table;", ":2:8: ", 'column "***"', id="and folded"),
        pytest.param("SELECT '${pin}'::int;", ":2:8: ", 'integer: "***"', id="a short one"),
        pytest.param("SELECT\n '${pw}'::int;", ":3:2: ", 'integer: "***"', id="a literal"),
        pytest.param(
            "DO $x$ BEGIN\n PERFORM '${pem}', 1/0;\nEND $x$;", ":3:2: ", "zero", id="a DO block"
        ),
        pytest.param(
            "DO $x$ BEGIN RAISE 'no ${pw}' USING DETAIL = '${pw} ${pin} x', HINT = 'see ${pw}';\n"
            "END $x$;",
            ":2:",
            "no ***",
            id="a RAISE",
        ),
        pytest.param(
            "CREATE TABLE t (a text CHECK (a <> '${pw}'));\nINSERT INTO t VALUES ('${pw}');",
            ":3:",
            "t_a_check",
            id="a constraint",
        ),
        pytest.param(
            "CREATE TABLE t (a int);\nCOPY t FROM stdin;\n1\n${pw}\n\\.\n",
            ":5: ",
            'integer: "***"',
            id="a row of a COPY",
        ),
        pytest.param("ALTER ROLE ${pw} PASSWORD '${pw}';", ":2:", "***", id="a role"),
        pytest.param("SET ROLE '${pw}';", ":2:", "***", id="a setting"),
    ],
)
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_refusal_has_the_place_of_the_file_and_no_value(
    sql: str,
    place: str,
    says: str,
    log_format: str,
    database: Database,
    tmp_path: Path,
    values: dict[str, str],
) -> None:
    folder = write_folder(tmp_path / "migrations", {"001_a.sql": f"{HEAD}{sql}"})
    log = tmp_path / "termination-log"
    log.touch()
    settings = {**values, "LOG_FORMAT": log_format, "TERMINATION_LOG": str(log)}
    found = run_job(database.url, folder, **settings)
    assert found.code == 15, found.stderr
    assert says in found.stderr.replace('\\"', '"')
    if log_format == "json":
        assert f"001_a.sql{place}" in found.error["message"]
    assert not shows(found)
    assert SECRET.lower() not in log.read_text().lower()
    runs = [run_job(database.url, folder, *words, **values) for words in (["history"], ["report"])]
    assert not any(map(shows, runs))
    assert SECRET.lower() not in recorded(database).lower()


def test_the_line_of_an_error_is_shown_as_it_is_written(
    database: Database, tmp_path: Path, values: dict[str, str]
) -> None:
    sql = f"{HEAD}SELECT '${{pem}}', '${{pw}}' FROM nowhere;"
    folder = write_folder(tmp_path / "migrations", {"001_a.sql": sql})
    error = run_job(database.url, folder, **values).error
    assert error["source_line"] == "SELECT '${pem}', '${pw}' FROM nowhere;"
    assert error["caret"] == " " * 30 + "^"


def test_a_placeholder_without_a_value_is_refused_before_anything_runs(
    database: Database, tmp_path: Path
) -> None:
    files = {"001_a.sql": "CREATE TABLE t ();", "002_b.sql": f"{HEAD}CREATE TABLE ${{app}} ();"}
    folder = write_folder(tmp_path / "migrations", files)
    for words in (["up"], ["plan"]):
        found = run_job(database.url, folder, *words)
        assert found.code == 10
        [finding] = found.report["findings"]
        assert (finding["file"], finding["line"]) == ("002_b.sql", 2)
        assert finding["problem"] == "column 14: the placeholder `${app}` has no value"
    assert database.query("SELECT to_regclass('t')::text") == [(None,)]


def test_a_long_file_is_filled_piece_by_piece(
    database: Database, tmp_path: Path, values: dict[str, str]
) -> None:
    rows = "".join(f"INSERT INTO t VALUES ('${{pem}} {n:050}');\n" for n in range(30_000))
    sql = f"{HEAD}CREATE TABLE t (a text);\n{rows}SELECT '${{app}}', broken;\n"
    folder = write_folder(tmp_path / "migrations", {"001_a.sql": sql})
    found = run_job(database.url, folder, **values)
    assert "001_a.sql:30003:18: " in found.error["message"]
    assert found.error["source_line"] == "SELECT '${app}', broken;"
    write_folder(folder, {"001_a.sql": sql.replace(", broken", "")})
    assert run_job(database.url, folder, **values).code == 0
    assert database.query("SELECT count(*), min(a) FROM t") == [(30_000, f"line-one\ntwo {0:050}")]


def test_a_no_transaction_file_goes_on_with_its_values(
    database: Database, tmp_path: Path, values: dict[str, str]
) -> None:
    sql = (
        f"-- migrator: no-transaction\n{HEAD}CREATE TABLE t (a text DEFAULT '${{pw}}');\n"
        "CREATE INDEX CONCURRENTLY ${app}_i ON t (a);\nALTER TABLE t ADD b ${type};\n"
    )
    folder = write_folder(tmp_path / "migrations", {"001_a.sql": sql})
    first = run_job(database.url, folder, **values, PLACEHOLDER_TYPE="nothing")
    assert first.code == 15
    assert "001_a.sql:5:21: " in first.error["message"]
    assert SECRET not in recorded(database)
    (Path(values["PLACEHOLDERS_DIR"]) / "pw").unlink()
    (Path(values["PLACEHOLDERS_DIR"]) / "pw").write_text("another-value")
    second = run_job(database.url, folder, **values, PLACEHOLDER_TYPE="integer")
    assert second.code == 0, second.stderr
    assert database.query("SELECT to_regclass('api_i')::text") == [("api_i",)]
    third = run_job(database.url, folder, "verify", **values)
    assert third.code == 0


def test_a_section_of_goose_is_filled_by_its_rules(
    database: Database, tmp_path: Path, values: dict[str, str]
) -> None:
    sql = (
        "-- +goose Up\nCREATE TABLE a (a text DEFAULT '$APP');\n-- +goose ENVSUB ON\n"
        "CREATE TABLE ${APP}_b (b text DEFAULT '${PW}', c int DEFAULT ${C:-7});\n"
        "-- +goose Down\nDROP TABLE ${APP}_b;\n-- +goose ENVSUB OFF\nDROP TABLE a;\n"
    )
    folder = write_folder(tmp_path / "migrations", {"00001_a.sql": sql})
    assert run_job(database.url, folder, **values).code == 0
    database.query("INSERT INTO api_b DEFAULT VALUES")
    database.query("INSERT INTO a DEFAULT VALUES")
    assert database.query("SELECT a, b, c FROM a, api_b") == [("$APP", SECRET, 7)]
    assert SECRET not in recorded(database)
    back = run_job(database.url, folder, "rollback", **values)
    assert back.code == 0, back.stderr
    assert database.query("SELECT to_regclass('api_b')::text") == [(None,)]


def test_the_supabase_history_has_the_text_as_it_is_written(
    database: Database, tmp_path: Path, values: dict[str, str]
) -> None:
    database.query(
        "CREATE SCHEMA supabase_migrations; CREATE TABLE supabase_migrations.schema_migrations"
        " (version text PRIMARY KEY, statements text[], name text)"
    )
    folder = write_folder(tmp_path / "migrations", {"001_a.sql": f"{HEAD}SELECT '${{pw}}';\n"})
    found = run_job(database.url, folder, **values, SYNC_SUPABASE_HISTORY="on")
    assert found.code == 0, found.stderr
    [(statements,)] = database.query("SELECT statements FROM supabase_migrations.schema_migrations")
    assert "${pw}" in str(statements)


def test_a_rehearsal_fills_both_ways(
    database: Database, tmp_path: Path, values: dict[str, str]
) -> None:
    folder = write_folder(tmp_path / "migrations", FILES)
    found = run_job(None, folder, "rehearse", **values, SHADOW_DATABASE_URL=database.url)
    assert found.code == 0, found.stderr
    assert not shows(found)


def test_a_folder_of_values_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "migrations", {"001_a.sql": "SELECT;"})
    values = write_folder(tmp_path / "values", {"pem": "x" * 65_537})
    (values / "sub").mkdir()
    found = run_job(None, folder, "verify", "--base", "HEAD", PLACEHOLDERS_DIR=str(values))
    assert (found.code, "too long" in found.error["message"]) == (2, True)
    (values / "pem").write_bytes(b"\xff")
    found = run_job(None, folder, "verify", "--base", "HEAD", PLACEHOLDERS_DIR=str(values))
    assert (found.code, "not UTF-8" in found.error["message"]) == (2, True)
    found = run_job(None, folder, "verify", "--base", "HEAD", PLACEHOLDERS_DIR=f"{values}/none")
    assert (found.code, "PLACEHOLDERS_DIR" in found.error["message"]) == (2, True)


@pytest.mark.parametrize(
    ("files", "place"),
    [
        (
            {"001_a.sql": "SELECT 1;\n", "001_a.down.sql": f"{HEAD}SELECT 1;\nSELECT ${{no}};\n"},
            ("001_a.down.sql", 3),
        ),
        (
            {
                "1_a.sql": "-- +goose Up\n-- +goose ENVSUB ON\nSELECT 1;\n"
                "-- +goose Down\nSELECT '${no}';\n"
            },
            ("1_a.sql", 5),
        ),
    ],
    ids=["a file of its own", "the file of both"],
)
def test_what_an_undo_lacks_is_said_of_the_file_that_holds_it(
    database: Database, tmp_path: Path, files: dict[str, str], place: tuple[str, int]
) -> None:
    refused = run_job(database.url, write_folder(tmp_path, files))
    assert refused.code == 10
    [finding] = refused.report["findings"]
    assert (finding["file"], finding["line"]) == place

"""What people publicly complain about in migration tools, one small case for each kind.

A case is a folder of tests/complaints. Where FOLDER.before is there, it was applied earlier.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Database
from tests.job import Result, run_job

FOLDERS = Path(__file__).parents[1] / "complaints"
BEFORE = ".before"
OURS = {"schema_migrations", "schema_migrations_log"}
TABLES = """
SELECT CASE schemaname WHEN 'public' THEN tablename ELSE concat(schemaname, '.', tablename) END
  FROM pg_tables WHERE schemaname !~ '^pg_|^information_schema$'
"""

OLD = "CREATE TABLE old (n int);"
RUNNER = "GRANT CREATE ON SCHEMA public TO <runner>;"
GOLANG_MIGRATE = "CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean)"
APPLIED = "001_kept"
NEW_FILE = "`-- migrator: no-transaction`"
CLOSE = "Close this or an earlier quote"
RENAME = "Rename it to 002_fill.sql."


@dataclass(frozen=True)
class Case:
    """What `up` makes of a folder; `plan` says the same unless only PostgreSQL can refuse it."""

    folder: str
    code: int
    problem: str = ""  #: a telling part of the first thing that is said; none: nothing is said
    remedy: str = ""  #: a telling part
    line: int | None = None
    column: int | None = None
    history: str = ""  #: the versions that are recorded afterwards
    tables: str = ""  #: all that are there afterwards, but the job's own
    before: str = ""  #: SQL that made the database; <owner> and <runner> are two roles
    settings: dict[str, str] = field(default_factory=dict)


CASES = (
    # files of other tools, other endings, other names
    Case("two_way_dbmate", 0, history=APPLIED, tables="kept"),
    Case("two_way_tern", 0, history=APPLIED, tables="kept"),
    Case("two_way_beside_plain", 10, "up and down would both run", "to 002_lost.down.sql", 4),
    Case("two_way_bare", 10, "`-- Down` is a mark", "Move the down half to 001_kept.down.sql", 4),
    Case("two_way_in_block_comments", 10, "is a mark of another tool", "Move the down half", 4),
    Case("two_way_with_words", 10, "`-- DOWN: drop the table` is a mark", "Move the down half", 4),
    Case("down_remark_over_an_update", 0, history=APPLIED, tables="kept"),
    Case("down_heading_over_comments", 0, history=APPLIED, tables="kept"),
    Case("untouched_template", 10, "holds no statement", "`SELECT;`"),
    Case("empty_file", 10, "holds no statement", "`SELECT;`"),
    Case("code_beside_sql", 10, "is code", "Write what it does into 002_fill.sql"),
    Case("compressed_beside_sql", 10, "only files whose names", "Unpack it to 002_fill.sql"),
    Case("template_beside_sql", 10, "is a template", "Write what is made of it into 002_fill.sql"),
    Case("ddl_beside_sql", 10, "only files whose names end in .sql", RENAME),
    Case("sql_txt_beside_sql", 10, "only files whose names end in .sql", RENAME),
    Case("notes_beside_sql", 0, "is not run", RENAME[:-1], history=APPLIED, tables="kept"),
    Case("folder_two_levels_down", 10, "a folder that holds 10/002_fill.sql", "Put the files into"),
    Case("hyphens_in_the_name", 10, "the name fits no pattern", "Name it NNN_name.sql"),
    Case("same_number_twice", 10, "001_kept.sql has the same number", "another number"),
    Case("undo_without_its_file", 10, "there is no 002_more.sql", "Restore that file or remove"),
    Case("mixed_widths", 10, "by text it is 2024", "Rename it to 20250625000000_fill.sql"),
    Case("nine_before_ten", 0, history="9_kept 10_fill", tables="kept"),
    # characters and quotes
    Case("no_break_space", 10, "U+00A0 (NO-BREAK SPACE) in column 4", "Put the plain blank", 2),
    Case("zero_width_space", 10, "U+200B (ZERO WIDTH SPACE) in column 9", "Put the plain blank", 2),
    Case("smart_quotes", 10, "U+2018 (LEFT SINGLE QUOTATION MARK) in column 26", "Put the", 2),
    Case("smart_quotes_within_text", 0, history=APPLIED, tables="kept"),
    Case("open_quote", 10, "this quoted string is never closed", CLOSE, 2),
    Case("open_dollar_quote", 10, "($do$) is never closed", CLOSE, 2),
    Case("open_comment", 10, "this comment is never closed", "Close it with */", 2),
    Case("windows_lines_and_bom", 0, history=APPLIED, tables="kept"),
    Case("utf16", 10, "not UTF-8", "Save the file as UTF-8", 1),
    Case("latin1", 10, "not UTF-8", "Save the file as UTF-8", 2),
    # dumps
    Case("custom_format_dump", 10, "pg_dump's custom format", "`pg_restore --file=001_dump.sql"),
    Case("tar_dump", 10, "pg_dump's tar format", "`pg_restore --file=001_dump.sql"),
    Case("gzip_dump", 10, "compressed with gzip", "`gunzip --to-stdout 001_dump.sql"),
    Case("dump_with_create", 10, "CREATE DATABASE cannot run", "again, without --create", 3),
    Case("dump_of_a_newer_server", 15, "ERROR 42704", "Take the line out", 2, 1),
    Case("dump_with_restrict", 0, history="001_dump", tables="kept"),
    Case("dump_with_large_objects", 0, history="001_dump", tables="kept"),
    Case("bad_copy_row", 15, "001_kept.sql:4: ERROR 22P02", "Fix the file and run again", 4),
    Case("client_encoding_in_double_quotes", 0, history=APPLIED, tables="kept"),
    Case("other_client_encoding", 10, "SET client_encoding would change", "Remove it", 1),
    # comments and directives
    Case("comment_by_the_migrator", 0, history=APPLIED, tables="kept"),
    Case("directive_with_a_blank", 10, "not a directive", "Did you mean no-transaction?", 1),
    Case("unknown_directive", 10, "not a directive", "Did you mean no-transaction?", 1),
    # what psql or a template would do
    Case("psql_variable", 15, "ERROR 42601", "place of `:'word'`", 2, 26),
    Case("template_placeholder", 15, "ERROR 42601", "`{{schema}}`", 2, 13),
    Case("shell_placeholder", 15, "ERROR 42601", "`${READER}`", 2, 25),
    Case("psql_semicolon", 10, "\\; separates statements in psql alone", "Write ; instead", 1),
    Case("psql_include", 10, "\\i is a command of psql", "Put that file's text in its place", 2),
    Case("psql_copy", 10, "\\copy is a command of psql", "Write `COPY … FROM stdin;`", 2),
    Case("psql_gexec", 10, "\\gexec is a command of psql", "Write `DO $$ BEGIN EXECUTE", 3),
    # transactions
    Case("begin_and_commit", 0, history=APPLIED, tables="kept"),
    Case("begin_and_commit_then_more", 10, "BEGIN would end or begin", "Remove it", 1),
    Case("commit_in_the_middle", 10, "COMMIT would end or begin", "goes into a file of its own", 2),
    Case("begin_serializable", 10, "asks for another transaction", "LOCK TABLE", 1),
    Case("set_transaction", 10, "asks for another transaction", "LOCK TABLE", 1),
    Case("concurrently_beside_others", 10, "cannot run inside a transaction", NEW_FILE, 2),
    Case("concurrently_alone", 0, history="001_kept 002_kept_n", tables="kept"),
    Case("concurrently_in_begin_and_commit", 10, "cannot run inside a transaction", NEW_FILE, 2),
    Case("create_database", 10, "CREATE DATABASE cannot run inside a transaction", NEW_FILE, 1),
    Case("reindex_of_a_partitioned_table", 15, "ERROR 25001", NEW_FILE, 2, 1,
         history=APPLIED, tables="kept kept_1"),
    Case("vacuum_in_a_do_block", 15, "ERROR 25001", "Take the statement out", 3, 3),
    Case("call_that_commits", 15, "ERROR 2D000", NEW_FILE, 1, 1, history=APPLIED, tables="kept"),
    Case("new_enum_value_used_at_once", 15, "ERROR 55P04", "Make two files", 2, 26,
         history=APPLIED, tables="kept"),
    Case("new_enum_value_in_two_files", 0, history="001_kept 002_ok 003_use", tables="kept"),
    # what PostgreSQL refuses
    Case("table_from_before", 15, "ERROR 42P07", "`baseline --at VERSION --check`", 2, 1,
         tables="old", before=OLD),
    Case("composite_type_from_before", 15, "ERROR 42710", "set SHADOW_DATABASE_URL", 1, 1,
         before="CREATE TYPE pair AS (a int, b int)"),
    Case("second_primary_key", 15, "ERROR 42P16", "`baseline --at VERSION --check`", 1, 1,
         tables="old", before="CREATE TABLE old (n int PRIMARY KEY)"),
    Case("column_from_before", 15, "ERROR 42701", "`baseline --at VERSION --check`", 2, 1,
         tables="old", before=OLD),
    Case("table_made_by_hand_since", 15, "ERROR 42P07", "`repair --applied 002_old --reason WHY`",
         1, 1, history=APPLIED, tables="kept old", before=OLD),
    Case("must_be_owner", 15, "ERROR 42501", "Run `GRANT <owner> TO <runner>`", 2, 1,
         tables="old", before=OLD + RUNNER + "ALTER TABLE old OWNER TO <owner>"),
    Case("no_right_to_read", 15, "ERROR 42501", "`GRANT SELECT ON TABLE public.old TO <runner>`",
         2, 1, tables="old", before=OLD + RUNNER),
    Case("raise_with_a_hint", 15, "ERROR P0001: not yet", "Do what the hint says", 3, 3),
    Case("dangling_comma", 15, "ERROR 42601", "Fix the file and run again", 3, 1),
    Case("missing_table", 15, 'ERROR 42P01: relation "nobody"', "Fix the file and run again", 2, 13,
         history=APPLIED, tables="kept"),
    Case("truncate_of_the_history", 15, "migrator's own history", "--migrations-schema",
         history=APPLIED, tables="kept"),
    # what takes effect otherwise than one thinks
    Case("search_path_of_the_role", 0, "acts from the next session on", "SET search_path there", 2,
         history=APPLIED, tables="kept", before=RUNNER),
    Case("names_cut_at_63_bytes", 0, "will be truncated", history=APPLIED, tables="k" * 63),
    # what the database remembers
    Case("changed_file", 11, "changed after it was applied", "`repair --accept-checksum 001_kept "
         "--reason WHY`", history=APPLIED, tables="kept"),
    Case("changed_line_ends", 0, history=APPLIED, tables="kept"),
    Case("missing_file", 12, "the folder has no file for it", "--on-missing warn",
         history=APPLIED, tables="kept"),
    Case("renamed_file", 12, "001_kept_rows.sql, which is pending, has the same text", "`repair "
         "--rename 001_kept 001_kept_rows --reason WHY`", history=APPLIED, tables="kept"),
    Case("late_file", 13, "older than 003_more", "`new --renumber 002_lost`",
         history="001_kept 003_more", tables="kept more"),
    Case("second_history", 2, "public.schema_migrations holds 2 of these 2", "Give "
         "--migrations-schema public", history="001_kept 002_seed", tables="kept",
         settings={"MIGRATIONS_SCHEMA": "pulbic"}),
    Case("history_of_another_tool", 2, "looks like golang-migrate's", "`adopt --from golang-",
         before=GOLANG_MIGRATE),
)  # fmt: skip


@pytest.fixture
def roles(database: Database) -> Iterator[dict[str, str]]:
    """Two roles, which the whole server has, by what a case calls them."""
    made = {"<owner>": f"owner_{database.dbname}", "<runner>": f"runner_{database.dbname}"}
    database.query(f"CREATE ROLE {made['<owner>']}")
    database.query(f"CREATE ROLE {made['<runner>']} LOGIN PASSWORD 'x'")
    yield made
    both = ", ".join(made.values())
    database.query(f"DROP OWNED BY {both} CASCADE; DROP ROLE {both}")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.folder)
def test_a_public_complaint_has_its_code_its_remedy_and_no_loss(
    database: Database, roles: dict[str, str], case: Case
) -> None:
    login = database.as_user(roles["<runner>"], "x") if "<runner>" in case.before else database
    if (earlier := FOLDERS / (case.folder + BEFORE)).exists():
        assert run_job(database.url, earlier).code == 0
    database.query(filled(case.before, roles) or "SELECT")
    folder = FOLDERS / case.folder

    planned = run_job(login.url, folder, "plan", **case.settings)
    result = run_job(login.url, folder, "up", **case.settings)

    refused_by_postgresql = case.code == 15
    assert (planned.code, result.code) == (0 if refused_by_postgresql else case.code, case.code)
    said = first_said(result)
    if case.code not in (0, 15):
        assert first_said(planned) == said
    text = said.get("problem") or said.get("message") or said.get("notice") or ""
    assert case.problem in text if case.problem else not said
    assert filled(case.remedy, roles) in said.get("remedy", "")
    assert (said.get("line"), said.get("column")) == (case.line, case.column)
    assert recorded(database) == case.history.split()
    tables = {name for (name,) in database.query(TABLES)}
    assert tables - OURS == set(case.tables.split())


def first_said(result: Result) -> dict[str, Any]:
    """The first finding, error or warning; {} where there is none."""
    error = result.report["error"]
    heard = [*result.of("plan.warning"), *result.of("migration.notice")]
    return next(iter([*result.report["findings"], *([error] if error else []), *heard]), {})


def recorded(database: Database) -> list[str]:
    if database.query("SELECT to_regclass('public.schema_migrations')") == [(None,)]:
        return []
    rows = database.query("SELECT version::text FROM public.schema_migrations ORDER BY 1")
    return sorted((version for (version,) in rows), key=lambda v: int(v.partition("_")[0]))


def filled(text: str, roles: dict[str, str]) -> str:
    for called, name in roles.items():
        text = text.replace(called, name)
    return text


def test_each_folder_of_a_complaint_is_a_case() -> None:
    folders = {path.name.removesuffix(BEFORE) for path in FOLDERS.iterdir()}
    assert folders == {case.folder for case in CASES}

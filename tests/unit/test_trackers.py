"""What the rows of other tools' tables mean, and what each keeps of the text that it ran."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from migrator.adopt.evidence import (
    RUNNING,
    Evidence,
    flyway_checksum,
    running_hashes,
    statements_of,
)
from migrator.adopt.readings import Entry, Reading, slug
from migrator.adopt.tools import TRACKERS, tracker
from migrator.errors import ConfigError
from tests.builders import a_migration

ONE = "CREATE TABLE a (id int);\n"


def read(tool: str, *rows: dict[str, Any]) -> Reading:
    return TRACKERS[tool].read(rows)


def keys(reading: Reading) -> list[str]:
    return [entry.key for entry in reading.entries]


def flyway(rank: int, version: str | None, kind: str = "SQL", **values: Any) -> dict[str, Any]:
    return {
        "installed_rank": rank,
        "version": version,
        "description": "Create Users",
        "type": kind,
        "script": f"V{version}__Create_Users.sql",
        "checksum": 7,
        "success": True,
        **values,
    }


def prisma(at: int, name: str, *, finished: bool = True, given_up: bool = False) -> dict[str, Any]:
    return {
        "migration_name": name,
        "checksum": f"{at:064x}",
        "started_at": f"2024-01-0{at}",
        "finished_at": f"2024-01-0{at}" if finished else None,
        "rolled_back_at": f"2024-01-0{at}" if given_up else None,
    }


def goose(row: int, version: int, *, applied: bool = True) -> dict[str, Any]:
    return {"id": row, "version_id": version, "is_applied": applied}


@pytest.mark.parametrize(
    ("sql", "checksum"),
    [
        pytest.param(
            "alter table location_history add column valid_until timestamp with time zone;\n",
            -1039259818,
            id="what Flyway itself printed, flyway/flyway#2474",
        ),
        pytest.param("a\nb\r\n\r", flyway_checksum(["ab"]), id="line ends do not count"),
        pytest.param("", 0, id="nothing"),
    ],
)
def test_flyways_checksum(sql: str, checksum: int) -> None:
    assert flyway_checksum(sql) == checksum  # piece by piece: a letter each
    assert flyway_checksum([sql]) == checksum


@pytest.mark.parametrize(
    ("evidence", "sql", "equal"),
    [
        pytest.param(Evidence("CRC32", flyway_checksum([ONE])), ONE, True, id="the CRC32"),
        pytest.param(Evidence("CRC32", 1), ONE, False, id="another CRC32"),
        pytest.param(
            Evidence("SHA-256", hashlib.sha256(ONE.encode()).hexdigest()), ONE, True, id="a hash"
        ),
        pytest.param(Evidence("SHA-256", "00"), ONE, False, id="another hash"),
        pytest.param(
            Evidence("statements", ("CREATE TABLE a (id int)",)), ONE, True, id="the statement"
        ),
        pytest.param(
            Evidence("statements", ("-- why\r\nSELECT 1 -- one", "SELECT\r\n2", "-- end")),
            "/* otherwise */ SELECT 1;\nSELECT\n2",
            True,
            id="comments, blanks around and line ends do not count",
        ),
        pytest.param(Evidence("statements", ("SELECT 2",)), ONE, False, id="another statement"),
        pytest.param(Evidence("statements", ("SELECT 1",)), "SELECT 1; SELECT 2", False, id="more"),
        pytest.param(Evidence("statements", ()), "-- nothing\n", True, id="no statement in either"),
    ],
)
def test_evidence_fits_the_text_that_ran(evidence: Evidence, sql: str, equal: bool) -> None:
    assert evidence.fits(a_migration(1, sql)) is equal


def test_a_hash_of_the_bytes_counts_as_well_as_one_of_the_text_with_either_line_end() -> None:
    assert Evidence("SHA-256", "raw").fits(a_migration(1, raw_checksum="raw"))
    windows = hashlib.sha256(ONE.replace("\n", "\r\n").encode()).hexdigest()
    assert Evidence("SHA-256", windows).fits(a_migration(1, ONE))


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        pytest.param(Evidence("CRC32", -7), "CRC32 -7", id="a number"),
        pytest.param(Evidence("statements", ("a", "b")), "2 statements", id="a text"),
    ],
)
def test_evidence_in_words(evidence: Evidence, words: str) -> None:
    assert str(evidence) == words


def test_statements_are_told_without_what_is_around_them() -> None:
    assert statements_of(["-- a\nSELECT ';' ;;\n/* b */", " SELECT 2"]) == (
        "SELECT ';'",
        "SELECT 2",
    )


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        pytest.param("Create Users", "create_users", id="Flyway's description"),
        pytest.param("add-email__now", "add_email_now", id="signs"),
    ],
)
def test_a_name_in_our_letters(name: str, ours: str) -> None:
    assert slug(name) == ours


def test_a_row_of_flyway_says_number_name_and_crc() -> None:
    reading = read("flyway", flyway(1, "1", installed_on="2024-01-01T00:00:00"))
    evidence = Evidence("CRC32", 7)
    assert reading == Reading((Entry("1", 1, "create_users", evidence, "2024-01-01T00:00:00"),))


@pytest.mark.parametrize(
    ("version", "number"),
    [
        pytest.param("1", 1, id="plain"),
        pytest.param("007", 7, id="with zeros before"),
        pytest.param("2.0.0", 2, id="with zeros behind, as Flyway compares"),
        pytest.param("2.1", None, id="dotted"),
    ],
)
def test_the_number_of_a_flyway_version(version: str, number: int | None) -> None:
    assert read("flyway", flyway(1, version)).entries[0].number == number


@pytest.mark.parametrize(
    ("row", "evidence"),
    [
        pytest.param(flyway(1, "1", "JDBC"), None, id="code in Java"),
        pytest.param(flyway(1, "1", checksum=None), None, id="no checksum"),
    ],
)
def test_what_flyway_cannot_prove(row: dict[str, Any], evidence: None) -> None:
    assert read("flyway", row).entries[0].evidence is evidence


def test_one_version_without_a_number_leaves_the_names_to_tell_all_files() -> None:
    """Files of 1, 1.1 and 2 have other numbers here: 2 may well be that of 1.1."""
    reading = read("flyway", flyway(1, "1"), flyway(2, "1.1"), flyway(3, "2"))
    assert [(entry.key, entry.number) for entry in reading.entries] == [
        ("1", None),
        ("1.1", None),
        ("2", None),
    ]


def test_flyway_without_a_description_has_no_name() -> None:
    assert read("flyway", flyway(1, "1", description=None)).entries[0].name is None


def test_what_flyway_undid_or_deleted_is_not_applied() -> None:
    rows = (
        flyway(5, "3", "DELETE"),
        flyway(4, "2", "UNDO_SQL"),
        flyway(1, "1"),
        flyway(2, "2"),
        flyway(3, "3"),
    )
    assert keys(read("flyway", *rows)) == ["1"]
    assert keys(read("flyway", *rows, flyway(6, "2"))) == ["1", "2"]
    assert keys(read("flyway", flyway(1, "9", "DELETE"))) == []


def test_flyways_repeatables_and_the_row_of_its_schema_have_no_version() -> None:
    rows = (
        flyway(0, None, "SCHEMA"),
        flyway(1, None, script="R__views.sql"),
        flyway(2, None, script="R__views.sql"),
        flyway(3, None, "DELETE"),
    )
    assert read("flyway", *rows) == Reading(repeatable=("R__views.sql",))


@pytest.mark.parametrize("kind", ["BASELINE", "SQL_BASELINE"])
def test_a_baseline_of_flyway_stands_for_all_up_to_it(kind: str) -> None:
    assert read("flyway", flyway(1, "3", kind)) == Reading(up_to=3)


@pytest.mark.parametrize(
    ("tool", "rows", "file", "problem"),
    [
        pytest.param(
            "flyway",
            [flyway(1, "1", success=False)],
            "V1__Create_Users.sql",
            "failed with the tool",
            id="Flyway: failed",
        ),
        pytest.param(
            "flyway",
            [flyway(1, "1.5", "BASELINE")],
            "V1.5__Create_Users.sql",
            "its baseline at 1.5 stands for, as 1.5 is no number",
            id="Flyway: a baseline between two files",
        ),
        pytest.param(
            "flyway",
            [flyway(1, "1", "BASELINE"), flyway(2, "1.1")],
            "V1__Create_Users.sql",
            "its baseline at 1 stands for, as 1.1 is no number",
            id="Flyway: a baseline where files have numbers of their own",
        ),
        pytest.param(
            "golang-migrate",
            [{"version": 3, "dirty": True}],
            "3",
            "is dirty",
            id="golang-migrate: dirty",
        ),
        pytest.param(
            "prisma", [prisma(1, "1_a", finished=False)], "1_a", "did not finish", id="unfinished"
        ),
        pytest.param(
            "prisma",
            [prisma(1, "1_a", finished=False, given_up=True)],
            "1_a",
            "was rolled back",
            id="Prisma: rolled back",
        ),
        pytest.param(
            "prisma",
            [prisma(1, "1_a", finished=False), prisma(2, "1_a", finished=False, given_up=True)],
            "1_a",
            "did not finish",
            id="Prisma: rolled back once, unfinished another time",
        ),
    ],
)
def test_what_began_and_failed_is_dirty(
    tool: str, rows: list[dict[str, Any]], file: str, problem: str
) -> None:
    (finding,) = read(tool, *rows).dirty
    assert finding.file == file
    assert problem in finding.problem
    assert finding.remedy.endswith(".")


def test_what_prisma_applied_after_a_failure_is_applied() -> None:
    rows = (prisma(2, "2024_add"), prisma(1, "2024_add", finished=False, given_up=True))
    assert read("prisma", *rows) == Reading(
        (Entry("2024_add", 2024, "add", Evidence("SHA-256", f"{2:064x}"), "2024-01-02"),)
    )


def test_a_name_of_prisma_needs_no_number() -> None:
    entry = read("prisma", prisma(1, "init")).entries[0]
    assert (entry.number, entry.name) == (None, "init")


def test_dbmate_keeps_digits_alone() -> None:
    assert read("dbmate", {"version": "20240101120000"}) == Reading(
        (Entry("20240101120000", 20240101120000),)
    )


@pytest.mark.parametrize(
    ("rows", "reading"),
    [
        pytest.param([], Reading(mark=True), id="no row: nothing is applied"),
        pytest.param(
            [{"version": 3, "dirty": False}],
            Reading((Entry("3", 3),), up_to=3, mark=True),
            id="one row",
        ),
    ],
)
def test_golang_migrate_keeps_the_newest_version(
    rows: list[dict[str, Any]], reading: Reading
) -> None:
    assert read("golang-migrate", *rows) == reading


def test_a_dirty_golang_migrate_that_went_below_its_first_version_has_nothing_applied() -> None:
    reading = read("golang-migrate", {"version": -1, "dirty": True})
    assert (reading.entries, reading.up_to, len(reading.dirty)) == ((), None, 1)


def test_the_newest_row_of_a_version_counts_with_goose() -> None:
    rows = (
        goose(1, 0),
        goose(6, 3, applied=False),
        goose(2, 1),
        goose(3, 2),
        goose(4, 2, applied=False),
        {**goose(5, 2), "tstamp": "2024-01-01"},
        goose(4, 3),
    )
    assert read("goose", *rows) == Reading((Entry("1", 1), Entry("2", 2, at="2024-01-01")))


@pytest.mark.parametrize(
    ("row", "entry"),
    [
        pytest.param({"version": "0006"}, Entry("0006", 6), id="an early CLI: version alone"),
        pytest.param(
            {"version": "20240101000000", "name": None, "statements": None},
            Entry("20240101000000", 20240101000000),
            id="a row of an early CLI",
        ),
        pytest.param(
            {"version": "1", "name": "touch function", "statements": ["SELECT 1"]},
            Entry("1", 1, "touch_function", Evidence("statements", ("SELECT 1",))),
            id="name and text",
        ),
        pytest.param(
            {"version": "1", "name": "", "statements": []},
            Entry("1", 1, None, Evidence("statements", ())),
            id="an empty file",
        ),
    ],
)
def test_a_row_of_the_supabase_cli(row: dict[str, Any], entry: Entry) -> None:
    assert read("supabase", row).entries == (entry,)


@pytest.mark.parametrize(
    ("version", "checksum", "entry"),
    [
        pytest.param(
            "001_a", "0" * 64, Entry("001_a", 1, "a", Evidence("SHA-256", "0" * 64), "t"), id="stem"
        ),
        pytest.param("001_a.sql", None, Entry("001_a.sql", 1, "a", None, "t"), id="no checksum"),
        pytest.param("001", "md5", Entry("001", 1, None, None, "t"), id="another kind of checksum"),
    ],
)
def test_a_row_of_the_job_that_this_one_replaces(
    version: str, checksum: str | None, entry: Entry
) -> None:
    row = {"version": version, "applied_at": "t", "checksum": checksum}
    assert read("seed", row).entries == (entry,)


@pytest.mark.parametrize(
    ("tool", "place", "key"),
    [
        pytest.param("goose", ("s", "t", "d"), 4097083626, id="goose"),
        pytest.param("prisma", ("s", "t", "d"), 72707369, id="Prisma"),
        pytest.param(
            "golang-migrate",
            ("schema_name_1", "schema_name_2", "database_name"),
            3743845847,
            id="golang-migrate, as its own test has it",
        ),
        pytest.param(
            "flyway",
            ("public", "flyway_schema_history", "d"),
            77433833903597,
            id="Flyway, with the hashCode that Java 17 gives",
        ),
        pytest.param(
            "flyway",
            ("app", "flyway_schema_history", "d"),
            77431436970681,
            id="Flyway, where the hashCode is negative",
        ),
    ],
)
def test_the_advisory_lock_of_a_tool(tool: str, place: tuple[str, str, str], key: int) -> None:
    lock = TRACKERS[tool].lock
    assert lock is not None
    assert lock(*place) == key


@pytest.mark.parametrize(
    ("columns", "tools"),
    [
        pytest.param({"version": "character varying"}, ["dbmate", "supabase"], id="dbmate"),
        pytest.param({"version": "bigint", "dirty": "boolean"}, ["golang-migrate"], id="Go"),
        pytest.param({"version": "text", "statements": "text[]"}, ["supabase"], id="Supabase"),
        pytest.param({"version": "bigint", "inserted_at": "date"}, [], id="Ecto"),
        pytest.param(
            {
                "version": "character varying",
                "applied_at": "timestamp without time zone",
                "checksum": "text",
            },
            ["supabase", "seed"],
            id="the job that this one replaces",
        ),
        pytest.param({}, [], id="no column"),
    ],
)
def test_tables_of_one_name_are_told_apart_by_their_columns(
    columns: dict[str, str], tools: list[str]
) -> None:
    """The Supabase CLI's lies in a schema of its own, so it is not looked for elsewhere."""
    assert [name for name, one in TRACKERS.items() if one.fits(columns)] == tools


@pytest.mark.parametrize("name", [None, "yoyo"])
def test_an_unknown_tool_is_refused_with_the_list_of_those_known(name: str | None) -> None:
    assert tracker("flyway") is TRACKERS["flyway"]
    with pytest.raises(ConfigError) as caught:
        tracker(name)
    assert "golang-migrate, goose" in caught.value.remedy


@pytest.mark.parametrize(
    ("tool", "rows", "entries"),
    [
        pytest.param(
            "drizzle",
            [
                {"id": 2, "created_at": 7, "hash": "b", "name": "0002_b", "applied_at": "t"},
                {"id": 1, "created_at": 7, "hash": "a"},
            ],
            (
                Entry("7 (row 1)", None, None, Evidence("SHA-256", "a")),
                Entry("0002_b", 2, "b", Evidence("SHA-256", "b"), "t"),
            ),
            id="Drizzle, before 1 and since",
        ),
        pytest.param(
            "node-pg-migrate",
            [{"id": 2, "name": "2_b", "run_on": "u"}, {"id": 1, "name": "1_a", "run_on": "t"}],
            (Entry("1_a", 1, "a", at="t"), Entry("2_b", 2, "b", at="u")),
            id="node-pg-migrate, in the order of its rows",
        ),
        pytest.param(
            "sql-migrate",
            [{"id": "1_a.sql", "applied_at": "t"}],
            (Entry("1_a.sql", 1, "a", at="t"),),
            id="sql-migrate",
        ),
        pytest.param(
            "diesel", [{"version": "007", "run_on": "t"}], (Entry("007", 7, at="t"),), id="Diesel"
        ),
        pytest.param(
            "graphile-migrate",
            [
                {"filename": "000002.sql", "hash": "sha1:b"},
                {"filename": "000001-a.sql", "hash": "sha1:a", "date": "t"},
            ],
            (
                Entry("000001-a.sql", 1, evidence=Evidence("sha1", "sha1:a"), at="t"),
                Entry("000002.sql", 2, evidence=Evidence("sha1", "sha1:b")),
            ),
            id="graphile-migrate, in the order of its files",
        ),
        pytest.param(
            "sqlx",
            [{"version": 1, "success": True, "checksum": "\\xab", "installed_on": "t"}],
            (Entry("1", 1, evidence=Evidence("SHA-384", "ab"), at="t"),),
            id="SQLx",
        ),
    ],
)
def test_what_the_rows_of_a_tool_say(
    tool: str, rows: list[dict[str, Any]], entries: tuple[Entry, ...]
) -> None:
    assert read(tool, *rows) == Reading(entries)


@pytest.mark.parametrize(("number", "keys"), [(0, ()), (3, ("3",))])
def test_tern_keeps_one_number_and_0_is_none(number: int, keys: tuple[str, ...]) -> None:
    found = read("tern", {"version": number})
    assert tuple(entry.key for entry in found.entries) == keys
    assert (found.up_to, found.mark) == (number or None, True)


def test_what_failed_with_sqlx_is_dirty() -> None:
    found = read("sqlx", {"version": 1, "success": False, "checksum": "\\xab"})
    assert (found.entries, [one.file for one in found.dirty]) == ((), ["1"])


def test_the_lock_of_sqlx_is_of_the_database() -> None:
    lock = TRACKERS["sqlx"].lock
    assert lock is not None
    assert lock("a", "t", "d") == lock("b", "u", "d") != lock("a", "t", "e")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_sha_384_of_the_text_with_either_line_end(end: str) -> None:
    hashed = hashlib.sha384(ONE.replace("\n", end).encode()).hexdigest()
    assert Evidence("SHA-384", hashed).fits(a_migration(1, ONE))


@pytest.mark.parametrize(
    ("previous", "before"), [("-", ""), ("sha1:c0ffee", "sha1:c0ffee")], ids=["first", "second"]
)
def test_sha1_is_over_the_hash_before_and_the_body(previous: str, before: str) -> None:
    ran = hashlib.sha1(f"{before}\nSELECT 1;".strip().encode() + b"\n", usedforsecurity=False)
    text = f"--! Previous: {previous}\n--! Hash: sha1:0\n\nSELECT 1;\n"
    assert Evidence("sha1", f"sha1:{ran.hexdigest()}").fits(a_migration(1, text))
    assert not Evidence("sha1", "sha1:0").fits(a_migration(1, text))
    allowed = text.replace("\n\n", "\n--! AllowInvalidHash\n\n")
    assert Evidence("sha1", "sha1:0").fits(a_migration(1, allowed))


def changeset(number: int, path: str, kind: str = "EXECUTED", **also: Any) -> dict[str, Any]:
    row = {"id": "1", "author": "al ice", "filename": path, "orderexecuted": number}
    return {**row, "exectype": kind, "dateexecuted": f"day {number}", **also}


def test_a_changeset_of_liquibase_is_its_path_author_and_id() -> None:
    reading = read(
        "liquibase",
        changeset(3, "classpath:/db/b.sql", "RERAN"),
        changeset(1, "./db/a.sql", "MARK_RAN", id="x:1"),
        changeset(2, "db/c.sql", "SKIPPED"),
        changeset(4, "db/d.xml", "FAILED"),
        changeset(5, "./db/a.sql", id="x:1"),
    )
    assert [(entry.key, entry.changeset, entry.at) for entry in reading.entries] == [
        ("./db/a.sql::x:1::al ice", "db/a:al_ice:x_1", "day 5"),
        ("classpath:/db/b.sql::1::al ice", "db/b:al_ice:1", "day 3"),
    ]
    assert [finding.file for finding in reading.dirty] == ["db/d.xml::1::al ice"]
    assert [finding.file for finding in reading.doubts] == ["./db/a.sql::x:1::al ice"]


def test_what_failed_with_liquibase_and_ran_later_is_applied_and_a_tag_is_nothing() -> None:
    reading = read(
        "liquibase",
        changeset(1, "db/a.sql", "FAILED"),
        changeset(2, "db/a.sql"),
        changeset(3, "db/b.sql"),
        changeset(4, "db/b.sql", "FAILED"),
        changeset(5, "db/master.xml", description="tagDatabase", tag="v1"),
        changeset(6, "C:\\db\\c.sql", description="sql"),
    )
    found = [entry.changeset for entry in reading.entries]
    assert found == ["db/a:al_ice:1", "db/b:al_ice:1", "db/c:al_ice:1"]
    assert [finding.file for finding in reading.dirty] == ["db/b.sql::1::al ice"]


def test_a_revision_of_atlas_without_a_hash_proves_nothing() -> None:
    [one, two] = read("atlas", revision("1", 4, hash=""), revision("2", 4, hash=None)).entries
    assert (one.evidence, two.evidence) == (None, None)


def revision(version: str, kind: int = 2, **also: Any) -> dict[str, Any]:
    row = {"version": version, "description": "Add users", "type": kind, "applied": 1, "total": 1}
    return {**row, "error": None, "hash": "h=", "executed_at": None, **also}


def test_a_revision_of_atlas_may_be_a_baseline_or_resolved() -> None:
    reading = read(
        "atlas",
        revision("3", 4, error="said", applied=0),
        revision("2", description=""),
        revision("4", total=2),
        revision("5", error="said"),
        revision("1", 1),
        revision("one", 3),
        revision(".atlas_cloud_identifier"),
    )
    found = [(entry.key, entry.number, entry.name) for entry in reading.entries]
    assert found == [("2", 2, None), *((n, int(n), "add_users") for n in "345")]
    assert reading.up_to == 1
    assert [finding.file for finding in reading.dirty] == ["4", "5"]
    assert read("atlas").up_to is None


def test_the_running_hash_goes_over_names_and_texts_and_leaves_out_what_says_so() -> None:
    one = a_migration("1_a", "SELECT 1;\n", file="dir/1_a.sql")
    two = a_migration("2_b", "-- atlas:sum ignore\nSELECT 2;\n", file="dir/2_b.sql")
    found = running_hashes([two, one])

    def of(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    assert found["1_a"] == (of("1_a.sqlSELECT 1;\n"), of("1_a.sqlSELECT 1;\r\n"))
    assert found["2_b"][0] == of("1_a.sqlSELECT 1;\n2_b.sql")
    assert not Evidence(RUNNING, found["1_a"][0]).fits(one)

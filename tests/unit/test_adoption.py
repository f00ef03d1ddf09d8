"""Another tool's history beside the folder: what is which file, what is proved, what is refused."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from migrator.adopt.evidence import RUNNING, Evidence
from migrator.adopt.message import (
    adopting,
    digest_query,
    foreign_holder_query,
)
from migrator.adopt.readings import Entry, Reading
from migrator.adopt.rules import Adoption, make_adoption
from migrator.adopt.tools import TRACKERS, Tracker
from migrator.adopt.whose_rules import (
    ForeignTable,
    check_fits,
    choose_spot,
    choose_tool,
    nothing_left,
)
from migrator.errors import ConfigError, DirtyError, DriftError, MigratorError, MissingError
from migrator.history.fence import Write
from migrator.history.guard import head
from migrator.history.place import Limits
from migrator.model import Applied, Finding, Kind, Migration, number_of
from tests.builders import PLACE, RUN_ID, a_migration, an_applied

EQUAL = Evidence("statements", ("SELECT 1",))  # what a_migration holds
OTHER = Evidence("statements", ("SELECT 2",))
FILES = (a_migration("001_init"), a_migration("002_add"), a_migration("003_more"))


def adopt(
    *entries: Entry,
    files: tuple[Migration, ...] = FILES,
    history: tuple[Applied, ...] = (),
    **reading: Any,
) -> Adoption:
    return make_adoption("flyway", Reading(entries, **reading), files, history)


def refused(adoption: Adoption) -> MigratorError:
    with pytest.raises(MigratorError) as caught:
        adoption.raise_failures()
    return caught.value


def an_adopted(version: str) -> Applied:
    return an_applied(version, kind=Kind.ADOPTED)


@pytest.mark.parametrize(
    ("entry", "version", "content"),
    [
        pytest.param(Entry("1", 1), "001_init", "not provable", id="by number alone"),
        pytest.param(Entry("1", 1, "init"), "001_init", "not provable", id="by number and name"),
        pytest.param(Entry("1", 1, "init", EQUAL), "001_init", "equal", id="proved"),
        pytest.param(Entry("1", 1, "init", OTHER), "001_init", "differs", id="another content"),
        pytest.param(
            Entry("1", 1, "renamed", EQUAL), "001_init", "equal", id="another name, but proved"
        ),
        pytest.param(Entry("1", 1, "renamed"), None, None, id="another name, and not provable"),
        pytest.param(Entry("1", 1, "renamed", OTHER), None, None, id="another name and content"),
        pytest.param(Entry("1.1", None, "add"), "002_add", "not provable", id="by name alone"),
        pytest.param(Entry("1.1", None, "add", OTHER), "002_add", "differs", id="by name, changed"),
        pytest.param(
            Entry("9", 9, "add", EQUAL), "002_add", "equal", id="another number, but proved"
        ),
        pytest.param(Entry("9", 9, "add"), None, None, id="another number, and not provable"),
        pytest.param(Entry("9", 9, "add", OTHER), None, None, id="another number and content"),
        pytest.param(Entry("9", 9), None, None, id="no file"),
        pytest.param(Entry("x", None, "lost"), None, None, id="no file of that name"),
    ],
)
def test_an_entry_is_the_file_of_its_number_or_name(
    entry: Entry, version: str | None, content: str | None
) -> None:
    (row,) = [row for row in adopt(entry).rows() if row["flyway"] == entry.key]
    assert (row["version"], row["content"]) == (version, content)
    assert row["found"] == ("file" if version else "no file")


def test_of_two_files_with_one_name_the_proved_one_counts() -> None:
    files = (a_migration("001_add", "SELECT 2"), a_migration("002_add"))
    assert adopt(Entry("1.1", None, "add", EQUAL), files=files).rows()[0]["version"] == "002_add"
    (row,) = [r for r in adopt(Entry("1.1", None, "add"), files=files).rows() if r["flyway"]]
    assert row["found"] == "no file"


def test_a_file_is_one_migration_of_the_other_tool() -> None:
    adoption = adopt(Entry("6", 1), Entry("0006", 1))
    assert [row["found"] for row in adoption.rows() if row["flyway"]] == ["file", "no file"]


def test_a_repeatable_of_the_folder_is_never_adopted() -> None:
    """It has no number to be told by; it runs, as it would on a new database."""
    files = (*FILES[:1], a_migration("R__init"), a_migration("R__views"))
    adoption = adopt(Entry("1", 1), Entry("x", None, "views"), files=files, up_to=1)
    assert [migration.version for _, migration in adoption.new] == ["001_init"]
    assert [(row["version"], row["state"]) for row in adoption.rows()] == [
        ("001_init", "to adopt"),
        (None, "refused"),
        ("R__init", "pending"),
        ("R__views", "pending"),
    ]


def test_all_files_up_to_a_baseline_are_adopted() -> None:
    adoption = adopt(Entry("2", 2), up_to=2)
    assert [(row["version"], row["flyway"], row["state"]) for row in adoption.rows()] == [
        ("001_init", "up to 2", "to adopt"),
        ("002_add", "2", "to adopt"),
        ("003_more", None, "pending"),
    ]


def test_the_table_has_what_is_pending_repeatable_and_recorded() -> None:
    adoption = adopt(
        Entry("2", 2),
        Entry("1", 1),
        repeatable=("R__views.sql",),
        history=(an_adopted("001_init"),),
    )
    states = [(row["version"], row["flyway"], row["state"]) for row in adoption.rows()]
    assert states == [
        ("001_init", "1", "recorded"),
        ("002_add", "2", "to adopt"),
        ("003_more", None, "pending"),
        (None, "R__views.sql", "passed over"),
    ]
    assert [match.entry.key for match, _ in adoption.new] == ["2"]
    assert adoption.rows(written=True)[1]["state"] == "adopted"
    adoption.raise_failures()


def test_what_is_pending_below_the_newest_is_late() -> None:
    states = [(row["version"], row["state"]) for row in adopt(Entry("2", 2)).rows()]
    assert states == [("002_add", "to adopt"), ("001_init", "late"), ("003_more", "pending")]


def test_what_our_history_has_is_not_pending() -> None:
    adoption = adopt(history=(an_adopted("001_init"), an_adopted("002_add")))
    assert [row["version"] for row in adoption.rows()] == ["003_more"]


def test_a_second_adoption_finds_nothing_new_whatever_our_history_holds() -> None:
    adoption = adopt(Entry("1", 1), history=(an_applied("001_init"), an_applied("002_add")))
    assert adoption.new == ()
    adoption.raise_failures()


def test_what_changed_after_it_was_adopted_is_drift_of_ours() -> None:
    adoption = adopt(Entry("1", 1, "init", OTHER), history=(an_adopted("001_init"),))
    assert adoption.rows()[0]["content"] == "differs"
    adoption.raise_failures()


@pytest.mark.parametrize(
    ("adoption", "kind", "words"),
    [
        pytest.param(
            adopt(Entry("1", 1), dirty=(Finding("2", "is dirty", "Fix it."),)),
            DirtyError,
            "the history of flyway is not clean: 2",
            id="dirty",
        ),
        pytest.param(
            adopt(Entry("7", 7, "seven"), Entry("1.5", None, "lost"), Entry("8", 8)),
            MissingError,
            "no file for what flyway has applied: 1.5, 7, 8",
            id="no file",
        ),
        pytest.param(
            adopt(Entry("2", 2, "add", OTHER), Entry("1", 1)),
            DriftError,
            "not what flyway ran: 002_add.sql",
            id="another content",
        ),
        pytest.param(
            adopt(Entry("1", 1), Entry("2", 2), history=(an_applied("001_init"),)),
            ConfigError,
            "this history was started without flyway, it holds 001_init, and flyway has applied "
            "what it lacks: 002_add",
            id="our history has begun",
        ),
    ],
)
def test_what_cannot_be_taken_over_is_refused(
    adoption: Adoption, kind: type[MigratorError], words: str
) -> None:
    error = refused(adoption)
    assert (type(error), error.message) == (kind, words)
    assert error.remedy.endswith(".")


def test_all_that_is_wrong_is_told_at_once() -> None:
    adoption = adopt(
        Entry("1", 1, "init", OTHER), Entry("9", 9), dirty=(Finding("2", "is dirty", "Fix it."),)
    )
    error = refused(adoption)
    assert error.exit_code == 14
    assert [finding.file for finding in error.findings] == ["2", "9", "001_init.sql"]
    assert [row["state"] for row in adoption.rows() if row["flyway"]] == ["refused", "refused"]


@pytest.mark.parametrize(
    ("entry", "problem", "remedy"),
    [
        pytest.param(
            Entry("9", 9, "nine"),
            "flyway has applied it, and the folder has no file for it",
            "Put the file that ran there as NNN_nine.sql, with the number 9.",
            id="number and name",
        ),
        pytest.param(
            Entry("1.1", None, None),
            "flyway has applied it, and the folder has no file for it",
            "Put the file that ran there as NNN_name.sql, with a number.",
            id="neither",
        ),
        pytest.param(
            Entry("1", 1, "add"),
            "flyway has applied it, and the folder has no file for it (001_init.sql, 002_add.sql "
            "is not shown to be it)",
            "Put the file that ran there as NNN_add.sql, with the number 1.",
            id="files that look alike",
        ),
    ],
)
def test_what_has_no_file_is_told_with_its_name_here(
    entry: Entry, problem: str, remedy: str
) -> None:
    (finding,) = refused(adopt(entry)).findings
    assert (finding.file, finding.problem, finding.remedy) == (entry.key, problem, remedy)


def a_table(schema: str, *beside: str, **columns: str) -> dict[str, Any]:
    schema, _, name = schema.partition(".")
    table, there = name or "schema_migrations", ["schema_migrations", *beside]
    return {"schema": schema, "table": table, "beside": there, "columns": columns}


def found(*tables: dict[str, Any], path: tuple[str, ...] = ("app", "public")) -> dict[str, Any]:
    return {"path": list(path), "database": "shop", "tables": list(tables)}


@pytest.mark.parametrize(
    ("tool", "tables", "wanted", "ours", "spot"),
    [
        pytest.param(
            "dbmate",
            [a_table("public", version="text"), a_table("app", version="text")],
            None,
            "public",
            "app.schema_migrations",
            id="the first in the search_path",
        ),
        pytest.param(
            "dbmate",
            [a_table("public", version="text"), a_table("app", version="text")],
            None,
            "app",
            "public.schema_migrations",
            id="where our own history may lie comes last",
        ),
        pytest.param(
            "golang-migrate",
            [a_table("app", version="text"), a_table("public", version="bigint", dirty="boolean")],
            None,
            "migrator",
            "public.schema_migrations",
            id="the one that looks like the tool's",
        ),
        pytest.param(
            "supabase",
            [a_table("public", version="text"), a_table("supabase_migrations", version="text")],
            None,
            "public",
            "supabase_migrations.schema_migrations",
            id="where the Supabase CLI keeps it",
        ),
        pytest.param(
            "dbmate",
            [a_table("ops.changes", "ar_internal_metadata", version="text")],
            ("ops", "changes"),
            "public",
            "ops.changes",
            id="the one that is named",
        ),
    ],
)
def test_a_table_is_chosen(
    tool: str, tables: list[dict[str, Any]], wanted: tuple[str, str] | None, ours: str, spot: str
) -> None:
    assert str(choose_spot(TRACKERS[tool], found(*tables), wanted, ours)) == spot


@pytest.mark.parametrize(
    ("tables", "wanted", "words", "remedy"),
    [
        pytest.param(
            [],
            None,
            "there is no table schema_migrations that looks like dbmate's",
            "when it is not in app, public.",
            id="none",
        ),
        pytest.param(
            [a_table("app", "ar_internal_metadata", version="text")],
            None,
            "there is no table schema_migrations that looks like dbmate's",
            "when it is not in app, public.",
            id="that of Rails",
        ),
        pytest.param(
            [a_table("public", version="bigint"), a_table("ops", version="text")],
            None,
            "there is no table schema_migrations that looks like dbmate's",
            "one such table is ops.schema_migrations.",
            id="in another schema",
        ),
        pytest.param(
            [a_table("app", version="text")],
            ("ops", "changes"),
            "there is no table ops.changes that looks like dbmate's",
            "one such table is app.schema_migrations.",
            id="named and not there",
        ),
    ],
)
def test_a_table_that_is_not_there_is_told(
    tables: list[dict[str, Any]], wanted: tuple[str, str] | None, words: str, remedy: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_spot(TRACKERS["dbmate"], found(*tables), wanted, "public")
    assert caught.value.message == words
    assert caught.value.remedy.endswith(remedy)


def test_only_the_columns_that_there_are_get_read() -> None:
    table = a_table("supabase_migrations", version="text", name="text", created_by="text")
    spot = choose_spot(TRACKERS["supabase"], found(table), None, "public")
    assert spot.columns == ("version", "name")


BOTH = [TRACKERS["dbmate"], TRACKERS["supabase"]]


@pytest.mark.parametrize(
    ("tables", "chosen"),
    [
        pytest.param([], None, id="none"),
        pytest.param([a_table("public", version="text")], "dbmate", id="one"),
        pytest.param([a_table("ops", inserted_at="text", version="text")], None, id="no tool's"),
        pytest.param(
            [a_table("ops", "ar_internal_metadata", version="text")], None, id="that of Rails"
        ),
    ],
)
def test_the_one_tool_that_left_a_table_is_chosen(
    tables: list[dict[str, Any]], chosen: str | None
) -> None:
    choice = choose_tool(BOTH, found(*tables), "public")
    assert (choice[0].name if choice else None) == chosen


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        pytest.param(
            [a_table("public", version="text"), a_table("supabase_migrations", version="text")],
            "several tools have left a history",
            id="two",
        ),
        pytest.param(
            [a_table("ops", version="text")], "outside the search_path: ops.", id="elsewhere"
        ),
    ],
)
def test_a_choice_is_not_guessed(tables: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        choose_tool(BOTH, found(*tables), "public")


@pytest.mark.parametrize(
    ("trackers", "words"),
    [
        pytest.param(BOTH, "no history of any tool here", id="auto"),
        pytest.param(BOTH[:1], "no history of dbmate here", id="a tool"),
    ],
)
def test_a_database_with_tables_and_no_history_is_not_new(
    trackers: list[Tracker], words: str
) -> None:
    nothing_left(trackers, None)
    with pytest.raises(ConfigError, match=words):
        nothing_left(trackers, "public.precious")


@pytest.mark.parametrize(
    ("tool", "form", "refused"),
    [
        ("goose", "goose", False),
        ("goose", "native", True),
        ("tern", "native", False),
        ("prisma", "native", False),
        ("goose", None, False),
    ],
)
def test_by_numbers_alone_no_other_folder_is_taken(
    tool: str, form: str | None, refused: bool
) -> None:
    if not refused:
        check_fits(tool, form)
        return
    with pytest.raises(ConfigError, match="by numbers alone"):
        check_fits(tool, form)


def test_what_a_history_cannot_say_is_named() -> None:
    files = [a_migration("001_a"), a_migration("002_b"), a_migration("003_c")]
    late = adopt(Entry("1", 1), Entry("3", 3), files=tuple(files)).holes()
    assert [finding.file for finding in late] == ["flyway", "002_b.sql"]
    mark = make_adoption("tern", Reading((Entry("2", 2),), up_to=2, mark=True), files, [])
    [finding] = mark.holes()
    assert "all 2 files" in finding.problem
    assert [row.version for row in mark.recorded()] == ["001_a", "002_b"]
    assert make_adoption("tern", Reading(mark=True), files, []).holes() == ()


def test_a_file_without_number_and_name_is_known_by_its_content_once() -> None:
    files = [a_migration("001_a", "SELECT 1;"), a_migration("002_b", "SELECT 1;")]
    same = Evidence("SHA-256", files[0].checksum)
    made = make_adoption("drizzle", Reading((Entry("1", None, None, same),) * 3), files, [])
    taken = [match.migration.version for match in made.matches if match.migration]
    assert taken == ["001_a", "002_b"]
    assert [type(failure).__name__ for failure in made.failures] == ["MissingError"]


def test_a_baseline_of_2_does_not_hold_2_1() -> None:
    versions = ("V1__a", "V2__b", "V2.1__c")
    files = [a_migration(v)._replace(number=number_of(v)) for v in versions]
    made = make_adoption("flyway", Reading(up_to=2), files, [])
    assert [m.migration.version for m in made.matches if m.migration] == ["V1__a", "V2__b"]


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("000001-create-one", "create_one"),
        ("2024-01-01-000000_one", "one"),
        ("V1_1__Create two", "create_two"),
        ("20240101_x", "x"),
    ],
)
def test_a_name_follows_the_number_in_every_format(version: str, name: str) -> None:
    entry = Entry("x", None, name)
    made = make_adoption("goose", Reading((entry,)), [a_migration(version)], [])
    assert [m.migration.version for m in made.matches if m.migration] == [version]


SPOT = ForeignTable("goose", "public", "goose_db_version", ("id", "version_id"), "shop")


def test_an_adoption_is_one_message() -> None:
    files = (a_migration("001_init", rollback_sql="DROP;"), a_migration("002_add"))
    adoption = adopt(Entry("1", 1, None, EQUAL, "2024"), files=files)
    also = [Write("SELECT 'also'", None)]
    seen, checksum = (head([]), "d1ge57"), files[0].checksum
    text = adopting(adoption, TRACKERS["goose"], SPOT, PLACE, Limits(), seen, also)
    assert text.startswith("/* migrator adopts the history of goose, run 11111111-2222-4333")
    row = f"""VALUES ('001_init', '{files[0].checksum}', 'DROP;', 'adopted', '{RUN_ID}', False);"""
    line = (
        f"""VALUES ('{RUN_ID}', '001_init', 'adopted', 'migrator/pod-1', '{{"from": "goose", """
        """"table": "public.goose_db_version", "as": "1", "content": "equal", """
        f""""evidence": "1 statements", "applied_at": "2024", "checksum": "{checksum}", """
        """"format": "native"}');"""
    )
    parts = [
        "BEGIN ISOLATION LEVEL READ COMMITTED;",
        f"<> '{head([])}'",
        "SET LOCAL timezone = 'UTC';",
        """LOCK TABLE "public"."goose_db_version" IN ACCESS SHARE MODE;""",
        "<> 'd1ge57'",
        row,
        line,
        "SELECT 'also';",
        "COMMIT;",
        "RESET ALL;",
    ]
    places = [text.rindex(part) for part in parts]
    assert places == sorted(places)


def test_a_tool_without_a_lock_is_guarded_by_its_rows_alone() -> None:
    text = adopting(adopt(Entry("1", 1)), TRACKERS["dbmate"], SPOT, PLACE, Limits(), ("", "d"))
    assert text.count("pg_try_advisory_xact_lock") == 1
    assert digest_query(SPOT) in text
    assert '"evidence"' not in text


@pytest.mark.parametrize("name", TRACKERS)
def test_who_is_at_work_is_asked_where_the_tool_takes_a_lock(name: str) -> None:
    tracker = TRACKERS[name]
    spot = ForeignTable(name, "app", tracker.table, (), "shop")
    asked = foreign_holder_query(tracker, spot)
    assert (asked == "NULL", "pg_locks" in asked) == (
        (True, False) if tracker.lock is None else (False, True)
    )


def test_a_lock_that_is_a_row_is_looked_at_before_the_rows_are() -> None:
    spot = ForeignTable("liquibase", "app", "databasechangelog", ("id",), "shop")
    text = adopting(adopt(Entry("1", 1)), TRACKERS["liquibase"], spot, PLACE, Limits(), ("", "d"))
    parts = [
        """IF to_regclass('"app"."databasechangeloglock"') IS NOT NULL""",
        """LOCK TABLE "app"."databasechangeloglock" IN ACCESS SHARE MODE;""",
        """LOCK TABLE "app"."databasechangeloglock" IN SHARE MODE;""",
        "ERRCODE = 'MG004'",
        """LOCK TABLE "app"."databasechangelog" IN ACCESS SHARE MODE;""",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


CHANGESETS = tuple(
    a_migration(version)
    for version in ("db/a:al:1", "x/db/a:al:2", "y/db/a:al:2", "db/a:bo:1", "R__v:al:1")
)


@pytest.mark.parametrize(
    ("changeset", "version"),
    [
        ("db/a:al:1", "db/a:al:1"),
        ("main/db/a:al:1", "db/a:al:1"),
        ("a:bo:1", "db/a:bo:1"),
        ("x/db/a:al:2", "x/db/a:al:2"),
        ("db/a:al:2", None),
        ("other/a:al:1", None),
        ("bdb/a:al:1", None),
    ],
)
def test_a_changeset_is_found_by_the_end_of_its_path(changeset: str, version: str | None) -> None:
    entry = Entry("db/a.sql::1::al", None, changeset=changeset)
    adoption = adopt(entry, files=CHANGESETS)
    [match] = adoption.matches
    assert (match.migration and match.migration.version) == version
    if version is None:
        [finding] = refused(adoption).findings
        assert finding.remedy == "Put it there as it ran: `--changeset al:1` in db/a.sql."


def test_a_changeset_that_runs_whenever_it_changed_is_passed_over() -> None:
    doubt = Finding("x", "y", "Z.")
    entry = Entry("db/v.sql::1::al", None, changeset="db/v:al:1")
    adoption = adopt(entry, files=CHANGESETS, doubts=(doubt,))
    assert (adoption.matches, adoption.repeatable) == ((), ("db/v.sql::1::al",))
    assert doubt in adoption.holes()


def ran(number: int, *texts: str, at: str | None = None) -> Entry:
    """What Atlas keeps of the last of the FILES, whose texts were these."""
    names = (m.file for m in FILES)
    joined = "".join(f"{name}{text}" for name, text in zip(names, texts, strict=False))
    hashed = base64.b64encode(hashlib.sha256(joined.encode()).digest()).decode()
    return Entry(str(number), number, evidence=Evidence(RUNNING, hashed), at=at)


def test_of_hashes_over_all_files_the_first_that_does_not_fit_is_blamed() -> None:
    one, two, three = ("".join(m.pieces) for m in FILES)
    proved = [ran(1, one), ran(2, one, two), ran(3, one, two, three)]
    assert {m.content.value for m in adopt(*proved).matches} == {"equal"}
    broken = [ran(1, one), ran(2, one, "x"), ran(3, one, "x", three)]
    found = [m.content.value for m in adopt(*broken).matches]
    assert found == ["equal", "differs", "not provable"]
    assert [finding.file for finding in refused(adopt(*broken)).findings] == [FILES[1].file]
    lacking = adopt(*proved[:2], Entry("9", 9, evidence=Evidence(RUNNING, "x")), up_to=0)
    assert [m.content.value for m in lacking.matches] == ["equal", "equal", "not provable"]


def test_a_file_that_came_late_breaks_no_chain() -> None:
    one, _, three = ("".join(m.pieces) for m in FILES)
    hashed = hashlib.sha256(f"{FILES[0].file}{one}{FILES[2].file}{three}".encode()).digest()
    last = Entry("3", 3, evidence=Evidence(RUNNING, base64.b64encode(hashed).decode()), at="1")
    never = adopt(ran(1, one, at="0"), last)
    assert [m.content.value for m in never.matches] == ["equal", "equal"]
    late = adopt(ran(1, one, at="0"), ran(2, *("".join(m.pieces) for m in FILES[:2]), at="2"), last)
    assert [m.content.value for m in late.matches] == ["equal", "equal", "equal"]

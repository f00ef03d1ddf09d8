"""Other tools' folders: which is whose, which files run in which order, and what of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from migrator.config import FOLDER_FORMATS
from migrator.errors import SourceError
from migrator.folder import foreign
from migrator.folder.formats.format import OUTSIDE, Cut, Pick, WrongTextError, composed
from migrator.folder.formats.table import FORMATS, find_formats, named_format
from migrator.folder.read import read_source
from migrator.plan.plan import behind
from tests.builders import a_migration

DBMATE = "-- migrate:up\nCREATE TABLE a ();\n-- migrate:down\nDROP TABLE a;\n"
GOOSE = "-- +goose Up\nCREATE TABLE a ();\n-- +goose Down\nDROP TABLE a;\n"
PLAIN = "CREATE TABLE a ();\n"
DRIZZLE = '{"entries": [{"idx": 0, "tag": "0000_one", "when": 1}]}'

FOLDERS = {
    "flyway": {"V1__one.sql": PLAIN, "U1__one.sql": "DROP TABLE a;\n"},
    "golang-migrate": {"1_one.up.sql": PLAIN, "1_one.down.sql": "DROP TABLE a;\n"},
    "atlas": {"20240101_one.sql": PLAIN, "atlas.sum": ""},
    "dbmate": {"20240101_one.sql": DBMATE},
    "goose": {"00001_one.sql": GOOSE},
    "sql-migrate": {"1_one.sql": GOOSE.replace("goose", "migrate")},
    "liquibase": {
        "one.sql": "--liquibase formatted sql\n--changeset a:1\n" + PLAIN,
    },
    "micrate": {"1_one.sql": GOOSE.replace("goose", "micrate")},
    "tern": {"001_one.sql": "A;\n---- create above / drop below ----\nB;\n"},
    "node-pg-migrate": {"1700000000000_one.sql": "-- Up Migration\nA;\n-- Down Migration\nB;\n"},
    "supabase": {"20240101000000_One-two.sql": PLAIN},
    "sqlx": {"1_one.sql": "-- no-transaction\nVACUUM;\n"},
    "prisma": {"20240101000000_one/migration.sql": PLAIN, "migration_lock.toml": ""},
    "drizzle": {"0000_one.sql": PLAIN, "meta/_journal.json": DRIZZLE},
    "diesel": {"2024-01-01-000000_one/up.sql": PLAIN, "2024-01-01-000000_one/down.sql": "B;\n"},
    "graphile-migrate": {"committed/000001-one.sql": "--! Previous: -\n--! Hash: sha1:0\n\nA;\n"},
}


def read(folder: Mapping[str, str]) -> tuple[tuple[str, ...], list[str]]:
    """The versions in their order, and what is wrong."""
    form = find_formats([*folder], lambda path: folder.get(path, ""))[0]
    picks, findings = form.pick([*folder], lambda path: folder.get(path, ""))
    return tuple(pick.version for pick in picks), [str(finding) for finding in findings]


def test_the_table_the_setting_and_the_folders_here_name_the_same_tools() -> None:
    assert {form.name for form in FORMATS} == set(FOLDERS)
    assert ("auto", "native", *sorted(FOLDERS)) == FOLDER_FORMATS


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_is_known_by_its_sure_sign(name: str) -> None:
    folder = FOLDERS[name]
    form = find_formats([*folder], lambda path: folder.get(path, ""))[0]
    assert form.name == name


@pytest.mark.parametrize("name", FOLDERS)
def test_its_one_migration_is_found(name: str) -> None:
    versions, findings = read(FOLDERS[name])
    assert len(versions) == 1
    assert findings == []


@pytest.mark.parametrize(
    "folder",
    [
        pytest.param({"001_one.sql": PLAIN, "001_one.down.sql": PLAIN}, id="our own"),
        pytest.param({"001_one.sql": "-- no mark of migrate:up in here\n"}, id="a comment"),
        pytest.param(
            {"001_one.sql": "-- Up migration\n" + PLAIN, "001_one.down.sql": PLAIN},
            id="a heading over a file whose undo is our own",
        ),
        pytest.param({"one.sql": PLAIN}, id="no number"),
        pytest.param(
            {"001_a.sql": "-- Up migration: orders\n" + PLAIN, "R__v.sql": PLAIN},
            id="a heading beside a repeatable",
        ),
        pytest.param(
            {"001_a.sql": "-- no-transaction needed here\n" + PLAIN}, id="a comment of that kind"
        ),
        pytest.param(
            {"001_a.sql": "-- no-transaction\n", "001_a.down.sql": PLAIN}, id="an undo of our own"
        ),
        pytest.param(
            {"20200101000000_init.sql": PLAIN, "20210101000000_add-users.sql": PLAIN},
            id="a first file that Supabase leaves out, and others do not",
        ),
        pytest.param(
            {"20240101000000_a.sql": PLAIN, "20240101000000_a.down.sql": PLAIN}, id="dates of ours"
        ),
        pytest.param({}, id="nothing"),
    ],
)
def test_no_tool_claims_it(folder: dict[str, str]) -> None:
    assert find_formats([*folder], lambda path: folder.get(path, "")) == []


@pytest.mark.parametrize(
    ("names", "versions"),
    [
        pytest.param(
            ["10_b.up.sql", "9_a.up.sql", "9_a.down.sql", "README.md"],
            ("9_a", "10_b"),
            id="golang-migrate compares numbers",
        ),
        pytest.param(
            ["20240102000000_B-x/migration.sql", "20240101000000_a/migration.sql"],
            ("20240101000000_a", "20240102000000_B-x"),
            id="prisma",
        ),
        pytest.param(
            ["2024-02-01-000000_b/up.sql", "2023-12-01-000000_a/up.sql"],
            ("2023-12-01-000000_a", "2024-02-01-000000_b"),
            id="diesel",
        ),
        pytest.param(
            ["20240102000000_b.C.sql", "20240101000000_A-a.sql"],
            ("20240101000000_A-a", "20240102000000_b.C"),
            id="supabase",
        ),
        pytest.param(
            ["20240101000000_b/migration.sql", "20240101000000_a_b/migration.sql"],
            ("20240101000000_a_b", "20240101000000_b"),
            id="prisma, one number twice",
        ),
    ],
)
def test_the_order_is_the_tools(names: list[str], versions: tuple[str, ...]) -> None:
    assert read(dict.fromkeys(names, PLAIN)) == (versions, [])


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        pytest.param(
            {"1_a.up.sql": "", "01_b.up.sql": ""}, "has the same number", id="one number twice"
        ),
        pytest.param(
            {"1_B/migration.sql": "", "1_a/migration.sql": ""},
            "has the same number",
            id="one number twice, and an order of languages",
        ),
        pytest.param(
            {"1_a.up.sql": "", "2_b.down.sql": ""}, "there is no 2_b.up.sql", id="an undo alone"
        ),
        pytest.param(
            {"9_a.sql": DBMATE, "10_b.sql": DBMATE}, "compares names as text", id="order by text"
        ),
        pytest.param({"1_a'b.up.sql": ""}, "which no version may hold", id="a quote in a name"),
        pytest.param(
            {"1_a.sql": FOLDERS["tern"]["001_one.sql"], "3_b.sql": ""}, "2 is missing", id="tern"
        ),
        pytest.param({"a/migration.sql": ""}, "does not begin with a number", id="no number"),
        pytest.param(
            {"001_a/migration.sql": "", "002_b/down.sql": ""}, "holds no migration.sql", id="prisma"
        ),
        pytest.param({"meta/_journal.json": "{"}, "cannot be read as the journal", id="a journal"),
        pytest.param(
            {"meta/_journal.json": DRIZZLE}, "lists it, and it is missing", id="a file is missing"
        ),
        pytest.param(
            {
                "meta/_journal.json": '{"entries": [{"tag": "0001_b"}, {"tag": "0000_a"}]}',
                "0000_a.sql": "",
                "0001_b.sql": "",
            },
            "in another order",
            id="a journal that is out of order",
        ),
        pytest.param({"001_a/up.sql": "", "002_b/down.sql": ""}, "holds no up.sql", id="diesel"),
    ],
)
def test_a_folder_that_the_tool_would_read_otherwise_is_refused(
    folder: dict[str, str], said: str
) -> None:
    _, [finding] = read(folder)
    assert said in finding


def test_supabase_leaves_out_the_platforms_own_first_file() -> None:
    names = ["20200101000000_init.sql", "20240101000000_A-a.sql"]
    picks, findings = named_format("supabase").pick(names, lambda _: "")
    assert ([pick.version for pick in picks], findings) == (["20240101000000_A-a"], [])


def test_diesel_passes_an_empty_folder_over() -> None:
    picks, findings = named_format("diesel").pick(["1_a/up.sql", "2_b/"], lambda _: "")
    assert ([pick.version for pick in picks], findings) == (["1_a"], [])


def test_golang_migrate_pairs_by_number() -> None:
    names = ["1_one.up.sql", "1_uno.down.sql"]
    picks, findings = named_format("golang-migrate").pick(names, lambda _: "")
    assert (picks[0].down, findings) == ("1_uno.down.sql", [])


def test_sqlx_takes_both_kinds_of_files() -> None:
    names = ["1_a.sql", "2_b.up.sql", "2_b.down.sql"]
    picks, findings = named_format("sqlx").pick(names, lambda _: "")
    assert [(pick.version, pick.down) for pick in picks] == [("1_a", None), ("2_b", names[2])]
    assert findings == []


@pytest.mark.parametrize(
    ("metadata", "alone"),
    [
        pytest.param("run_in_transaction = false\n", True, id="false"),
        pytest.param("run_in_transaction = true\n", False, id="true"),
        pytest.param("", True, id="a file without the key"),
        pytest.param("run in", False, id="no TOML"),
    ],
)
def test_diesel_reads_the_transaction_from_its_metadata(metadata: str, alone: bool) -> None:
    folder = {"1_a/up.sql": "", "1_a/metadata.toml": metadata}
    [pick], _ = named_format("diesel").pick([*folder], lambda path: folder[path])
    assert pick.alone is alone


@pytest.mark.parametrize(
    ("name", "text", "up", "down"),
    [
        pytest.param(
            "dbmate", DBMATE, "\nCREATE TABLE a ();\n\n\n", "\n\n\nDROP TABLE a;\n", id="dbmate"
        ),
        pytest.param(
            "dbmate",
            "-- why\n-- migrate:up transaction:false\nA;\n-- migrate:down\n",
            f"-- why\n{OUTSIDE}\nA;\n\n",
            None,
            id="dbmate without a transaction",
        ),
        pytest.param(
            "goose",
            "-- migrator: floor\n-- +goose Up\r\nA;\n",
            "-- migrator: floor\n\nA;\n",
            None,
            id="a directive of ours above the first mark",
        ),
        pytest.param(
            "goose",
            "-- +goose Up\n-- +goose StatementBegin\nA\n-- +goose StatementEnd\nB;\n",
            "\n\nA\n;\nB;\n",
            None,
            id="a block of goose needs no semicolon",
        ),
        pytest.param(
            "goose",
            "-- +goose NO TRANSACTION\n-- +goose Up\nA;\n-- +goose Down\nB;\n",
            f"\n{OUTSIDE}\nA;\n\n\n",
            f"\n\n\n{OUTSIDE}\nB;\n",
            id="goose takes both ways out of the transaction",
        ),
        pytest.param(
            "sql-migrate",
            "x\n-- +migrate Up\nA;\n-- +migrate Down notransaction\nB;\n-- +migrate Up\nC;\n",
            "\n\nA;\n\n\n\nC;\n",
            f"\n\n\n{OUTSIDE}\nB;\n\n\n",
            id="sections of sql-migrate repeat",
        ),
        pytest.param(
            "sql-migrate",
            "-- +migrate Up\n-- +migrate StatementBegin\nA\n-- +migrate StatementEnd\nB;\n",
            "\n\nA\n;\nB;\n",
            None,
            id="a block of sql-migrate needs no semicolon",
        ),
        pytest.param(
            "micrate",
            "-- +micrate Up\nA;\n-- +micrate Down\nB;\n",
            "\nA;\n\n\n",
            "\n\n\nB;\n",
            id="micrate",
        ),
        pytest.param(
            "tern",
            "A;\n---- create above / drop below ----\n---- tern: disable-tx ----\nB;\n",
            "A;\n\n\n\n",
            f"\n\n{OUTSIDE}\nB;\n",
            id="tern",
        ),
        pytest.param("tern", "A;\n", "A;\n", None, id="tern without an undo"),
        pytest.param(
            "tern",
            "A;\n---- create above / drop below ---- B;\n",
            "A;\n\n",
            "\n B;\n",
            id="an undo beside tern's mark",
        ),
        pytest.param(
            "node-pg-migrate",
            "-- Down Migration\nB;\n-- Up Migration\nA;\n",
            "\n\n\nA;\n",
            "\nB;\n\n\n",
            id="the undo of node-pg-migrate may stand first",
        ),
        pytest.param("node-pg-migrate", "A;\n", "A;\n", None, id="node-pg-migrate without marks"),
        pytest.param("sqlx", "-- no-transaction\nA;\n", f"{OUTSIDE}\nA;\n", None, id="sqlx"),
        pytest.param(
            "supabase",
            "-- pg-delta: transaction=false\nA;\n",
            f"{OUTSIDE}\nA;\n",
            None,
            id="supabase",
        ),
        pytest.param(
            "diesel", "-- hasura:no-transaction\nA;\n", f"{OUTSIDE}\nA;\n", None, id="hasura"
        ),
        pytest.param(
            "graphile-migrate",
            "--! Previous: -\n--! Hash: x\n\n--! no-transaction\nA;\n",
            f"--! Previous: -\n--! Hash: x\n\n{OUTSIDE}\nA;\n",
            None,
            id="graphile-migrate",
        ),
        pytest.param(
            "drizzle",
            "A;\n--> statement-breakpoint\nB;--> statement-breakpoint\n",
            "A;\n--> statement-breakpoint\nB;--> statement-breakpoint\n",
            None,
            id="the marks of drizzle's generator are comments",
        ),
        pytest.param(
            "drizzle",
            "A\n--> statement-breakpoint\nB;--> statement-breakpoint C;\n",
            "A\n;\nB;; C;\n",
            None,
            id="a mark of drizzle's ends a statement and no line",
        ),
    ],
)
def test_what_of_a_file_runs(name: str, text: str, up: str, down: str | None) -> None:
    assert named_format(name).cut(text) == Cut(up, down)


@pytest.mark.parametrize("name", [form.name for form in FORMATS if form.cuts])
def test_a_cut_keeps_the_lines(name: str) -> None:
    for text in FOLDERS[name].values():
        cut = named_format(name).cut(text)
        assert [half.count("\n") for half in (cut.up, cut.down or cut.up)] == [text.count("\n")] * 2


@pytest.mark.parametrize(
    ("name", "text", "problem", "line"),
    [
        pytest.param(
            "dbmate", "A;\n-- migrate:up\n", "only comments above", 1, id="dbmate: SQL first"
        ),
        pytest.param("dbmate", "-- migrate:up\nA;\n", "no `-- migrate:down`", None, id="no down"),
        pytest.param("dbmate", "A;\n", "no `-- migrate:up`", None, id="no mark"),
        pytest.param(
            "dbmate", "-- migrate:down\n-- migrate:up\n", "migrate:down is not", 1, id="down first"
        ),
        pytest.param("dbmate", DBMATE * 2, "migrate:up is not", 5, id="two sections"),
        pytest.param(
            "goose", "A;\n-- +goose Up\n", "only comments above", 1, id="goose: SQL first"
        ),
        pytest.param("goose", "A;\n", "no `-- +goose Up`", None, id="goose: no mark"),
        pytest.param("goose", "-- +goose Up\n-- see +goose docs\n", "no annotation", 2, id="docs"),
        pytest.param("goose", "-- +goose Down\n", "+goose Down is not", 1, id="goose: down first"),
        pytest.param("sql-migrate", "A;\n", "would run nothing", None, id="sql-migrate"),
        pytest.param("sql-migrate", "-- +migrate Up\n-- +migrate DOWN\n", "DOWN", 2, id="DOWN"),
        pytest.param("micrate", "A;\n", "micrate would run nothing", None, id="micrate"),
        pytest.param("tern", "A;\n{{ x }}\n", "templates", 2, id="tern"),
        pytest.param(
            "node-pg-migrate", "A;\n-- Up Migration\nB;\n", "only comments", 1, id="node-pg-migrate"
        ),
        pytest.param("graphile-migrate", "A;\n", "header", 1, id="graphile-migrate"),
        pytest.param(
            "graphile-migrate",
            "--! Previous: -\n\nGRANT x TO :OWNER;\n",
            ":OWNER",
            3,
            id="a variable",
        ),
    ],
)
def test_a_text_that_the_tool_would_not_run_is_refused(
    name: str, text: str, problem: str, line: int | None
) -> None:
    with pytest.raises(WrongTextError) as caught:
        named_format(name).cut(text)
    assert problem in caught.value.problem
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("file", "base"),
    [
        pytest.param("2_b.up.sql", ["1_a.up.sql", "3_c.up.sql", "README.md"], id="files"),
        pytest.param(
            "2_b/up.sql", ["1_a/up.sql", "3_c/up.sql", "migration_lock.toml"], id="folders"
        ),
        pytest.param(
            "committed/2-b.sql", ["committed/1-a.sql", "committed/3-c.sql"], id="a folder of files"
        ),
    ],
)
def test_a_file_that_is_late_on_another_branch_is_found_in_any_layout(
    file: str, base: list[str]
) -> None:
    late = a_migration("002_b", file=file)
    assert [finding.file for finding in behind([late], base)] == [file]
    assert behind([late], [*base, file]) == ()


def test_a_text_that_is_cut_is_read_in_memory_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(foreign, "MOST_CHARS_CUT", 1 << 20)
    (tmp_path / "1_a.sql").write_text(f"-- migrate:up\n{'-' * (1 << 20)}\n-- migrate:down\n")
    with pytest.raises(SourceError) as caught:
        read_source(tmp_path, "dbmate")
    assert "is larger than 1 MB" in str(caught.value.findings[0])


def test_a_large_text_of_which_all_runs_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "1_a.sql").write_text("SELECT 1;\n" * 10_000)
    [one] = read_source(tmp_path, "atlas").migrations
    assert not isinstance(one.pieces, tuple)


def test_a_format_without_marks_runs_all_of_a_text() -> None:
    form = named_format("golang-migrate")
    assert form.cut(PLAIN) == Cut(PLAIN)
    [only] = form.parts(Pick("1_a", "1_a.up.sql"), PLAIN)
    assert (only.version, only.up, only.down) == ("1_a", PLAIN, None)


def test_node_pg_migrates_numbers_are_of_one_kind() -> None:
    names = ["20240101120000123_a.sql", "1700000000000_b.sql"]
    _, findings = named_format("node-pg-migrate").pick(names, lambda _: "")
    assert ["reads 17 digits as a date" in str(finding) for finding in findings] == [True]


def test_drizzle_1_has_a_folder_for_each_migration() -> None:
    names = ["0001_a/migration.sql", "0001_a/snapshot.json", "0001_a/notes.md"]
    assert "drizzle" in {form.name for form in find_formats(names, lambda _: "")}
    picks, findings = named_format("drizzle").pick(names, lambda _: "")
    assert ([(pick.version, pick.up) for pick in picks], findings) == (
        [("0001_a", "0001_a/migration.sql")],
        [],
    )


def test_goose_demands_its_up() -> None:
    with pytest.raises(WrongTextError, match="which goose demands"):
        named_format("goose").cut("CREATE TABLE a ();\n")


def test_an_accented_letter_of_a_version_is_one_character() -> None:
    assert composed("1_e\u0301") == "1_\u00e9"
    assert composed("1_e") == "1_e"


def test_a_link_to_a_folder_is_followed_and_never_back(tmp_path: Path) -> None:
    folder, beside = tmp_path / "m", tmp_path / "beside"
    for path in (folder / "sub", beside):
        path.mkdir(parents=True)
    (folder / "V1__a.sql").write_text("SELECT 1;\n")
    (folder / "sub" / "V2__b.sql").write_text("SELECT 2;\n")
    (beside / "V3__c.sql").write_text("SELECT 3;\n")
    for link, to in (("sub/up", ".."), ("self", "."), ("sub/beside", "../../beside")):
        (folder / link).symlink_to(to)
    (beside / "back").symlink_to(folder / "sub")
    files = [migration.file for migration in read_source(folder).migrations]
    assert files == ["V1__a.sql", "sub/V2__b.sql", "sub/beside/V3__c.sql"]

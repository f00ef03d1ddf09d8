"""The table of what to do about a refused statement, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from migrator.postgres.refusal import Refusal
from migrator.refusals.remedies import REMEDIES, Facts, Situation, remedy_of, row_for
from migrator.refusals.rights_rules import Lacking, Names, Space, Thing, lacking, named
from migrator.sql.effects import names
from tests.builders import a_script

ALONE = "-- migrator: no-transaction\nSELECT 1"
OWN_LIMIT = "-- migrator: statement-timeout 1500ms\nSELECT 1"
NO_LIMIT = "-- migrator: statement-timeout 0\nSELECT 1"
BLOCK = "PL/pgSQL-Funktion inline_code_block Zeile 3 bei SQL-Anweisung"
OTHERS = {"format": "dbmate"}
UNDO, REPEATABLE = (
    {"file": "007_orders.down.sql", "undoes": True},
    {"version": "R__orders", "file": "R__orders.sql"},
)


def thing(words: Names, name: str, **values: Any) -> Thing:
    """A table that another role owns and a statement of these words names."""
    made = {"kind": "TABLE", "owner": "boss", "ours": False, "member": False, "superuser": False}
    return Thing(**{**made, "place": words.index((name,)), "name": f"public.{name}", **values})


def situation(
    sqlstate: str,
    statement: str = "",
    *,
    sql: str = "SELECT 1",
    of: dict[str, Any] | None = None,
    refusal: dict[str, Any] | None = None,
    facts: dict[str, Any] | None = None,
    owned: dict[str, Any] | None = None,
    **more: Any,
) -> Situation:
    """A refusal of `statement`; `owned` is the table t that it names."""
    script, words = a_script(sql), names(statement)
    script = script._replace(migration=script.migration._replace(**(of or {})))
    known: dict[str, Any] = {"words": words, "role": "runner", "database": "shop"}
    if owned is not None:
        known["things"] = (thing(words, "t", **owned),)
    return Situation(
        Refusal(sqlstate, "nein", **(refusal or {})), script, Facts(**known | (facts or {})), **more
    )


TIMED_OUT = {"timed_out": True}
CASES = [
    ("MG007", situation("MG007", ours=True), "Take that out of the file, or keep the history"),
    ("MG009", situation("MG009", ours=True), "Take out of the file what changes client_encoding"),
    ("MG003", situation("MG003", ours=True), "Take the statement that ends the transaction out"),
    (
        "hint",
        situation("55P04", refusal={"raised": True, "hint": "Zuerst x"}),
        "Do what the hint says, then run again.",
    ),
    ("raise", situation("P0001", refusal={"raised": True}), "A RAISE in the file, or in what"),
    ("set transaction", situation("25001", "SET TRANSACTION READ ONLY"), "Take it out: the file"),
    (
        "vacuum in do",
        situation("25001", "EXECUTE 'VACUUM'", refusal={"context": BLOCK}),
        "Take the statement out of the function or DO block",
    ),
    (
        "25001 in an undo of another tool's",
        situation("25001", "REINDEX TABLE p", of={"file": "1_a.sql", "undoes": True}),
        "Take the undo in 1_a.sql out of the transaction as its tool does that",
    ),
    (
        "25001 in an undo",
        situation("25001", "REINDEX TABLE p", of=UNDO),
        "Let 007_orders.down.sql begin with the line `-- migrator: no-transaction`, then run "
        "`rollback --from-files`.",
    ),
    (
        "2D000 in a repeatable",
        situation("2D000", "CALL p()", of=REPEATABLE),
        "A repeatable runs in a transaction: move the statement to a versioned file",
    ),
    (
        "reindex of a partitioned table",
        situation("25001", "REINDEX TABLE p", refusal={"context": "während »public.p« neu …"}),
        "Move the statement to a file of its own that begins with the line `-- migrator: no-tr",
    ),
    (
        "2D000",
        situation("2D000", "CALL p()", refusal={"context": BLOCK}),
        "Move the statement to a file of its own",
    ),
    ("2D000 alone", situation("2D000", sql=ALONE), "COMMIT and ROLLBACK work in a DO block"),
    (
        "placeholders",
        situation("42601", unfilled=(":v", ":'pw'", "{{ Db-name }}", "${x}")),
        "Let 007_orders.sql begin with the line `-- migrator: placeholders`, write `${v}`, "
        "`${pw}`, `${Db-name}`, `${x}` and set `PLACEHOLDER_V`, `PLACEHOLDER_PW`, "
        "`PLACEHOLDER_DB_NAME`, `PLACEHOLDER_X`; or write the values into the file. Nothing is "
        "put in the place of `:v`, `:'pw'`, `{{ Db-name }}`, `${x}` here",
    ),
    (
        "placeholders of another tool's",
        situation("42601", unfilled=(":v", ":'pw'"), of=OTHERS),
        "Write the values into the file: nothing is put in the place of `:v`, `:'pw'` here",
    ),
    ("55P04", situation("55P04"), "Make two files"),
    ("42704", situation("42704", "SET transaction_timeout = 0"), "Take the line out: this server"),
    ("25P02", situation("25P02"), "Look for the first error in the server's log"),
    (
        "a repeatable",
        situation("42P07", "CREATE TABLE t ()", of=REPEATABLE, owned={}, first=True),
        "Write it so that it can run again",
    ),
    ("a role", situation("42710", "CREATE ROLE t", first=True), "A role belongs to the whole"),
    (
        "from before",
        situation("42701", "ALTER TABLE t ADD a int", owned={"ours": True}, first=True),
        "This database was made before migrator.",
    ),
    (
        "a second key",
        situation("42P16", "ALTER TABLE t ADD PRIMARY KEY (a)", owned={}, first=True),
        "This database was made before migrator.",
    ),
    (
        "there before",
        situation("42710", "CREATE POLICY p ON t", owned={"ours": True}),
        "See who made it. When all that the file makes is there: `repair --applied 007_orders "
        "--reason WHY`",
    ),
    (
        "owner",
        situation("42501", "ALTER TABLE t ADD a int", owned={}),
        "public.t belongs to boss. Run `GRANT boss TO runner` as a superuser",
    ),
    (
        "superuser",
        situation("42501", "DROP TABLE t", owned={"superuser": True}),
        "public.t belongs to boss, a superuser. Run `ALTER TABLE public.t OWNER TO runner`",
    ),
    (
        "inherit, 16",
        situation("42501", "DROP TABLE t", owned={"member": True}, facts={"with_inherit": True}),
        "runner has boss, but not its rights. Run `GRANT boss TO runner WITH INHERIT TRUE`",
    ),
    (
        "inherit, 15",
        situation("42501", "DROP TABLE t", owned={"member": True}),
        "runner has boss, but not its rights. Run `ALTER ROLE runner INHERIT`",
    ),
    (
        "privilege",
        situation("42501", "SELECT FROM t", owned={"lacks": ("SELECT",)}),
        "Run `GRANT SELECT ON TABLE public.t TO runner` as its owner",
    ),
    ("any right", situation("42501", "ALTER SYSTEM SET a = 1"), "Grant the role what"),
    ("memory", situation("53200"), "The server has no more memory"),
    ("disk", situation("53100"), "The server's disk is full"),
    (
        "own limit",
        situation("57014", sql=OWN_LIMIT, facts=TIMED_OUT, general_timeout_ms=60_000),
        "Its own line `-- migrator: statement-timeout 1500ms` cut it",
    ),
    (
        "STATEMENT_TIMEOUT",
        situation("57014", facts=TIMED_OUT, general_timeout_ms=60_000),
        "STATEMENT_TIMEOUT=1min cut it: raise that",
    ),
    (
        "role's limit",
        situation("57014", facts={**TIMED_OUT, "role_limit_ms": 120_000}),
        "The file sets statement_timeout itself, or lets the role's own (2min) act by RESET",
    ),
    ("a SET", situation("57014", facts=TIMED_OUT), "The file sets statement_timeout itself: raise"),
    (
        "a SET, no limit of its own",
        situation("57014", sql=NO_LIMIT, facts=TIMED_OUT, general_timeout_ms=60_000),
        "The file sets statement_timeout itself: raise",
    ),
    ("pooler", situation("57014", facts={"pooled": True}), "Another session cancelled the stateme"),
    (
        "a person",
        situation("57014"),
        "Another session cancelled the statement (pg_cancel_backend):",
    ),
]


@pytest.mark.parametrize(
    ("given", "text"), [pytest.param(given, text, id=name) for name, given, text in CASES]
)
def test_each_refusal_has_its_remedy(given: Situation, text: str) -> None:
    assert (remedy_of(given) or "").startswith(text)


def test_each_row_of_the_table_is_shown_above() -> None:
    shown = [row.when for _, given, _ in CASES if (row := row_for(given))]
    assert list(dict.fromkeys(shown)) == [row.when for row in REMEDIES]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(situation("22012"), id="nothing more is known"),
        pytest.param(situation("MG007"), id="the file's own use of our number"),
        pytest.param(
            situation("42P07", "CREATE TABLE t ()", first=True), id="the file makes it twice"
        ),
        pytest.param(situation("42P07", "CREATE TABLE t ()", of=UNDO, owned={}), id="in an undo"),
        pytest.param(
            situation("42P16", "CREATE OR REPLACE VIEW t AS SELECT 1", owned={}, first=True),
            id="another definition, and no key",
        ),
        pytest.param(
            situation("42710", "CREATE USER MAPPING FOR t SERVER s", first=True),
            id="a user mapping is no role",
        ),
        pytest.param(situation("42704", "DROP ROLE t"), id="unknown, and no setting"),
        pytest.param(situation("25001", "REINDEX TABLE p", sql=ALONE), id="alone already"),
    ],
)
def test_else_the_file_is_to_be_fixed(given: Situation) -> None:
    assert remedy_of(given) is None


OWNED: dict[str, Any] = {"ours": True}
FOREIGN: dict[str, Any] = {"lacks": ("SELECT", "INSERT", "UPDATE", "REFERENCES", "TRUNCATE")}


@pytest.mark.parametrize(
    ("statement", "tables", "wanted"),
    [
        ("CREATE INDEX i ON t (a)", {"t": FOREIGN}, "t"),
        ("DROP INDEX t", {"t": FOREIGN}, "t"),
        ("CREATE TRIGGER g BEFORE UPDATE ON t EXECUTE FUNCTION f()", {"t": FOREIGN}, "t"),
        ("CREATE POLICY t ON u", {"t": FOREIGN, "u": FOREIGN}, "u"),
        ("GRANT SELECT ON t TO app", {"t": FOREIGN}, "t"),
        ("CREATE PUBLICATION p FOR TABLE t", {"t": FOREIGN}, "t"),
        (
            "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u",
            {"t": OWNED, "u": FOREIGN},
            "REFERENCES",
        ),
        ("INSERT INTO t SELECT * FROM u", {"t": OWNED, "u": FOREIGN}, "SELECT"),
        ("UPDATE t SET type = 1", {"t": FOREIGN}, "UPDATE"),
        ("TRUNCATE t", {"t": FOREIGN}, "TRUNCATE"),
        ("CREATE VIEW t AS SELECT 1", {"t": OWNED}, None),
    ],
)
def test_the_right_that_is_lacking(
    statement: str, tables: dict[str, dict[str, Any]], wanted: str | None
) -> None:
    words = names(statement)
    found = lacking(words, [thing(words, name, **of) for name, of in tables.items()], (), "shop")
    if wanted is None:
        assert found is None
    elif wanted.isupper():
        assert found
        assert (found.privilege, found.on[:13]) == (wanted, "TABLE public.")
    else:
        assert found
        assert found.thing
        assert (found.thing.name, found.privilege) == (f"public.{wanted}", "")


@pytest.mark.parametrize(
    ("statement", "usage", "create", "wanted"),
    [
        ("CREATE TABLE IF NOT EXISTS orders ()", True, False, ("CREATE", "SCHEMA z")),
        ("CREATE TABLE IF NOT EXISTS orders ()", True, True, None),
        ("CREATE TABLE z.orders ()", False, False, ("USAGE, CREATE", "SCHEMA z")),
        ("SELECT FROM z.orders", False, False, ("USAGE", "SCHEMA z")),
        ("CREATE SCHEMA x", True, True, ("CREATE", "DATABASE shop")),
        ("CREATE EXTENSION x", True, False, None),
        ("", True, False, None),
    ],
)
def test_the_schema_that_is_shut(
    statement: str, usage: bool, create: bool, wanted: tuple[str, str] | None
) -> None:
    words = names(statement)
    spaces = [Space(place, "z", usage, create) for place in range(len(words))]
    found = lacking(words, (), spaces, "shop")
    assert found == (wanted and Lacking(privilege=wanted[0], on=wanted[1]))


@pytest.mark.parametrize(
    ("statement", "kind", "is_named"),
    [
        ("CREATE FUNCTION t() RETURNS int", "ROUTINE", True),
        ("CREATE TYPE t AS ENUM ()", "TYPE", True),
        ("CREATE SCHEMA t", "SCHEMA", True),
        ("CREATE TABLE t ()", "SCHEMA", False),
        ("CREATE TABLE x (a t)", "TYPE", False),
        ("CREATE TABLE t ()", "TABLE", True),
        ("CREATE TRIGGER t BEFORE INSERT ON u", "TABLE", False),
        ("CREATE EVENT TRIGGER t ON ddl_command_end", "EVENT TRIGGER", True),
        ("CREATE COLLATION t FROM u", "COLLATION", True),
        ("CREATE TABLE t ()", "COLLATION", False),
        ("CREATE PUBLICATION p FOR TABLE t", "TABLE", False),
        ("CREATE VIEW v AS SELECT FROM t", "TABLE", False),
        ("CREATE INDEX CONCURRENTLY IF NOT EXISTS t ON u (a)", "TABLE", True),
        ("CREATE INDEX i ON t (a)", "TABLE", False),
        ("CREATE RULE r AS ON INSERT TO t DO NOTHING", "TABLE", True),
        ("CREATE STATISTICS s ON a FROM t", "TABLE", True),
        ("SELECT 1 INTO t", "TABLE", True),
    ],
)
def test_a_word_means_a_thing_of_the_statements_kind(
    statement: str, kind: str, is_named: bool
) -> None:
    words = names(statement)
    assert (named(words, [thing(words, "t", kind=kind)]) is not None) == is_named

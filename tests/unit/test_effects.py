from __future__ import annotations

import pytest

from migrator.sql.effects import Act, Effect, alone_refusals, effect_of, names, read_effect
from migrator.sql.parts import texts
from migrator.sql.statements import StatementKind


def effect(text: str) -> Effect | None:
    """The effect of a text of one statement, classed by the scanner."""
    [(statement, _)] = texts([text])
    return effect_of(text[statement.start : statement.end], statement.kind)


def test_an_empty_text_has_no_statement() -> None:
    assert list(texts([""])) == list(texts([])) == []


LONG = "n" * 70


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "CREATE INDEX CONCURRENTLY i ON t (a)",
            Effect(Act.CREATE_INDEX, ("i",), ("t",), definition="(a)"),
        ),
        (
            'create /* /* */ ( */ UNIQUE index\n-- on\nconcurrently if NOT exists "I ""x" on only\n'
            "S.\"T\" using gin (a) where b = ';'",
            Effect(
                Act.CREATE_INDEX,
                ('I "x',),
                ("s", "T"),
                lenient=True,
                unique=True,
                definition="using gin (a) where b = ';'",
            ),
        ),
        (
            "CREATE INDEX CONCURRENTLY if ON Größe(a)",
            Effect(Act.CREATE_INDEX, ("if",), ("größe",), definition="(a)"),
        ),
        (
            f"CREATE INDEX CONCURRENTLY {LONG} ON t (a)",
            Effect(Act.CREATE_INDEX, (LONG[:63],), ("t",), definition="(a)"),
        ),
        (
            f'CREATE INDEX CONCURRENTLY "{LONG[:62]}é" ON t (a)',
            Effect(Act.CREATE_INDEX, (LONG[:62],), ("t",), definition="(a)"),
        ),
        (
            "CREATE INDEX CONCURRENTLY ON t (a)",
            Effect(Act.CREATE_INDEX, (), ("t",), definition="(a)"),
        ),
        ("DROP INDEX CONCURRENTLY s.i CASCADE", Effect(Act.DROP_INDEX, ("s", "i"))),
        (
            "DROP INDEX CONCURRENTLY IF EXISTS i",
            Effect(Act.DROP_INDEX, ("i",), lenient=True),
        ),
        ("REINDEX TABLE CONCURRENTLY s.t", Effect(Act.REINDEX, ("s", "t"), what="table")),
        (
            "REINDEX (VERBOSE, CONCURRENTLY, TABLESPACE fast) INDEX i",
            Effect(Act.REINDEX, ("i",), what="index"),
        ),
        (
            "REINDEX (CONCURRENTLY true) SCHEMA s",
            Effect(Act.REINDEX, ("s",), what="schema"),
        ),
        ("REINDEX DATABASE CONCURRENTLY", Effect(Act.REINDEX, what="database")),
        ("REINDEX (CONCURRENTLY 0) DATABASE d", Effect(Act.REPEAT)),
        ("REINDEX SYSTEM d", Effect(Act.REPEAT)),
        (
            "ALTER TABLE IF EXISTS ONLY s.p * DETACH PARTITION s.c CONCURRENTLY",
            Effect(Act.DETACH, ("s", "c"), ("s", "p")),
        ),
        ("CREATE DATABASE d OWNER o", Effect(Act.CREATE, ("d",), what="database")),
        (
            "DROP DATABASE IF EXISTS d",
            Effect(Act.DROP, ("d",), what="database", lenient=True),
        ),
        ("CREATE TABLESPACE f LOCATION '/f'", Effect(Act.CREATE, ("f",), what="tablespace")),
        ("VACUUM (FULL) t", Effect(Act.REPEAT)),
        ("CLUSTER", Effect(Act.REPEAT)),
        ("REPACK (CONCURRENTLY) t", Effect(Act.REPEAT)),
        ("WAIT FOR LSN '0/306EE20'", Effect(Act.REPEAT)),
        ("ALTER SYSTEM RESET ALL", Effect(Act.REPEAT)),
        ("CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p", Effect(Act.ASK)),
        ("ALTER SUBSCRIPTION s REFRESH PUBLICATION", Effect(Act.ASK)),
        ("ALTER DATABASE d SET TABLESPACE f", Effect(Act.ASK)),
        ("DISCARD ALL", Effect(Act.ASK)),
    ],
)
def test_what_cannot_run_in_a_transaction_is_known_by_its_object(
    text: str, expected: Effect
) -> None:
    assert effect(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        'CREATE INDEX CONCURRENTLY U&"i" ON t (a)',
        "CREATE INDEX CONCURRENTLY i t (a)",
        "CREATE INDEX CONCURRENTLY i ON",
        "DROP INDEX CONCURRENTLY 'i'",
        "REINDEX (CONCURRENTLY",
        "REINDEX (CONCURRENTLY) 'x'",
        "REINDEX (CONCURRENTLY)",
    ],
)
def test_what_the_manual_does_not_promise_is_not_read(text: str) -> None:
    assert effect_of(text, StatementKind.NON_TRANSACTIONAL) is None


@pytest.mark.parametrize(
    ("text", "act"),
    [
        ("ALTER TYPE mood ADD VALUE 'glad'", Act.ATOMIC),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY v", Act.ATOMIC),
        ("DO $$ BEGIN PERFORM 'COMMIT'; /* COMMIT */ END $$", Act.ATOMIC),
        ("DO $x$ BEGIN LOOP commit; END LOOP; END $x$", Act.ASK),
        ("DO 'BEGIN ROLLBACK; END'", Act.ASK),
        (r"DO E'BEGIN\nCALL batch(); END'", Act.ASK),
        ("DO", Act.ATOMIC),
        ("CALL batch()", Act.ASK),
        ("DROP SUBSCRIPTION s", Act.ASK),
        ("CLUSTER t", Act.REPEAT),
        ("REPACK t", Act.REPEAT),
        ("REINDEX TABLE t", Act.REPEAT),
        ("SET search_path = s", Act.SESSION),
        ("RESET ROLE", Act.SESSION),
        ("SELECT set_config('a.b', 'c', false)", Act.SESSION),
        ("SELECT pg_catalog.set_config('search_path', '', false)", Act.SESSION),
        ("SELECT 1", Act.ATOMIC),
        ('"SET"', Act.ATOMIC),
        ("/* never closed", Act.ATOMIC),
    ],
)
def test_what_can_run_in_a_transaction_does_so_unless_it_ends_one_itself(
    text: str, act: Act
) -> None:
    assert effect_of(text, StatementKind.PLAIN) == Effect(act)


def test_only_what_keeps_nobody_waiting_is_patient() -> None:
    patient = {act for act in Act if Effect(act).patient}
    assert patient == {Act.CREATE_INDEX, Act.DROP_INDEX, Act.REINDEX}


def test_the_journal_keeps_an_effect_without_the_statement_s_text() -> None:
    built = effect("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON s.t (a) WHERE b = 'secret'")
    assert built is not None
    kept = built.as_json()
    assert kept == {"act": "create index", "name": ["i"], "on": ["s", "t"], "lenient": True}
    assert read_effect(kept) == Effect(Act.CREATE_INDEX, ("i",), ("s", "t"), lenient=True)
    assert read_effect({"act": "repeat"}) == Effect(Act.REPEAT)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("COMMIT", "COMMIT would end or begin a transaction"),
        ("COPY t FROM STDIN", "COPY ... FROM STDIN cannot run in a no-transaction file"),
        ("SET NAMES 'latin1'", "SET NAMES would change how the text after it is read"),
        ("DISCARD ALL", "DISCARD ALL would release the lock"),
        ("CREATE INDEX CONCURRENTLY ON t (a)", "CREATE INDEX CONCURRENTLY names no index"),
        ('DROP INDEX CONCURRENTLY U&"i"', "DROP INDEX CONCURRENTLY cannot be read"),
    ],
)
def test_what_cannot_be_settled_is_refused_with_its_line(text: str, problem: str) -> None:
    sql = f"VACUUM;\nSELECT 1;\n{text}"
    [found] = alone_refusals(texts([sql]))
    assert found.line == 3
    assert found.problem.startswith(problem)
    assert found.remedy.endswith(".")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ('ALTER TABLE A . "B c"ADD d', [("alter",), ("table",), ("a", "B c"), ("add",), ("d",)]),
        ("DROP TABLE db.s.t, u.*", [("drop",), ("table",), ("db", "s", "t"), ("u",)]),
        ("SELECT .5, 'a.b', 1.5 x", [("select",), ("x",)]),
        (".a", [("a",)]),
    ],
)
def test_the_words_and_names_of_a_statement(text: str, found: list[tuple[str, ...]]) -> None:
    assert names(text) == found

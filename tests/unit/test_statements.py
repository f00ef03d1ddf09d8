from __future__ import annotations

import pytest

from migrator.sql.scanner import scan
from migrator.sql.statements import (
    Problem,
    Statement,
    StatementKind,
    position,
    refusals,
)


def statements_of(text: str) -> list[Statement]:
    return [found for found in scan((text,)) if isinstance(found, Statement)]


CONTROL, ALONE = StatementKind.TRANSACTION_CONTROL, StatementKind.NON_TRANSACTIONAL
COPY, SETTING = StatementKind.REFUSED_COPY, StatementKind.REFUSED_SETTING
MODE, LATER = StatementKind.TRANSACTION_MODE, StatementKind.NEXT_SESSION
PATH = "ALTER {} ... SET search_path"
COPY_IN, PLAIN = StatementKind.COPY_IN, StatementKind.PLAIN


@pytest.mark.parametrize(  # tests/database/test_classes.py asks a server about many more
    ("text", "kind", "words"),
    [
        ("begin", CONTROL, "BEGIN"),
        ("START /* x */ TRANSACTION", CONTROL, "START TRANSACTION"),
        ("BEGIN WORK READ WRITE, ISOLATION LEVEL READ COMMITTED", CONTROL, "BEGIN"),
        ("END TRANSACTION AND NO CHAIN", CONTROL, "END"),
        ("COMMIT AND CHAIN", CONTROL, "COMMIT ..."),
        ("COMMIT 'x'", CONTROL, "COMMIT ..."),
        ("BEGIN, x", CONTROL, "BEGIN ..."),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE", MODE, "BEGIN ISOLATION LEVEL SERIALIZABLE"),
        ("START TRANSACTION READ ONLY", MODE, "START TRANSACTION READ ONLY"),
        ("SET LOCAL TRANSACTION READ ONLY", MODE, "SET LOCAL TRANSACTION READ ONLY"),
        ("SET TRANSACTION NOT DEFERRABLE", MODE, "SET TRANSACTION NOT DEFERRABLE"),
        ("SET TRANSACTION SNAPSHOT 'x'", MODE, "SET TRANSACTION SNAPSHOT"),
        ("SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE", PLAIN, "SET"),
        ("SET transaction_isolation TO 'repeatable read'", MODE, "SET TRANSACTION_ISOLATION"),
        ("SET transaction_isolation = 'read committed'", PLAIN, "SET"),
        ("SET LOCAL transaction_read_only = on", MODE, "SET TRANSACTION_READ_ONLY"),
        ("SET transaction_read_only = false", PLAIN, "SET"),
        ("SET transaction_deferrable = off", MODE, "SET TRANSACTION_DEFERRABLE"),
        ("SET transaction_timeout = 0", PLAIN, "SET"),
        ("ROLLBACK PREPARED 'x'", CONTROL, "ROLLBACK"),
        ("ROLLBACK TO x", PLAIN, "ROLLBACK"),
        ("PREPARE TRANSACTION 'x'", CONTROL, "PREPARE TRANSACTION"),
        ("PREPARE TRANSACTION $$x$$", CONTROL, "PREPARE TRANSACTION"),
        ("CREATE UNIQUE INDEX -- x\nCONCURRENTLY i", ALONE, "CREATE UNIQUE INDEX CONCURRENTLY"),
        ("REINDEX (VERBOSE, CONCURRENTLY) TABLE t", ALONE, "REINDEX CONCURRENTLY"),
        ("REINDEX (VERBOSE) SCHEMA s", ALONE, "REINDEX SCHEMA"),
        ("CLUSTER (VERBOSE)", ALONE, "CLUSTER of all tables"),
        ("REPACK (CONCURRENTLY) t", ALONE, "REPACK (CONCURRENTLY)"),
        ("repack (verbose, concurrently on) t USING INDEX i", ALONE, "REPACK (CONCURRENTLY)"),
        ("REPACK (CONCURRENTLY false, ANALYZE) t", StatementKind.PLAIN, "REPACK"),
        ("REPACK t USING INDEX", StatementKind.PLAIN, "REPACK"),
        ("REPACK (VERBOSE)", ALONE, "REPACK of all tables"),
        ("REPACK USING INDEX", ALONE, "REPACK of all tables"),
        ("WAIT FOR LSN '0/306EE20' WITH (TIMEOUT '1s')", ALONE, "WAIT FOR"),
        ("WAITING", StatementKind.PLAIN, "WAITING"),
        ("ALTER DATABASE d RENAME TO tablespace", PLAIN, "ALTER"),
        (
            "ALTER TABLE s.t DETACH PARTITION p CONCURRENTLY",
            ALONE,
            "ALTER TABLE ... DETACH PARTITION ... CONCURRENTLY",
        ),
        ("ALTER SUBSCRIPTION s ADD PUBLICATION p", ALONE, "ALTER SUBSCRIPTION ... ADD PUBLICATION"),
        ("COPY s.t (a, b) FROM STDIN WITH (FORMAT csv)", COPY_IN, "COPY ... FROM STDIN"),
        ("COPY t FROM STDOUT", COPY_IN, "COPY ... FROM STDIN"),
        ("COPY t FROM STDIN (FORMAT csv, FORCE_NULL (binary))", COPY_IN, "COPY ... FROM STDIN"),
        ("COPY t FROM STDIN WITH (HEADER, FORMAT 'binary')", COPY, "COPY BINARY"),
        ("COPY t FROM STDIN WITH BINARY", COPY, "COPY BINARY"),
        ("COPY BINARY t FROM STDIN", COPY, "COPY BINARY"),
        ("COPY t TO STDOUT (FORMAT csv)", COPY, "COPY ... TO STDOUT"),
        ("COPY (SELECT (a) FROM stdin) TO STDOUT", COPY, "COPY ... TO STDOUT"),
        ("COPY (SELECT a FROM stdin) TO 'file'", PLAIN, "COPY"),
        ("COPY t FROM PROGRAM 'x FROM STDIN'", PLAIN, "COPY"),
        ("SET NAMES 'latin1'", SETTING, "SET NAMES"),
        ("SET LOCAL client_encoding TO SQL_ASCII", SETTING, "SET client_encoding"),
        ("SET \"client_encoding\" = 'UTF-8'", PLAIN, "SET"),
        ('SET client_encoding = "UTF8"', PLAIN, "SET"),
        ('SET client_encoding = "LATIN1"', SETTING, "SET client_encoding"),
        ('SET standard_conforming_strings = "on"', PLAIN, "SET"),
        ("ALTER DATABASE d SET search_path = tablespace, a", LATER, PATH.format("DATABASE")),
        ('ALTER ROLE ALL IN DATABASE "d" SET "search_path" TO x', LATER, PATH.format("ROLE")),
        ("ALTER USER CURRENT_USER RESET search_path", LATER, "ALTER USER ... RESET search_path"),
        ("ALTER ROLE r SET work_mem = 1", PLAIN, "ALTER"),
        ("ALTER FUNCTION f() SET search_path = x", PLAIN, "ALTER"),
        ("SET standard_conforming_strings = off", SETTING, "SET standard_conforming_strings"),
        ("SET SESSION standard_conforming_strings TO DEFAULT", PLAIN, "SET"),
        ("SET search_path = client_encoding, public", PLAIN, "SET"),
        ("with x as (select 1) select 2", PLAIN, "WITH"),
        ("(select 1)", PLAIN, ""),
        ("'x' COMMIT", PLAIN, ""),
    ],
)
def test_a_statement_is_classed_by_its_first_tokens(
    text: str, kind: StatementKind, words: str
) -> None:
    [statement] = statements_of(text)
    assert (statement.kind, statement.words) == (kind, words)


def test_a_long_list_hides_no_word_behind_it() -> None:
    columns = ", ".join(f"c{n}" for n in range(500))
    kinds = {s.kind for s in statements_of(f"COPY t ({columns}) FROM STDIN")}
    assert kinds == {COPY_IN}


TO_ADD = "Move it to a file of its own that begins with the line `-- migrator: no-transaction`."


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        (
            "COMMIT",
            "COMMIT would end or begin a transaction",
            "Remove it: the whole file already runs in one transaction. What must be committed "
            "before the rest of it, such as a new value of an enum, goes into a file of its own.",
        ),
        (
            "REINDEX TABLE CONCURRENTLY t",
            "REINDEX CONCURRENTLY cannot run inside a transaction",
            TO_ADD,
        ),
        ("VACUUM", "VACUUM cannot run inside a transaction", TO_ADD),
        (
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE asks for another transaction than the "
            "job's, which is READ COMMITTED and writes: its first statement must see what other "
            "runners have committed",
            "Leave that out; LOCK TABLE keeps what the file reads from changing meanwhile.",
        ),
        (
            "COPY t FROM STDIN BINARY",
            "COPY BINARY reads binary rows, which a text file cannot hold",
            "Write the rows as text or CSV.",
        ),
        (
            "COPY t TO STDOUT",
            "COPY ... TO STDOUT has no client that would receive its rows",
            "Remove it.",
        ),
        (
            "SET NAMES 'latin1'",
            "SET NAMES would change how the text after it is read",
            "Remove it: files are UTF-8 and their strings are standard-conforming.",
        ),
    ],
)
def test_what_a_migration_cannot_hold_is_refused_with_a_remedy(
    text: str, problem: str, remedy: str
) -> None:
    [found] = refusals(statements_of(f"SELECT 1;\n{text}"))
    assert (found.line, found.problem, found.remedy) == (2, problem, remedy)


@pytest.mark.parametrize("sql", ["CREATE DATABASE d", "\\connect d"])
def test_a_dump_that_makes_its_database_is_made_again(sql: str) -> None:
    [*found] = (one for one in scan((sql,)) if isinstance(one, Problem))
    found = found or [*refusals(statements_of(sql))]
    assert found[0].remedy.startswith("A dump: make it again, without --create. Else")


def test_a_position_is_a_line_and_a_column() -> None:
    text = "é\nab\n"
    assert [position(text, offset) for offset in range(6)] == [
        (1, 1),
        (1, 2),
        (2, 1),
        (2, 2),
        (2, 3),
        (3, 1),
    ]

"""One migration -> the messages that guard, run and record it; and where an error lies in it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migrator.history.fence import Table, Write
from migrator.history.flight import Leg, log_alone, make_flight
from migrator.history.guard import (
    HELD,
    head,
    holder_query,
    lock_key,
    looking,
    opening,
    still_locked,
)
from migrator.history.place import Limits, Place
from migrator.history.rows import log_row
from migrator.postgres.quoting import begins_clean, first, identifier, literal
from migrator.sql.parts import GROUP_CHARS
from migrator.sql.script import Script, understand
from tests.builders import PLACE, RUN_ID, a_big_script, a_migration, a_script, fly

LIMITS = Limits()
HEAD = head([])


def text_of(script: Script, place: Place = PLACE, limits: Limits = LIMITS) -> str:
    return "".join(message.text for message in fly(script, place, limits))


#: As it is sent; to be written anew, and read, when the flight changes on purpose.
WHOLE = (Path(__file__).parent.parent / "fixtures" / "flight.sql").read_text()


def test_a_flight_is_this_text() -> None:
    sql = "CREATE TABLE app.orders (id int);\nINSERT INTO app.orders VALUES (7);\n"
    script = a_script(sql, rollback_sql="DROP TABLE app.orders;\n")
    seen = head([("006_before", "c0ffee")])
    (message,) = make_flight([Leg(script, seen)], PLACE, Limits(search_path=("app", 'odd"name')))
    assert message.text == WHOLE
    assert message.body == sql


def test_a_first_message_is_known_by_how_it_begins() -> None:
    """What a file raises in any other message is never taken for our own question."""
    messages = fly(a_big_script())
    assert [begins_clean(one.sent) for one in messages] == [True, *[False] * (len(messages) - 1)]
    assert begins_clean(first("/* migrator */", "SELECT 1"))
    assert not begins_clean("SELECT 1")


def test_what_goes_with_the_row_is_written_before_the_commit() -> None:
    also = Write("SELECT 'also'", None)
    (message,) = make_flight([Leg(a_script("SELECT 1"), HEAD, also=[also])], PLACE, LIMITS)
    closing = message.text[message.body_ends :]
    assert closing.index("'applied'") < closing.index("SELECT 'also';") < closing.index("COMMIT;")


@pytest.mark.parametrize(
    ("schema", "key"),
    [
        pytest.param("public", -9101595133173942782, id="public"),
        pytest.param("migrator", -862285644992182834, id="another schema"),
    ],
)
def test_the_locks_key_is_frozen(schema: str, key: int) -> None:
    """Two releases in one cluster must exclude each other."""
    assert lock_key(schema) == key
    high, low = divmod(key % 2**64, 2**32)
    assert f"held.classid = {high}::oid AND held.objid = {low}::oid" in holder_query(schema)


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        pytest.param([], b"", id="an empty history"),
        pytest.param([("001_a", "aa"), ("002_b", None)], b"001_a\taa\n002_b\t\n", id="in order"),
        pytest.param([("b", "1"), ("B", "2"), ("a", "3")], b"B\t2\na\t3\nb\t1\n", id="of bytes"),
        pytest.param([("10", ""), ("9", "")], b"10\t\n9\t\n", id="not of numbers"),
        pytest.param([("\ufffd", "1"), ("\U0001f600", "2")], b"", id="of UTF-8, not of UTF-16"),
    ],
)
def test_the_head_is_a_hash_over_the_history(
    rows: list[tuple[str, str | None]], lines: bytes
) -> None:
    expected = lines or b"".join(f"{v}\t{c}\n".encode() for v, c in rows)
    assert head(rows) == hashlib.sha256(expected).hexdigest()
    assert head(reversed(rows)) == head(rows)


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        pytest.param("plain", "'plain'", id="plain"),
        pytest.param("it's", "'it''s'", id="a quote"),
        pytest.param("a\\b", "E'a\\\\b'", id="a backslash"),
        pytest.param("\\'", "E'\\\\'''", id="both"),
        pytest.param("100 %s {x}", "'100 %s {x}'", id="no placeholders"),
        pytest.param("", "''", id="empty"),
        pytest.param(None, "NULL", id="NULL"),
    ],
)
def test_a_literal_is_quoted_whatever_the_settings_say(text: str | None, quoted: str) -> None:
    assert literal(text) == quoted


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        pytest.param("public", '"public"', id="plain"),
        pytest.param('a"b', '"a""b"', id="a quote"),
        pytest.param("Ops", '"Ops"', id="capitals"),
    ],
)
def test_an_identifier_is_quoted(name: str, quoted: str) -> None:
    assert identifier(name) == quoted


def test_the_history_lies_in_its_schema() -> None:
    place = Place("Ops", "migrator/pod-1", RUN_ID, 150018)
    text = text_of(a_script("SELECT 1"), place)
    assert '"Ops".schema_migrations\n' in text
    assert '"Ops".schema_migrations_log' in text
    assert '"public"' not in text


@pytest.mark.parametrize(
    ("limits", "place", "line"),
    [
        pytest.param(Limits(), PLACE, "SET LOCAL lock_timeout = 2000;", id="lock timeout"),
        pytest.param(Limits(lock_timeout=5), PLACE, "SET LOCAL lock_timeout = 5;", id="its own"),
        pytest.param(
            Limits(statement_timeout=9), PLACE, "SET LOCAL statement_timeout = 9;", id="statement"
        ),
        pytest.param(Limits(), PLACE, "SET LOCAL search_path TO DEFAULT;", id="the role's path"),
        pytest.param(
            Limits(search_path=("a", "b")), PLACE, 'SET LOCAL search_path TO "a", "b";', id="path"
        ),
        pytest.param(
            Limits(run_as='a"b'),
            PLACE,
            'SET LOCAL search_path TO DEFAULT;\nSET LOCAL ROLE "a""b";',
            id="the role, last",
        ),
        pytest.param(
            Limits(),
            Place("public", "it's me", RUN_ID, 150018),
            "SET LOCAL application_name = 'it''s me';",
            id="the runner",
        ),
        pytest.param(
            Limits(),
            Place("public", "me", RUN_ID, 170000),
            "SET LOCAL transaction_timeout = 0;",
            id="PostgreSQL 17",
        ),
    ],
)
def test_a_setting_holds_for_the_transaction_alone(limits: Limits, place: Place, line: str) -> None:
    text = text_of(a_script("SELECT 1"), place, limits)
    assert f"\n{line}\n" in text
    for known in ("SET LOCAL ", "SET CONSTRAINTS ", "SET client_encoding = 'UTF8'"):
        text = text.replace(f"\n{known}", "")
    assert "\nSET " not in text


def test_a_server_before_17_knows_no_transaction_timeout() -> None:
    assert "transaction_timeout =" not in text_of(a_script("SELECT 1")).replace(
        "idle_in_transaction_session_timeout =", ""
    )


def test_without_a_head_the_guard_looks_at_the_lock_alone() -> None:
    without, within = ("".join(opening(PLACE, LIMITS, "look", seen)) for seen in (None, HEAD))
    assert HELD in without
    assert "the history has moved" not in without
    assert "the history has moved" in within


def test_a_files_text_is_sent_as_it_is() -> None:
    sql = "-- a comment\nSELECT '100 %s', '{x}', E'\\n';  /* and */\n-- the end, unended"
    (message,) = fly(a_script(sql))
    assert message.body == sql
    assert message.text[message.body_ends :].startswith("\n;\nSET CONSTRAINTS"), "out of a comment"


@pytest.mark.parametrize(
    ("detail", "written"),
    [
        pytest.param(
            {"line": None, "why": "it's"}, '\'{"line": null, "why": "it\'\'s"}\'', id="values"
        ),
        pytest.param("jsonb_build_object()", "jsonb_build_object()", id="an expression"),
    ],
)
def test_a_line_of_the_log_table_is_one_insert(detail: dict[str, Any] | str, written: str) -> None:
    text = (
        'INSERT INTO "public".schema_migrations_log (run_id, version, event, runner, detail)\n'
        f"VALUES ('{RUN_ID}', NULL, 'failed', 'migrator/pod-1', {written})"
    )
    assert log_row(PLACE, None, "failed", detail) == Write(text, log=1)


#: By which an observer finds the backend of any message of a run.
MARK = f"/* migrator 007_orders, run {RUN_ID} */"


def test_a_long_body_goes_in_groups_of_whole_statements() -> None:
    script = a_big_script()
    first, *groups, last = fly(script)
    assert [group.text.count("SELECT") for group in groups] == [2, 1, 1, 1]
    assert [group.statements for group in groups] == [2, 1, 1, 1]
    assert [(group.line, group.column) for group in groups] == [(2, 1), (4, 1), (5, 1), (6, 1)]
    assert all(len(group.body) <= GROUP_CHARS for group in groups[:2])
    sql = "".join(script.migration.pieces)
    assert all(
        group.text.startswith(f"{MARK} {group.body}") and group.body in sql for group in groups
    )
    assert (first.body, last.body) == ("", "")
    (whole,) = fly(a_script("SELECT 1"))
    assert first.text == whole.text[: whole.body_starts]
    assert last.text.startswith(f"{MARK} DO LANGUAGE plpgsql")
    assert last.text.index("'MG009'") < last.text.index("SET CONSTRAINTS ALL IMMEDIATE;")


def test_the_messages_of_a_long_body_are_made_one_by_one() -> None:
    taken: list[str] = []

    class Pieces:
        def __iter__(self) -> Iterator[str]:
            for number in range(30):
                taken.append(text := f"SELECT {number}, '{'x' * 100_000}';\n")
                yield text

    script, _ = understand(a_migration(1, pieces=Pieces()))
    assert script
    taken.clear()
    messages = make_flight([Leg(script, HEAD)], PLACE, LIMITS)
    next(messages)
    assert not taken
    next(messages)
    assert len(taken) <= 10


def test_the_rows_of_a_copy_follow_its_message() -> None:
    sql = "CREATE TABLE t (a int); COPY t FROM stdin;\n1\n2\n\\.\nSELECT 1;\n"
    flight = make_flight([Leg(a_script(sql), HEAD)], PLACE, LIMITS)
    told = [
        (message.body, message.line, message.column, message.statements, rows)
        for message in flight
        for rows in ["".join(message.rows) if message.rows else None]
    ]
    assert told[1:-1] == [
        ("CREATE TABLE t (a int)", 1, 1, 1, None),
        ("COPY t FROM stdin", 1, 25, 1, "1\n2\n"),
        ("SELECT 1", 5, 1, 1, None),
    ]


def test_the_lines_that_pg_dump_writes_for_psql_are_sent_as_blanks() -> None:
    (message,) = fly(a_script("\\restrict aB1\nSELECT 1;\n  \\unrestrict aB1  \nSELECT 2;"))
    assert message.body == "             \nSELECT 1;\n                   \nSELECT 2;"


def test_a_long_comment_before_a_statement_is_not_sent() -> None:
    sql = "--" + "x" * GROUP_CHARS + "\nSELECT 1;"
    first, body, last = fly(a_script(sql))
    assert ("BEGIN" in first.text, "COMMIT" in last.text) == (True, True)
    assert ("SELECT 1" in body.text, "xxx" in body.text) == (True, False)


def test_the_message_with_the_commit_says_so() -> None:
    assert [message.commits for message in fly(a_script("SELECT 1"))] == [True]
    assert [message.commits for message in fly(a_big_script())] == [False] * 5 + [True]


def test_our_statements_before_the_file_are_counted_right() -> None:
    (message,) = fly(a_script("SELECT 1"))
    before = message.text[: message.body_starts]
    for block in re.findall(r"DO LANGUAGE plpgsql (\$\w+\$)(.*?)\1", before, re.DOTALL):
        before = before.replace(block[1], "")
    assert message.results_before == before.count(";\n")


def test_a_repeatable_replaces_its_row_and_adds_to_the_log() -> None:
    (message,) = fly(a_script("SELECT 1;", "R__totals"))
    checksum = hashlib.sha256(b"SELECT 1;").hexdigest()
    update, insert, line = (
        message.text.index('UPDATE "public".schema_migrations\n'),
        message.text.index('INSERT INTO "public".schema_migrations ('),
        message.text.index('INSERT INTO "public".schema_migrations_log'),
    )
    assert update < insert < line
    row = (
        f"VALUES ('R__totals', migrator_began, migrator_ms, '{checksum}', 'repeatable', '{RUN_ID}')"
    )
    assert row in message.text[insert:line]


@pytest.mark.parametrize("name", ["m$migrator$x", "$migrator$", "a'b", 'a"b', "$$"])
def test_no_name_ends_a_block_early(name: str) -> None:
    """A dollar quote within the text of a block would hand the rest of it to the server."""
    (message,) = fly(a_script("SELECT 1"), Place(name, "me", RUN_ID, 150018))
    blocks = re.findall(r"DO LANGUAGE plpgsql (\$\w+\$)(.*?)\1;\n", message.text, re.DOTALL)
    assert len(blocks) == message.text.count("DO LANGUAGE plpgsql")
    assert all(text.endswith("END ") for _, text in blocks)


def test_a_refusal_lies_in_the_file_before_it_or_in_the_closing_half() -> None:
    (message,) = fly(a_script("SELECT 1; SELECT 2"))
    results = [None, *(message.results_before + answered for answered in (-1, 0, 2, 3))]
    assert [message.blames_file(one) for one in results] == [False, False, True, True, False]
    assert [message.is_closed(one) for one in results] == [False, False, False, False, True]


def test_an_opening_asks_about_the_tables_that_will_be_written() -> None:
    other = Table("drizzle", "__drizzle_migrations")
    ours, theirs, none = (
        ";\n".join(opening(PLACE, LIMITS, "x", tables=tables)) for tables in (None, [other], [])
    )
    assert (PLACE.history in ours, other.quoted in ours) == (True, False)
    assert (PLACE.history in theirs, other.quoted in theirs) == (False, True)
    assert "LOCK TABLE" not in none


def test_who_looks_takes_the_lock_and_asks_before_the_query() -> None:
    text = looking(PLACE, "looks", "SELECT 'seen'")
    assert text.startswith(f"/* migrator looks, run {RUN_ID} */ ")
    places = [text.index(part) for part in ("pg_try_advisory", "LOCK TABLE", "SELECT 'seen'")]
    assert places == sorted(places)


def test_a_line_of_the_log_may_be_all_that_is_written() -> None:
    text = log_alone(PLACE, log_row(PLACE, None, "failed", {}))
    assert begins_clean(text)
    assert text.index("LOCK TABLE") < text.index("INSERT INTO")


def test_a_lock_that_is_gone_ends_what_relies_on_it() -> None:
    text = still_locked(PLACE, "the lock is gone")
    assert text.index("pg_lock_status") < text.index("'the lock is gone'")

from __future__ import annotations

import json
from typing import Any

import pytest

from migrator.history.fence import Write
from migrator.history.guard import lock_key
from migrator.history.journal import (
    atomic,
    conclude,
    drop_index,
    drop_lock,
    fail,
    finalize,
    finish,
    intend,
    lines_query,
    patience,
    read_progress,
    sha256,
    statement_marker,
    take_lock,
    take_role,
)
from migrator.history.place import Limits
from migrator.history.rows import accept, answer, applied, forget, rename_row
from migrator.plan.progress import Answer, How, Intent, Line, Progress, Way, fold, read_lines
from migrator.sql.effects import Act, Effect
from tests.builders import PLACE, RUN_ID, a_migration, a_script

SEEN = "5ee" * 21 + "5"  #: the head of the history
INTENT = Intent(2, RUN_ID, sha256("VACUUM"), "VACUUM", 4, {"act": "repeat"}, {})


def line(event: str, **detail: Any) -> Line:
    return Line("001_a", event, RUN_ID, detail)


def begun(number: int) -> Line:
    return line(
        "intent", statement=number, sha256=f"{number}", what="VACUUM", line=4, effect={}, before={}
    )


def done(number: int, **detail: Any) -> Line:
    return line("outcome", statement=number, sha256=f"{number}", **detail)


def told(what: Answer) -> Line:
    return line("repaired", answer=what.value)


@pytest.mark.parametrize(
    ("lines", "standing", "interrupted"),
    [
        pytest.param([begun(1)], {}, 1, id="interrupted"),
        pytest.param([begun(1), done(1)], {1}, None, id="between two statements"),
        pytest.param([done(1), begun(2)], {1}, 2, id="interrupted in the second"),
        pytest.param([done(1), begun(2), begun(2)], {1}, 2, id="begun again"),
        pytest.param(
            [done(1), begun(2), line("failed", statement=2, undone=True)], {1}, None, id="refused"
        ),
        pytest.param(
            [done(1), begun(2), line("failed", statement=2, undone=False)], {1}, 2, id="cancelled"
        ),
        pytest.param(
            [begun(2), line("failed", statement=1, undone=True)], {}, 2, id="another one refused"
        ),
        pytest.param(
            [done(1), begun(2), line("failed", sqlstate="42601")], {1}, 2, id="a flight's failure"
        ),
        pytest.param([done(1), begun(2), told(Answer.DONE)], {1, 2}, None, id="told: done"),
        pytest.param([done(1), begun(2), told(Answer.RETRY)], {1}, None, id="told: retry"),
        pytest.param([done(1), told(Answer.DONE)], {1}, None, id="told too late"),
    ],
)
def test_the_lines_of_a_version_tell_how_far_it_has_come(
    lines: list[Line], standing: set[int], interrupted: int | None
) -> None:
    progress = fold(lines)["001_a"]
    assert set(progress.done) == set(standing)
    assert (progress.interrupted.number if progress.interrupted else None) == interrupted


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [line("failed", sqlstate="42601")],
        [begun(1), line("failed", statement=1, undone=True)],
        [begun(1), done(1), line("applied")],
        [begun(1), told(Answer.NOT_APPLIED)],
        [begun(1), told(Answer.APPLIED)],
    ],
)
def test_what_is_finished_or_has_left_nothing_is_not_begun(lines: list[Line]) -> None:
    assert fold(lines) == {}


def back(made: Line) -> Line:
    return Line(made.version, made.event, made.run_id, {**made.detail, "way": "back"})


REFUSED = line("rollback_failed", statement=2, undone=True)


@pytest.mark.parametrize(
    ("lines", "standing", "interrupted"),
    [
        pytest.param([back(begun(1))], {}, 1, id="interrupted"),
        pytest.param([begun(2), back(begun(1))], {}, 1, id="of the migration nothing is left"),
        pytest.param([done(1), line("applied"), back(done(1))], {1}, None, id="applied before"),
        pytest.param([back(done(1)), back(begun(2)), REFUSED], {1}, None, id="refused"),
        pytest.param(
            [back(done(1)), back(begun(2)), line("rollback_failed")], {1}, 2, id="cancelled"
        ),
        pytest.param([back(begun(3)), REFUSED], {}, 3, id="another one refused"),
        pytest.param([back(begun(1)), told(Answer.DONE)], {1}, None, id="told: done"),
        pytest.param(
            [back(done(1)), back(begun(2)), told(Answer.RETRY)], {1}, None, id="told: retry"
        ),
    ],
)
def test_the_lines_of_an_undo_tell_how_far_that_has_come(
    lines: list[Line], standing: set[int], interrupted: int | None
) -> None:
    progress = fold(lines)["001_a"]
    assert (set(progress.done), progress.way) == (set(standing), Way.BACK)
    assert (progress.interrupted.number if progress.interrupted else None) == interrupted


@pytest.mark.parametrize(
    "last",
    [line("rolled_back"), line("applied"), told(Answer.APPLIED), told(Answer.NOT_APPLIED)],
)
def test_after_an_undo_a_migration_begins_anew(last: Line) -> None:
    undo = [back(begun(1)), back(done(1)), back(begun(2)), last]
    assert fold(undo) == {}
    assert fold([*undo, done(1)])["001_a"] == Progress({1: "1"})


def test_a_migration_that_began_after_an_undo_owes_it_nothing() -> None:
    assert fold([back(done(1)), back(begun(2)), done(3)])["001_a"] == Progress({3: "3"})


def test_the_lines_of_an_undo_say_so() -> None:
    texts = [
        intend(PLACE, "001_a", INTENT, Way.BACK),
        conclude(PLACE, "001_a", 2, "0" * 64, How.RAN, SEEN, Way.BACK),
        atomic(PLACE, "001_a", 1, sha256("SELECT 1"), SEEN, Way.BACK)[1],
    ]
    assert all('"way": "back"' in text for text in texts)
    assert "'rollback_failed'" in fail(PLACE, "001_a", 2, {}, Way.BACK)


def test_the_row_goes_under_the_lock_with_what_else_goes() -> None:
    text = finish(PLACE, [Write("DELETE it"), Write("SELECT 'also'", None)], SEEN)
    assert text.startswith(OURS)
    assert text.index("MG003") < text.index("MG001") < text.index("DELETE it")
    assert text.index("DELETE it") < text.index("SELECT 'also'")


def test_the_times_of_the_statements_are_added_up() -> None:
    lines = [done(1, execution_time_ms=20), done(2, execution_time_ms=None), done(3)]
    assert fold(lines)["001_a"].spent_ms == 20


def test_versions_are_kept_apart_and_rows_become_lines() -> None:
    rows = [["001_a", "outcome", RUN_ID, {"statement": 1, "sha256": "1"}]]
    other = Line("002_b", "outcome", RUN_ID, {"statement": 1, "sha256": "1"})
    assert list(fold([*read_lines(rows), other])) == ["001_a", "002_b"]


def test_the_marker_stands_before_the_statement() -> None:
    assert statement_marker(RUN_ID, "001_a", 2) == f"/* migrator:{RUN_ID}:001_a:2 */ "


OURS = (
    "SET LOCAL SESSION AUTHORIZATION DEFAULT;\n"
    "SET LOCAL role TO DEFAULT;\n"
    "SET client_encoding = 'UTF8';\n"
    "SET LOCAL search_path = pg_catalog, pg_temp;\n"
)


def test_the_lock_is_the_flights_lock_for_a_session() -> None:
    text = take_lock(PLACE, Limits())
    assert OURS in text
    assert f"pg_try_advisory_lock({lock_key('public')})" in text
    assert "ERRCODE = 'MG002'" in text
    assert text.endswith("SELECT pg_backend_pid()")
    assert "held.pid = 42" in drop_lock(PLACE, 42)


def test_the_session_gets_limits_that_last_before_it_gets_the_lock() -> None:
    before, ours, _ = take_lock(PLACE, Limits(500, 0, ("s", 'T"'))).partition(f";\n{OURS}")
    assert ours
    lines = before.split(";\n")
    assert "SET tcp_user_timeout = 20000" in lines
    assert "SET lock_timeout = 500" in lines
    assert "SET statement_timeout = 0" in lines
    assert "SET idle_session_timeout = 0" in lines
    assert lines[-1] == 'SET search_path = "s", "T"""'
    assert "search_path" not in take_lock(PLACE, Limits()).partition(f";\n{OURS}")[0]


def test_the_head_is_checked_under_the_lock_before_the_lines_are_read() -> None:
    text = read_progress(PLACE, "001_a", "0" * 64)
    assert text.index("MG003") < text.index("MG005") < text.rindex("MG001")
    assert text.rindex("MG001") < text.rindex("l.version = '001_a'")
    assert "<> '" + "0" * 64 + "'" in text
    assert "l.version = '001_a'" in text


def test_the_lines_are_read_in_their_order() -> None:
    text = lines_query('"public".schema_migrations_log', "true")
    assert "ORDER BY l.id" in text
    events = (
        "'intent', 'outcome', 'failed', 'repaired', 'applied', 'rolled_back', 'rollback_failed'"
    )
    assert events in text


def test_an_intent_says_what_is_about_to_be_done_and_what_was_there() -> None:
    text = intend(PLACE, "001_a", INTENT)
    assert text.startswith(OURS)
    assert text.index("MG003") < text.index("'intent'")
    kept = {"statement": 2, "what": "VACUUM", "line": 4, "sha256": INTENT.sha256}
    assert json.dumps({**kept, "effect": {"act": "repeat"}, "before": {}}) in text


@pytest.mark.parametrize(("how", "timed"), [(How.RAN, True), (How.SETTLED, False)])
def test_an_outcome_is_timed_from_its_intent_if_it_ran_here(how: How, timed: bool) -> None:
    text = conclude(PLACE, "001_a", 2, "0" * 64, how, SEEN)
    assert ("FROM clock_timestamp() - max(l.at)" in text) is timed
    assert f'"how": "{how.value}"' in text
    assert text.endswith("SELECT nullif(current_setting('migrator.ms', true), '')::bigint")
    assert SEEN in text
    assert ("rows of the log were deleted" in text) is timed


def test_a_statement_that_can_commits_with_its_outcome() -> None:
    before, after = atomic(PLACE, "001_a", 1, sha256("SELECT 1"), SEEN)
    assert "".join(before).startswith(statement_marker(RUN_ID, "001_a", 1) + "DO LANGUAGE plpgsql")
    assert after.startswith(f"\n;\nSET CONSTRAINTS ALL IMMEDIATE;\n{OURS}")
    assert after.index("MG003") < after.index("'outcome'")
    assert SEEN in after
    assert "BEGIN;" not in after
    assert "COMMIT" not in after
    with_role, _ = atomic(PLACE, "001_a", 1, sha256("SELECT 1"), SEEN, run_as='a"b')
    assert with_role == [*before, 'SET LOCAL ROLE "a""b"']


def test_a_session_takes_a_role_when_the_lock_is_its_own() -> None:
    text = take_role(PLACE, 'a"b')
    assert text.startswith(OURS)
    assert text.index("MG003") < text.index('END $migrator$;\nSET ROLE "a""b"')


def test_a_failure_is_recorded_without_asking_for_the_lock() -> None:
    text = fail(PLACE, "001_a", 2, {"undone": True})
    assert "'failed'" in text
    assert '{"statement": 2, "undone": true}' in text
    assert "MG003" not in text


def test_the_row_of_the_history_comes_with_that_of_the_log() -> None:
    alone = "-- migrator: no-transaction\n"
    script = a_script(f"{alone}VACUUM", rollback_sql="DROP it")
    also = Write("SELECT 'also'", None)
    text = finish(PLACE, [*applied(script, PLACE, "12"), also], SEEN)
    assert text.index("schema_migrations_log") < text.index("SELECT 'also'")
    assert text.index("MG003") < text.index('INSERT INTO "public".schema_migrations\n')
    assert "'DROP it'" in text
    assert f"'{RUN_ID}', False)" in text
    low = a_script(f"{alone}-- migrator: floor\nVACUUM")
    floor = finish(PLACE, applied(low, PLACE, "12"), SEEN)
    assert f"'{RUN_ID}', True)" in floor
    assert "'execution_time_ms', 12" in text


def test_clean_ups_name_their_object_as_sql_wants_it() -> None:
    assert drop_index('public."I x"') == 'DROP INDEX CONCURRENTLY IF EXISTS public."I x"'
    effect = Effect(Act.DETACH, ("s", "C"), ("p",))
    assert finalize(effect) == 'ALTER TABLE "p" DETACH PARTITION "s"."C" FINALIZE'


def test_patience_leaves_a_limit_of_the_file_s_own_alone() -> None:
    text = patience(2000, 300_000)
    assert "set_config('lock_timeout', '300000', false)" in text
    assert "setting OPERATOR(pg_catalog.=) '2000'" in text


def test_an_answer_is_kept_with_its_reason() -> None:
    text = answer(PLACE, "001_a", Answer.RETRY, "it isn't there", "nothing is left").sql
    assert "'repaired'" in text
    assert '"answer": "retry", "reason": "it isn\'\'t there"' in text
    more = answer(PLACE, "001_a", Answer.RENAME, "r", "a", was="002_b").sql
    assert '"assumed": "a", "was": "002_b"' in more


def test_what_an_answer_changes_of_the_history() -> None:
    rows = '"public".schema_migrations'
    assert forget(PLACE, "001_a").sql == f"DELETE FROM {rows} WHERE version = '001_a'"
    assert rename_row(PLACE, "001_a", "002_b").sql == (
        f"UPDATE {rows} SET version = '002_b' WHERE version = '001_a'"
    )
    changed = a_migration(1)
    assert accept(PLACE, changed, floor=True).sql == (
        f"UPDATE {rows} SET checksum = '{changed.checksum}', floor = True "
        "WHERE version = '001_step'"
    )

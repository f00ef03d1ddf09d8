from __future__ import annotations

import pytest

from migrator.errors import DirtyError
from migrator.history.journal import sha256
from migrator.no_transaction.settle import Next, Sight, Verdict
from migrator.no_transaction.steps import (
    check_settled,
    check_unchanged,
    escaped,
    in_the_way,
    outcome_of,
    steps,
    tampered,
    undecided,
)
from migrator.plan.progress import Intent, Progress, Way
from migrator.sql.effects import Act
from tests.builders import RUN_ID, a_script

SQL = "-- migrator: no-transaction\nSELECT 'secret';\n\nDROP INDEX CONCURRENTLY s.i;\n"
SELECT, DROP = steps(a_script(SQL))
SEEN = Verdict(Next.ASK, "s.i is INVALID")


def test_a_statement_is_called_by_its_words_and_never_by_its_text() -> None:
    assert (SELECT.what, SELECT.effect.act) == ("SELECT", Act.ATOMIC)
    assert DROP.where == "007_orders.sql:4: statement 2 of 2 (DROP INDEX CONCURRENTLY s.i)"
    assert DROP.fields == {
        "version": "007_orders",
        "statement": 2,
        "statements": 2,
        "what": "DROP INDEX CONCURRENTLY s.i",
    }
    assert "secret" not in f"{SELECT.fields} {SELECT.where}"


def test_an_intent_keeps_what_was_there_before() -> None:
    intent = DROP.intent(RUN_ID, Sight(7, "s.i", index=True))
    assert (intent.number, intent.line, intent.sha256) == (2, 4, sha256(DROP.text))
    assert intent.before == {"oid": 7, "name": "s.i", "index": True}
    assert intent.effect == {"act": "drop index", "name": ["s", "i"]}


def test_an_error_is_located_behind_what_stands_before_the_statement() -> None:
    message = DROP.message(f"/* x */ {DROP.text}", 8)
    assert message.text[message.body_starts : message.body_ends] == DROP.text
    assert message.body == DROP.text
    assert (message.line, message.column, message.statements) == (4, 1, 1)
    assert message.results_before == 0


INTERRUPTED = Intent(2, RUN_ID, "", "VACUUM", 4, {}, {})


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (Progress(), "007_orders is not applied, and nothing of it is left"),
        (
            Progress({3: "", 1: ""}),
            "007_orders is not finished; done and committed: statement 1, 3",
        ),
        (
            Progress(interrupted=INTERRUPTED),
            "007_orders is not finished; statement 2 is to be settled",
        ),
        (
            Progress({1: ""}, 0, INTERRUPTED),
            "007_orders is not finished; done and committed: statement 1; statement 2 is to be "
            "settled",
        ),
    ],
)
def test_what_a_migration_has_come_to_is_said(progress: Progress, text: str) -> None:
    assert outcome_of("007_orders", progress) == text


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (Progress(way=Way.BACK), "007_orders is still applied, and nothing of it was undone"),
        (
            Progress({1: ""}, way=Way.BACK),
            "the undo of 007_orders is not finished; done and committed: statement 1",
        ),
    ],
)
def test_what_an_undo_has_come_to_is_said(progress: Progress, text: str) -> None:
    assert outcome_of("007_orders", progress) == text


@pytest.mark.parametrize(("way", "command"), [(Way.FORTH, "up"), (Way.BACK, "rollback")])
def test_a_question_names_the_command_that_goes_on(way: Way, command: str) -> None:
    assert f"the next `{command}` run it again" in undecided(DROP, SEEN, way).remedy


def test_a_question_says_what_was_seen_and_both_answers() -> None:
    asked = undecided(DROP, SEEN)
    assert asked.message == f"{DROP.where} was interrupted: has it taken effect? Seen: {SEEN.seen}"
    for flag in ("--done", "--retry"):
        assert f"`repair {flag} 007_orders --reason WHY`" in asked.remedy
    assert asked.details["seen"] == SEEN.seen


def test_what_is_in_the_way_is_named() -> None:
    asked = in_the_way(DROP, SEEN, Sight(7, "s.i", index=True))
    assert asked.remedy.startswith("DROP INDEX CONCURRENTLY s.i, or fix it")


def test_a_lock_that_a_pooler_may_keep_is_named_with_what_frees_it() -> None:
    assert escaped(None).endswith("the file may not release the lock.")
    assert escaped(42).startswith(escaped(None))
    assert escaped(42).endswith("once it is idle, `SELECT pg_terminate_backend(42)`.")


def test_what_has_run_must_stay_and_the_rest_may_change() -> None:
    check_unchanged(DROP.script, Progress({1: SELECT.sha256}))
    for done in ({1: DROP.sha256}, {3: SELECT.sha256}):
        with pytest.raises(DirtyError, match="has run, and the file has changed it since"):
            check_unchanged(DROP.script, Progress(done))


@pytest.mark.parametrize(
    ("way", "applied", "not_applied"),
    [
        (Way.FORTH, "when all of it has taken effect", "when nothing of it has."),
        (Way.BACK, "when all of the migration is there again", "when nothing of it is left."),
    ],
)
def test_what_changed_too_late_can_be_told_to_be_whole_or_nothing(
    way: Way, applied: str, not_applied: str
) -> None:
    with pytest.raises(DirtyError) as caught:
        check_unchanged(DROP.script, Progress({3: ""}, way=way))
    assert f"`repair --applied 007_orders --reason WHY` {applied}" in caught.value.remedy
    assert f"`repair --not-applied 007_orders --reason WHY` {not_applied}" in caught.value.remedy


def test_a_statement_that_nobody_can_read_is_one_to_ask_about() -> None:
    [step] = steps(a_script("-- migrator: no-transaction\nALTER DATABASE d SET TABLESPACE f"))
    assert step.effect.act is Act.ASK


def test_what_was_interrupted_must_not_be_taken_out_before_it_is_settled() -> None:
    check_settled(DROP.script, Progress())
    with pytest.raises(DirtyError, match=r"statement 2 \(VACUUM\) was interrupted") as caught:
        check_settled(DROP.script, Progress(interrupted=INTERRUPTED))
    assert "`repair --retry 007_orders --reason WHY`" in caught.value.remedy


def test_a_file_of_which_nothing_has_run_may_be_any() -> None:
    check_unchanged(DROP.script, Progress())


def test_a_file_that_changed_our_tables_is_dirty() -> None:
    error = tampered(DROP.script, "a row is gone", "it is not finished")
    assert error.message.endswith("changed migrator's own history: a row is gone")
    assert error.details["outcome"] == "it is not finished"

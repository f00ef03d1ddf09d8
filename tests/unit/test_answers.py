"""What a person tells `repair`: what it comes to, and what does not fit what is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from migrator.commands.repair_rules import (
    ANSWERS,
    Claim,
    Known,
    afterwards,
    assume,
    given_answer,
    resolve,
)
from migrator.errors import ConfigError
from migrator.history import rows
from migrator.history.fence import Write
from migrator.model import Applied, Kind, Migration
from migrator.plan.plan import make_plan
from migrator.plan.progress import Answer, Intent, Progress, Way
from tests.builders import PLACE, RUN_ID, a_migration, an_applied

WHY = "seen by eye"
FLOOR = "-- migrator: floor\nSELECT 2;\n"
INTERRUPTED = Progress({}, 0, Intent(2, RUN_ID, "0" * 64, "VACUUM", 4, {}, {}))
STARTED = Progress({1: "0" * 64})
UNDOING = {"001_step": INTERRUPTED._replace(way=Way.BACK)}


def known(
    files: list[Migration],
    rows: list[Applied],
    dirty: dict[str, Progress] | None = None,
    undoing: dict[str, Progress] | None = None,
) -> Known:
    return Known(files, make_plan(files, rows), dirty or {}, PLACE, undoing or {})


FILES = [a_migration(1), a_migration(2), a_migration(3, "SELECT 3;\n")]
GONE = an_applied("003_old", "SELECT 3;\n")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (Claim(Answer.APPLIED, "2", WHY), "002_step"),
        (Claim(Answer.NOT_APPLIED, "001", WHY), "001_step"),
        (Claim(Answer.NOT_APPLIED, "2", WHY), "002_step"),
        (Claim(Answer.DONE, "2", WHY), "002_step"),
        (Claim(Answer.RETRY, "1", WHY), "1"),
        (Claim(Answer.ACCEPT, "1", WHY), "001_step"),
        (Claim(Answer.RENAME, "3", WHY, "3"), "003_old"),
    ],
)
def test_a_number_alone_is_that_of_a_version_the_answer_may_be_about(
    given: Claim, meant: str
) -> None:
    found = resolve(known(FILES, [an_applied(1), GONE], {"002_step": STARTED}), given)
    assert (found.version, found.new) == (meant, "003_step" if given.new else "")


def test_a_number_of_two_files_is_asked_about() -> None:
    with pytest.raises(ConfigError, match="several versions have the number 1: 001_a, 001_b"):
        resolve(
            known([], [an_applied("001_a"), an_applied("001_b")]), Claim(Answer.ACCEPT, "1", "")
        )


@pytest.mark.parametrize(
    ("claim", "again", "left"),
    [
        (Claim(Answer.APPLIED, "002_step", WHY), [], ["001_step", "002_step", "003_old", "R__v"]),
        (Claim(Answer.APPLIED, "001_step", WHY), ["R__v"], ["001_step", "003_old"]),
        (Claim(Answer.NOT_APPLIED, "001_step", WHY), ["R__v"], ["003_old"]),
        (Claim(Answer.ACCEPT, "001_step", WHY), [], ["001_step", "003_old", "R__v"]),
        (Claim(Answer.RENAME, "003_old", WHY, "003_step"), [], ["001_step", "003_step", "R__v"]),
        (Claim(Answer.DONE, "002_step", WHY), [], ["001_step", "003_old", "R__v"]),
    ],
)
def test_the_history_once_an_answer_is_recorded(
    claim: Claim, again: list[str], left: list[str]
) -> None:
    rows = [an_applied(1, "changed"), GONE, an_applied("R__v", kind=Kind.REPEATABLE)]
    found = afterwards(replace(known(FILES, rows), again=again), claim)
    assert [row.version for row in found] == left
    accepted = claim.answer is Answer.ACCEPT
    checksums = [row.checksum == FILES[0].checksum for row in found if row.version == "001_step"]
    assert checksums == [accepted] * len(checksums)


def test_repeatables_run_again_when_an_applied_migration_is_taken_back() -> None:
    before = replace(known(FILES, [an_applied(1)]), again=["R__v"])
    found = assume(before, Claim(Answer.NOT_APPLIED, "001_step", WHY))
    assert found.words.endswith("; the next `up` also runs R__v again")
    assert [(write.history, write.log) for write in found.records] == [(1, 0), (1, 1), (0, 1)]


@pytest.mark.parametrize(
    ("given", "claim"),
    [
        ({"applied": "001_a"}, Claim(Answer.APPLIED, "001_a", WHY)),
        ({"applied": None, "retry": "001_a.sql"}, Claim(Answer.RETRY, "001_a", WHY)),
        ({"rename": ["001_a.sql", "002_a"]}, Claim(Answer.RENAME, "001_a", WHY, "002_a")),
    ],
)
def test_one_answer_is_chosen(given: dict[str, Any], claim: Claim) -> None:
    assert given_answer(given, WHY) == claim


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, WHY),
        ({"applied": "a", "retry": "a"}, WHY),
        ({"applied": "a"}, " "),
        ({"done": "a"}, None),
    ],
)
def test_one_answer_and_a_reason_are_needed(given: dict[str, Any], why: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        given_answer(given, why)
    flags = [f"--{name.replace('_', '-')}" for name in ANSWERS]
    assert all(flag in caught.value.remedy for flag in flags)


OLD, NEW, VIEW = a_migration("003_old"), a_migration("007_new"), a_migration("R__view")


@pytest.mark.parametrize(
    ("knowledge", "claim", "words", "change"),
    [
        pytest.param(
            known([a_migration(1, FLOOR)], []),
            Claim(Answer.APPLIED, "001_step", WHY),
            "all of 001_step has taken effect; it is recorded as applied and never run",
            rows.record(PLACE, a_migration(1, FLOOR), "NULL", floor=True),
            id="applied, with its floor",
        ),
        pytest.param(
            known([], [an_applied(1)]),
            Claim(Answer.NOT_APPLIED, "001_step", WHY),
            "nothing of 001_step is in the database; `up` runs all of it",
            rows.forget(PLACE, "001_step"),
            id="not applied",
        ),
        pytest.param(
            known([a_migration(1)], [], {"001_step": STARTED}),
            Claim(Answer.NOT_APPLIED, "001_step", WHY),
            "nothing of 001_step is in the database; `up` runs all of it",
            None,
            id="begun, and nothing of it is left",
        ),
        pytest.param(
            known([a_migration(1)], [], {"001_step": INTERRUPTED}),
            Claim(Answer.DONE, "001_step", WHY),
            "statement 2 of 001_step (VACUUM) has taken effect; `up` goes on after it",
            None,
            id="done",
        ),
        pytest.param(
            known([a_migration(1)], [], {"001_step": INTERRUPTED}),
            Claim(Answer.RETRY, "001_step", WHY),
            "statement 2 of 001_step (VACUUM) has left nothing behind; `up` runs it",
            None,
            id="retry",
        ),
        pytest.param(
            known([], [an_applied(1)], None, UNDOING),
            Claim(Answer.RETRY, "001_step", WHY),
            "statement 2 of 001_step (VACUUM) has left nothing behind; `rollback` runs it",
            None,
            id="retry in an undo",
        ),
        pytest.param(
            known([], [an_applied(1)], None, UNDOING),
            Claim(Answer.APPLIED, "001_step", WHY),
            "all of 001_step has taken effect; it is recorded as applied and never run",
            None,
            id="an undo is given up",
        ),
        pytest.param(
            known([a_migration(1, FLOOR)], [an_applied(1)]),
            Claim(Answer.ACCEPT, "001_step", WHY),
            "the database has what 001_step.sql says now; the checksum "
            f"{an_applied(1).checksum} gives way to {a_migration(1, FLOOR).checksum}",
            rows.accept(PLACE, a_migration(1, FLOOR), floor=True),
            id="a changed file",
        ),
        pytest.param(
            known([OLD], [an_applied("003_old", checksum=None)]),
            Claim(Answer.ACCEPT, "003_old", WHY),
            "the database has what 003_old.sql says now; "
            f"the checksum none gives way to {OLD.checksum}",
            rows.accept(PLACE, OLD, floor=False),
            id="a file of which nothing was recorded",
        ),
        pytest.param(
            known([NEW], [an_applied("003_old")]),
            Claim(Answer.RENAME, "003_old", WHY, "007_new"),
            f"003_old and 007_new are one migration, whose text has the checksum {NEW.checksum}; "
            "the history has it as 007_new from now on",
            rows.rename_row(PLACE, "003_old", "007_new"),
            id="a renamed file",
        ),
        pytest.param(
            known([a_migration(1)], [an_applied("003_old")]),
            Claim(Answer.RENAME, "003_old", WHY, "001_step"),
            f"003_old and 001_step are one migration, whose text has the checksum {NEW.checksum}; "
            "the history has it as 001_step from now on",
            rows.rename_row(PLACE, "003_old", "001_step"),
            id="to a lower number",
        ),
    ],
)
def test_an_answer_says_what_is_assumed_and_is_recorded_with_a_line_of_the_log(
    knowledge: Known, claim: Claim, words: str, change: Write | None
) -> None:
    assumed = assume(knowledge, claim)
    assert assumed.words == words
    *changes, line = assumed.records
    assert changes == ([] if change is None else [change])
    assert "schema_migrations_log" in line.sql
    assert f"'{claim.new or claim.version}', 'repaired'" in line.sql
    assert f'"reason": "{WHY}"' in line.sql
    assert all(f'"{name}": ' in line.sql for name in assumed.fields)
    assert ("was" in assumed.fields) is bool(claim.new)


@pytest.mark.parametrize(
    ("knowledge", "claim", "message"),
    [
        (known([], []), Claim(Answer.APPLIED, "001_a", WHY), "001_a is not a pending migration"),
        (
            known([a_migration(1)], [an_applied(2)]),
            Claim(Answer.APPLIED, "002_step", WHY),
            "002_step",
        ),
        (
            known([], []),
            Claim(Answer.NOT_APPLIED, "001_a", WHY),
            "001_a is neither applied nor started",
        ),
        (known([], []), Claim(Answer.DONE, "001_a", WHY), "no statement of 001_a was interrupted"),
        (
            known([a_migration(1)], [], {"001_step": STARTED}),
            Claim(Answer.RETRY, "001_step", WHY),
            "no statement of 001_step was interrupted",
        ),
        (known([], []), Claim(Answer.ACCEPT, "001_a", WHY), "001_a is not applied"),
        (
            known([], [an_applied(1)]),
            Claim(Answer.ACCEPT, "001_step", WHY),
            "this folder has no file for 001_step",
        ),
        (
            known([a_migration(1)], [an_applied(1)]),
            Claim(Answer.ACCEPT, "001_step", WHY),
            "001_step.sql has not changed since it was applied",
        ),
        (
            known([OLD, NEW], [an_applied("003_old")]),
            Claim(Answer.RENAME, "003_old", WHY, "007_new"),
            "003_old is not an applied migration whose file is gone",
        ),
        (
            known([OLD], [an_applied("002_older")]),
            Claim(Answer.RENAME, "002_older", WHY, "007_new"),
            "007_new is not a pending migration of this folder",
        ),
        (
            known([NEW], [an_applied("003_old")], {"007_new": STARTED}),
            Claim(Answer.RENAME, "003_old", WHY, "007_new"),
            "007_new was started as a migration of its own",
        ),
        (
            known([a_migration(7)], [an_applied(1)], None, UNDOING),
            Claim(Answer.RENAME, "001_step", WHY, "007_step"),
            "the undo of 001_step was started and is not finished",
        ),
        (
            known([a_migration("007_new", FLOOR)], [an_applied("003_old")]),
            Claim(Answer.RENAME, "003_old", WHY, "007_new"),
            "007_new.sql has not the text of 003_old: recorded b4e0497804e4, file ",
        ),
        (
            known([VIEW], []),
            Claim(Answer.APPLIED, "R__view", WHY),
            "R__view is a repeatable, which may run again at any time",
        ),
        (
            known([VIEW], [an_applied("R__view", FLOOR, kind=Kind.REPEATABLE)]),
            Claim(Answer.ACCEPT, "R__view", WHY),
            "R__view is a repeatable",
        ),
        (
            known([VIEW], [an_applied("003_old")]),
            Claim(Answer.RENAME, "003_old", WHY, "R__view"),
            "R__view is a repeatable",
        ),
        (
            known([NEW], [an_applied("003_old", checksum=None)]),
            Claim(Answer.RENAME, "003_old", WHY, "007_new"),
            "007_new.sql has not the text of 003_old: recorded none, file b4e0497804e4",
        ),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(
    knowledge: Known, claim: Claim, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        assume(knowledge, claim)
    assert caught.value.message.startswith(message)

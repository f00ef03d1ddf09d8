"""What is undone, in which order, what stands in its way, and what a flight records of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from migrator.commands.rollback_rules import dependents, remedy, remedy_for, what_it_means
from migrator.config import OnFinding
from migrator.errors import (
    ConfigError,
    DirtyError,
    DriftError,
    MigratorError,
    MissingError,
    SourceError,
)
from migrator.history.fence import Write
from migrator.history.flight import Leg, make_flight
from migrator.history.guard import ESCAPED
from migrator.history.rows import undone
from migrator.model import Applied, Kind, Migration
from migrator.plan.progress import Progress, Way
from migrator.plan.undo import (
    Kept,
    Origin,
    UndoPlan,
    UndoStep,
    Wish,
    beginning,
    check_started,
    make_undo,
)
from tests.builders import LIMITS, PLACE, RUN_ID, a_migration, a_script, an_applied

DOWN = "-- Loses it all.\nDROP TABLE t;\n"
OTHER = "SELECT 2;\n"
TEMPLATE = "-- Undoes 001_step. Say here what data is lost.\n\n"


def a_plan(
    *rows: Applied,
    places: Sequence[int] | None = None,
    stored: Mapping[str, str | None] = {},
    folder: Sequence[Migration] = (),
    wish: Wish = Wish(steps=1),  # noqa: B008 - frozen
    origin: Origin = Origin.STORED,
    on_drift: OnFinding = OnFinding.FAIL,
) -> UndoPlan:
    """A plan for rows that were applied in this order, each with DOWN as its stored undo."""
    kept = {
        row.version: Kept(place, stored.get(row.version, DOWN))
        for place, row in zip(places or range(len(rows)), rows, strict=True)
    }
    return make_undo(rows, kept, folder, wish, origin, on_drift)


def text_of(step: UndoStep) -> str:
    return "".join(step.script.migration.pieces)


def numbers(plan: UndoPlan) -> list[int]:
    return [step.row.number for step in plan.steps]


def told(failure: MigratorError) -> list[tuple[str, str, str]]:
    return [(found.file, found.problem, found.remedy) for found in failure.findings]


@pytest.mark.parametrize(
    ("runs", "wish", "expected"),
    [
        pytest.param("aabb", Wish(), [4, 3], id="the last run"),
        pytest.param("abab", Wish(), [4, 2], id="its rows wherever they stand"),
        pytest.param("aa--", Wish(), [4], id="a row that names no run stands for itself"),
        pytest.param("aabb", Wish(steps=3), [4, 3, 2], id="steps"),
        pytest.param("aabb", Wish(to="002_step"), [4, 3], id="all that is newer"),
        pytest.param("aabb", Wish(to="004_step"), [], id="nothing is newer"),
        pytest.param("", Wish(), [], id="no history"),
    ],
)
def test_what_a_wish_means(runs: str, wish: Wish, expected: list[int]) -> None:
    rows = [an_applied(n, run_id=None if r == "-" else r) for n, r in enumerate(runs, 1)]
    plan = a_plan(*rows, wish=wish)
    assert (numbers(plan), plan.failures, plan.warnings) == (expected, (), ())
    assert plan.versions == {f"{n:03}_step" for n in expected}
    plan.raise_failures()


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        pytest.param([1, 3, 2], [2, 3, 1], id="what was applied late is undone early"),
        pytest.param([1, 1, 1], [3, 2, 1], id="what was recorded at one moment goes by its number"),
    ],
)
def test_the_order_is_that_of_application_turned_round(
    places: list[int], expected: list[int]
) -> None:
    rows = [an_applied(n) for n in (1, 2, 3)]
    assert numbers(a_plan(*rows, places=places, wish=Wish(steps=3))) == expected


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (
            Wish(to="9_x"),
            "9_x is not applied; the last ones that are: "
            "003_step, 004_step, 005_step, 006_step, 007_step",
        ),
        (Wish(steps=8), "--steps 8 asks for more than the 7 that are applied"),
    ],
)
def test_a_wish_for_what_is_not_there_is_refused(wish: Wish, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        a_plan(*(an_applied(n) for n in range(1, 8)), wish=wish)


def test_nothing_is_applied_that_could_stay() -> None:
    with pytest.raises(ConfigError, match="1_x is not applied; the last ones that are: none"):
        a_plan(wish=Wish(to="1_x"))


VIEW = an_applied("R__view", kind=Kind.REPEATABLE, run_id="b")
NEEDS_1 = a_migration("R__view", "-- migrator: requires R__other\nSELECT 1;\n")
OTHER_NEEDS_1 = a_migration("R__other", "-- migrator: requires 001_step\nSELECT 1;\n")


@pytest.mark.parametrize(
    ("places", "folder", "steps", "expected"),
    [
        pytest.param([1, 2, 3], [], 1, {2: {"R__view": "ran after"}}, id="it ran after"),
        pytest.param([1, 1, 1], [], 1, {2: {"R__view": "ran after"}}, id="at the same moment"),
        pytest.param([1, 3, 2], [], 1, {2: {}}, id="it ran before"),
        pytest.param(
            [1, 3, 2], [], 2, {2: {}, 1: {"R__view": "ran after"}}, id="it ran in between"
        ),
        pytest.param(
            [1, 2, 3], [], 2, {2: {"R__view": "ran after"}, 1: {}}, id="it goes with the first"
        ),
        pytest.param(
            *([2, 3, 1], [NEEDS_1, OTHER_NEEDS_1], 2),
            {2: {}, 1: {"R__view": "requires"}},
            id="it requires it by way of another, which has not run",
        ),
    ],
)
def test_a_repeatable_is_pending_again_with_what_it_ran_after_or_requires(
    places: list[int],
    folder: list[Migration],
    steps: int,
    expected: dict[int, dict[str, str]],
) -> None:
    rows = an_applied(1, run_id="b"), an_applied(2, run_id="b"), VIEW
    plan = a_plan(*rows, places=places, folder=folder, wish=Wish(steps=steps))
    found = {s.row.number: {v: why.value for v, why in s.again.items()} for s in plan.steps}
    assert (found, plan.failures) == (expected, ())
    warned = [(finding.file, finding.problem.split(",")[0]) for finding in plan.warnings]
    assert warned == [
        (f"{version}.sql", f"{why} {number:03}_step")
        for number, again in expected.items()
        for version, why in again.items()
    ]


def test_a_last_run_of_repeatables_alone_cannot_be_undone() -> None:
    """And no older run is taken for it."""
    view = an_applied("R__view", kind=Kind.REPEATABLE, run_id="b")
    plan = a_plan(an_applied(1, run_id="a"), view, wish=Wish())
    (failure,) = plan.failures
    assert (plan.steps, type(failure), plan.warnings) == ((), MissingError, ())
    assert failure.message == "there is no undo for: R__view.sql"


@pytest.mark.parametrize(
    ("kind", "origin", "stored", "file", "problem", "todo"),
    [
        pytest.param(
            *(Kind.VERSIONED, Origin.STORED, None, None),
            "no undo was stored when it was applied",
            "Write 001_step.down.sql and give --from-files; or undo it with a new migration.",
            id="none anywhere",
        ),
        pytest.param(
            *(Kind.VERSIONED, Origin.STORED, None, DOWN),
            "no undo was stored when it was applied",
            "Give --from-files, to run the file of the folder.",
            id="a file that came later",
        ),
        pytest.param(
            *(Kind.BASELINE, Origin.STORED, None, None),
            "it was recorded by `baseline` and never run here, and no undo is stored",
            "Write 001_step.down.sql and give --from-files; or undo it with a new migration.",
            id="a baseline",
        ),
        pytest.param(
            *(Kind.ADOPTED, Origin.STORED, None, None),
            "it was taken over from another tool, and no undo is stored",
            "Write 001_step.down.sql and give --from-files; or undo it with a new migration.",
            id="adopted",
        ),
        pytest.param(
            *(Kind.VERSIONED, Origin.FILE, DOWN, None),
            "the folder has no such file",
            "Leave --from-files out, to run the one that is stored.",
            id="stored alone, and the file asked for",
        ),
        pytest.param(
            *(Kind.VERSIONED, Origin.FILE, None, None),
            "the folder has no such file, and none is stored",
            "Write 001_step.down.sql.",
            id="none anywhere, and the file asked for",
        ),
        pytest.param(
            *(Kind.VERSIONED, Origin.STORED, TEMPLATE, TEMPLATE),
            "no undo was stored when it was applied, and the file holds no statement",
            "Write the undo into 001_step.down.sql (`SELECT;` where nothing is to be undone) and "
            "give --from-files; or undo it with a new migration.",
            id="an untouched template",
        ),
        pytest.param(
            *(Kind.VERSIONED, Origin.STORED, TEMPLATE, DOWN),
            "no undo was stored when it was applied",
            "Give --from-files, to run the file of the folder.",
            id="a template, filled in later",
        ),
        pytest.param(
            *(Kind.VERSIONED, Origin.FILE, DOWN, TEMPLATE),
            "the file holds no statement",
            "Leave --from-files out, to run the one that is stored.",
            id="a template, and the file asked for",
        ),
        pytest.param(
            *(Kind.VERSIONED, Origin.FILE, None, TEMPLATE),
            "the file holds no statement, and none is stored",
            "Write the undo into 001_step.down.sql (`SELECT;` where nothing is to be undone).",
            id="a template alone, and the file asked for",
        ),
    ],
)
def test_what_has_no_undo_is_refused_with_where_one_could_come_from(
    kind: Kind, origin: Origin, stored: str | None, file: str | None, problem: str, todo: str
) -> None:
    plan = a_plan(
        an_applied(1, kind=kind),
        stored={"001_step": stored},
        folder=[a_migration(1, rollback_sql=file)],
        origin=origin,
    )
    (failure,) = plan.failures
    assert isinstance(failure, MissingError)
    assert told(failure) == [("001_step.down.sql", problem, todo)]


def test_an_undo_is_written_where_the_format_of_the_folder_has_it() -> None:
    files = [a_migration(1, format="goose", file="1_a.sql")]
    plan = a_plan(an_applied(1), stored={"001_step": None}, folder=files, origin=Origin.FILE)
    assert told(plan.failures[0]) == [
        (
            "1_a.sql",
            "the folder has no such file, and none is stored",
            "Write its undo as goose has it.",
        )
    ]


@pytest.mark.parametrize("kind", [Kind.BASELINE, Kind.ADOPTED])
def test_what_was_never_run_here_can_be_undone_all_the_same(kind: Kind) -> None:
    assert numbers(a_plan(an_applied(1, kind=kind))) == [1]


@pytest.mark.parametrize(
    ("origin", "on_drift", "failures", "warnings", "text"),
    [
        (Origin.STORED, OnFinding.FAIL, [DriftError], 0, DOWN),
        (Origin.STORED, OnFinding.WARN, [], 1, DOWN),
        (Origin.FILE, OnFinding.FAIL, [], 0, OTHER),
        (Origin.FILE, OnFinding.WARN, [], 0, OTHER),
    ],
)
def test_the_stored_text_is_run_unless_the_files_are_asked_for(
    origin: Origin,
    on_drift: OnFinding,
    failures: list[type[MigratorError]],
    warnings: int,
    text: str,
) -> None:
    folder = [a_migration(1, rollback_sql=OTHER)]
    plan = a_plan(an_applied(1), folder=folder, origin=origin, on_drift=on_drift)
    assert [type(failure) for failure in plan.failures] == failures
    assert (len(plan.warnings), [text_of(step) for step in plan.steps]) == (warnings, [text])


@pytest.mark.parametrize("file", [None, DOWN, TEMPLATE])
def test_a_folder_that_has_no_undo_or_the_same_differs_in_nothing(file: str | None) -> None:
    assert a_plan(an_applied(1), folder=[a_migration(1, rollback_sql=file)]).failures == ()


def test_an_undo_is_read_like_any_file_before_it_is_run() -> None:
    plan = a_plan(an_applied(1), stored={"001_step": "SELECT 1;\nCOMMIT;\nVACUUM;\n"})
    (failure,) = plan.failures
    assert isinstance(failure, SourceError)
    assert [(found.file, found.line) for found in failure.findings] == [
        ("001_step.down.sql", 2),
        ("001_step.down.sql", 3),
    ]


NEEDS = "-- migrator: requires 002_step 003_step\n-- migrator: lock-timeout 1s\nSELECT 1;\n"


def test_what_a_migration_that_stays_requires_cannot_go() -> None:
    rows = [an_applied(n) for n in (1, 2, 3)]
    folder = [a_migration(1, NEEDS), a_migration(2), a_migration(3, "SELECT 'requires';")]
    (failure,) = a_plan(*rows, folder=folder, wish=Wish(steps=1)).failures
    assert isinstance(failure, SourceError)
    assert told(failure) == [
        (
            "001_step.sql",
            "is applied and requires 003_step, which was to be undone",
            "Have it undone, too: see `rollback --plan --to VERSION`.",
        )
    ]
    assert a_plan(*rows, folder=folder, wish=Wish(steps=3)).failures == ()


ALONE = "-- migrator: no-transaction\nDROP INDEX CONCURRENTLY i;\n"
STARTED = {"001_step": Progress({1: "0"}, way=Way.BACK)}


def test_an_undo_outside_a_transaction_is_a_step_like_any() -> None:
    plan = a_plan(an_applied(1), stored={"001_step": ALONE})
    assert [script.transactional for script in plan.scripts] == [False]
    check_started(plan, Wish(steps=1), STARTED)


def test_an_undo_that_began_outside_a_transaction_does_not_go_on_inside_one() -> None:
    plan = a_plan(an_applied(1))
    check_started(plan, Wish(steps=1), {})
    with pytest.raises(DirtyError, match=r"001_step\.down\.sql: it began as") as caught:
        check_started(plan, Wish(steps=1), STARTED)
    for flag in ("--applied", "--not-applied"):
        assert f"`repair {flag} 001_step --reason WHY`" in caught.value.remedy


def test_what_is_undone_in_part_cannot_be_what_stays() -> None:
    rows = an_applied(1), an_applied(2)
    wish = Wish(to="001_step")
    with pytest.raises(DirtyError, match="undone in part, and to stay: 001_step"):
        check_started(a_plan(*rows, wish=wish), wish, STARTED)
    wish = Wish(steps=1)
    check_started(a_plan(*rows, wish=wish), wish, STARTED)


def test_all_reasons_rise_at_once() -> None:
    plan = a_plan(
        *(an_applied(n) for n in (1, 2, 3)),
        stored={"001_step": None, "003_step": "COMMIT;"},
        folder=[a_migration(2, rollback_sql=OTHER)],
        wish=Wish(steps=3),
    )
    with pytest.raises(MissingError) as caught:
        plan.raise_failures()
    assert caught.value.message == (
        "there is no undo for: 001_step.down.sql; "
        "the stored undo is not the file's: 002_step.down.sql; "
        "the undo cannot be run: 003_step.down.sql"
    )
    assert len(caught.value.findings) == 3
    assert caught.value.remedy == "See to what is listed; nothing was undone."


def a_step(origin: Origin = Origin.STORED) -> UndoStep:
    script = a_script(DOWN, "007_orders", file="007_orders.down.sql", undoes=True)
    return UndoStep(an_applied("007_orders", applied_at="2026-01-02T03:04:05Z"), script, origin)


def test_a_step_as_plan_shows_it() -> None:
    assert a_step().as_dict() == {
        "version": "007_orders",
        "kind": "versioned",
        "applied_at": "2026-01-02T03:04:05Z",
        "statements": 1,
        "from": "stored",
        "undo": "-- Loses it all.",
        "sql": DOWN,
        "pending_again": [],
    }


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        pytest.param("\n-- a\n-- b\nDROP TABLE t;\n", "-- a\n-- b", id="the comment at its head"),
        pytest.param("A;\nB;", "A;\nB;", id="a short text without one"),
        pytest.param("A;\nB;\nC;\nD;", "A;\nB;\nC;\n…", id="a long text without one"),
        pytest.param("--\n" * 9 + "A;", "--\n" * 8 + "…", id="a long comment"),
        pytest.param("-- a", "-- a", id="a comment alone"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_what_is_shown_of_an_undo(sql: str, shown: str) -> None:
    assert beginning(sql) == shown


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        (Origin.FILE, "Fix 007_orders.down.sql and run again."),
        (
            Origin.STORED,
            "This is the undo as it was stored: clear away what is in its way and run again, "
            "or fix 007_orders.down.sql and run `rollback --from-files`.",
        ),
    ],
)
def test_what_to_do_about_a_refused_undo(origin: Origin, words: str) -> None:
    assert remedy(a_step(origin)) == words


A, B = 'CREATE VIEW public."A v" AS SELECT 1;\n', "CREATE VIEW b AS SELECT 1;\n"


@pytest.mark.parametrize(
    ("detail", "found"),
    [
        pytest.param(None, [], id="nothing is known"),
        pytest.param("view c depends on table t", [], id="of no repeatable"),
        pytest.param("view ab depends on table t_b", [], id="a part of a name is none"),
        pytest.param(
            'view "A v" depends on table t\nview b depends on view "A v"',
            [
                ("R__b.sql", "DROP VIEW IF EXISTS b;"),
                ("R__a.sql", 'DROP VIEW IF EXISTS public."A v";'),
            ],
            id="what depends on nothing else first",
        ),
        pytest.param(
            "Sicht b hängt von Tabelle t ab", [("R__b.sql", "DROP VIEW IF EXISTS b;")], id="German"
        ),
    ],
)
def test_what_repeatables_have_in_the_way(detail: str | None, found: list[tuple[str, str]]) -> None:
    named = dependents(detail, {"R__a.sql": A, "R__b.sql": B})
    assert [(file, made.drop) for file, made in named] == found


def test_the_remedy_names_the_repeatables_and_can_be_typed() -> None:
    found = dependents('"A v", b', {"R__a.sql": A, "R__b.sql": B})
    assert remedy_for(a_step(), found) == (
        "R__a.sql and R__b.sql made what depends on it. Run `DROP VIEW IF EXISTS b; DROP VIEW IF "
        'EXISTS public."A v";` in the database and run again; or put that at the top of '
        "007_orders.down.sql and run `rollback --from-files`. The next `up` runs R__a.sql and "
        "R__b.sql again."
    )


@pytest.mark.parametrize(
    ("sqlstate", "untried", "words"),
    [
        (
            "42P01",
            ["002_b", "001_a"],
            "the undo of 007_orders was rolled back, and 007_orders is still applied; "
            "not tried: 002_b, 001_a",
        ),
        (
            None,
            [],
            "the undo of 007_orders was rolled back, and 007_orders is still applied",
        ),
        (
            ESCAPED,
            [],
            "what the undo of 007_orders did before its own COMMIT is committed, and 007_orders is "
            "still recorded as applied",
        ),
    ],
)
def test_what_a_refused_undo_means(sqlstate: str | None, untried: list[str], words: str) -> None:
    assert what_it_means(a_step(), sqlstate, untried) == words


def test_of_a_refused_undo_outside_a_transaction_it_is_said_what_stands() -> None:
    script = a_script(ALONE, "007_orders", file="007_orders.down.sql", undoes=True)
    step = UndoStep(an_applied("007_orders"), script, Origin.STORED)
    words = "statement 1 stands; not tried: 001_a"
    assert what_it_means(step, "42P01", ["001_a"], "statement 1 stands") == words


def test_the_time_of_an_undo_outside_a_transaction_is_that_of_its_statements() -> None:
    record = undone(a_step().script, PLACE, Origin.STORED, "12")
    assert "'execution_time_ms', 12, 'from'" in record[0].sql


RECORDED = """
DROP TABLE t;

;
SET CONSTRAINTS ALL IMMEDIATE;
"""
BEHIND = f"""WITH gone AS (DELETE FROM "public".schema_migrations WHERE version = '007_orders' RETURNING *)
INSERT INTO "public".schema_migrations_log (run_id, version, event, runner, detail)
SELECT '{RUN_ID}', version, 'rolled_back', 'migrator/pod-1', jsonb_build_object(
    'execution_time_ms', migrator_ms, 'from', 'stored', 'checksum', checksum, 'kind', kind,
    'applied_at', applied_at, 'applied_by', gone.run_id)
  FROM gone;
"""  # noqa: E501 - as it is sent


def test_an_undo_flies_like_a_migration_and_takes_the_row_away() -> None:
    script = a_step().script
    record, also = undone(script, PLACE, Origin.STORED), [Write("SELECT 'also'", None)]
    (message,) = make_flight([Leg(script, "seen", record, also)], PLACE, LIMITS)
    (forth,) = make_flight([Leg(script, "seen")], PLACE, LIMITS)
    start = message.body_starts
    assert message.text[:start] == forth.text[:start]
    assert RECORDED in message.text
    assert message.text.index(BEHIND) < message.text.index("SELECT 'also';")
    assert message.commits

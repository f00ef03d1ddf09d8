"""How much of what is pending one run applies: up to a version, and of which phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from migrator.errors import ConfigError
from migrator.model import Phase
from migrator.plan.plan import make_plan
from migrator.plan.policy import Policy, decide
from migrator.plan.scope import Scope, defer, pre_warnings
from tests.builders import a_migration, an_applied

PRE, POST, ALL = Phase


def left(
    folder: Sequence[int | str],
    applied: Sequence[int | str] = (),
    *,
    to: str | None = None,
    phase: Phase = ALL,
    posts: Sequence[int] = (),
    needs: Mapping[str, Sequence[str]] | None = None,
) -> tuple[list[int | str], list[int | str], str | None]:
    """What is late and what is left for later, as it was named, and what fails the run."""
    files = [a_migration(version) for version in folder]
    rows = [an_applied(version) for version in applied]
    names = {migration.version: name for migration, name in zip(files, folder, strict=True)}
    known = {a_migration(version).version for version in posts}
    plan = make_plan(files, rows, needs, known)
    plan, deferred, failure = defer(plan, Scope(to, phase), known, needs or {}, files)
    decision = decide(plan, Policy(), (), deferred)
    assert [*decision.run, *deferred] == sorted(
        plan.pending, key=lambda m: (m in deferred, plan.pending.index(m))
    )
    late, later = ([names[m.version] for m in some] for some in (plan.late, deferred))
    return late, later, failure.message if failure else None


@pytest.mark.parametrize(
    ("folder", "applied", "to", "later"),
    [
        pytest.param([1, 2, 3], [], "002_step", [3], id="up to and with it"),
        pytest.param([1, 2, 3], [], "2", [3], id="by its number"),
        pytest.param([1, 2, 3], [], "002_step.sql", [3], id="by its file"),
        pytest.param([1, 2, 3], [1, 2], "1", [3], id="it is applied"),
        pytest.param([1, 3], [1, 2], "2", [3], id="it is applied and its file is gone"),
        pytest.param([1, 2, "R__a"], [], "1", [2, "R__a"], id="no repeatable before the newest"),
        pytest.param([1, 2, "R__a"], [], "2", [], id="the newest is all"),
        pytest.param([1, "R__a", "R__b"], [], "R__a", ["R__b"], id="up to a repeatable"),
    ],
)
def test_what_follows_a_version_is_left_for_later(
    folder: list[int | str], applied: list[int | str], to: str, later: list[int | str]
) -> None:
    assert left(folder, applied, to=to) == ([], later, None)


def test_a_file_that_requires_a_later_one_is_left_with_it() -> None:
    needs = {"001_step": ["003_step"]}
    assert left([1, 2, 3, 4], to="2", needs=needs) == ([], [1, 3, 4], None)
    assert left([1, 2, 3, 4], to="3", needs=needs) == ([], [4], None)
    assert left([1, 2, 3, 4], to="1", needs=needs) == ([], [4], None)


def test_a_version_that_is_nowhere_is_an_error() -> None:
    with pytest.raises(ConfigError) as caught:
        left([1, 2, 3], [1], to="7")
    assert caught.value.message == (
        "--to 7: no such version is in the folder or applied; pending is 002_step, 003_step"
    )
    with pytest.raises(ConfigError, match="pending is nothing"):
        left([1], [1], to="x")


@pytest.mark.parametrize(
    ("applied", "phase", "late", "later"),
    [
        pytest.param([], ALL, [], [], id="all in order"),
        pytest.param([], PRE, [], [2, 4], id="pre passes over post"),
        pytest.param([1, 3], PRE, [], [2, 4], id="nothing to do, and nothing is late"),
        pytest.param([1, 3], POST, [], [], id="post behind a higher one of pre"),
        pytest.param([1, 3], ALL, [], [], id="all behind it"),
        pytest.param([1, 3, 4], ALL, [2], [], id="late for a post file"),
        pytest.param([1, 3, 4], PRE, [], [2], id="late for post is nothing to pre"),
        pytest.param([2, 4], PRE, [1, 3], [], id="a pre file is late as ever"),
    ],
)
def test_a_phase_passes_over_the_other(
    applied: list[int | str], phase: Phase, late: list[int | str], later: list[int | str]
) -> None:
    assert left([1, 2, 3, 4], applied, phase=phase, posts=[2, 4]) == (late, later, None)


def test_the_post_phase_waits_for_the_pre_phase() -> None:
    late, later, failure = left([1, 2, 3, 4], [1], phase=POST, posts=[2, 4])
    assert (late, later) == ([], [3])
    assert failure == "the post phase runs once the pre phase is applied; pending of it: 003_step"
    assert left([1, 2, 3, 4], [1], to="2", phase=POST, posts=[2, 4]) == ([], [3, 4], None)


def test_a_floor_in_the_pre_phase_and_a_new_database_are_warned_of() -> None:
    files = [a_migration(1), a_migration(2)]
    new, used = make_plan(files, []), make_plan(files, [an_applied(1)])
    [finding] = pre_warnings(used, files[1:], ["001_step.sql"])
    assert (finding.file, finding.line) == ("001_step.sql", None)
    assert finding.problem.startswith("sets a floor in the pre phase")
    assert pre_warnings(used, files[1:], []) == ()
    assert pre_warnings(new, [], []) == ()
    [finding] = pre_warnings(new, files[1:], [])
    assert finding.file == "002_step.sql"
    assert finding.problem.startswith("is passed over by the pre phase of a new database")

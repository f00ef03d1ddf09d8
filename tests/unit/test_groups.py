"""Files of a group: the line, what forms one, the guards beside others, and a failure in words."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from migrator.errors import StatementError
from migrator.history.flight import Around, Leg, make_flight
from migrator.history.guard import closing_key, head, head_query, lock_key, own_key
from migrator.history.message import Message
from migrator.history.place import Limits
from migrator.model import AFTER, Migration
from migrator.parallel.words_rules import explain_group, explain_stop, is_within
from migrator.plan.groups_rules import form_groups, last_of_group, needs_within
from migrator.plan.plan import make_plan
from migrator.plan.together import count_group, count_together, left_with_groups
from migrator.sql.script import Script, group_of, understand
from tests.builders import PLACE, a_migration, a_script, an_applied, fly

LINE = "-- migrator: parallel "


def a_file(number: int, group: str | None = None, more: str = "") -> Migration:
    line = f"{LINE}{group}\n" if group else ""
    return a_migration(number, f"{line}{more}SELECT {number};\n")


def scripts_of(files: Sequence[Migration]) -> dict[str, Script]:
    found = {}
    for file in files:
        script, findings = understand(file)
        assert script is not None, findings
        found[file.version] = script
    return found


@pytest.mark.parametrize(
    ("sql", "problem", "line"),
    [
        (f"{LINE}\nSELECT 1;", "needs the name of a group", 1),
        (f"{LINE}a b\nSELECT 1;", "needs the name of a group", 1),
        (f"{LINE}a\n{LINE}b\nSELECT 1;", "is given twice", 2),
        (f"SELECT 1;\n{LINE}a\n", "comes after a statement", 2),
        (f"-- x\n{LINE}a\n-- migrator: no-transaction\nSELECT 1;", "this one does not", 2),
        (f"{LINE}a\nCREATE INDEX CONCURRENTLY i ON t (a);", "this one does not", 1),
        (f"{LINE}a\nCOPY t FROM stdin;\n1\n\\.\n", "no COPY FROM stdin", 2),
        (
            f"{LINE}a\n-- migrator: batches t by id\nDELETE FROM t WHERE id BETWEEN "
            "current_setting('migrator.from')::int AND current_setting('migrator.upto')::int;",
            "batches and parallel exclude each other",
            1,
        ),
    ],
)
def test_a_line_that_cannot_be_meant_is_refused(sql: str, problem: str, line: int) -> None:
    script, [found] = understand(a_migration(1, sql))
    assert script is None
    assert problem in found.problem
    assert found.line == line


@pytest.mark.parametrize(
    ("version", "values", "problem"),
    [
        ("R__v", {"number": -1}, "repeatables run one after another"),
        (AFTER, {}, "hooks and undos run one after another"),
        ("001_a", {"undoes": True}, "hooks and undos run one after another"),
    ],
)
def test_only_a_migration_is_of_a_group(
    version: str, values: dict[str, object], problem: str
) -> None:
    _, [found] = understand(a_migration(version, f"{LINE}a\nSELECT 1;", **values))
    assert found.problem == problem


def test_the_name_is_read_of_a_file_with_other_faults_too() -> None:
    assert group_of(a_file(1, "a-1")) == "a-1"
    assert group_of(a_migration(1, f"-- migrator: typo\n{LINE}a\nBEGIN;")) == "a"
    assert group_of(a_file(1)) is None
    assert a_script(f"{LINE}\ta\nSELECT 1;").parallel == "a"


def test_a_group_is_files_of_one_name_that_follow_each_other() -> None:
    files = [
        *(a_file(1), a_file(2, "a"), a_file(3, "a"), a_file(4), a_file(5, "a")),
        *(a_file(6, "b"), a_file(7, "b"), a_file(8, "b"), a_file(9, "b")),
    ]
    pending = [file for file in files if file.number not in (7, 8)]
    groups = form_groups(files, scripts_of(pending), group_of)
    assert {version[:3]: first[:3] for version, first in groups.items()} == {
        **{"002": "002", "003": "002", "005": "005"},
        **{"006": "006", "009": "006"},
    }
    apart = [*files[:6], a_file(7), *files[7:]]
    groups = form_groups(apart, scripts_of(pending), group_of)
    assert groups["009_step"] == "009_step"


def test_what_a_file_requires_of_its_own_group_is_a_finding() -> None:
    needs = "-- migrator: requires 001_step 002_step\n"
    files = [a_file(1), a_file(2, "a"), a_file(3, "a", needs), a_file(4, "b", needs)]
    scripts = scripts_of(files)
    groups = form_groups(files, scripts, group_of)
    [found] = needs_within(groups, scripts)
    assert (found.file, found.line) == ("003_step.sql", 2)
    assert found.problem.startswith("requires 002_step, which is of the same group")


def test_what_is_left_of_a_group_is_not_late() -> None:
    files = [a_file(1), a_file(2, "a"), a_file(3, "a"), a_file(4, "a"), a_file(5)]
    assert [last_of_group(files, file, group_of)[:3] for file in files[1:4]] == ["004"] * 3
    view = a_migration("R__v", number=-1)
    assert last_of_group([*files[:3], view], files[1], group_of) == "003_step"
    assert last_of_group(files[:4], files[1], group_of) == "004_step"
    rows = [an_applied(1), an_applied(3)]
    needs = {"002_step": ["004_step"]}
    assert [m.number for m in make_plan(files, rows).late] == [2]
    assert make_plan(files, rows, needs).late == ()
    later = [*rows, an_applied(5)]
    assert [m.number for m in make_plan(files, later, needs).late] == [2, 4]


def test_those_that_follow_each_other_in_a_run_go_at_once() -> None:
    first, second, other = (a_script(f"SELECT {n};")._replace(group=g) for n, g in enumerate("aab"))
    alone = a_script("SELECT 3;")
    assert count_group([first, second, other]) == 2
    assert count_group([other]) == 1
    assert count_group([first, second]) == 2
    assert count_group([alone, alone]) == 1
    assert count_together([alone, first, second], 16) == 3
    assert count_together([alone, first, second], 16, parallel=True) == 1


def test_the_keys_of_a_group_are_frozen() -> None:
    """Two releases in one cluster must exclude each other."""
    assert own_key("public", "001_a") == lock_key("public\nversion\n001_a")
    assert closing_key("public") == lock_key("public\nclosing")
    assert len({own_key("public", "001_a"), closing_key("public"), lock_key("public")}) == 3


def test_a_head_leaves_out_what_may_come_at_any_moment() -> None:
    assert "WHERE" not in head_query("public.schema_migrations")
    query = head_query("public.schema_migrations", [("001_a", "c0"), ("it's", "c1")])
    assert "NOT IN (VALUES ('001_a', 'c0'), ('it''s', 'c1'))" in query


@pytest.mark.parametrize("others", [[], [("008_b", "c0ffee")]])
def test_beside_others_the_lock_is_shared_and_the_end_comes_one_by_one(
    others: list[tuple[str, str]],
) -> None:
    script, seen = a_script("SELECT 1;\n"), head([("001_a", "c0")])
    leg = Leg(script, seen, around=Around(beside=others))
    [message] = make_flight([leg], PLACE, Limits())
    before, closing = message.text[: message.body_starts], message.text[message.body_ends :]
    shared = f"pg_try_advisory_xact_lock_shared({lock_key('public')})"
    own = f"pg_try_advisory_xact_lock({own_key('public', script.migration.version)})"
    last = f"pg_advisory_xact_lock({closing_key('public')})"
    assert before.index(shared) < before.index(own) < before.index(seen)
    assert before.index(seen) < before.index("'migrator-flight: next'")
    assert f"pg_try_advisory_xact_lock({lock_key('public')})" not in message.text
    assert closing.index("SET CONSTRAINTS") < closing.index(last) < closing.index("INSERT INTO")
    assert seen in closing[closing.index(last) : closing.index("INSERT INTO")]
    assert ("008_b" in before) == ("008_b" in closing) == bool(others)
    [alone] = fly(script)
    assert "_shared" not in alone.text
    assert last not in alone.text


def a_refusal(version: str) -> tuple[str, StatementError]:
    return version, StatementError(f"{version}.sql: no", outcome=f"{version} was rolled back")


def test_a_refusal_names_what_became_of_the_others() -> None:
    [alone] = [explain_group([a_refusal("a")], [], [])]
    assert alone.details == {"outcome": "a was rolled back"}
    first = explain_group([a_refusal("a"), a_refusal("b"), a_refusal("c")], ["d"], ["e", "f"])
    assert first.message == "a.sql: no; refused too: b, c"
    assert [found["version"] for found in first.details["refused_too"]] == ["b", "c"]
    assert first.details["outcome"] == (
        "a was rolled back; so were b, c; of its group d is applied; e, f are not applied"
    )
    assert explain_group([("a", StatementError("no"))], [], []).details["outcome"] == (
        "a was rolled back"
    )
    lost = explain_group([a_refusal("a")], [], [], ["b"])
    assert lost.details["outcome"] == (
        "a was rolled back; unknown: the connection was lost while b ran; see `status`"
    )


def test_what_was_not_read_is_the_file_s_where_the_position_says_so() -> None:
    message = Message(b"SELECT 1; SELEKT", 1, body_starts=10, body_ends=16)
    assert [is_within(message, position) for position in (None, 10, 11, 16, 17)] == [
        *(False, False, True, True, False)
    ]


def test_each_file_of_a_group_knows_the_others_and_what_comes_behind() -> None:
    scripts = [a_script("SELECT")._replace(migration=a_migration(number)) for number in range(1, 6)]
    first, *three, last = scripts
    group = [script._replace(group=three[0].migration.version) for script in three]
    versions = [script.migration.version for script in three]
    found = left_with_groups([first, *group, last])
    assert list(found) == versions
    assert found[versions[1]] == ((versions[0], versions[2]), 1)
    assert left_with_groups([]) == {}


def test_a_stop_says_what_it_left() -> None:
    assert explain_stop(["a"], []) == "a was rolled back"
    assert explain_stop([], []) == "nothing was under way"
    assert explain_stop(["a"], [], ["b"]) == (
        "a was rolled back; b was refused before: the server's log says why"
    )
    assert explain_stop(["a", "b"], ["c"]) == (
        "unknown: c was running, and the server did not answer any more; see `status`; a, b were "
        "rolled back"
    )

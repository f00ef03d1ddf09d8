from __future__ import annotations

import json

import pytest

from migrator.no_transaction.settle import (
    Index,
    Next,
    Sight,
    confirm,
    read_sight,
    settle,
    settle_changed,
    settle_first,
)
from migrator.sql.effects import Act, Effect

NOTHING = Sight()
OURS = Sight(
    7, "public.i", index=True, valid=True, definition="CREATE INDEX i ON t (a)", matches=True
)
INVALID = Sight(7, "public.i", index=True, matches=True)
OLD = Sight(3, "public.i", index=True, valid=True)
OLD_INVALID = Sight(3, "public.i", index=True)
TABLE = Sight(7, "public.i")
BUSY = ("psql (pid 9)",)
BUILD, LENIENT = Effect(Act.CREATE_INDEX, ("i",)), Effect(Act.CREATE_INDEX, ("i",), lenient=True)


def other(sight: Sight, **values: object) -> Sight:
    return read_sight({**sight.as_json(), "matches": sight.matches, **values})


@pytest.mark.parametrize(
    ("effect", "before", "found", "verdict"),
    [
        pytest.param(BUILD, NOTHING, NOTHING, Next.AGAIN, id="never begun"),
        pytest.param(BUILD, NOTHING, OURS, Next.DONE, id="valid and as the file says"),
        pytest.param(BUILD, NOTHING, INVALID, Next.CLEAN, id="INVALID and as the file says"),
        pytest.param(BUILD, NOTHING, other(INVALID, busy=BUSY), Next.WAIT, id="being built"),
        pytest.param(BUILD, NOTHING, other(OURS, busy=BUSY), Next.DONE, id="valid: no build"),
        pytest.param(BUILD, NOTHING, other(OURS, matches=False), Next.ASK, id="another one"),
        pytest.param(BUILD, NOTHING, other(OURS, matches=None), Next.ASK, id="not provable"),
        pytest.param(BUILD, NOTHING, other(INVALID, matches=False), Next.ASK, id="INVALID, other"),
        pytest.param(BUILD, NOTHING, TABLE, Next.ASK, id="no index at all"),
        pytest.param(BUILD, OLD, OLD, Next.AGAIN, id="older: PostgreSQL will refuse"),
        pytest.param(BUILD, OLD_INVALID, OLD_INVALID, Next.AGAIN, id="older, INVALID: it refuses"),
        pytest.param(LENIENT, OLD, OLD, Next.AGAIN, id="older: PostgreSQL will pass over it"),
        pytest.param(LENIENT, OLD_INVALID, OLD_INVALID, Next.ASK, id="older and INVALID: never"),
        pytest.param(LENIENT, OLD_INVALID, OLD, Next.AGAIN, id="older, mended since"),
        pytest.param(
            LENIENT, OLD_INVALID, other(OLD_INVALID, busy=BUSY), Next.WAIT, id="older, being built"
        ),
        pytest.param(LENIENT, TABLE, TABLE, Next.AGAIN, id="an older table: seen after"),
    ],
)
def test_an_interrupted_build(effect: Effect, before: Sight, found: Sight, verdict: Next) -> None:
    given = settle(effect, before, found)
    assert given.next is verdict
    assert given.drop == (("public.i",) if verdict is Next.CLEAN else ())
    assert given.seen


DROP = Effect(Act.DROP_INDEX, ("i",))
REINDEX = Effect(Act.REINDEX, ("t",), what="table")
LEFT = Index(5, "public.i_ccnew")
QUOTED = Index(6, 'public."I x_ccold1"')
PLAIN = Index(7, "public.i")
DETACH = Effect(Act.DETACH, ("c",), ("p",))
ATTACHED = Sight(4, "public.c", attached=True)
PENDING = Sight(4, "public.c", attached=True, pending=True)
DETACHED = Sight(4, "public.c")
CREATE = Effect(Act.CREATE, ("d",), what="database")
GONE = Effect(Act.DROP, ("d",), what="database")


@pytest.mark.parametrize(
    ("effect", "before", "found", "verdict"),
    [
        pytest.param(DROP, OLD, OLD, Next.AGAIN, id="drop: still there"),
        pytest.param(DROP, OLD, OLD_INVALID, Next.AGAIN, id="drop: half gone"),
        pytest.param(DROP, OLD, NOTHING, Next.DONE, id="drop: gone"),
        pytest.param(DROP, NOTHING, NOTHING, Next.AGAIN, id="drop: never there"),
        pytest.param(DROP, OLD, OURS, Next.ASK, id="drop: another one in its place"),
        pytest.param(REINDEX, NOTHING, NOTHING, Next.AGAIN, id="reindex: nothing left"),
        pytest.param(REINDEX, NOTHING, Sight(invalid=(LEFT,)), Next.CLEAN, id="reindex: left"),
        pytest.param(
            REINDEX, NOTHING, Sight(invalid=(LEFT,), busy=BUSY), Next.WAIT, id="reindex: at work"
        ),
        pytest.param(
            REINDEX,
            Sight(invalid=(LEFT,)),
            Sight(invalid=(LEFT, PLAIN)),
            Next.AGAIN,
            id="reindex: what was there before, and what is no leftover",
        ),
        pytest.param(DETACH, ATTACHED, ATTACHED, Next.AGAIN, id="detach: still attached"),
        pytest.param(DETACH, ATTACHED, PENDING, Next.FINALIZE, id="detach: pending"),
        pytest.param(DETACH, ATTACHED, other(PENDING, busy=BUSY), Next.WAIT, id="detach: at work"),
        pytest.param(DETACH, ATTACHED, DETACHED, Next.DONE, id="detach: done"),
        pytest.param(DETACH, PENDING, PENDING, Next.AGAIN, id="detach: somebody else's pending"),
        pytest.param(DETACH, DETACHED, DETACHED, Next.AGAIN, id="detach: was no partition"),
        pytest.param(DETACH, ATTACHED, NOTHING, Next.ASK, id="detach: the table is gone"),
        pytest.param(CREATE, NOTHING, NOTHING, Next.AGAIN, id="create: not there"),
        pytest.param(CREATE, NOTHING, Sight(8), Next.DONE, id="create: there"),
        pytest.param(CREATE, Sight(8), Sight(8), Next.AGAIN, id="create: there before"),
        pytest.param(CREATE, Sight(8), Sight(9), Next.ASK, id="create: another one"),
        pytest.param(GONE, Sight(8), NOTHING, Next.DONE, id="drop: database gone"),
        pytest.param(GONE, Sight(8), Sight(8), Next.AGAIN, id="drop: database there"),
        pytest.param(GONE, Sight(8), Sight(9), Next.ASK, id="drop: another database"),
        pytest.param(Effect(Act.REPEAT), NOTHING, NOTHING, Next.AGAIN, id="done twice"),
        pytest.param(Effect(Act.ASK), NOTHING, NOTHING, Next.ASK, id="nobody can tell"),
        pytest.param(Effect(Act.ASK), NOTHING, Sight(orphans=BUSY), Next.WAIT, id="it still runs"),
    ],
)
def test_another_interrupted_statement(
    effect: Effect, before: Sight, found: Sight, verdict: Next
) -> None:
    given = settle(effect, before, found)
    assert given.next is verdict
    assert given.drop == ((LEFT.name,) if verdict is Next.CLEAN else ())


def test_what_was_never_begun_is_run_unless_something_stands_in_the_way() -> None:
    assert settle_first(Effect(Act.ASK), NOTHING).next is Next.AGAIN
    assert settle_first(LENIENT, OLD).next is Next.AGAIN
    assert settle_first(LENIENT, OLD_INVALID).next is Next.ASK


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (NOTHING, Next.AGAIN),
        (other(INVALID, busy=BUSY), Next.WAIT),
        (OURS, Next.ASK),
        (INVALID, Next.ASK),
    ],
)
def test_a_statement_that_was_changed_since_is_settled_only_where_it_left_nothing(
    found: Sight, verdict: Next
) -> None:
    assert settle_changed(BUILD, NOTHING, found).next is verdict


@pytest.mark.parametrize(
    ("effect", "found", "verdict"),
    [
        (BUILD, OURS, Next.DONE),
        (LENIENT, OLD_INVALID, Next.ASK),
        (LENIENT, TABLE, Next.ASK),
        (LENIENT, NOTHING, Next.ASK),
        (REINDEX, Sight(invalid=(LEFT, QUOTED)), Next.DONE),
        (REINDEX, Sight(invalid=(LEFT, PLAIN)), Next.ASK),
        (Effect(Act.REPEAT), NOTHING, Next.DONE),
    ],
)
def test_an_answer_is_confirmed_by_the_catalog(effect: Effect, found: Sight, verdict: Next) -> None:
    assert confirm(effect, found).next is verdict


def test_a_sight_survives_the_journal() -> None:
    for sight in (NOTHING, OURS, PENDING, Sight(invalid=(LEFT, QUOTED))):
        kept = read_sight(json.loads(json.dumps(sight.as_json())))
        assert kept == other(sight, matches=None)

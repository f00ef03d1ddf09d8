"""Each event as a word and a phrase, in the words of a person."""

from __future__ import annotations

from typing import Any

import pytest

from migrator.cli import phrases
from migrator.cli.cells import Screen
from migrator.cli.phrases import phrase, spent
from migrator.cli.terminal import SAID_BY_THE_END
from tests.pages import told_events

BLOCKER = {"pid": 7, "application_name": "psql", "state": "idle in transaction", "open_seconds": 62}
STATEMENT = {"version": "004_i", "statement": 1, "statements": 2, "what": "VACUUM t"}
INDEX = {
    "command": "CREATE INDEX CONCURRENTLY",
    "phase": "building index: scanning table",
    "relation": "public.orders",
    "percent": 24.0,
    "done": 529,
    "total": 2206,
    "unit": "blocks",
}


def progress(**fields: Any) -> dict[str, Any]:
    return {"version": "004_i", "running_ms": 2345, **fields}


EVENTS = [
    (
        "run.started",
        {"command": "up", "migrations_dir": "m", "migrator": "1.0"},
        "started: migrator 1.0: up, migrations in m",
    ),
    ("source.empty", {"migrations_dir": "m"}, "warning: no migration in m"),
    (
        "url.trimmed",
        {"setting": "DIRECT_URL", "parameters": ["pgbouncer", "schema"]},
        "trimmed: pgbouncer, schema of DIRECT_URL: for other drivers",
    ),
    (
        "connection.retry",
        {"target": "u@h/d", "attempt": 2, "reason": "silent", "error": "no answer"},
        "retry: u@h/d, attempt 2 failed: no answer",
    ),
    (
        "connection.retry",
        {"reason": "lost", "attempt": 1, "error": "cut"},
        "retry: the connection, attempt 1 failed: cut",
    ),
    (
        "connection.rerouted",
        {"target": "a", "instead": "b", "reason": "a session is needed"},
        "rerouted: from a to b: a session is needed",
    ),
    (
        "connection.opened",
        {
            **{"target": "u@h:5432/d", "setting": "DATABASE_URL", "server_version": 150018},
            **{"tls": False, "backend_pid": 3},
        },
        "connected: u@h:5432/d, PostgreSQL 15.18, no TLS",
    ),
    (
        "connection.opened",
        {
            **{"target": "u@h/d", "setting": "DIRECT_URL", "server_version": 170002},
            **{"tls": True, "backend_pid": 3, "scratch": "s"},
        },
        "connected: u@h/d (DIRECT_URL), PostgreSQL 17.2, TLS, scratch s",
    ),
    (
        "connection.notice",
        {"target": "u@h/d", "sqlstate": "01000", "notice": "hello"},
        "notice: u@h/d: hello (01000)",
    ),
    ("plan.made", {}, "plan: nothing to do"),
    ("plan.made", {"applied_count": 3}, "plan: nothing to do; 3 applied"),
    ("plan.made", {"format": "native"}, "plan: nothing to do"),
    ("plan.made", {"format": "goose"}, "plan: nothing to do; the folder is read as goose"),
    (
        "plan.made",
        {"pending": ["a", "b"], "applied_count": 3, "drifted": ["c"]},
        "plan: 2 pending: a, b; 1 drifted: c; 3 applied",
    ),
    (
        "plan.made",
        {"pending": [f"v{n}" for n in range(12)]},
        "plan: 12 pending: v0, v1, v2, v3, v4, v5, v6, v7 and 4 more",
    ),
    ("plan.made", {"would_undo": ["a"], "applied_count": 1}, "plan: 1 to undo: a; 1 applied"),
    (
        "plan.warning",
        {"file": "001_a.sql", "problem": "is late", "remedy": "Rename it."},
        "warning: m/001_a.sql: is late. Rename it.",
    ),
    (
        "plan.warning",
        {"file": "001_a.sql", "line": 3, "problem": "is odd", "remedy": "Fix it."},
        "warning: m/001_a.sql:3: is odd. Fix it.",
    ),
    (
        "plan.warning",
        {"problem": "9900 more like these", "remedy": "See x.", "more": 9900},
        "warning: … 9900 more like these. See x.",
    ),
    (
        "repeatable.forgotten",
        {"version": "R__v", "file": "R__v.sql", "undone": "002_b"},
        "forgotten: R__v, which ran after 002_b; the next `up` runs it again",
    ),
    (
        "batch.progress",
        {
            **{"version": "004_f", "rows": 1200000, "batches": 88, "percent": 60},
            **{"rows_per_second": 88000, "seconds_left": 9, "waiting": "lag"},
        },
        "batches: 004_f: 1,200,000 rows, 60 %, 88,000 a second, 9 s left, waits for a standby",
    ),
    (
        "batch.progress",
        {"version": "004_f", "rows": 1200, "batches": 1, "waiting": "lock"},
        "batches: 004_f: 1,200 rows, waits for a lock",
    ),
    (
        "lock.waiting",
        {"holder": {"pid": 7, "application_name": "migrator/x"}, "waited_ms": 61_000},
        "waiting: for the lock, which migrator/x (pid 7) holds, for 1 min 1 s",
    ),
    (
        "lock.waiting",
        {"holder": {"pid": 7, "who": "a session whose name is not known"}, "waited_ms": 0},
        "waiting: for the lock, which a session whose name is not known (pid 7) holds, for 0 ms",
    ),
    ("lock.waiting", {"holder": {}, "waited_ms": 0}, "waiting: for the lock, for 0 ms"),
    ("history.prepared", {"schema": "public"}, "prepared: the history, in schema public"),
    (
        "history.baselined",
        {"version": "003_c", "count": 3},
        "baseline: 3 recorded, up to 003_c",
    ),
    (
        "history.adopted",
        {"from": "flyway", "table": "public.t", "count": 3},
        "adopted: 3 from flyway, public.t",
    ),
    (
        "mirror.absent",
        {},
        "warning: SYNC_SUPABASE_HISTORY is on, and the Supabase CLI has no history here",
    ),
    (
        "transaction.open",
        {**BLOCKER, "relations": ["orders", "items"]},
        "warning: an old transaction holds locks on orders, items: psql (pid 7, idle in "
        "transaction, transaction open for 62 s)",
    ),
    (
        "migration.started",
        {"version": "001_a", "file": "001_a.sql", "step": 2, "steps": 3},
        "started: 001_a, 2 of 3",
    ),
    ("migration.notice", {"version": "001_a", "notice": "hi"}, "notice: 001_a: hi"),
    ("migration.notice", {"version": "a", "notice": "… 3 more", "more": 3}, "notice: a: … 3 more"),
    (
        "migration.progress",
        progress(progress=INDEX, wait_event="IO: DataFileRead"),
        "running: building index on orders, 24 % (529 of 2,206 blocks), 2 s",
    ),
    (
        "migration.progress",
        progress(progress={**INDEX, "percent": None, "total": None, "unit": "rows"}),
        "running: building index on orders, 529 rows, 2 s",
    ),
    (
        "migration.progress",
        progress(progress={"command": "COPY FROM", "phase": "PIPE", "relation": "t", "done": 0}),
        "running: COPY FROM on t, 2 s",
    ),
    (
        "migration.progress",
        progress(wait_event="Timeout: PgSleep", running_ms=200),
        "running: waits for Timeout: PgSleep, 200 ms",
    ),
    ("migration.progress", progress(), "running: 2 s"),
    (
        "migration.progress",
        progress(waits_for={"relation": "hot"}, blockers=[BLOCKER], wait_event="Lock: relation"),
        "running: waits for a lock on hot, behind psql (pid 7, idle in transaction, transaction "
        "open for 62 s), 2 s",
    ),
    (
        "migration.progress",
        progress(waits_for={"relation": None}, blockers=[]),
        "running: waits for a lock, 2 s",
    ),
    (
        "migration.progress",
        progress(parallel="g"),
        "running: 004_i, 2 s",
    ),
    (
        "jobs.reduced",
        {"jobs": 2, "reason": "no answer within 5 s"},
        "notice: JOBS is 2 from here on, reason no answer within 5 s",
    ),
    (
        "observer.unavailable",
        {"error": "no slot"},
        "notice: neither blockers nor progress can be seen, error no slot",
    ),
    (
        "migration.retry",
        {
            **{"version": "a", "attempt": 2, "reason": "busy", "sqlstate": "55P03"},
            **{"error": "timeout", "waits_for": {"relation": "hot"}, "blockers": [{"pid": 7}]},
        },
        "retry: a, attempt 2 failed: timeout (55P03); the lock on hot is held or awaited by an "
        "unnamed application (pid 7)",
    ),
    (
        "migration.retry",
        {
            **{"version": "a", "attempt": 1, "reason": "busy", "sqlstate": "55P03"},
            **{"error": "timeout", "blockers_unknown": "the wait was too short"},
        },
        "retry: a, attempt 1 failed: timeout (55P03); who blocks it is not known: the wait was "
        "too short",
    ),
    (
        "migration.retry",
        {"version": "a", "losses": 1, "error": "cut", "reason": "lost"},
        "retry: a, attempt 1 failed: cut",
    ),
    ("statement.started", STATEMENT, "statement: 004_i, 1 of 2: VACUUM t"),
    (
        "statement.done",
        {**STATEMENT, "execution_time_ms": 5, "how": "ran"},
        "done: 004_i, 1 of 2: VACUUM t in 5 ms",
    ),
    (
        "statement.done",
        {**STATEMENT, "execution_time_ms": None, "how": "settled"},
        "done: 004_i, 1 of 2: VACUUM t; found to be done",
    ),
    (
        "statement.settled",
        {**STATEMENT, "seen": "an INVALID index", "verdict": "run again"},
        "settled: 004_i, 1 of 2: VACUUM t: an INVALID index; so: run again",
    ),
    (
        "migration.applied",
        {"version": "a", "file": "a.sql", "execution_time_ms": 2516},
        "applied: a in 2.5 s",
    ),
    ("migration.applied", {"version": "a", "execution_time_ms": None}, "applied: a"),
    ("hook.done", {"version": "after", "execution_time_ms": None}, "hook: after"),
    (
        "undo.started",
        {"version": "a", "file": "a.down.sql", "step": 1, "steps": 1, "from": "file"},
        "started: the undo of a from the folder, 1 of 1",
    ),
    (
        "undo.started",
        {"version": "a", "file": "a.down.sql", "step": 1, "steps": 1, "from": "stored"},
        "started: the undo of a, 1 of 1",
    ),
    ("migration.undone", {"version": "a", "execution_time_ms": 5}, "undone: a in 5 ms"),
    (
        "repair.assuming",
        {"version": "a", "answer": "done", "assumed": "it is done", "why": "seen", "number": "1"},
        "assumed: it is done (reason: seen)",
    ),
    (
        "migration.rehearsed",
        {"version": "a", "result": "no undo", "step": 1, "steps": 2},
        "rehearsed: a, 1 of 2: no undo",
    ),
    (
        "scratch.left",
        {"scratch": "s", "error": "in use"},
        "warning: the scratch database s could not be dropped, error in use",
    ),
    (
        "migrations.waiting",
        {"pending": ["a", "b"], "attempt": 3},
        "waiting: for 2 pending: a, b; looked 3 times",
    ),
    (
        "member.finished",
        {
            **{"name": "t1", "exit_code": 0, "outcome": "1 applied", "current": "002_b"},
            **{"applied": ["002_b"], "pending": ["003_c"], "error": None, "remedy": None},
            "duration_ms": 7,
        },
        "member: t1, 1 applied, at 002_b, 1 pending in 7 ms",
    ),
    ("lines.lost", {"lines": 3}, "warning: 3 lines before were lost"),
    (
        "telemetry.failed",
        {"error": "no answer within 2 s", "remedy": "Check it."},
        "warning: no trace was sent: no answer within 2 s. Check it.",
    ),
    (
        "termination_log.failed",
        {"path": "/p", "error": "read-only"},
        "warning: /p could not be written, error read-only",
    ),
]


@pytest.mark.parametrize(("name", "fields", "said"), EVENTS)
def test_a_phrase(name: str, fields: dict[str, Any], said: str) -> None:
    word, text = phrase(name, "info", fields, Screen(folder="m"))
    assert f"{word}: {text}" == said


def test_every_event_has_its_phrase() -> None:
    ended = {"run.finished", *SAID_BY_THE_END}
    assert {name for name, _, _ in EVENTS} == told_events() - ended == set(phrases._EVENTS)


def test_each_word_fits_its_column() -> None:
    assert [word for word, _ in phrases._EVENTS.values() if len(word) > 9] == []


def test_a_warning_of_the_server_is_called_one() -> None:
    fields = {"version": "a", "notice": "careful"}
    assert phrase("migration.notice", "warning", fields, Screen()) == ("warning", "a: careful")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param(
            {"a": None, "b": "", "c": [], "d": {}, "e_f": False, "g": True},
            "e f no, g yes",
            id="no Python words, and nothing of what says nothing",
        ),
        pytest.param({"a": {"b_c": 1, "d": [1, 2]}}, "a b c 1, d 1, 2", id="what is nested"),
        pytest.param({"a": "x\ny"}, r"a x\ny", id="one line"),
    ],
)
def test_an_event_that_is_not_known_is_shown_by_its_names(
    fields: dict[str, Any], said: str
) -> None:
    assert phrase("x.y", "info", fields, Screen()) == ("x.y", said)


def test_an_event_of_other_fields_is_shown_by_its_names() -> None:
    """A line must not end a run."""
    fields = {"version": "a", "how_many": 2}
    assert phrase("migration.started", "info", fields, Screen()) == (
        "started",
        "version a, how many 2",
    )
    assert fields == {"version": "a", "how_many": 2}


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        *((0, "0 ms"), (999, "999 ms"), (1000, "1 s"), (2516, "2.5 s"), (59_940, "59.9 s")),
        *((59_960, "1 min 0 s"), (125_000, "2 min 5 s"), (7_500_000, "2 h 5 min")),
    ],
)
def test_a_time_in_words(ms: int, said: str) -> None:
    assert spent(ms) == said

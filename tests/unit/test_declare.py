"""What a baseline declares, and what it writes down."""

from __future__ import annotations

import pytest

from migrator.commands.baseline_rules import declared, to_declare
from migrator.errors import ConfigError
from migrator.model import Applied, Kind
from tests.builders import PLACE, RUN_ID, a_migration, a_script, an_applied

FOLDER = [*(a_migration(n) for n in (1, 2, 10)), a_migration("R__view")]
THERE = [an_applied(1, kind=Kind.BASELINE), an_applied(2, kind=Kind.BASELINE)]


@pytest.mark.parametrize(
    ("at", "history", "expected"),
    [
        pytest.param("002_step", [], [1, 2], id="it and all that is older"),
        pytest.param("010_step", [], [1, 2, 10], id="by number"),
        pytest.param("002_step", THERE, [], id="a second time it is there"),
    ],
)
def test_what_is_declared(at: str, history: list[Applied], expected: list[int]) -> None:
    assert [migration.number for migration in to_declare(FOLDER, history, at)] == expected


@pytest.mark.parametrize(
    ("at", "history", "message"),
    [
        pytest.param("003_step", [], "there is no versioned 003_step.sql in the folder", id="none"),
        pytest.param(
            "R__view", [], "there is no versioned R__view.sql in the folder", id="a repeatable"
        ),
        pytest.param(
            "001_step", THERE, "the history is not empty: the newest applied is 002_step", id="less"
        ),
        pytest.param(
            "002_step",
            [an_applied(1), an_applied(2)],
            "the history is not empty: the newest applied is 002_step",
            id="the same, but it was run",
        ),
        pytest.param(
            "002_step",
            [THERE[0], an_applied(2, "SELECT 2;", kind=Kind.BASELINE)],
            "the history is not empty: the newest applied is 002_step",
            id="another text",
        ),
    ],
)
def test_what_is_no_beginning_is_refused(at: str, history: list[Applied], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        to_declare(FOLDER, history, at)


def test_what_is_written_down() -> None:
    floor = "-- migrator: floor\nSELECT 1;\n"
    chosen = [a_migration(1, rollback_sql="DROP 'x';"), a_migration(2, floor)]
    writes = declared(a_script("SELECT", "002_step"), PLACE, chosen)
    first, second = (migration.checksum for migration in chosen)
    log = 'INSERT INTO "public".schema_migrations_log (run_id, version, event, runner, detail)'
    assert [write.rows for write in writes] == [2, 1, 1]
    assert tuple(write.sql for write in writes) == (
        'INSERT INTO "public".schema_migrations '
        "(version, checksum, rollback_sql, kind, run_id, floor)\n"
        f"VALUES ('001_step', '{first}', 'DROP ''x'';', 'baseline', '{RUN_ID}', False),\n"
        f"  ('002_step', '{second}', NULL, 'baseline', '{RUN_ID}', True)",
        f"{log}\nVALUES ('{RUN_ID}', '001_step', 'baseline', 'migrator/pod-1', "
        f'\'{{"checksum": "{first}", "format": "native"}}\')',
        f"{log}\nVALUES ('{RUN_ID}', '002_step', 'baseline', 'migrator/pod-1', "
        f'\'{{"checksum": "{second}", "format": "native"}}\')',
    )

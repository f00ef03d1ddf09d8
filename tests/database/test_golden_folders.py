"""A folder of each tool with every rule of docs/formats.md: the database is what psql makes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.conftest import Database, create_database, drop_database
from tests.golden import GOLDEN, Step
from tests.job import run_job
from tests.programs import dump, run_psql


def lay(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


def by_psql(database: Database, folder: Path, steps: Iterable[tuple[str, bool]]) -> None:
    """Run the texts as files of their own, by one psql; True is outside a transaction."""
    folder.mkdir()
    lines = ["SET client_encoding = 'UTF8';"]
    for number, (text, alone) in enumerate(steps):
        (folder / f"{number}.sql").write_bytes(text.encode())
        file = f"\\i {folder / f'{number}.sql'}\n;\nRESET search_path;"
        lines += [file] if alone else ["BEGIN;", file, "COMMIT;"]
    (folder / "all.sql").write_text("\n".join(lines))
    run_psql(database, folder / "all.sql")


@pytest.mark.parametrize("name", GOLDEN)
def test_every_rule_of_the_tool_makes_what_psql_makes(
    name: str, database: Database, tmp_path: Path
) -> None:
    golden = GOLDEN[name]()
    assert len(golden.files) >= 20
    folder = lay(tmp_path / "m", golden.files)
    done = run_job(database.url, folder, **golden.settings)
    assert done.code == 0, (done.report["findings"], done.report["error"])
    assert done.applied == [step.version for step in golden.steps]
    formats = {
        line["detail"]["format"] for line in done.of("migration.applied") if "detail" in line
    }
    assert formats <= {name}
    other = create_database(database.server)
    try:
        by_psql(other, tmp_path / "up", [(step.up, step.alone) for step in golden.steps])
        assert dump(database) == dump(other)
        assert run_job(database.url, folder, **golden.settings).applied == []
        if not golden.base:
            return
        words = ("rollback", "--yes", "--to", golden.base)
        back = run_job(database.url, folder, *words, **golden.settings)
        assert back.code == 0, back.stderr
        undone = [step for step in reversed(golden.steps) if is_undone(step, golden.base)]
        by_psql(other, tmp_path / "down", [(s.down or "", s.down_alone) for s in undone])
        assert dump(database) == dump(other)
    finally:
        drop_database(other)


def is_undone(step: Step, base: str) -> bool:
    return step.down is not None and step.version != base

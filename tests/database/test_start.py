"""What a run with nothing pending imports and makes at its start: all of it is paid each time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.builders import write_folder
from tests.conftest import Database
from tests.job import ROOT, run_job

#: Runs the job as `entrypoint.py` does and says what it has imported by its end.
SCRIPT = """
import json, sys
from migrator.cli.main import main
code = main(["up"])
print(json.dumps({"code": code, "modules": sorted(sys.modules)}))
"""
#: Raise it only with a reason: 1 ms each on a slow machine, in every pod that waits.
MODULES = 72
NOT_NEEDED = {
    *("argparse", "asyncio", "difflib", "email", "http.client", "sqlite3", "subprocess"),
    *(
        "ipaddress",
        "pathlib",
        "platform",
        "urllib.parse",
        "tempfile",
        "tenacity",
        "tomllib",
        "urllib.request",
        "psycopg2.extras",
    ),
    *("migrator.apply.send", "migrator.refusals.diagnosis", "migrator.plan.scope"),
    *("migrator.history.at_work", "migrator.history.seen", "migrator.batches.run"),
    *("migrator.cli.tables", "migrator.cli.help", "migrator.sql.scanner"),
    *("migrator.postgres.blockers", "migrator.history.create", "migrator.folder.foreign"),
}


@pytest.fixture
def started(database: Database, tmp_path: Path) -> dict[str, Any]:
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1;\n", "002_b.sql": "SELECT 2;\n"})
    assert run_job(database.url, folder).code == 0
    settings = {"DATABASE_URL": database.url, "MIGRATIONS_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["code"] == 0
    return found


def test_a_run_with_nothing_pending_imports_little(started: dict[str, Any]) -> None:
    ours = [name for name in started["modules"] if name.partition(".")[0] == "migrator"]
    assert len(ours) <= MODULES, ours
    assert NOT_NEEDED & set(started["modules"]) == set()


def test_a_run_with_nothing_pending_makes_no_dataclass(started: dict[str, Any]) -> None:
    """Each compiles its methods anew at every start; a NamedTuple takes a tenth of that.

    The first one needs `inspect`, which is a tenth of such a run by itself. python-json-logger
    names `dataclasses`, and uses it for values that no event has.
    """
    assert {"inspect", "platform"} & set(started["modules"]) == set()


def test_the_garbage_collector_works_while_the_job_does() -> None:
    """It is off for the imports alone: a `wait` may poll for hours."""
    script = (
        "import gc, migrator.cli.main as cli\n"
        "gc.disable()\n"
        "cli.main = lambda: 10 + gc.isenabled()\n"
        "cli.program()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    assert done.returncode == 11

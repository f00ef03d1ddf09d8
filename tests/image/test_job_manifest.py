"""The container that k8s/base/job.yaml describes, run by the engine as a kubelet would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.builders import write_folder
from tests.image.containers import MIGRATIONS, REPOSITORY, Database, Runner, mounted, until


@pytest.fixture
def options(database: Database, tmp_path: Path) -> dict[str, Any]:
    """The manifest in docker's words, with a termination log as a kubelet makes it."""
    (job,) = yaml.safe_load_all((REPOSITORY / "k8s" / "base" / "job.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    closed = container["securityContext"]
    log = tmp_path / "termination-log"
    log.touch()
    log.chmod(0o666)
    known = {"DATABASE_URL": database.url, "HOSTNAME": "migrator-7xk2p"}
    env = {variable["name"]: variable.get("value") for variable in container["env"]}
    given = {name: value or known.get(name) for name, value in env.items()}
    return {
        "command": container["args"],
        "user": f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}",
        "read_only": closed["readOnlyRootFilesystem"],
        "cap_drop": closed["capabilities"]["drop"],
        "security_opt": ["no-new-privileges"] * (not closed["allowPrivilegeEscalation"]),
        "mem_limit": container["resources"]["limits"]["memory"].removesuffix("i").lower(),
        "environment": {name: value for name, value in given.items() if value},
        "volumes": mounted(log, container["terminationMessagePath"], "rw"),
    }


def test_the_job_migrates(
    job: Runner, database: Database, options: dict[str, Any], tmp_path: Path
) -> None:
    outcome = job.run(*options.pop("command"), **options)
    assert outcome.code == 0, outcome.stderr
    assert json.loads((tmp_path / "termination-log").read_text())["exit_code"] == 0
    assert database.query("SELECT DISTINCT runner FROM public.schema_migrations_log") == [
        ("migrator/migrator-7xk2p",)
    ]


@pytest.mark.faults
def test_a_drained_node_stops_the_job_cleanly(
    job: Runner, database: Database, options: dict[str, Any], tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "slow", {"001_slow.sql": "SELECT pg_sleep(600);\n"})
    options["volumes"] |= mounted(folder, MIGRATIONS)
    running = job.start(*options.pop("command"), **options)
    asleep = (
        "SELECT application_name FROM pg_stat_activity"
        f" WHERE datname = '{database.name}' AND wait_event = 'PgSleep'"
    )
    until(lambda: database.query(asleep), 30, "the migration sleeps")
    assert database.query(asleep) == [("migrator/migrator-7xk2p",)]
    running.send("SIGTERM")
    outcome = running.wait(10)
    assert outcome.code == 23, outcome.stderr
    assert database.query(asleep) == []
    told = json.loads((tmp_path / "termination-log").read_text())
    assert (told["exit_code"], told["outcome"]) == (23, "001_slow was rolled back")


def test_a_failure_says_why_where_the_cluster_looks(
    job: Runner, options: dict[str, Any], tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "broken", {"001_broken.sql": "SELECT nothing;\n"})
    options["volumes"] |= mounted(folder, MIGRATIONS)
    outcome = job.run(*options.pop("command"), **options)
    assert outcome.code == 15, outcome.stderr
    told = json.loads((tmp_path / "termination-log").read_text())
    assert told["exit_code"] == 15
    assert "001_broken" in json.dumps(told["error"])


def test_an_init_container_waits_for_the_job(
    job: Runner, database: Database, options: dict[str, Any]
) -> None:
    """`wait`, as in k8s/examples/app.yaml: 24 while there is something pending, 0 from then on."""
    command = options.pop("command")
    impatient = options["environment"] | {"WAIT_TIMEOUT": "1s"}
    assert job.run("wait", **{**options, "environment": impatient}).code == 24

    waiting = job.start("wait", **options)
    assert job.run(*command, **options).code == 0
    outcome = waiting.wait(30)
    assert outcome.code == 0, outcome.stderr

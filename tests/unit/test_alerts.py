"""The alerts, evaluated over time by Prometheus's own promtool: when each fires and when not."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pages import ROOT

RULES = yaml.safe_load((ROOT / "k8s/monitoring/rules.yaml").read_text())["spec"]
JOB = 'namespace="shop", job_name="migrator-a1"'
FAILED = f'kube_job_failed{{{JOB}, condition="%s"}}'
STARTED, ACTIVE = f"kube_job_status_start_time{{{JOB}}}", f"kube_job_status_active{{{JOB}}}"
TERMINATED = "kube_pod_container_status_terminated_reason"
KILLED = f'{TERMINATED}{{namespace="shop", pod="p", container="%s", reason="%s"}}'
NIGHTLY = 'namespace="shop", cronjob="migrator-verify"'
SUCCEEDED = f"kube_cronjob_status_last_successful_time{{{NIGHTLY}}}"
CREATED = f"kube_cronjob_created{{{NIGHTLY}}}"
PENDING, FAILING = 'migrator_pending{datname="shop"}', 'migrator_failing{datname="shop"}'
#: A value for each minute, or hour, the first at 0; the time that is looked at; what fires then.
CASES: list[Any] = [
    pytest.param({FAILED % "true": "0 1 1 1"}, "2m", {"MigrationFailed"}, id="a Job that failed"),
    pytest.param(
        {FAILED % "false": "1x5", FAILED % "true": "0x5"}, "3m", set(), id="one that did not"
    ),
    pytest.param({FAILED % "true": "1 1 stale"}, "5m", set(), id="a Job that is removed"),
    pytest.param(
        {STARTED: "60x60", ACTIVE: "1x60"}, "42m", {"MigrationTakesLong"}, id="41 minutes at work"
    ),
    pytest.param({STARTED: "60x60", ACTIVE: "1x60"}, "40m", set(), id="39 minutes at work"),
    pytest.param({STARTED: "60x60", ACTIVE: "0x60"}, "50m", set(), id="a Job that is over"),
    pytest.param(
        {KILLED % ("migrate", "OOMKilled"): "1x5"}, "1m", {"MigratorOutOfMemory"}, id="OOM"
    ),
    pytest.param({KILLED % ("app", "OOMKilled"): "1x5"}, "1m", set(), id="another container"),
    pytest.param({KILLED % ("migrate", "Completed"): "1x5"}, "1m", set(), id="no OOM"),
    pytest.param({SUCCEEDED: "60x50"}, "49h", {"VerificationMissing"}, id="two nights missed"),
    pytest.param({SUCCEEDED: "60x50", CREATED: "0x50"}, "47h", set(), id="one night missed"),
    pytest.param({CREATED: "0x50"}, "49h", {"VerificationMissing"}, id="verify never succeeded"),
    pytest.param({CREATED: "0x50"}, "20h", set(), id="verify is new"),
    pytest.param({PENDING: "3x120"}, "62m", {"MigrationsPending"}, id="pending for an hour"),
    pytest.param({PENDING: "3x120"}, "50m", set(), id="pending for less"),
    pytest.param({PENDING: "3x30 0x90"}, "110m", set(), id="applied in time"),
    pytest.param({FAILING: "0 1 1 1"}, "2m", {"MigrationsFailing"}, id="the newest was refused"),
    pytest.param({FAILING: "1 1 0 0"}, "3m", set(), id="a later one was applied"),
]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """As the operator hands them to Prometheus."""
    if shutil.which("promtool") is None:
        if os.environ.get("REQUIRE_PROMTOOL") == "1":
            pytest.fail("REQUIRE_PROMTOOL=1, but this is missing: apt-get install prometheus")
        pytest.skip("needs promtool: apt-get install prometheus")
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(RULES))
    return tmp_path / "rules.yml"


def promtool(*words: str) -> str:
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_has_nothing_against_the_rules(rules: Path) -> None:
    alerts = sum(len(group["rules"]) for group in RULES["groups"])
    said = promtool("check", "rules", "--lint=all", "--lint-fatal", str(rules))
    assert f"SUCCESS: {alerts} rules found" in said


def test_each_alert_fires_when_it_should_and_then_alone(rules: Path) -> None:
    for step in ("1m", "1h"):
        tests = [_test(str(case.id), step, *case.values) for case in CASES if _step(case) == step]
        file = rules.parent / f"{step}.yml"
        every = {"rule_files": [rules.name], "evaluation_interval": step}
        file.write_text(yaml.safe_dump({**every, "tests": tests}))
        assert "SUCCESS" in promtool("test", "rules", str(file))
    fired: set[str] = set()
    for case in CASES:
        fired |= case.values[2]
    assert fired == {rule["alert"] for group in RULES["groups"] for rule in group["rules"]}


def _step(case: Any) -> str:
    """Hours, where the time that is looked at is one: days of minutes take half a minute."""
    return "1h" if case.values[1].endswith("h") else "1m"


def _test(
    name: str, step: str, series: dict[str, str], at: str, firing: set[str]
) -> dict[str, Any]:
    expected = [{"labels": f'{{alertname="{one}"}}', "value": 1} for one in sorted(firing)]
    asked = 'count by (alertname) (ALERTS{alertstate="firing"})'
    return {
        "name": name,
        "interval": step,
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "promql_expr_test": [{"expr": asked, "eval_time": at, "exp_samples": expected}],
    }

"""k8s/run makes a Job as the migrator's own is, shows its answer and ends with its code."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from migrator.commands.table import COMMANDS
from tests.cluster import UID, Cluster, Moment, a_job, a_pod, kustomize
from tests.job import until
from tests.pages import TROUBLESHOOTING

ROOT = Path(__file__).parents[2]
WORDS = ["repair", "--retry", "003_x", "--reason", 'it\'s "full" \\ again, $5']
ANSWER = "003_x will run again\n"


def run(
    cluster: Cluster, *words: str, shell: Sequence[str] = (), **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*shell, str(ROOT / "k8s" / "run"), *words],
        env={**cluster.env, **env},
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )


def the_job(**metadata: Any) -> dict[str, Any]:
    """The Job of the base as a cluster holds it."""
    (job,) = yaml.safe_load_all((ROOT / "k8s" / "base" / "job.yaml").read_text())
    job["metadata"] |= {"uid": UID, "resourceVersion": "7", **metadata}
    owned = {"controller-uid": UID, "batch.kubernetes.io/job-name": "migrator"}
    job["spec"]["template"]["metadata"]["labels"] |= owned
    job["spec"]["selector"] = {"matchLabels": {"controller-uid": UID}}
    return dict(job)


def as_a_pod_has_it(args: list[str]) -> list[str]:
    """Kubernetes makes one "$" of two, and fills in $(NAME)."""
    assert all("$" not in word.replace("$$", "") for word in args)
    return [word.replace("$$", "$") for word in args]


@pytest.mark.parametrize("code", [0, 15])
def test_it_ends_with_the_code_of_its_command(tmp_path: Path, code: int) -> None:
    given = the_job(annotations={"argocd.argoproj.io/hook": "PreSync"})
    ends = "Failed BackoffLimitExceeded Job has reached" if code else "Complete Reached Reached"
    moments = [Moment(given), Moment(a_job(ends), [a_pod("m-1", code=code)])]
    with Cluster(tmp_path, moments, log=ANSWER) as cluster:
        done = run(cluster, "-n", "shop", *WORDS)
    assert (done.returncode, done.stdout) == (code, ANSWER), done.stderr
    (made,) = cluster.made
    name = made["metadata"]["name"]
    assert cluster.removed == [f"/apis/batch/v1/namespaces/shop/jobs/{name}"]
    assert f"GET /apis/batch/v1/namespaces/shop/jobs/{name}?timeout=20s" in cluster.questions

    kubernetes_validate.validate(made, kubernetes_validate.latest_version(), strict=True)
    assert made["metadata"].keys() <= {"name", "namespace", "labels", "creationTimestamp"}
    assert made["metadata"]["labels"] == {"app.kubernetes.io/name": "migrator"}
    template, own = made["spec"]["template"], given["spec"]["template"]
    assert set(template["metadata"]["labels"]) == {
        *("app.kubernetes.io/name", "app.kubernetes.io/component"),
    }
    assert as_a_pod_has_it(template["spec"]["containers"][0].pop("args")) == WORDS
    assert own["spec"]["containers"][0].pop("args") == ["up"]
    assert template["spec"] == own["spec"], "its image, Secret, settings and security"
    assert (made["spec"]["backoffLimit"], "podFailurePolicy" in made["spec"]) == (0, False)


@pytest.mark.parametrize("shell", [(), ("bash", "--posix")], ids=["sh", "the sh of macOS"])
def test_without_a_job_it_reads_the_files(shell: Sequence[str], tmp_path: Path) -> None:
    moments = [Moment(a_job("Complete Reached Reached"), [a_pod("m-1", code=0)])]
    with Cluster(tmp_path, moments, log=ANSWER) as cluster:
        done = run(cluster, "status", shell=shell, KUSTOMIZATION="k8s/overlays/release")
    assert (done.returncode, done.stdout) == (0, ANSWER), done.stderr
    (container,) = cluster.made[0]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.com/shop/migrator:0.1.0"
    assert container["args"] == ["status"]


def test_without_a_job_it_says_what_to_name(tmp_path: Path) -> None:
    with Cluster(tmp_path, [Moment()], others=["migrator-1-4-0"]) as cluster:
        done = run(cluster, "status")
        assert (done.returncode, cluster.made) == (2, [])
        assert "there is: job.batch/migrator-1-4-0" in done.stderr
        assert "KUSTOMIZATION=k8s/base" in done.stderr
        assert run(cluster, "--namespace=shop").returncode == 2
    with Cluster(tmp_path, [Moment(refusal=401)]) as cluster:
        done = run(cluster, "status")
        assert (done.returncode, cluster.made) == (2, [])
        assert "JOB=" not in done.stderr


def test_a_job_whose_end_is_not_known_is_kept(tmp_path: Path) -> None:
    with Cluster(tmp_path, [Moment(a_job()), Moment(refusal=503)]) as cluster:
        done = run(cluster, "status", API_PATIENCE="0")
    assert (done.returncode, cluster.removed) == (3, [])
    assert f"k8s/wait-for-job {cluster.made[0]['metadata']['name']}" in done.stderr


def test_a_job_that_cannot_be_made_is_a_wrong_use(tmp_path: Path) -> None:
    with Cluster(tmp_path, [Moment(the_job())], refuses_new=True) as cluster:
        done = run(cluster, "status")
    assert (done.returncode, cluster.made, len(cluster.removed)) == (2, [], 1), done.stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_a_stop_ends_the_command_too(number: signal.Signals, code: int, tmp_path: Path) -> None:
    with Cluster(tmp_path, [Moment(the_job()), Moment(a_job(), [a_pod("m-1")])]) as cluster:
        runner = subprocess.Popen(
            [str(ROOT / "k8s" / "run"), "repair", "--list"],
            env=cluster.env,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        until(lambda: any("events" in question for question in cluster.questions))
        os.kill(runner.pid, number)  # the shell alone, as a pipeline does
        _, said = runner.communicate(timeout=60)
    assert (runner.returncode, len(cluster.removed)) == (code, 1), said
    assert "goes on" not in said


def test_one_database_of_a_fleet_is_named_by_its_index(tmp_path: Path) -> None:
    (fleet,) = kustomize(ROOT / "k8s" / "fleet" / "all")
    moments = [Moment(fleet), Moment(a_job("Complete Reached Reached"), [a_pod("m-1", code=0)])]
    with Cluster(tmp_path, moments, log=ANSWER) as cluster:
        done = run(cluster, "status", JOB="migrator-fleet")
        assert (done.returncode, cluster.made) == (2, [])
        assert "INDEX=0" in done.stderr
        cluster.at = -1
        done = run(cluster, "status", JOB="migrator-fleet", INDEX="3")
    assert (done.returncode, done.stdout) == (0, ANSWER), done.stderr
    (made,) = cluster.made
    kubernetes_validate.validate(made, kubernetes_validate.latest_version(), strict=True)
    assert not made["spec"].keys() & {"completionMode", "maxFailedIndexes", "backoffLimitPerIndex"}
    (container,) = made["spec"]["template"]["spec"]["containers"]
    first, *others = container["env"]
    assert first == {"name": "INDEX", "value": "3"}, "before what uses it"
    assert {"name": "DATABASE_URL_FILE", "value": "/urls/$(INDEX)"} in others


#: In the place of kubectl: keeps the patch, and goes no further.
KEEPS = """#!/bin/sh
for word; do case $word in --patch=*) printf %s "${word#--patch=}" > "$KEPT"; exit 1 ;; esac; done
echo '{}'
"""


def test_every_command_of_the_troubleshooting_page_is_typed_that_way(tmp_path: Path) -> None:
    """Whatever a remedy says between back-ticks, `k8s/run` hands on as it is."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(KEEPS)
    kubectl.chmod(0o755)
    texts = re.findall(
        r"`((?:{})(?: [^`\n]*)?)`".format("|".join(COMMANDS)), TROUBLESHOOTING.read_text()
    )
    commands = {text for text in texts if "…" not in text}
    assert {"status", "repair --applied VERSION --reason WHY"} <= commands
    path = f"{tmp_path}:{os.environ['PATH']}"
    for command in commands:
        words = shlex.split(command)
        done = subprocess.run(
            [str(ROOT / "k8s" / "run"), *words],
            env={"PATH": path, "KEPT": str(tmp_path / "patch")},
            capture_output=True,
        )
        assert done.returncode == 2
        patch = yaml.safe_load((tmp_path / "patch").read_text())
        (container,) = patch["spec"]["template"]["spec"]["containers"]
        assert as_a_pod_has_it(container["args"]) == words

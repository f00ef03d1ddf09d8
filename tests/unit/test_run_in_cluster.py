"""k8s/run makes a Job as the migrator's own is, shows its answer and ends with its code."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.cluster import UID, Cluster, Moment, a_job, a_pod

ROOT = Path(__file__).parents[2]
WORDS = ["repair", "--retry", "003_x", "--reason", 'it\'s "full" \\ again']
ANSWER = "003_x will run again\n"


def run(cluster: Cluster, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "k8s" / "run"), *words],
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


@pytest.mark.parametrize("code", [0, 15])
def test_it_ends_with_the_code_of_its_command(tmp_path: Path, code: int) -> None:
    given = the_job(annotations={"argocd.argoproj.io/hook": "PreSync"})
    ends = "Failed BackoffLimitExceeded Job has reached" if code else "Complete Reached Reached"
    moments = [Moment(given), Moment(a_job(ends), [a_pod("m-1", code=code)])]
    with Cluster(tmp_path, moments, log=ANSWER) as cluster:
        done = run(cluster, "--namespace=shop", *WORDS)
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
    assert template["spec"]["containers"][0].pop("args") == WORDS
    assert own["spec"]["containers"][0].pop("args") == ["up"]
    assert template["spec"] == own["spec"], "its image, Secret, settings and security"
    assert (made["spec"]["backoffLimit"], "podFailurePolicy" in made["spec"]) == (0, False)


def test_without_a_job_it_reads_the_files(tmp_path: Path) -> None:
    moments = [Moment(a_job("Complete Reached Reached"), [a_pod("m-1", code=0)])]
    with Cluster(tmp_path, moments, log=ANSWER) as cluster:
        done = run(cluster, "status", KUSTOMIZATION="k8s/overlays/release")
    assert (done.returncode, done.stdout) == (0, ANSWER), done.stderr
    (container,) = cluster.made[0]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.com/shop/migrator:0.1.0"
    assert container["args"] == ["status"]


def test_without_a_job_it_says_what_to_name(tmp_path: Path) -> None:
    with Cluster(tmp_path, [Moment()]) as cluster:
        done = run(cluster, "status")
        assert (done.returncode, cluster.made) == (2, [])
        assert "KUSTOMIZATION=k8s/base" in done.stderr
        assert run(cluster, "--namespace=shop").returncode == 2


def test_a_job_whose_end_is_not_known_is_kept(tmp_path: Path) -> None:
    with Cluster(tmp_path, [Moment(a_job()), Moment(refusal=503)]) as cluster:
        done = run(cluster, "status", API_PATIENCE="0")
    assert (done.returncode, cluster.removed) == (3, [])
    assert f"k8s/wait-for-job {cluster.made[0]['metadata']['name']}" in done.stderr

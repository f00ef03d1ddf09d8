"""k8s/fleet: a pod for each of many databases, and what ends the Job."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import kustomize
from tests.manifests import Object, faults

FLEET = Path(__file__).parents[2] / "k8s" / "fleet"
WAYS = sorted(path.parent.name for path in FLEET.glob("*/kustomization.yaml"))


def the_job(way: str) -> Object:
    (job,) = kustomize(FLEET / way)
    return job


@pytest.mark.parametrize("way", WAYS)
def test_it_is_valid_and_closed_down_and_counts_failures(way: str) -> None:
    job = the_job(way)
    assert faults(job) == []
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed"
    assert 0 <= spec["maxFailedIndexes"] < spec["completions"]
    assert "successPolicy" not in spec, "it calls a Job complete that has failed indexes"
    assert "backoffLimit" not in spec, "it would count the failures of all"


@pytest.mark.parametrize("way", WAYS)
def test_the_index_comes_before_what_uses_it(way: str) -> None:
    """Else $(INDEX) stays as it is written, and every pod has the same database."""
    (container,) = the_job(way)["spec"]["template"]["spec"]["containers"]
    names = [variable["name"] for variable in container["env"]]
    used = [v["name"] for v in container["env"] if "$(" in v.get("value", "")]
    assert used
    assert all("$(INDEX)" in v["value"] for v in container["env"] if v["name"] in used)
    assert all(names.index("INDEX") < names.index(name) for name in used)


def test_one_failure_of_the_canary_ends_it() -> None:
    canary, of_all = the_job("canary"), the_job("all")
    assert canary["spec"]["maxFailedIndexes"] == 0
    assert canary["spec"]["completions"] < of_all["spec"]["completions"]
    assert canary["metadata"]["name"] != of_all["metadata"]["name"]

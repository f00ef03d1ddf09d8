"""The components of Kustomize combine: each alone, each with each, all at once."""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from tests.cluster import kustomize
from tests.manifests import Object, faults

K8S = Path(__file__).parents[2] / "k8s"
NAMES = sorted(path.parent.name for path in K8S.glob("components/*/kustomization.yaml"))
PHASES = ("post-phase", "pre-phase")
#: Two ways to the one URL.
WAYS = ("existing-secret", "url-file")
TOGETHER = [
    (),
    *combinations(NAMES, 1),
    *(pair for pair in combinations(NAMES, 2) if pair not in {WAYS, PHASES}),
    tuple(name for name in NAMES if name not in {"url-file", "pre-phase"}),
    tuple(name for name in NAMES if name not in {"existing-secret", "post-phase"}),
    ("pre-phase", "post-phase"),
]


def release(folder: Path, *components: str) -> list[Object]:
    """What `kubectl kustomize` makes of the release overlay and these, with no other program."""
    overlay = yaml.safe_load((K8S / "overlays" / "release" / "kustomization.yaml").read_text())
    here = Path(os.path.relpath(K8S, folder.resolve()))
    overlay["resources"] = [str(here / "base")]
    overlay["components"] = [str(here / "components" / name) for name in components]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    return kustomize(folder)


@pytest.mark.parametrize("components", TOGETHER, ids="+".join)
def test_what_they_make_is_valid_and_closed_down(
    components: tuple[str, ...], tmp_path: Path
) -> None:
    made = release(tmp_path, *components)
    for document in made:
        assert faults(document, any_user="openshift" in components) == []
    assert [d["kind"] for d in made] == ["Job", *["NetworkPolicy"] * ("egress" in components)]
    job = made[0]
    is_post = "post-phase" in components
    assert job["metadata"]["name"] == ("migrator-post-0-1-0" if is_post else "migrator-0-1-0")
    phase = next((name.partition("-")[0] for name in PHASES if name in components), None)
    assert phase_of(job) == phase
    pod = job["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert container["image"] == "registry.example.com/shop/migrator:0.1.0"
    variables = {variable["name"]: variable for variable in container["env"]}
    expected = {"DATABASE_URL_FILE"} if "url-file" in components else {"DATABASE_URL", "DIRECT_URL"}
    assert {name for name in variables if "_URL" in name} == expected
    if "existing-secret" in components:
        assert variables["DATABASE_URL"]["valueFrom"]["secretKeyRef"]["key"] == "uri"
    mounts = {mount["mountPath"] for mount in container.get("volumeMounts", [])}
    paths = {"private-ca": "/ca", "url-file": "/url"}
    assert mounts == {path for name, path in paths.items() if name in components}
    assert ("cpu" in container["resources"]["limits"]) == ("cpu-limit" in components)
    without_mesh = pod["metadata"]["labels"].get("sidecar.istio.io/inject") == "false"
    assert without_mesh == ("no-mesh" in components)
    if "egress" in components:
        chosen = made[1]["spec"]["podSelector"]["matchLabels"].items()
        assert chosen <= pod["metadata"]["labels"].items()


def phase_of(job: Object) -> str | None:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return next((v["value"] for v in container["env"] if v["name"] == "PHASE"), None)


def test_the_post_phase_is_a_second_job_of_the_release() -> None:
    (first,) = kustomize(K8S / "overlays" / "release")
    (second,) = kustomize(K8S / "overlays" / "post")
    assert faults(second) == []
    assert second["metadata"]["name"] == f"{first['metadata']['name']}-post"
    assert phase_of(second) == "post"
    pod, other = (job["spec"]["template"]["spec"]["containers"][0] for job in (first, second))
    assert pod["image"] == other["image"]
    other["env"] = [variable for variable in other["env"] if variable["name"] != "PHASE"]
    assert first["spec"] == second["spec"]


def test_argo_cd_runs_the_post_phase_as_a_plain_job_behind_the_application() -> None:
    pre, post = kustomize(K8S / "overlays" / "argocd-phases")
    assert [faults(job) for job in (pre, post)] == [[], []]
    assert [job["metadata"]["name"] for job in (pre, post)] == ["migrator", "migrator-post"]
    assert [phase_of(job) for job in (pre, post)] == ["pre", "post"]
    assert pre["metadata"]["annotations"]["argocd.argoproj.io/hook"] == "PreSync"
    assert post["metadata"]["annotations"] == {
        "argocd.argoproj.io/sync-wave": "1",
        "argocd.argoproj.io/sync-options": "Force=true,Replace=true",
    }
    assert "ttlSecondsAfterFinished" not in post["spec"]


def test_argo_cd_runs_the_job_before_a_sync_and_deletes_it_by_itself() -> None:
    (job,) = kustomize(K8S / "overlays" / "argocd")
    assert faults(job) == []
    annotations = job["metadata"]["annotations"]
    assert annotations == {
        "argocd.argoproj.io/hook": "PreSync",
        "argocd.argoproj.io/hook-delete-policy": "BeforeHookCreation",
    }
    assert "ttlSecondsAfterFinished" not in job["spec"]


def test_the_overlay_names_each_component() -> None:
    text = (K8S / "overlays" / "release" / "kustomization.yaml").read_text()
    assert {name for name in NAMES if name not in text} == set()

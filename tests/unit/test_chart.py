"""The Helm chart, rendered by Helm's own code: what it makes is what k8s/base is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from migrator.config import SETTINGS
from migrator.durations import parse_duration
from tests.charts import CHART, GOLDEN, IMAGE, MANY, URL, VALUES, golden_file, render_texts, whole
from tests.manifests import Object, faults

helm = pytest.importorskip("helm_python", reason="the wheels of Helm are for Linux and macOS")

K8S = CHART.parent


def render_all(
    chart: Path = CHART, revision: int = 1, name: str = "shop", **values: Any
) -> list[Object]:
    """What Helm makes of the chart."""
    texts = render_texts(chart, revision, name, **values).values()
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def render(chart: Path = CHART, revision: int = 1, **values: Any) -> dict[str, Object]:
    """The same by kind."""
    return {document["kind"]: document for document in render_all(chart, revision, **values)}


def hooks(documents: dict[str, Object]) -> dict[str, Object]:
    annotations = {k: d["metadata"].get("annotations", {}) for k, d in documents.items()}
    return {kind: found for kind, found in annotations.items() if "helm.sh/hook" in found}


@pytest.mark.parametrize("mode", ["hook", "revision"])
@pytest.mark.parametrize("values", [{}, URL, MANY], ids=["a Secret", "a URL", "everything"])
def test_what_it_makes_is_valid_and_closed_down(mode: str, values: dict[str, Any]) -> None:
    made = render(mode=mode, **values)
    assert [fault for document in made.values() for fault in faults(document)] == []
    assert set(made) == {"Job", "ConfigMap"} | ({"Secret"} if "url" in values else set())
    (container,) = made["Job"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.com/shop/migrator:1.4.0"
    asked = container["env"][0]["valueFrom"]["secretKeyRef"]
    if "Secret" in made:
        assert asked["name"] == made["Secret"]["metadata"]["name"]
        assert asked["key"] in made["Secret"]["stringData"]
    (read,) = container["envFrom"]
    assert read["configMapRef"]["name"] == made["ConfigMap"]["metadata"]["name"]


def test_its_job_is_that_of_the_base() -> None:
    (base,) = yaml.safe_load_all((K8S / "base" / "job.yaml").read_text())
    job = render()["Job"]
    assert job["spec"]["podFailurePolicy"] == base["spec"]["podFailurePolicy"]
    pod, of_base = (j["spec"]["template"]["spec"] for j in (job, base))
    (container,), (other,) = pod.pop("containers"), of_base.pop("containers")
    assert pod == of_base
    for name in ("args", "resources", "securityContext", "terminationMessagePolicy"):
        assert container[name] == other[name]
    values = {v["name"]: v.get("value") for v in container["env"]}
    assert {(v["name"], v.get("value")) for v in other["env"]} - set(values.items()) == {
        ("DIRECT_URL", None)
    }
    tries_seconds = (
        (1 + job["spec"]["backoffLimit"]) * parse_duration(values["WAIT_TIMEOUT"]) / 1000
    )
    assert tries_seconds + 10 + 20 < job["spec"]["activeDeadlineSeconds"]


def test_a_hook_comes_after_what_it_needs_and_is_deleted_only_before_the_next() -> None:
    found = hooks(render(**URL))
    assert set(found) == {"Job", "Secret", "ConfigMap"}
    for of_one in found.values():
        assert of_one["helm.sh/hook"] == "pre-install,pre-upgrade"
        assert of_one["helm.sh/hook-delete-policy"] == "before-hook-creation"
    weights = {kind: int(a["helm.sh/hook-weight"]) for kind, a in found.items()}
    assert weights["Job"] > weights["Secret"] == weights["ConfigMap"]
    assert found["Job"]["helm.sh/hook-output-log-policy"] == "hook-failed,hook-succeeded"
    assert "ttlSecondsAfterFinished" not in render()["Job"]["spec"]


def test_each_revision_has_a_job_of_its_own() -> None:
    first, second = (render(mode="revision", revision=n, **URL) for n in (1, 2))
    assert hooks(first) == {}
    assert [d["Job"]["metadata"]["name"] for d in (first, second)] == [
        *("shop-migrator-1", "shop-migrator-2"),
    ]
    assert first["Job"]["spec"]["ttlSecondsAfterFinished"] > 0


@pytest.mark.parametrize("mode", ["hook", "revision"])
def test_the_post_phase_is_a_plain_job_of_its_own(mode: str) -> None:
    annotations = {"argocd.argoproj.io/sync-wave": "1"}
    made = render_all(mode=mode, phase="both", revision=3, postAnnotations=annotations, **MANY)
    assert [fault for document in made for fault in faults(document)] == []
    pre, post = (document for document in made if document["kind"] == "Job")
    assert post["metadata"]["name"] == "shop-migrator-post-3"
    assert post["metadata"]["annotations"] == annotations
    assert [phase_of(pre), phase_of(post)] == ["pre", "post"]
    env = post["spec"]["template"]["spec"]["containers"][0]["env"]
    env[:] = [v if v["name"] != "PHASE" else {**v, "value": "pre"} for v in env]
    assert post["spec"] == pre["spec"]


def test_without_the_post_phase_there_is_one_job() -> None:
    assert phase_of(render(phase="pre")["Job"]) == "pre"
    assert phase_of(render()["Job"]) is None
    assert [d["kind"] for d in render_all(phase="pre")].count("Job") == 1


def phase_of(job: Object) -> str | None:
    env = job["spec"]["template"]["spec"]["containers"][0]["env"]
    return next((v["value"] for v in env if v["name"] == "PHASE"), None)


@pytest.mark.parametrize("name", GOLDEN)
def test_helm_template_prints_what_it_did(name: str) -> None:
    """A difference that is meant: `.venv/bin/python -m tests.charts`, and read the diff."""
    assert golden_file(name).read_text() == whole(**GOLDEN[name])


def test_on_openshift_the_cluster_chooses_the_user() -> None:
    assert faults(render(runAsUser=None)["Job"], any_user=True) == []


def test_an_application_waits_with_the_template(tmp_path: Path) -> None:
    """As a chart does that has this one as its dependency."""
    chart = tmp_path / "app"
    (chart / "templates").mkdir(parents=True)
    (chart / "charts").mkdir()
    (chart / "charts" / "migrator").symlink_to(CHART)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: app\nversion: 0.1.0\n")
    (app,) = yaml.safe_load_all((K8S / "examples" / "app.yaml").read_text())
    (of_example,) = app["spec"]["template"]["spec"].pop("initContainers")
    template = yaml.safe_dump(app) + (
        "      initContainers:\n"
        '        {{- include "migrator.wait" (dict "Values" .Values.migrator "Release" .Release)'
        " | nindent 8 }}\n"
    )
    (chart / "templates" / "app.yaml").write_text(template)
    made = render(chart, migrator=VALUES)
    assert faults(made["Deployment"]) == []
    (waiter,) = made["Deployment"]["spec"]["template"]["spec"]["initContainers"]
    (runner,) = made["Job"]["spec"]["template"]["spec"]["containers"]
    assert waiter["envFrom"] == runner["envFrom"]
    assert waiter["env"][0] == runner["env"][0]
    for name in ("args", "securityContext", "terminationMessagePolicy", "resources"):
        assert waiter[name] == of_example[name]


def problems(**values: Any) -> Iterator[str]:
    found = helm.lint(str(CHART), {**VALUES, **values})
    yield from found["errors"]


@pytest.mark.parametrize(
    ("values", "about"),
    [
        pytest.param({"mode": "job"}, "/mode", id="a mode"),
        pytest.param({"phase": "post"}, "/phase", id="a phase"),
        pytest.param({"image": {**IMAGE, "tag": "latest"}}, "/image/tag", id="a tag that moves"),
        pytest.param({"existingSecret": ""}, "anyOf", id="no URL"),
        pytest.param({"settings": {"DATABASE_URL": "x"}}, "'DATABASE_URL'", id="a URL in plain"),
        pytest.param({"more": 1}, "more", id="a typing error"),
        pytest.param({"image": {**IMAGE, "tag": 1.4}}, "got number, want string", id="a number"),
        pytest.param({"image": {**IMAGE, "tag": '1" x'}}, "/image/tag", id="no tag"),
        pytest.param({"settings": {"LOCK_TIMOUT": "1s"}}, "LOCK_TIMOUT", id="no setting of ours"),
        pytest.param({"settings": {"MAX_LAG": 10**7}}, "MAX_LAG", id="a number written 1e+07"),
        pytest.param({"settings": {"MAX_LAG": None}}, "MAX_LAG", id="a setting without a value"),
        pytest.param({"runAsUser": 0}, "/runAsUser", id="root"),
        pytest.param({"secretKey": "a b"}, "/secretKey", id="no key"),
        pytest.param({"podLabels": {"app.kubernetes.io/name": "x"}}, "io/name", id="our label"),
        pytest.param({"tolerations": [{"opertor": "Exists"}]}, "opertor", id="a field"),
    ],
)
def test_the_schema_refuses(values: dict[str, Any], about: str) -> None:
    assert any(about in problem for problem in problems(**values))


def test_the_schema_knows_each_setting() -> None:
    known = {s.name: "1" for s in SETTINGS if "URL" not in s.name}
    others = {"PLACEHOLDER_REGION": "eu", "PGSSLMODE": "require", "OTEL_SERVICE_NAME": "m"}
    assert list(problems(settings={**known, **others})) == []


HOSTILE: dict[str, Any] = {
    "settings": {
        "SEARCH_PATH": 'a, "b"\nc: d # {{ x }}',
        "ON_DRIFT": "off",
        "MAX_LAG": "",
        "PHASE": True,
    },
    "existingSecret": "",
    "url": "postgresql://u:p\"'\\$%{{x}}@h/d#:",
    "podAnnotations": {"about": 'a: b\n"c" # {{ d }}'},
}


@pytest.mark.parametrize("name", ["r" * 53, f"{'r' * 38}-{'r' * 14}"], ids=["long", "a dash"])
def test_hostile_values_come_out_as_they_are(name: str) -> None:
    made = render_all(name=name, mode="revision", revision=2**31, phase="both", **HOSTILE)
    assert [fault for document in made for fault in faults(document)] == []
    names = [document["metadata"]["name"] for document in made]
    assert all(re.fullmatch("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name) for name in names)
    by_kind = {document["kind"]: document for document in made}
    assert by_kind["Secret"]["stringData"]["DATABASE_URL"] == HOSTILE["url"]
    assert by_kind["ConfigMap"]["data"] == {**HOSTILE["settings"], "PHASE": "true"}
    template = by_kind["Job"]["spec"]["template"]
    assert template["metadata"]["annotations"] == HOSTILE["podAnnotations"]


@pytest.mark.parametrize("values", [{}, URL, MANY], ids=["a Secret", "a URL", "everything"])
def test_it_is_without_a_complaint_of_helm(values: dict[str, Any]) -> None:
    assert list(problems(**values)) == []

"""The manifests: valid, closed down, and of one mind with the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from migrator.config import SETTINGS
from migrator.durations import parse_duration
from migrator.errors import MigratorError, TransientError
from tests.manifests import Object, containers, faults

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
#: Templates of Helm's, and objects of an operator, which tests of their own read.
OTHERS = {"chart", "monitoring"}
FILES = sorted(file for file in K8S.rglob("*.yaml") if file.relative_to(K8S).parts[0] not in OTHERS)
KUSTOMIZATIONS = [
    file
    for file in FILES
    if file.name == "kustomization.yaml" and "components" not in file.relative_to(K8S).parts
]
MANIFESTS = [file for file in FILES if file.name != "kustomization.yaml"]


def relative(path: Path) -> str:
    return str(path.relative_to(K8S))


def objects(file: Path) -> list[Object]:
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


def everything() -> list[Object]:
    return [document for file in MANIFESTS for document in objects(file)]


def pods() -> Iterator[tuple[str, Object]]:
    """The specification of each pod that a manifest makes."""
    for document in everything():
        if "template" in document.get("spec", {}):
            yield document["metadata"]["name"], document["spec"]["template"]["spec"]


def error_classes(root: type[MigratorError] = MigratorError) -> Iterator[type[MigratorError]]:
    for child in root.__subclasses__():
        yield child
        yield from error_classes(child)


@pytest.fixture
def job() -> Object:
    (document,) = objects(K8S / "base" / "job.yaml")
    return document


@pytest.fixture
def migrate(job: Object) -> Object:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return dict(container)


OF_THE_JOB = [
    pytest.param(container, id=container["name"])
    for _, pod in pods()
    for container in containers(pod)
    if "migrator" in container["image"]
]


@pytest.mark.parametrize("file", MANIFESTS, ids=relative)
def test_every_manifest_is_valid_to_the_last_field(file: Path) -> None:
    for document in objects(file):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("file", KUSTOMIZATIONS, ids=relative)
def test_a_kustomization_names_what_exists(file: Path) -> None:
    (document,) = objects(file)
    assert document["kind"] == "Kustomization"
    assert document.keys() <= {
        *("apiVersion", "kind", "resources", "components", "nameSuffix", "images", "patches"),
    }
    for resource in (*document["resources"], *document.get("components", ())):
        target = file.parent / resource
        assert target.is_file() or (target / "kustomization.yaml").is_file()


def test_the_base_makes_the_job_and_no_secret() -> None:
    (base,) = objects(K8S / "base" / "kustomization.yaml")
    assert base["resources"] == ["job.yaml"]


def test_kustomize_renames_an_image_that_a_manifest_names(migrate: Object) -> None:
    for file in KUSTOMIZATIONS:
        for image in objects(file)[0].get("images", []):
            assert image["name"] == migrate["image"]


def test_the_job_gives_up_at_once_exactly_where_running_again_is_of_no_use(
    job: Object, migrate: Object
) -> None:
    give_up, disruption = job["spec"]["podFailurePolicy"]["rules"]
    assert give_up["action"] == "FailJob"
    assert give_up["onExitCodes"]["containerName"] == migrate["name"]
    assert give_up["onExitCodes"]["operator"] == "In"
    hopeless = set(give_up["onExitCodes"]["values"])
    for error in error_classes():
        is_transient = issubclass(error, TransientError)
        if error.exit_code != MigratorError.exit_code:
            assert (error.exit_code in hopeless) != is_transient, error
    assert MigratorError.exit_code in hopeless
    assert not hopeless & set(range(20, 30))

    assert disruption == {
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }


def test_the_job_knows_every_code_of_the_design(job: Object) -> None:
    table = (ROOT / "docs" / "design.md").read_text().partition("## 7.")[2].partition("\n## ")[0]
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert {error.exit_code for error in error_classes()} <= codes
    (rule, _) = job["spec"]["podFailurePolicy"]["rules"]
    assert set(rule["onExitCodes"]["values"]) == {code for code in codes if 0 < code < 20}


def test_the_job_ends_whatever_happens(job: Object) -> None:
    spec = job["spec"]
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["backoffLimit"] > 0
    assert spec["activeDeadlineSeconds"] > 0
    assert spec["ttlSecondsAfterFinished"] > 0


def test_a_pod_ends_before_the_job_deletes_it_with_its_log(job: Object, migrate: Object) -> None:
    """Both count in their own way: the Job's from its start, a pod's from when it runs."""
    (deadline,) = [v["value"] for v in migrate["env"] if v["name"] == "DEADLINE"]
    to_stop_seconds = job["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    to_start_seconds = 4 * 60  # as the manifest says
    left_seconds = job["spec"]["activeDeadlineSeconds"] - parse_duration(deadline) / 1000
    assert left_seconds >= to_start_seconds + to_stop_seconds


def test_the_last_of_all_tries_leaves_its_verdict(job: Object, migrate: Object) -> None:
    """A Job that is deleted at its deadline loses it: tries that only wait must end before."""
    set_here = {variable["name"]: variable.get("value") for variable in migrate["env"]}
    seconds = {
        setting.name: parse_duration(str(set_here.get(setting.name) or setting.default)) / 1000
        for setting in SETTINGS
        if setting.name in {"WAIT_TIMEOUT", "LOCK_RETRY_TIMEOUT", "CONNECT_TIMEOUT"}
    }
    retries = job["spec"]["backoffLimit"]
    to_start_and_stop_seconds = 10
    pauses_seconds = sum(min(10 * 2**n, 360) for n in range(retries))  # the Job controller's
    for name, wait_seconds in seconds.items():
        tries_seconds = (retries + 1) * (wait_seconds + to_start_and_stop_seconds)
        assert tries_seconds + pauses_seconds < job["spec"]["activeDeadlineSeconds"], name
    assert len(seconds) == 3


@pytest.mark.parametrize("document", [pytest.param(o, id=o["kind"]) for o in everything()])
def test_a_pod_is_closed_down(document: Object) -> None:
    assert faults(document) == []


@pytest.mark.parametrize("container", OF_THE_JOB)
def test_the_result_goes_where_the_cluster_reads_it(container: Object) -> None:
    assert container["terminationMessagePath"] == "/dev/termination-log"
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    log = next(setting for setting in SETTINGS if setting.name == "TERMINATION_LOG")
    assert container["terminationMessagePath"] == log.default


def test_every_secret_that_is_asked_for_has_an_example() -> None:
    shapes = {
        document["metadata"]["name"]: set(document["stringData"])
        for document in everything()
        if document["kind"] == "Secret"
    }
    for _, pod in pods():
        for container in containers(pod):
            for variable in container.get("env", []):
                if asked := variable.get("valueFrom", {}).get("secretKeyRef"):
                    assert asked.get("optional") or asked["key"] in shapes[asked["name"]]


def test_the_example_that_waits_reads_the_settings_of_the_job(job: Object) -> None:
    """Else `wait` would look for the history in another schema than `up` keeps it in."""
    (application,) = (
        o for o in objects(K8S / "examples" / "app.yaml") if o["kind"] == "Deployment"
    )
    (waiter,) = application["spec"]["template"]["spec"]["initContainers"]
    (runner,) = job["spec"]["template"]["spec"]["containers"]
    assert waiter["envFrom"] == runner["envFrom"]


def test_the_example_of_a_secret_holds_none() -> None:
    (secret,) = objects(K8S / "base" / "secret.example.yaml")
    assert "ROLE:PASSWORD@HOST" in secret["stringData"]["DATABASE_URL"]


def test_there_is_time_to_stop(job: Object) -> None:
    assert job["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 6  # docs/design.md, 1

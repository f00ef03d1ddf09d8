"""The examples of docs/running.md fit the files that they add to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tests.manifests import faults_of_operators

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/running.md").read_text()
SECTION = PAGE.partition("\n## Values and hooks\n")[2].split("\n## ")[0]
COMPOSE, OVERLAY = (
    yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", SECTION, re.S)
)


def test_the_values_of_placeholders_are_mounted_with_compose() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    ((name, more),) = COMPOSE["services"].items()
    assert name in services
    [mount] = more["volumes"]
    assert mount.split(":")[1:] == [more["environment"]["PLACEHOLDERS_DIR"], "ro"]


def test_the_values_of_placeholders_are_mounted_in_the_job() -> None:
    patch = yaml.safe_load(OVERLAY["patches"][0]["patch"])
    job = next(yaml.safe_load_all((ROOT / "k8s/base/job.yaml").read_text()))
    assert (patch["kind"], patch["metadata"]) == (job["kind"], {"name": job["metadata"]["name"]})
    pod: dict[str, Any] = patch["spec"]["template"]["spec"]
    [container], [volume] = pod["containers"], pod["volumes"]
    names = [one["name"] for one in job["spec"]["template"]["spec"]["containers"]]
    assert container["name"] in names
    [variable], [mount] = container["env"], container["volumeMounts"]
    assert (variable["name"], variable["value"]) == ("PLACEHOLDERS_DIR", mount["mountPath"])
    assert mount["name"] == volume["name"]
    assert f"create secret generic {volume['secret']['secretName']} " in SECTION


def test_flux_takes_the_kustomization_and_waits_longer_than_the_job_lasts() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.partition("\n### With Flux\n")[2], re.S)[:1]
    shown = yaml.safe_load(text)
    assert faults_of_operators(shown) == []
    job = next(yaml.safe_load_all((ROOT / "k8s/base/job.yaml").read_text()))
    waits_seconds = int(shown["spec"]["timeout"].removesuffix("m")) * 60
    assert waits_seconds > job["spec"]["activeDeadlineSeconds"]
    assert (ROOT / shown["spec"]["path"] / "kustomization.yaml").is_file()
    shown["spec"]["waits"] = True
    assert "waits" in "".join(faults_of_operators(shown))

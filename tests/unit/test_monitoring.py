"""k8s/monitoring and k8s/verify: alerts that Prometheus reads, a CronJob as closed as the Job."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import promql_parser
import pytest
import yaml

from tests.cluster import kustomize
from tests.manifests import faults, faults_of_operators
from tests.pages import ROOT

RULES = yaml.safe_load((ROOT / "k8s/monitoring/rules.yaml").read_text())
COLLECTOR = yaml.safe_load((ROOT / "k8s/monitoring/migrator.collector.yml").read_text())
ALERTS: list[dict[str, Any]] = [
    rule for group in RULES["spec"]["groups"] for rule in group["rules"]
]
#: What kube-state-metrics 2.13 exposes of what the alerts ask.
KUBE_STATE = {
    "kube_job_failed",
    "kube_job_status_active",
    "kube_job_status_start_time",
    "kube_pod_container_status_terminated_reason",
    "kube_cronjob_created",
    "kube_cronjob_status_last_successful_time",
}


def names(expression: Any) -> set[str]:
    """The metrics that a parsed expression asks for."""
    found = {expression.name} if getattr(expression, "name", None) else set()
    for part in ("lhs", "rhs", "expr"):
        if (inner := getattr(expression, part, None)) is not None:
            found |= names(inner)
    return found


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_an_alert_is_an_expression_of_metrics_that_there_are(alert: dict[str, Any]) -> None:
    assert alert.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    ours = {metric["metric_name"] for metric in COLLECTOR["metrics"]}
    asked = names(promql_parser.parse(alert["expr"]))
    assert asked
    assert asked <= KUBE_STATE | ours
    assert alert["labels"]["severity"] in {"warning", "critical"}
    assert alert["annotations"].keys() == {"summary", "action"}


def test_the_rules_are_an_object_of_the_operator() -> None:
    assert (RULES["apiVersion"], RULES["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert faults_of_operators(RULES) == []
    first = RULES["spec"]["groups"][0]
    typo = {**RULES, "spec": {"groups": [{**first, "rules": [{**ALERTS[0], "annotation": {}}]}]}}
    assert "annotation" in "".join(faults_of_operators(typo))


def test_verify_each_night_is_closed_down_as_the_job() -> None:
    (cron,) = kustomize(ROOT / "k8s/verify")
    kubernetes_validate.validate(cron, kubernetes_validate.latest_version(), strict=True)
    spec = cron["spec"]
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": cron["metadata"]["name"]},
        "spec": spec["jobTemplate"]["spec"],
    }
    assert faults(job) == []
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["verify"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert len(cron["metadata"]["name"]) <= 52, "its Jobs have 11 characters more"


def test_one_night_is_missed_before_it_is_an_alert() -> None:
    (missing,) = [rule for rule in ALERTS if rule["alert"] == "VerificationMissing"]
    assert '{cronjob="migrator-verify"}' in missing["expr"]
    assert missing["expr"].endswith("> 172800")

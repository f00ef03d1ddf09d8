"""What every manifest of ours must be: valid to the last field, and closed down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
from jsonschema import Draft202012Validator

from migrator.config import SETTINGS, URLS

Object = dict[str, Any]
SECCOMP = {"type": "RuntimeDefault"}
#: The volumes that the restricted profile of PodSecurity lets a pod have.
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "projected", "secret"}
#: The codes after which another pod would end the same way: docs/design.md, section 7.
HOPELESS = [1, 2, 10, 11, 12, 13, 14, 15, 16, 17]


def containers(pod: Object) -> list[Object]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def faults(document: Object, *, any_user: bool = False) -> list[str]:
    """What is wrong with one object of a cluster; none is allowed."""
    version = kubernetes_validate.latest_version()
    kubernetes_validate.validate(document, version, strict=True)
    found = [*_of_a_job(document)] if document["kind"] == "Job" else []
    if "template" in document.get("spec", {}):
        pod = document["spec"]["template"]["spec"]
        found += _of_a_pod(pod, any_user=any_user)
        for container in containers(pod):
            found += [f"{container['name']}: {fault}" for fault in _of_a_container(container, pod)]
    return found


def faults_of_operators(document: Object) -> list[str]:
    """What the operator of such a resource has against it; an unknown field is a fault too."""
    schema = Path(__file__).parent / "fixtures" / "operators" / f"{document['kind']}.json"
    found = Draft202012Validator(json.loads(schema.read_text())).iter_errors(document)
    return [f"{error.json_path}: {error.message}" for error in found]


def _of_a_job(job: Object) -> Iterator[str]:
    give_up, disruption = job["spec"]["podFailurePolicy"]["rules"]
    asked = {"containerName": "migrate", "operator": "In", "values": HOPELESS}
    action = "FailIndex" if "backoffLimitPerIndex" in job["spec"] else "FailJob"
    if give_up != {"action": action, "onExitCodes": asked}:
        yield "gives up at other codes"
    conditions = [{"type": "DisruptionTarget", "status": "True"}]
    if disruption != {"action": "Ignore", "onPodConditions": conditions}:
        yield "counts an eviction as a failure"
    if "activeDeadlineSeconds" not in job["spec"]:
        yield "may last for ever"


def _of_a_pod(pod: Object, *, any_user: bool) -> Iterator[str]:
    if pod["automountServiceAccountToken"] or pod["enableServiceLinks"]:
        yield "has a token or service links"
    context = pod["securityContext"]
    if context["runAsNonRoot"] is not True or context["seccompProfile"] != SECCOMP:
        yield "may be root, or call what it likes"
    if context.get("runAsUser") != (None if any_user else 65532):
        yield "runs as another user"
    if pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}:
        yield "is not alone"
    made = {volume["name"]: set(volume) - {"name"} for volume in pod.get("volumes", [])}
    if any(not kinds <= VOLUMES for kinds in made.values()):
        yield "has a volume that PodSecurity refuses"
    mounts = [mount for c in containers(pod) for mount in c.get("volumeMounts", [])]
    if {mount["name"] for mount in mounts} != set(made):
        yield "mounts another volume than it has"
    if not all(mount["readOnly"] for mount in mounts):
        yield "can write to a volume"


def _of_a_container(container: Object, pod: Object) -> Iterator[str]:
    context = container["securityContext"]
    closed: Object = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True}
    closed |= {"runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}, "seccompProfile": SECCOMP}
    if context != closed:
        yield "is not closed down"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "takes a port of its node"
    resources = container["resources"]
    if set(resources["requests"]) != {"cpu", "memory"} or "memory" not in resources["limits"]:
        yield "may take any memory"
    if "migrator" in container["image"]:
        yield from _of_the_migrator(container)


def _of_the_migrator(container: Object) -> Iterator[str]:
    if "command" in container:
        yield "does not start the image's entrypoint"
    if container["terminationMessagePath"] != "/dev/termination-log":
        yield "leaves no verdict"
    if container["terminationMessagePolicy"] != "FallbackToLogsOnError":
        yield "leaves nothing when it is killed"
    variables = {variable["name"]: variable for variable in container["env"]}
    known = {setting.name for setting in SETTINGS} | set(URLS)
    own = {name for name in variables if not name.startswith("PG")}
    if unknown := own - known - {"HOSTNAME", "INDEX", "DATABASE_URL_FILE"}:
        yield f"sets what nothing reads: {sorted(unknown)}"
    if not variables.keys() & {"DATABASE_URL", "DATABASE_URL_FILE", "PGDATABASE"}:
        yield "does not say where the database is"
    for name in ("DATABASE_URL", "DIRECT_URL", "PGPASSWORD"):
        if "value" in variables.get(name, {}):
            yield "holds a password"

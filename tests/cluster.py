"""An API server that plays the life of a Job to the real kubectl, one moment after another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import yaml

Object = dict[str, Any]
UID = "5d3f"
ZERO = "2026-11-24T18:36:00Z"

RESOURCES = {
    "v1": [
        ("pods", "Pod"),
        ("events", "Event"),
        ("secrets", "Secret"),
        ("configmaps", "ConfigMap"),
    ],
    "batch/v1": [("jobs", "Job")],
}


@dataclass(frozen=True)
class Moment:
    """What the cluster holds until the Job has been asked for once more."""

    job: Object | None = None  #: None: there is no such Job
    pods: Sequence[Object] = ()
    events: Sequence[Object] = ()
    refusal: int = 0  #: the status that every question is answered with
    refuses: str = ""  #: the kind that this role may not read, "pods"


def a_job(*conditions: str, indexed: bool = False, failed: str = "", **spec: Any) -> Object:
    """A Job whose conditions are written "Type Reason message"."""
    met = [
        {
            **dict(zip(("type", "reason", "message"), text.split(" ", 2), strict=False)),
            "status": "True",
            "lastTransitionTime": ZERO,
        }
        for text in conditions
    ]
    container = {"name": "migrate", "image": "registry.example.com/shop/migrator:1.4.0"}
    template = {
        "metadata": {"labels": {"app.kubernetes.io/name": "migrator", "controller-uid": UID}},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migrator", "uid": UID, "creationTimestamp": ZERO},
        "spec": {"template": template} | ({"completionMode": "Indexed"} if indexed else {}) | spec,
        "status": {"conditions": met} | ({"failedIndexes": failed} if failed else {}),
    }


def a_pod(
    name: str,
    *,
    code: int | None = None,
    reason: str = "Error",
    message: str = "",
    waits: tuple[str, str] = ("", ""),
    unplaced: str = "",
    index: str = "",
    made: int = 0,
    image_id: str = "sha256:a",
    **metadata: Any,
) -> Object:
    labels = {"controller-uid": UID, "job-name": "migrator", "app.kubernetes.io/name": "migrator"}
    if index:
        labels["batch.kubernetes.io/job-completion-index"] = index
    state: Object = {"running": {}}
    if code is not None:
        state = {"terminated": {"exitCode": code, "reason": reason, "message": message}}
    elif waits[0]:
        state = {"waiting": {"reason": waits[0], "message": waits[1]}}
    status: Object = {"phase": "Pending" if waits[0] or unplaced else "Running"}
    if unplaced:
        status["conditions"] = [
            {
                **{"type": "PodScheduled", "status": "False"},
                **{"reason": "Unschedulable", "message": unplaced},
            }
        ]
    else:
        status["containerStatuses"] = [{"name": "migrate", "state": state, "imageID": image_id}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **{"name": name, "uid": f"uid-{name}", "labels": labels},
            **{"creationTimestamp": f"2026-11-24T18:37:{made:02}Z", **metadata},
        },
        "spec": {
            "nodeName": "node-1",
            "containers": a_job()["spec"]["template"]["spec"]["containers"],
        },
        "status": status,
    }


def an_event(reason: str, message: str, uid: str = UID) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"e{abs(hash(message))}", "creationTimestamp": ZERO},
        "involvedObject": {"uid": uid},
        "type": "Warning",
        "reason": reason,
        "message": message,
    }


@dataclass
class Cluster:
    """The stub: `with Cluster(folder, moments) as cluster: run(..., env=cluster.env)`."""

    folder: Path
    moments: Sequence[Moment]
    log: str = ""  #: what every pod has logged
    others: Sequence[str] = ()  #: the names of Jobs that a list has
    refuses_new: bool = False  #: no answer of use comes to what is created
    made: list[Object] = field(default_factory=list)  #: what was created
    removed: list[str] = field(default_factory=list)  #: the paths that were deleted
    questions: list[str] = field(default_factory=list)
    at: int = -1

    def __enter__(self) -> Self:
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                sent = self.rfile.read(length)
                status, body = cluster.answer(self.command, self.path, sent)
                data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                kind = "text/plain" if isinstance(body, str) else "application/json"
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=[0.01], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def env(self) -> Mapping[str, str]:
        address = f"http://127.0.0.1:{self.server.server_port}"
        config = self.folder / "kubeconfig"
        config.write_text(
            json.dumps(
                {
                    **{"apiVersion": "v1", "kind": "Config", "current-context": "stub"},
                    "clusters": [{"name": "stub", "cluster": {"server": address}}],
                    "contexts": [{"name": "stub", "context": {"cluster": "stub", "user": "me"}}],
                    "users": [{"name": "me", "user": {}}],
                }
            )
        )
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        home = {"HOME": str(self.folder), "KUBECACHEDIR": str(self.folder / "cache")}
        return {"PATH": path, "KUBECONFIG": str(config), "POLL_SECONDS": "0.01", **home}

    @property
    def moment(self) -> Moment:
        return self.moments[min(max(self.at, 0), len(self.moments) - 1)]

    def answer(self, verb: str, path: str, sent: bytes) -> tuple[int, Object | str]:
        self.questions.append(f"{verb} {path}")
        url = urlsplit(path)
        if verb == "POST":
            if self.refuses_new:
                return 503, a_status(503, "the server is shutting down")
            self.made.append(json.loads(sent))
            metadata = self.made[-1]["metadata"]
            metadata.setdefault("name", f"{metadata.get('generateName')}x7k2p")
            return 201, self.made[-1]
        if verb == "DELETE":
            self.removed.append(url.path)
            return 200, {"apiVersion": "v1", "kind": "Status", "status": "Success"}
        if url.path in DISCOVERY:
            return 200, DISCOVERY[url.path]
        if url.path.endswith("/log"):
            return 200, self.log
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        *_, kind, name = url.path.split("/")
        self.at += kind == "jobs"
        return self.state_of(kind, name, asked)

    def state_of(self, kind: str, name: str, asked: Mapping[str, str]) -> tuple[int, Object]:
        if self.moment.refusal:
            return self.moment.refusal, a_status(self.moment.refusal, "the server is shutting down")
        if self.moment.refuses == name:
            return 403, a_status(403, f'{name} is forbidden: User "ci" cannot list resource')
        if kind == "jobs":
            job = self.moment.job
            return (200, job) if job else (404, a_status(404, f'jobs.batch "{name}" not found'))
        if name == "jobs":
            jobs = [{**a_job(), "metadata": {"name": name}} for name in self.others]
            return 200, {"apiVersion": "batch/v1", "kind": "JobList", "metadata": {}, "items": jobs}
        if name == "events":
            uid = asked["fieldSelector"].rpartition("uid=")[2]
            events = [e for e in self.moment.events if e["involvedObject"]["uid"] == uid]
            return 200, {"apiVersion": "v1", "kind": "EventList", "metadata": {}, "items": events}
        if name == "pods":
            label, _, value = asked["labelSelector"].partition("=")
            value = "migrator" if label == "job-name" else value  # also for a Job that was made
            pods = [p for p in self.moment.pods if p["metadata"]["labels"].get(label) == value]
            return 200, {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": pods}
        return 404, a_status(404, f'{kind} "{name}" not found')


def kustomize(folder: Path) -> list[Object]:
    """What `kubectl kustomize` makes of a folder, with no other program and no cluster."""
    kubectl = Path(sys.executable).parent / "kubectl"
    command = [str(kubectl) if kubectl.exists() else "kubectl", "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def a_status(code: int, message: str) -> Object:
    reasons = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 503: "ServiceUnavailable"}
    return {
        **{"apiVersion": "v1", "kind": "Status", "status": "Failure", "metadata": {}},
        **{"code": code, "message": message, "reason": reasons.get(code, "InternalError")},
    }


def resource_list(version: str) -> Object:
    resources = [
        {
            **{"name": name, "singularName": kind.lower(), "kind": kind, "namespaced": True},
            "verbs": ["create", "delete", "get", "list"],
        }
        for name, kind in RESOURCES[version]
    ]
    return {"kind": "APIResourceList", "groupVersion": version, "resources": resources}


BATCH = {"groupVersion": "batch/v1", "version": "v1"}
DISCOVERY: Mapping[str, Object] = {
    "/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {
        **{"kind": "APIGroupList", "apiVersion": "v1"},
        "groups": [{"name": "batch", "versions": [BATCH], "preferredVersion": BATCH}],
    },
    "/api/v1": resource_list("v1"),
    "/apis/batch/v1": resource_list("batch/v1"),
}

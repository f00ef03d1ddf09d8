"""k8s/wait-for-job ends with the migrator's own code, however a Job ends: the real kubectl asks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cluster import UID, Cluster, Moment, a_job, a_pod, an_event
from tests.job import until

SCRIPT = Path(__file__).parents[2] / "k8s" / "wait-for-job"

VERDICT = '{"outcome": "001_a was rolled back", "exit_code": 15, "target": "shop"}'
ASKS = json.dumps(
    {"error": {"remedy": 'Look at "day", then `repair --done 004_day --reason WHY`.'}}
)
COMPLETE = ("SuccessCriteriaMet CompletionsReached Reached", "Complete CompletionsReached Reached")
BY_POLICY = (
    "PodFailurePolicy Container migrate for pod default/m-2 failed with exit code 15 "
    "matching FailJob rule at index 0"
)
BACK_OFF = "BackoffLimitExceeded Job has reached the specified backoff limit"
DEADLINE = "DeadlineExceeded Job was active longer than specified deadline"
INDEXES = "FailedIndexes Job has failed indexes"


def evicted(name: str) -> dict[str, object]:
    status = {"phase": "Failed", "reason": "Evicted"}
    return {
        **a_pod(name),
        "status": {**status, "message": "The node was low on resource: memory."},
    }


def failed(why: str, **job: object) -> dict[str, object]:
    return a_job(f"FailureTarget {why}", f"Failed {why}", **job)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("moments", "code", "said"),
    [
        pytest.param(
            [Moment(a_job()), Moment(a_job(*COMPLETE), [a_pod("m-1", code=0, reason="Completed")])],
            0,
            ["m-1 ended with 0 (Completed)"],
            id="complete",
        ),
        pytest.param(
            [Moment(a_job(*COMPLETE))],
            0,
            ["ended before this wait, at 2026-11-24T18:36:00Z: is it the release that is meant?"],
            id="an old result is called one",
        ),
        pytest.param(
            [
                Moment(a_job(), [a_pod("m-1", code=21, message='{"exit_code": 21}')]),
                Moment(
                    failed(BY_POLICY),
                    [a_pod("m-2", code=15, message=VERDICT, made=2), a_pod("m-1", code=21)],
                ),
            ],
            15,
            [
                'm-1 ended with 21 (Error): {"exit_code": 21}',
                f"m-2 ended with 15 (Error): {VERDICT}",
                f"failed, {BY_POLICY.replace(' ', ': ', 1)}",
            ],
            id="each try is said while it waits, and the last one counts",
        ),
        pytest.param([Moment(failed(BY_POLICY))], 15, [], id="the pods are gone"),
        pytest.param(
            [Moment(failed(BY_POLICY), refuses="pods")],
            15,
            ['pods is forbidden: User "ci" cannot list resource'],
            id="a role that may not read pods",
        ),
        pytest.param(
            [
                Moment(
                    failed(BACK_OFF),
                    [a_pod("m-1", code=20), a_pod("m-2", code=21, made=2)],
                )
            ],
            21,
            ["failed, BackoffLimitExceeded: Job has reached the specified backoff limit"],
            id="no try is left",
        ),
        pytest.param([Moment(failed(BACK_OFF))], 1, [], id="nothing is known"),
        pytest.param(
            [Moment(failed(BACK_OFF), [a_pod("m-1", code=137, reason="OOMKilled")])],
            137,
            ["m-1 ended with 137 (OOMKilled): raise resources.limits.memory"],
            id="out of memory",
        ),
        pytest.param(
            [Moment(a_job(), [a_pod("m-1")]), Moment(failed(DEADLINE))],
            23,
            ["failed, DeadlineExceeded: Job was active longer than specified deadline"],
            id="the Job's deadline took the pod away",
        ),
        pytest.param(
            [Moment(a_job(), [a_pod("m-1", code=21)]), Moment(failed(DEADLINE))],
            21,
            [],
            id="the Job's deadline, after a try that ended by itself",
        ),
        pytest.param(
            [
                Moment(
                    a_job(f"FailureTarget {DEADLINE}"),
                    [a_pod("m-1", deletionTimestamp="2026-11-24T19:40:30Z")],
                )
            ],
            23,
            ["m-1 on node-1 was to end by 2026-11-24T19:40:30Z; a node that does not answer"],
            id="a dead node: the Job is never called failed",
        ),
        pytest.param(
            [Moment(a_job(COMPLETE[0]), [a_pod("m-1", code=0)])],
            0,
            [],
            id="a dead node: the Job is never called complete",
        ),
        pytest.param(
            [
                Moment(
                    a_job(),
                    events=[
                        an_event(
                            "FailedCreate",
                            'Error creating: pods "m-1" is forbidden: exceeded quota: cpu',
                        )
                    ],
                ),
                Moment(
                    a_job(),
                    events=[
                        an_event(
                            "FailedCreate",
                            'Error creating: pods "m-2" is forbidden: violates PodSecurity',
                        ),
                        an_event("FailedCreate", "an older Job's", uid="another"),
                    ],
                ),
                Moment(failed(DEADLINE)),
            ],
            23,
            [
                "FailedCreate: Error creating: pods is forbidden: exceeded quota: cpu",
                "FailedCreate: Error creating: pods is forbidden: violates PodSecurity",
            ],
            id="no pod can be made",
        ),
        pytest.param(
            [
                Moment(a_job(), [a_pod("m-1", unplaced="0/3 nodes are available")]),
                Moment(
                    a_job(),
                    [
                        a_pod(
                            "m-1",
                            waits=("CreateContainerConfigError", 'secret "migrator" not found'),
                        )
                    ],
                ),
                Moment(
                    a_job(),
                    [a_pod("m-1", waits=("ImagePullBackOff", 'Back-off pulling image "x"'))],
                ),
                Moment(
                    a_job(),
                    [a_pod("m-1", waits=("ContainerCreating", ""))],
                    [an_event("FailedMount", 'secret "url" not found', uid="uid-m-1")],
                ),
                Moment(a_job(*COMPLETE)),
            ],
            0,
            [
                "Unschedulable: 0/3 nodes are available",
                'CreateContainerConfigError: secret "migrator" not found',
                'ImagePullBackOff: Back-off pulling image "x"',
                'FailedMount: secret "url" not found',
            ],
            id="what a pod waits for",
        ),
        pytest.param(
            [Moment(a_job()), Moment(refusal=503), Moment(refusal=500), Moment(a_job(*COMPLETE))],
            0,
            ["the API server does not answer: Error from server (ServiceUnavailable)"],
            id="the API server blips while the Job completes",
        ),
        pytest.param(
            [Moment()],
            2,
            ['"migrator" not found', "there is migrator-1-4-0 migrator-1-3-0"],
            id="there is no such Job",
        ),
        pytest.param([Moment(refusal=401)], 2, ["You must be logged in"], id="an old token"),
        pytest.param([Moment(refusal=403)], 2, ["(Forbidden)"], id="a role without rights"),
        pytest.param(
            [Moment(a_job(), [evicted("m-1")]), Moment(a_job(*COMPLETE))],
            0,
            ["m-1 Evicted: The node was low on resource: memory."],
            id="an evicted pod",
        ),
        pytest.param(
            [Moment(failed(BY_POLICY), [a_pod("m-2", code=15, message=ASKS)])],
            15,
            [
                'to do: Look at "day", then `repair --done 004_day --reason WHY`.\n',
                "a command in back-ticks is typed as: JOB=migrator k8s/run COMMAND\n",
            ],
            id="the remedy comes last, with the way to type it",
        ),
        pytest.param(
            [Moment(a_job()), Moment()],
            3,
            ["it was deleted before it ended"],
            id="deleted meanwhile",
        ),
        pytest.param(
            [Moment(a_job(suspend=True)), Moment(a_job(*COMPLETE))],
            0,
            ["it is suspended"],
            id="suspended",
        ),
        pytest.param(
            [
                Moment(
                    failed(INDEXES, indexed=True, failed="1,3"),
                    [
                        a_pod("m-0", code=0, index="0", reason="Completed"),
                        a_pod("m-1", code=21, index="1"),
                        a_pod("m-2", code=20, index="2"),
                        a_pod("m-3", code=15, index="3", message=VERDICT),
                        a_pod("m-1b", code=22, index="1", made=5),
                        a_pod("m-2b", code=0, index="2", made=9, reason="Completed"),
                    ],
                )
            ],
            15,
            [
                f"m-3 (index 3) ended with 15 (Error): {VERDICT}",
                "m-1b (index 1) ended with 22 (Error)",
                "failed indexes: 1,3",
            ],
            id="an Indexed Job: which indexes, with which code, and 1x before 2x",
        ),
        pytest.param(
            [
                Moment(
                    a_job(*COMPLETE, indexed=True, failed="1"),
                    [a_pod("m-1", code=22, index="1"), a_pod("m-0", code=0, index="0", made=3)],
                )
            ],
            22,
            ["failed indexes: 1"],
            id="a successPolicy calls a Job complete that has failed indexes",
        ),
        pytest.param(
            [
                Moment(
                    a_job(*COMPLETE),
                    [a_pod("m-1", code=0), a_pod("m-0", code=0, image_id="sha256:b")],
                )
            ],
            0,
            ["registry.example.com/shop/migrator:1.4.0 was pushed twice"],
            id="a tag that was pushed twice",
        ),
    ],
)
def test_it_says_what_happens_and_ends_with_the_migrators_code(
    tmp_path: Path, moments: Sequence[Moment], code: int, said: Sequence[str]
) -> None:
    with Cluster(tmp_path, moments, others=["migrator-1-4-0", "migrator-1-3-0"]) as cluster:
        is_dead = "SuccessCriteriaMet" in str(moments) or "FailureTarget" in str(moments)
        patience = {"API_PATIENCE": "1"} if is_dead and len(moments) == 1 else {}
        done = subprocess.run(
            [str(SCRIPT), "migrator"],
            env={**cluster.env, **patience},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    lines = done.stderr.splitlines()
    assert all(line.startswith("migrator: ") for line in lines)
    assert len(set(lines)) == len(lines), "each is said once"
    for text in said:
        assert text in done.stderr
    if moments[0].job:
        image = "registry.example.com/shop/migrator:1.4.0"
        assert lines[0].startswith(f"migrator: made 2026-11-24T18:36:00Z, image {image}; it is ")


@pytest.mark.parametrize(
    ("moments", "code"),
    [
        pytest.param([Moment(a_job()), Moment(refusal=503)], 3, id="the Job goes on"),
        pytest.param([Moment(failed(BY_POLICY), refuses="pods")], 15, id="the end is known"),
    ],
)
def test_patience_with_a_silent_server_ends(
    tmp_path: Path, moments: Sequence[Moment], code: int
) -> None:
    with Cluster(tmp_path, moments) as cluster:
        env = {**cluster.env, "API_PATIENCE": "0"}
        done = subprocess.run(
            [str(SCRIPT), "migrator"], env=env, capture_output=True, text=True, timeout=120
        )
    assert done.returncode == code
    assert ("it goes on" in done.stderr) == (code == 3)


def test_the_words_after_the_job_go_to_kubectl(tmp_path: Path) -> None:
    with Cluster(tmp_path, [Moment(a_job(*COMPLETE))]) as cluster:
        config = tmp_path / "it's here"
        env = dict(cluster.env)
        Path(env.pop("KUBECONFIG")).rename(config)
        words = ["--namespace=shop", f"--kubeconfig={config}"]
        done = subprocess.run([str(SCRIPT), "migrator", *words], env=env, timeout=120)
    assert done.returncode == 0
    assert any("/namespaces/shop/jobs/migrator" in question for question in cluster.questions)
    assert any(f"controller-uid%3D{UID}" in question for question in cluster.questions)


def test_words_for_kubectl_may_come_first(tmp_path: Path) -> None:
    with Cluster(tmp_path, [Moment(a_job(*COMPLETE))]) as cluster:
        words = ["-n", "shop", "job.batch/migrator", "--request-timeout", "9s"]
        done = subprocess.run([str(SCRIPT), *words], env=cluster.env, timeout=120)
    assert done.returncode == 0
    assert any("/namespaces/shop/jobs/migrator?timeout=9s" in text for text in cluster.questions)


@pytest.mark.parametrize("words", [[], ["one", "two"]], ids=["none", "two"])
def test_it_waits_for_one_job(words: list[str], tmp_path: Path) -> None:
    with Cluster(tmp_path, [Moment()]) as cluster:
        done = subprocess.run([str(SCRIPT), *words], env=cluster.env, capture_output=True)
    assert (done.returncode, cluster.questions, done.stderr.count(b"\n")) == (2, [], 1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param([], "The connection to the server localhost:8080", id="not logged in"),
        pytest.param(["--context=prod"], "context was not found", id="no such context"),
        pytest.param(["--namspace=shop"], "unknown flag: --namspace", id="a typing error"),
        pytest.param(["--kubeconfig=/none"], "no such file", id="no kubeconfig"),
    ],
)
def test_what_kubectl_itself_refuses_ends_at_once(
    words: list[str], says: str, tmp_path: Path
) -> None:
    with Cluster(tmp_path, [Moment()]) as cluster:
        env = {k: v for k, v in cluster.env.items() if k != "KUBECONFIG"}
        done = subprocess.run(
            [str(SCRIPT), "migrator", *words], env=env, capture_output=True, text=True, timeout=50
        )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert says in done.stderr


def test_without_kubectl_it_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        ["/bin/sh", str(SCRIPT), "migrator"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (2, "kubectl is not in PATH\n")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_a_wait_that_is_stopped_says_that_the_job_goes_on(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    with Cluster(tmp_path, [Moment(a_job())]) as cluster:
        waiter = subprocess.Popen(
            [str(SCRIPT), "migrator"],
            env=cluster.env,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        until(lambda: any("events" in question for question in cluster.questions))
        os.killpg(waiter.pid, number)  # as a terminal does
        _, said = waiter.communicate(timeout=60)
    assert waiter.returncode == code
    assert said.endswith("migrator: this wait was stopped; the Job goes on\n")


@pytest.mark.parametrize("way", ["closed", "left"])
def test_without_a_reader_the_code_is_the_same(way: str, tmp_path: Path) -> None:
    place, end = os.pipe()
    os.close(place)
    with Cluster(tmp_path, [Moment(failed(BY_POLICY))]) as cluster:
        command = f"exec {SCRIPT} migrator" + (" 2>&-" if way == "closed" else "")
        done = subprocess.run(["/bin/sh", "-c", command], env=cluster.env, stderr=end, timeout=120)
    os.close(end)
    assert done.returncode == 15

from typing import Any

import pytest

from dev.cluster.readiness import not_ready

_LABELS = {"app.kubernetes.io/component": "rules"}


def deployment(**status: int) -> dict[str, Any]:
    return {
        "kind": "Deployment",
        "metadata": {"name": "rules", "generation": 2},
        "spec": {"replicas": 2, "selector": {"matchLabels": _LABELS}},
        "status": {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2} | status,
    }


def pod(*, ready: bool = False, **status: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": str(ready)}, *status.pop("conditions", [])]
    return {
        "metadata": {"name": "rules-x", "labels": _LABELS},
        "status": {"phase": "Running", "conditions": conditions, **status},
    }


def container(**states: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"state": {}, **states}]}


def test_a_workload_one_of_whose_pods_was_deleted_is_not_ready_though_its_status_says_so() -> None:
    gone = pod(ready=True)
    gone["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert [str(one) for one in not_ready([deployment()], [pod(ready=True), gone])] == [
        "rules: 1 of 2 replicas are ready"
    ]


def test_a_workload_with_all_replicas_of_its_newest_version_is_ready() -> None:
    assert not_ready([deployment()], [pod(ready=True), pod(ready=True)]) == []


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ({"observedGeneration": 1}, "rules: the controller has not seen it yet"),
        ({"updatedReplicas": 1}, "rules: 1 of 2 replicas are of the newest version"),
        ({"readyReplicas": 1}, "rules: 1 of 2 replicas are ready"),
        ({"replicas": 3}, "rules: 1 replicas are to end"),
    ],
)
def test_a_workload_says_what_it_lacks(status: dict[str, int], sentence: str) -> None:
    pods = [pod(ready=True), pod(ready=True)]
    assert [str(one) for one in not_ready([deployment(**status)], pods)] == [sentence]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "Insufficient cpu"}]},
            "rules: rules-x: has no node: Insufficient cpu",
        ),
        (
            container(state={"waiting": {"reason": "ErrImagePull", "message": "not found"}}),
            "rules: rules-x: ErrImagePull not found",
        ),
        (
            container(state={"running": {}}, lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
            "rules: rules-x: ended with code 137 (OOMKilled)",
        ),
        (container(state={"waiting": {"reason": "ContainerCreating"}}), "rules: rules-x: ContainerCreating"),
        (container(state={"running": {}}), "rules: rules-x: started, and its readiness probe fails"),
        ({"phase": "Pending"}, "rules: rules-x: has no container yet"),
    ],
)
def test_a_pod_says_why_it_is_not_ready(status: dict[str, Any], sentence: str) -> None:
    assert [str(one) for one in not_ready([deployment(readyReplicas=1)], [pod(**status)])] == [sentence]


def test_a_container_that_ended_has_a_log_to_look_at() -> None:
    ended = container(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": {"exitCode": 1}})
    started = container(state={"running": {}})
    assert [one.crashed for one in not_ready([deployment(readyReplicas=0)], [pod(**ended), pod(**started)])] == [
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("conditions", "sentences"),
    [
        ([], ["migrate: the job is not done"]),
        ([{"type": "Complete", "status": "True"}], []),
        (
            [{"type": "Failed", "status": "True", "message": "it reached its limit"}],
            ["migrate: the job failed: it reached its limit"],
        ),
    ],
)
def test_a_job_is_ready_when_it_is_done(conditions: list[dict[str, str]], sentences: list[str]) -> None:
    job = {"kind": "Job", "metadata": {"name": "migrate"}, "spec": {}, "status": {"conditions": conditions}}
    assert [str(one) for one in not_ready([job], [])] == sentences


def test_a_stateful_set_that_was_never_rolled_out_counts_its_current_replicas() -> None:
    rules = deployment(currentReplicas=2, updatedReplicas=0) | {"kind": "StatefulSet"}
    rules["status"] |= {"currentRevision": "rules-1", "updateRevision": "rules-1"}
    assert not_ready([rules], [pod(ready=True), pod(ready=True)]) == []

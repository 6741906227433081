"""Says which workloads of a namespace are not yet as declared and why, from the objects alone; and waits for them."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dev.cluster.kubectl import CommandFailed, Kubectl
from shared.contracts.errors import StetError

Object = Mapping[str, Any]
WORKLOADS = "deployments,statefulsets,jobs"
_POLL_SECONDS = 2.0
_REPORT_SECONDS = 20.0
_LOG_LINES = 15
_SHOWN = 8

ReportState = Callable[[str], None]


@dataclass(frozen=True)
class NotReady:
    """``pod`` is empty where the reason is the workload's own; ``crashed``: its last log may say more."""

    workload: str
    reason: str
    pod: str = ""
    crashed: bool = False

    def __str__(self) -> str:
        return f"{self.workload}: {f'{self.pod}: ' if self.pod else ''}{self.reason}"


def not_ready(workloads: Iterable[Object], pods: Iterable[Object]) -> list[NotReady]:
    """Everything that keeps the workloads from being complete: all replicas of the newest version ready, jobs done."""
    found = list(pods)
    return [reason for workload in workloads for reason in _reasons(workload, found)]


def _reasons(workload: Object, pods: list[Object]) -> Iterator[NotReady]:
    name = workload["metadata"]["name"]
    theirs = [pod for pod in pods if _belongs(pod, workload)]
    missing = _job_reason(workload) if workload["kind"] == "Job" else _replica_reason(workload, theirs)
    if missing is None:
        return
    reasons = [reason for pod in theirs if (reason := _pod_reason(name, pod)) is not None]
    yield from reasons or [NotReady(name, missing)]


def _job_reason(job: Object) -> str | None:
    conditions = {one["type"]: one for one in job.get("status", {}).get("conditions", []) if one["status"] == "True"}
    if "Complete" in conditions:
        return None
    if "Failed" in conditions:
        return f"the job failed: {conditions['Failed'].get('message', '')}"
    return "the job is not done"


def _replica_reason(workload: Object, pods: list[Object]) -> str | None:
    """The pods are counted too: after one was deleted, the status is old for a moment."""
    status, wanted = workload.get("status", {}), workload["spec"].get("replicas", 1)
    if status.get("observedGeneration", 0) < workload["metadata"]["generation"]:
        return "the controller has not seen it yet"
    updated, ready = status.get("updatedReplicas", 0), min(status.get("readyReplicas", 0), sum(map(_is_ready, pods)))
    if workload["kind"] == "StatefulSet" and status.get("currentRevision") == status.get("updateRevision"):
        updated = status.get("currentReplicas", updated)
    if updated < wanted:
        return f"{updated} of {wanted} replicas are of the newest version"
    if ready < wanted:
        return f"{ready} of {wanted} replicas are ready"
    if status.get("replicas", 0) > wanted:
        return f"{status['replicas'] - wanted} replicas are to end"
    return None


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def _belongs(pod: Object, workload: Object) -> bool:
    labels = workload["spec"].get("selector", {}).get("matchLabels", {})
    return labels.items() <= pod["metadata"].get("labels", {}).items() if labels else False


def _pod_reason(workload: str, pod: Object) -> NotReady | None:
    """None where the pod is as it should be, or ends."""
    status, name = pod.get("status", {}), pod["metadata"]["name"]
    conditions = {one["type"]: one for one in status.get("conditions", [])}
    if status.get("phase") == "Succeeded" or conditions.get("Ready", {}).get("status") == "True":
        return None
    if pod["metadata"].get("deletionTimestamp"):
        return NotReady(workload, "is being ended", name)
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return NotReady(workload, f"has no node: {scheduled.get('message', '')}", name)
    containers = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    for container in containers:
        reason = _container_reason(container)
        if reason is not None:
            return NotReady(workload, reason, name, crashed=_has_ended(container))
    return NotReady(workload, "started, and its readiness probe fails" if containers else "has no container yet", name)


def _container_reason(container: Object) -> str | None:
    state, before = container.get("state", {}), container.get("lastState", {}).get("terminated")
    waiting, ended = state.get("waiting"), state.get("terminated")
    ended = ended if ended is not None and ended["exitCode"] != 0 else None
    if (last := ended or before) and (waiting is None or waiting.get("reason") == "CrashLoopBackOff"):
        return f"ended with code {last['exitCode']} ({last.get('reason', 'no reason given')})"
    return " ".join(filter(None, (waiting.get("reason"), waiting.get("message")))) if waiting is not None else None


def _has_ended(container: Object) -> bool:
    states = (container.get("state", {}), container.get("lastState", {}))
    return any("terminated" in state for state in states)


# ------------------------------------------------------------------ waiting


class NotReadyInTime(StetError):
    """Something is not ready when the time is up; the sentence names each with its reason."""


def until_ready(kubectl: Kubectl, seconds: float, report: ReportState) -> float:
    """Return how long it took. Raises NotReadyInTime with the last log lines of a container that crashed."""
    began = reported = time.monotonic()
    while left := _left(kubectl):
        now = time.monotonic()
        if now - began > seconds:
            raise NotReadyInTime(f"not ready after {seconds:.0f} s:\n{_explained(kubectl, left)}")
        if now - reported > _REPORT_SECONDS:
            reported = now
            report(f"waiting for {'; '.join(map(str, left[:3]))}")
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - began


def _left(kubectl: Kubectl) -> list[NotReady]:
    return not_ready(kubectl.items(WORKLOADS), kubectl.items("pods"))


def _explained(kubectl: Kubectl, left: list[NotReady]) -> str:
    return "\n".join(f"  {one}{_log(kubectl, one)}" for one in left[:_SHOWN])


def _log(kubectl: Kubectl, one: NotReady) -> str:
    if not one.crashed:
        return ""
    for option in ("--previous", "--all-containers"):
        try:
            text = kubectl.run("logs", one.pod, option, f"--tail={_LOG_LINES}")
        except CommandFailed:
            continue
        return "".join(f"\n    {line}" for line in text.splitlines())
    return ""

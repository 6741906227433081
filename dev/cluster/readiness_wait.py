"""Waits until every workload of a namespace is as declared, and says what it waits for."""

import time
from collections.abc import Callable

from dev.cluster.kubectl import CommandFailed, Kubectl
from dev.cluster.readiness import WORKLOADS, NotReady, not_ready
from shared.contracts.errors import StetError

_POLL_SECONDS = 2.0
_REPORT_SECONDS = 20.0
_LOG_LINES = 15
_SHOWN = 8

ReportState = Callable[[str], None]


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

"""Restores the database from a backup: services stop, the backup is made, database and volume go, a fresh pod gets it.

The services stop first: what they do after a backup would be done again by a database that does not know of it. In
production no such gap exists, since a standby confirms every commit (docs/runbook.md).
"""

import json
import time
from dataclasses import dataclass

from dev.cluster.kubectl import RUNNER, Kubectl
from dev.cluster.readiness import until_ready
from dev.cluster.report import Progress
from shared.contracts.errors import StetError

DEPLOYMENTS = ("ingest-web", "ingest-poll", "dispatcher", "writeback")
STATEFUL_SETS = ("rules",)
_FILE = "/tmp/backup.dump"  # noqa: S108 -- in the pod, which has no other folder to write to
_JOB = ("python", "-m", "dev.cluster.database_job")
_STOP_SECONDS = 180.0
_SECONDS = 300.0


class NotRestored(StetError):
    """The restored database differs from the one that was backed up."""


@dataclass(frozen=True)
class Restored:
    tables: int
    stopped_seconds: float


def restore(kubectl: Kubectl, report: Progress, ready_seconds: float) -> Restored:
    """Return when the services are ready again. Raises NotRestored, CommandFailed and NotReadyInTime."""
    began = time.monotonic()
    replicas = _replicas(kubectl)
    report("stopping the services")
    _scale(kubectl, dict.fromkeys(replicas, 0))
    _until_none(kubectl)
    report("backing the database up")
    kubectl.execute(RUNNER, *_JOB, "dump", _FILE, seconds=_SECONDS)
    before = _digests(kubectl)
    report("deleting the database and its volume")
    kubectl.run("scale", "statefulset/dev-database", "--replicas=0")
    kubectl.run("wait", "--for=delete", "pod/dev-database-0", "--timeout=120s", seconds=150)
    kubectl.run("delete", "persistentvolumeclaim", "data-dev-database-0", "--timeout=120s", seconds=150)
    kubectl.run("scale", "statefulset/dev-database", "--replicas=1")
    until_ready(kubectl, ready_seconds, report)
    report("restoring the backup into the fresh database")
    kubectl.execute(RUNNER, *_JOB, "restore", _FILE, seconds=_SECONDS)
    after = _digests(kubectl)
    different = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if different:
        raise NotRestored(f"these tables differ after the restore: {', '.join(different)}")
    report("starting the services")
    _scale(kubectl, replicas)
    until_ready(kubectl, ready_seconds, report)
    return Restored(len(after), time.monotonic() - began)


def _replicas(kubectl: Kubectl) -> dict[str, int]:
    found = {
        f"{kind}/{item['metadata']['name']}": item["spec"]["replicas"]
        for kind, names in (("deployment", DEPLOYMENTS), ("statefulset", STATEFUL_SETS))
        for item in kubectl.items(f"{kind}s")
        if item["metadata"]["name"] in names
    }
    return {name: max(count, 1) for name, count in found.items()}


def _scale(kubectl: Kubectl, replicas: dict[str, int]) -> None:
    for name, count in replicas.items():
        kubectl.run("scale", name, f"--replicas={count}")


def _until_none(kubectl: Kubectl) -> None:
    """Wait until no pod of a service is left; those of finished jobs stay."""
    deadline = time.monotonic() + _STOP_SECONDS
    while left := [pod["metadata"]["name"] for pod in kubectl.items("pods", _SERVICES) if not _is_done(pod)]:
        if time.monotonic() > deadline:
            raise NotRestored(f"these pods did not stop: {', '.join(left)}")
        time.sleep(1)


_SERVICES = "app.kubernetes.io/name=stet"


def _is_done(pod: dict[str, object]) -> bool:
    status = pod["status"]
    return isinstance(status, dict) and status.get("phase") == "Succeeded"


def _digests(kubectl: Kubectl) -> dict[str, str]:
    found: dict[str, str] = json.loads(kubectl.execute(RUNNER, *_JOB, "digests", seconds=_SECONDS))
    return found

"""The addresses of deploy/k8s/components/dev: broker, database, simulators and pods, for code that runs in a pod."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dev.layout import SIMULATORS, Neighbours
from dev.virtual_clock import VirtualClock
from shared.runtime.clock import DevelopmentClock

WHATSAPP_URL = "http://dev-whatsapp:8080"
CONSONANCE_URL = "http://dev-consonance:8080"
BOOTSTRAP = "dev-broker:9092"
LINES = {"106540352242922": "main", "106540352242923": "acquisitions"}
CLOCK = Path("/clock/now")
HEALTH_PORT = 9090
POLLING = "ingest-poll"
"""The workload that polls Consonance."""


def neighbours() -> Neighbours:
    """The database as superuser; its password is a variable of the pod."""
    return Neighbours(BOOTSTRAP, f"postgresql://postgres:{os.environ['PASSWORD']}@dev-database:5432/postgres")


@dataclass(frozen=True)
class PodAddresses:
    """``pods`` maps the name of each pod of Stet to its address; services call none of each other's."""

    pods: Mapping[str, str] = field(default_factory=dict)

    @property
    def whatsapp_url(self) -> str:
        return WHATSAPP_URL

    @property
    def consonance_url(self) -> str:
        return CONSONANCE_URL

    def health_url(self, service: str) -> str:
        """The health address of a service's pod; for ingest, of the pod that polls. Raises KeyError where there is
        none.
        """
        workload = POLLING if service == "ingest" else service
        found = [address for name, address in self.pods.items() if name.startswith(f"{workload}-")]
        if not found:
            raise KeyError(workload)
        return f"http://{found[0]}:{HEALTH_PORT}"

    def idle_urls(self) -> dict[str, str]:
        """Where each process says whether it has anything left to do."""
        simulators = dict(zip(SIMULATORS, (self.whatsapp_url, self.consonance_url), strict=True))
        return {name: f"{url}/_simulator/idle" for name, url in simulators.items()} | {
            name: f"http://{address}:{HEALTH_PORT}/development/idle" for name, address in self.pods.items()
        }


@dataclass(frozen=True)
class ClusterStack:
    """The stack of a namespace, for the demo and for the recorder of the chaos run."""

    layout: PodAddresses
    neighbours: Neighbours
    clock: DevelopmentClock | None = None

    @property
    def virtual_clock(self) -> VirtualClock:
        """Raises RuntimeError where the pods run on the real clock."""
        if self.clock is None:
            raise RuntimeError("these pods run on the real clock")
        return VirtualClock(self.clock, self.layout.idle_urls())

    async def not_ready(self) -> list[str]:
        """None: Kubernetes knows it, and ``make cluster`` asks it before the run is drained."""
        return []

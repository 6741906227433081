"""Which connections the NetworkPolicies have to allow and to refuse, and how each is tried from inside a pod."""

from dataclasses import dataclass

from dev.cluster.kubectl import Kubectl

_CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).close()
    print("opened")
except OSError as error:
    print("refused", error)
"""


@dataclass(frozen=True)
class ExpectedConnection:
    """``source`` is what ``kubectl exec`` takes; ``namespace`` empty: that of Stet."""

    source: str
    host: str
    port: int
    allowed: bool
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.source.rpartition('/')[2]} {'→' if self.allowed else '↛'} {self.host}:{self.port}"


def connections(health: str, stranger_namespace: str) -> list[ExpectedConnection]:
    """``health`` is the address of a pod of ingest-web, whose health port serves ``/metrics``.

    Each refusal has an allowed connection to the same place or from the same pod beside it, which shows that the
    refusal is the policy's.
    """
    return [
        ExpectedConnection("deployment/dispatcher", "dev-whatsapp", 8080, allowed=True),
        ExpectedConnection("statefulset/rules", "dev-whatsapp", 8080, allowed=False),
        ExpectedConnection("deployment/writeback", "dev-whatsapp", 8080, allowed=False),
        ExpectedConnection("deployment/ingest-web", "dev-whatsapp", 8080, allowed=True),  # fetches what people send
        ExpectedConnection("deployment/ingest-poll", "dev-whatsapp", 8080, allowed=False),
        ExpectedConnection("deployment/writeback", "dev-consonance", 8080, allowed=True),
        ExpectedConnection("statefulset/rules", "dev-consonance", 8080, allowed=False),
        ExpectedConnection("deployment/dispatcher", "dev-consonance", 8080, allowed=False),
        ExpectedConnection("statefulset/rules", "dev-broker", 9092, allowed=True),
        ExpectedConnection("deployment/dev-whatsapp", "dev-broker", 9092, allowed=False),
        ExpectedConnection("deployment/dev-runner", health, 9090, allowed=True),
        ExpectedConnection("statefulset/rules", health, 9090, allowed=False),
        ExpectedConnection("pod/stranger", "kubernetes.default", 443, allowed=True, namespace=stranger_namespace),
        ExpectedConnection("pod/stranger", health, 9090, allowed=False, namespace=stranger_namespace),
        ExpectedConnection("pod/stranger", health, 8080, allowed=False, namespace=stranger_namespace),
    ]


def wrong(kubectl: Kubectl, tried: list[ExpectedConnection]) -> list[str]:
    """A sentence for each connection that was not as it has to be. Raises CommandFailed where one cannot be tried."""
    found = []
    for one in tried:
        there = kubectl.within(one.namespace) if one.namespace else kubectl
        seen = there.execute(one.source, "python", "-c", _CONNECT, one.host, str(one.port)).strip()
        if seen.startswith("opened") != one.allowed:
            found.append(f"{one}: the connection was {seen}")
    return found

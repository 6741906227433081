"""What ingest counts. Labels are closed sets; no address, id or text is ever one."""

from collections import Counter
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import cache
from http import HTTPStatus

from services.ingest.connections import Cut
from shared.runtime.telemetry import counter, gauge, histogram


class Door(StrEnum):
    """Which door a request came to."""

    WHATSAPP = "whatsapp"
    CONSONANCE = "consonance"


class Refusal(StrEnum):
    """Why a request was not taken."""

    SIGNATURE = "signature"
    VERIFY_TOKEN = "verify_token"  # noqa: S105 -- a word, not a secret
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"
    SHAPE = "shape"
    UNAVAILABLE = "unavailable"
    FULL = "full"


_CUT_OFF = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Refusal.TOO_LARGE,
    HTTPStatus.REQUEST_TIMEOUT: Refusal.TOO_SLOW,
    HTTPStatus.SERVICE_UNAVAILABLE: Refusal.FULL,
}


class Measures:
    def __init__(self) -> None:
        self._updates = counter("stet_ingest_updates_total", "Updates taken, by what they are", "what")
        self._refusals = counter("stet_ingest_refusals_total", "Requests not taken", "door", "reason")
        self._publish = histogram("stet_ingest_publish_seconds", "Until all of a request is durable")
        self._count = cache(self._updates.labels)
        self._gaps = counter("stet_ingest_webhook_gaps_total", "Times the webhook stopped being whole")
        self._polls = counter("stet_ingest_polls_completed_total", "Passes over Consonance that saw all of it")
        self._poll_faults = counter("stet_ingest_poll_faults_total", "Passes over Consonance that were cut short")
        self._polled = counter("stet_ingest_polled_events_total", "Events told by polls")
        self._age = gauge("stet_ingest_view_age_seconds", "Since Consonance was last seen whole; machine time")
        self._cuts = counter("stet_ingest_connections_cut_total", "Connections cut off, by the reason", "why")
        self._connections = gauge("stet_ingest_connections", "Connections open at the public port")
        self._body_bytes = gauge("stet_ingest_body_bytes", "Bytes of bodies in memory, not answered yet")

        self.taken = 0  # updates, for the idle report

    def updates(self, whats: Iterable[str]) -> None:
        """Of one request that was taken."""
        for what, count in Counter(whats).items():
            self._count(what).inc(count)
            self.taken += count

    def refused(self, door: Door, refusal: Refusal) -> None:
        self._refusals.labels(door.value, refusal.value).inc()

    def cut_off(self, path: str, status: HTTPStatus) -> None:
        """By the door itself, before anybody had the whole request."""
        door = Door.WHATSAPP if path.startswith("/whatsapp") else Door.CONSONANCE
        self.refused(door, _CUT_OFF[status])

    def cut(self, why: Cut) -> None:
        self._cuts.labels(why.value).inc()

    def watch_connections(self, connections: Callable[[], float], body_bytes: Callable[[], float]) -> None:
        self._connections.set_function(connections)
        self._body_bytes.set_function(body_bytes)

    def published(self, seconds: float) -> None:
        self._publish.observe(seconds)

    def gap(self) -> None:
        self._gaps.inc()

    def polled(self, events: int) -> None:
        self._polls.inc()
        self._polled.inc(events)

    def poll_failed(self) -> None:
        self._poll_faults.inc()

    def watch_age(self, age: Callable[[], float]) -> None:
        self._age.set_function(age)

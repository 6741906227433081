"""The Prometheus metrics of ingest. Labels are closed sets; an address, id or text is never one."""

from collections import Counter
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import cache
from http import HTTPStatus

from services.ingest.http.connections import DropReason
from shared.runtime.telemetry import counter, gauge, histogram


class Endpoint(StrEnum):
    """The endpoint that a request was sent to."""

    WHATSAPP = "whatsapp"
    CONSONANCE = "consonance"


class RejectionReason(StrEnum):
    """Why a request was not accepted."""

    SIGNATURE = "signature"
    VERIFY_TOKEN = "verify_token"  # noqa: S105 -- a word, not a secret
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"
    SHAPE = "shape"
    UNAVAILABLE = "unavailable"
    OVERLOADED = "overloaded"


_REASON_OF_STATUS = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: RejectionReason.TOO_LARGE,
    HTTPStatus.REQUEST_TIMEOUT: RejectionReason.TOO_SLOW,
    HTTPStatus.SERVICE_UNAVAILABLE: RejectionReason.OVERLOADED,
}


class IngestMetrics:
    """``updates_counted`` is the number of updates since the start, for the idle report of a driven clock."""

    def __init__(self) -> None:
        self._updates = counter("stet_ingest_updates_total", "Updates received, by their kind.", "kind")
        self._rejections = counter(
            "stet_ingest_requests_rejected_total",
            "Requests that were not accepted, by endpoint and reason.",
            "endpoint",
            "reason",
        )
        self._publish = histogram(
            "stet_ingest_publish_duration_seconds", "Time until all records of a webhook are durable in Kafka."
        )
        self._updates_of_kind = cache(self._updates.labels)
        self._gaps = counter("stet_ingest_webhook_gaps_total", "Gaps opened in the coverage of the webhook.")
        self._polls_completed = counter("stet_ingest_polls_completed_total", "Polls of Consonance that read all of it.")
        self._polls_failed = counter("stet_ingest_polls_failed_total", "Polls of Consonance that ended with an error.")
        self._polled_events = counter("stet_ingest_polled_events_total", "Events published by polls of Consonance.")
        self._snapshot_age = gauge(
            "stet_ingest_snapshot_age_seconds", "Machine time since the last complete poll of Consonance."
        )
        self._dropped = counter(
            "stet_ingest_connections_dropped_total", "Connections that the server ended, by reason.", "reason"
        )
        self._connections = gauge("stet_ingest_open_connections", "Connections that are open at the public port.")
        self._body_bytes = gauge("stet_ingest_request_body_bytes", "Bytes of request bodies that are held in memory.")

        self.updates_counted = 0

    def count_updates(self, kinds: Iterable[str]) -> None:
        """The updates of one request that was accepted."""
        for kind, count in Counter(kinds).items():
            self._updates_of_kind(kind).inc(count)
            self.updates_counted += count

    def count_rejection(self, endpoint: Endpoint, reason: RejectionReason) -> None:
        self._rejections.labels(endpoint.value, reason.value).inc()

    def count_unread_rejection(self, path: str, status: HTTPStatus) -> None:
        """A request that the server rejected before it was read to its end."""
        endpoint = Endpoint.WHATSAPP if path.startswith("/whatsapp") else Endpoint.CONSONANCE
        self.count_rejection(endpoint, _REASON_OF_STATUS[status])

    def count_dropped(self, reason: DropReason) -> None:
        self._dropped.labels(reason.value).inc()

    def watch_connections(self, connections: Callable[[], float], body_bytes: Callable[[], float]) -> None:
        self._connections.set_function(connections)
        self._body_bytes.set_function(body_bytes)

    def observe_publish(self, seconds: float) -> None:
        self._publish.observe(seconds)

    def count_gap(self) -> None:
        self._gaps.inc()

    def count_poll(self, events: int) -> None:
        self._polls_completed.inc()
        self._polled_events.inc(events)

    def count_failed_poll(self) -> None:
        self._polls_failed.inc()

    def watch_snapshot_age(self, age: Callable[[], float]) -> None:
        self._snapshot_age.set_function(age)

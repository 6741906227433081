"""The metrics of ingest. Labels are closed sets; an address, id or text is never one."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import cache
from http import HTTPStatus

from shared.runtime.credentials import SECRET_REFUSED
from shared.runtime.http.connections import DropReason
from shared.runtime.metrics import Metrics, Replicas, current_exemplar, label


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


class PollOutcome(StrEnum):
    """How a poll of Consonance ended; ``completed``: it read all of it."""

    COMPLETED = "completed"
    FAILED = "failed"


class FileOutcome(StrEnum):
    """``retried``: another attempt follows; the other words but ``stored`` say why a file is not kept."""

    STORED = "stored"
    RETRIED = "retried"
    EXPIRED = "expired"
    TOO_LARGE = "too_large"
    EMPTY = "empty"
    WRONG_TYPE = "wrong_type"
    HASH_MISMATCH = "hash_mismatch"
    INFECTED = "infected"


_metrics = Metrics.of("ingest")
_UPDATES = _metrics.counter(
    "stet_updates_received_total",
    "Updates accepted from WhatsApp and Consonance.",
    label(
        "kind",
        description="`message`, `status` and other kinds of the code; `pushed`, `parked`; `other_number`: not ours; "
        "`address`: learnt from a status",
    ),
)
_REJECTIONS = _metrics.counter(
    "stet_requests_rejected_total",
    "Requests that were not accepted.",
    label("endpoint", Endpoint),
    label("reason", RejectionReason),
)
_PUBLISH_DURATION = _metrics.histogram(
    "stet_webhook_publish_duration_seconds", "Time until all records of a webhook are durable in Kafka.", exemplars=True
)
_GAPS = _metrics.counter("stet_webhook_gaps_total", "Gaps that opened in the coverage of the webhook.")
_GAP_OPEN = _metrics.gauge(
    "stet_webhook_gap_open", "1 while webhooks may be missing that WhatsApp had no time yet to send again."
)
_POLLS = _metrics.counter("stet_polls_total", "Polls of Consonance.", label("outcome", PollOutcome))
_POLLED_EVENTS = _metrics.counter("stet_polled_events_total", "Events published by polls of Consonance.")
_SNAPSHOT_AGE = _metrics.gauge(
    "stet_snapshot_age_seconds", "Machine time since the last complete poll of Consonance; 0 where it is not polled."
)
_DROPPED = _metrics.counter(
    "stet_connections_dropped_total",
    "Connections of the public port that the server ended.",
    label("reason", DropReason),
)
_CONNECTIONS = _metrics.gauge(
    "stet_open_connections", "Connections that are open at the public port.", replicas=Replicas.SUM
)
_BODY_BYTES = _metrics.gauge(
    "stet_request_body_bytes", "Bytes of request bodies that are held in memory.", replicas=Replicas.SUM
)
_FILES = _metrics.counter(
    "stet_media_files_total",
    "Files of inbound messages, by what became of an attempt to keep them.",
    label("outcome", FileOutcome),
)
_FILES_WAITING = _metrics.gauge("stet_media_files_waiting", "Files of inbound messages that are not fetched yet.")
_FILES_AGE = _metrics.gauge(
    "stet_media_waiting_age_seconds",
    "How long the oldest file waits to be fetched, in machine time; 0 where none does.",
)
_updates_of = cache(_UPDATES.labels)


class IngestMetrics:
    """``updates_counted`` is the number of updates since the start, for the idle report on a virtual clock."""

    def __init__(self) -> None:
        self.updates_counted = 0

    def count_updates(self, kinds: Sequence[str]) -> None:
        """The updates of one request that was accepted."""
        for kind in set(kinds):
            _updates_of(kind).inc(kinds.count(kind))
        self.updates_counted += len(kinds)

    def count_rejection(self, endpoint: Endpoint, reason: RejectionReason) -> None:
        _REJECTIONS.labels(endpoint.value, reason.value).inc()

    def count_unread_rejection(self, path: str, status: HTTPStatus) -> None:
        """A request that the server rejected before it was read to its end."""
        endpoint = Endpoint.WHATSAPP if path.startswith("/whatsapp") else Endpoint.CONSONANCE
        self.count_rejection(endpoint, _REASON_OF_STATUS[status])

    def count_dropped(self, reason: DropReason) -> None:
        _DROPPED.labels(reason.value).inc()

    def watch_connections(self, connections: Callable[[], float], body_bytes: Callable[[], float]) -> None:
        _CONNECTIONS.set_function(connections)
        _BODY_BYTES.set_function(body_bytes)

    def watch_signatures(self, setting: str, are_refused: Callable[[], bool]) -> None:
        SECRET_REFUSED.labels(setting).set_function(are_refused)

    def observe_publish(self, seconds: float) -> None:
        """Called inside the span of the webhook."""
        _PUBLISH_DURATION.observe(seconds, current_exemplar())

    def count_gap(self) -> None:
        _GAPS.inc()

    def set_gap_open(self, *, is_open: bool) -> None:
        _GAP_OPEN.set(is_open)

    def count_poll(self, events: int) -> None:
        _POLLS.labels(PollOutcome.COMPLETED).inc()
        _POLLED_EVENTS.inc(events)

    def count_failed_poll(self) -> None:
        _POLLS.labels(PollOutcome.FAILED).inc()

    def count_file(self, outcome: FileOutcome) -> None:
        _FILES.labels(outcome.value).inc()

    def show_waiting_files(self, files: int, oldest_seconds: float) -> None:
        _FILES_WAITING.set(files)
        _FILES_AGE.set(oldest_seconds)

    def watch_snapshot_age(self, age: Callable[[], float]) -> None:
        _SNAPSHOT_AGE.set_function(age)

"""The context that the events of a request share, the Kafka records made of events, and input that must be parked. JSON
is written here as well, with bounds that hold for any input.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import orjson

from shared.contracts.envelope import Event, EventData, trace_headers
from shared.contracts.errors import Malformed
from shared.contracts.ids import EventId, Line, TenantId
from shared.contracts.topics import Topic
from shared.contracts.values import is_plausible_instant
from shared.runtime.credentials import Pseudonymizer

SOURCE = "stet/ingest"

MAX_RECORD_BYTES = 1_000_000
"""The topics take a mebibyte, the record's key and headers included."""

MAX_NAME_LENGTH = 300
"""Characters of an account, a field or an id that a sender names; they are used in keys and indexes."""

MEDIA_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
"""WhatsApp's id of a file where it can be a segment of a URL's path; Meta's are digits."""

_MAX_PARKED_DEPTH = 500


@dataclass(frozen=True, slots=True)
class EventContext:
    """The attributes that all events of one request share. ``now`` is business time.

    ``lines`` are the tenant's phone lines by WhatsApp's phone number id.
    """

    tenant: TenantId
    now: datetime
    lines: Mapping[str, Line]
    traceparent: str | None = None

    def event(self, data: EventData, *, id: str, key: str, at: datetime, source: str = SOURCE) -> Event:  # noqa: A002 -- the attribute's name
        """Put ``data`` into its envelope. Raises Malformed for an id that is too long for an index."""
        if len(id) > MAX_NAME_LENGTH:
            raise Malformed(f"id: longer than {MAX_NAME_LENGTH} characters")
        return Event(
            id=EventId(id),
            source=source,
            type=data.kind,
            time=at,
            recordedtime=self.now,
            tenantid=self.tenant,
            partitionkey=key,
            traceparent=self.traceparent,
            data=data,
        )


@dataclass(frozen=True, slots=True)
class WebhookContext(EventContext):
    """``pseudonyms`` replace ids that contain a person's number: wamids, and the addresses of strangers.

    ``keeps_files``: files of messages are fetched and kept.
    """

    pseudonyms: Pseudonymizer = field(kw_only=True)
    keeps_files: bool = field(default=False, kw_only=True)


class KafkaRecord(NamedTuple):
    """A record to publish. ``update_kind`` is the label under which its update is counted."""

    topic: Topic
    key: bytes
    value: bytes
    update_kind: str
    headers: list[tuple[str, bytes]]

    @classmethod
    def of(cls, topic: Topic, event: Event, update_kind: str) -> "KafkaRecord":
        headers = trace_headers(event.traceparent)
        return cls(topic, event.partitionkey.encode(), event.to_bytes(), update_kind, headers)


@dataclass(frozen=True, slots=True)
class InvalidInput:
    """Input that cannot be handled: ``raw`` is parked; ``sentence`` explains the fault and never quotes the input."""

    raw: bytes
    reason: str
    sentence: str


def parse_timestamp(value: Any) -> datetime:
    """Meta's seconds since 1970, as text or number. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("timestamp: it is not a number of seconds")  # noqa: TRY004 -- callers park on ValueError
    return _parse_seconds(value)


@lru_cache(maxsize=1024)  # what is sent in one second has one timestamp
def _parse_seconds(value: str | int) -> datetime:
    try:
        instant = datetime.fromtimestamp(int(value), UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueError("timestamp: it is not a number of seconds") from None
    if not is_plausible_instant(instant):
        raise ValueError("timestamp: it lies centuries away")
    return instant


def to_json(document: Any, *, option: int | None = None) -> bytes:
    """Raises ValueError where the document is nested deeper than 254 levels."""
    try:
        return orjson.dumps(document, option=option)
    except orjson.JSONEncodeError as error:
        raise ValueError(str(error)) from None


def to_deep_json(document: Any) -> bytes:
    """Like ``to_json``, for up to 500 levels of nesting, for which the stack of every caller has room. Raises
    ValueError.
    """
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        if _is_deeper(document, _MAX_PARKED_DEPTH):
            raise ValueError("nested too deeply") from None
        try:
            return msgspec.json.encode(document)
        except (RecursionError, msgspec.MsgspecError, TypeError) as error:
            raise ValueError(str(error)) from None


def to_parkable_json(document: Any) -> bytes:
    """JSON for the parked table; a sentence in its place where the document is nested too deeply."""
    try:
        return to_deep_json(document)
    except ValueError:
        return b"too deeply nested to be kept"


def _is_deeper(document: Any, levels: int) -> bool:
    parts = [document]
    for _ in range(levels):
        inner = [part.values() if isinstance(part, dict) else part for part in parts if isinstance(part, dict | list)]
        parts = [part for several in inner for part in several]
        if not parts:
            return False
    return True

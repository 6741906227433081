"""What one webhook turns into: records for Kafka as bytes, and updates that still need to know whose they are."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from services.ingest.updates import LONGEST_NAME, Bad, Update
from shared.contracts.envelope import Event, EventData
from shared.contracts.errors import Malformed
from shared.contracts.ids import Bsuid, EventId, Line, Phone, TenantId
from shared.contracts.topics import Topic
from shared.contracts.values import is_plausible_instant
from shared.contracts.whatsapp import IdentityChange
from shared.runtime.pseudonyms import Pseudonymizer

SOURCE = "stet/ingest"
MAX_VALUE = 1_000_000
"""Bytes; the topics take a mebibyte, its keys and headers included."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What every event of one request shares. ``now`` is business time; ``lines`` are named by phone number id."""

    tenant: TenantId
    now: datetime
    lines: Mapping[str, Line]
    traceparent: str | None = None

    def event(self, data: EventData, *, id: str, key: str, at: datetime, source: str = SOURCE) -> Event:  # noqa: A002 -- the attribute's name
        """Raises Malformed for an id that no index takes."""
        if len(id) > LONGEST_NAME:
            raise Malformed(f"id: longer than {LONGEST_NAME} characters")
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
class WebhookFrame(Frame):
    """``pseudonyms`` stand for what contains a person's number: wamids, and the addresses of strangers."""

    pseudonyms: Pseudonymizer = field(kw_only=True)


class Record(NamedTuple):
    """``what`` is the word it is counted under; ``headers`` are those of its Kafka record."""

    topic: Topic
    key: bytes
    value: bytes
    what: str
    headers: list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Sighting:
    """Addresses seen together, so one person's. ``change``: they replace the former ones."""

    bsuid: Bsuid | None
    phone: Phone | None
    name: str | None = None
    change: IdentityChange | None = None
    former_bsuid: Bsuid | None = None
    former_phone: Phone | None = None


@dataclass(frozen=True, slots=True)
class Personal:
    """An update about a person: ``draft`` lacks only its ``person_id``; ``update`` is what is parked if it must be."""

    sighting: Sighting
    draft: EventData
    id: str
    at: datetime
    what: str
    update: Update


class Sorted(NamedTuple):
    """One body, sorted by what is to be done with it; ``others`` counts updates to numbers that are not ours."""

    records: list[Record]
    personal: list[Personal]
    bad: list[Bad]
    others: Counter[str]


def instant_of(value: Any) -> datetime:
    """Meta's seconds since 1970, as text or number. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("timestamp: it is not a number of seconds")  # noqa: TRY004 -- callers park on ValueError
    try:
        instant = datetime.fromtimestamp(int(value), UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueError("timestamp: it is not a number of seconds") from None
    if not is_plausible_instant(instant):
        raise ValueError("timestamp: it lies centuries away")
    return instant

"""Records as they come from Kafka: those that were read, those that cannot be, and those that say nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from msgspec import Struct

from shared.contracts.envelope import Event, parse_event
from shared.contracts.errors import Unprocessable
from shared.contracts.ids import derive_id
from shared.contracts.topics import Topic
from shared.runtime.progress import OffsetRange, Partition
from shared.runtime.transaction import Headers, RecordOrigin, Transaction


class ReceivedEvent(Struct, frozen=True, gc=False):
    """A record that parsed. ``record`` is Kafka's: key, headers, timestamp; its header values are bytes."""

    event: Event
    topic: Topic
    partition: int
    offset: int
    record: Any

    @property
    def raw(self) -> bytes:
        return bytes(self.record.value)

    @property
    def headers(self) -> Headers:
        return tuple(self.record.headers)


@dataclass(frozen=True, slots=True)
class InvalidRecord:
    """A record to park."""

    raw: bytes
    reason: str
    sentence: str
    origin: RecordOrigin
    topic: Topic
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A record without a value: a compacted topic forgets a key."""

    topic: Topic
    partition: int
    offset: int


ParsedRecord = ReceivedEvent | InvalidRecord | Tombstone


class Handler(Protocol):
    def locks(self, batch: Sequence[ReceivedEvent]) -> Iterable[str]:
        """Names of the subjects and people the batch touches."""

    async def handle(self, tx: Transaction, batch: Sequence[ReceivedEvent]) -> None:
        """Put a batch of new events into state and outbox. Unprocessable blames a record, Unavailable the world."""


def parse_record(topic: Topic, record: Any) -> ParsedRecord:
    if record.value is None:
        return Tombstone(topic, record.partition, record.offset)
    try:
        event = parse_event(record.value, topic.kinds)
    except Unprocessable as error:
        return invalid_record(topic, record, error.reason, str(error))
    return ReceivedEvent(event, topic, record.partition, record.offset, record)


def invalid_record(topic: Topic, record: Any, reason: str, sentence: str, event: Event | None = None) -> InvalidRecord:
    identity = None if event is None else derive_id(event.tenantid, event.source, event.id)
    origin = RecordOrigin(topic.name, record.partition, record.offset, record.key, record.headers, identity)
    return InvalidRecord(record.value, reason, sentence, origin, topic, record.partition, record.offset)


def offset_ranges(items: Iterable[ParsedRecord], positions: dict[Partition, int]) -> dict[Partition, OffsetRange]:
    """What these items read of each partition. Raises KeyError for one that is not this replica's any more."""
    last = {(item.topic.name, item.partition): item.offset for item in items}
    return {place: OffsetRange(positions[place], offset + 1) for place, offset in last.items()}

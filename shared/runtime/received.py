"""Records as they come from Kafka: those that were read, those that cannot be, and those that say nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from msgspec import Struct

from shared.contracts.envelope import Event, parse
from shared.contracts.errors import Unfit
from shared.contracts.ids import derive
from shared.contracts.topics import Topic
from shared.runtime.progress import Place, Span
from shared.runtime.transaction import Headers, Origin, Transaction


class Received(Struct, frozen=True, gc=False):
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
class Misfit:
    """A record to park."""

    raw: bytes
    reason: str
    sentence: str
    origin: Origin
    topic: Topic
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A record without a value: a compacted topic forgets a key."""

    topic: Topic
    partition: int
    offset: int


Item = Received | Misfit | Tombstone


class Handler(Protocol):
    def locks(self, batch: Sequence[Received]) -> Iterable[str]:
        """Names of the subjects and people the batch touches."""

    async def handle(self, tx: Transaction, batch: Sequence[Received]) -> None:
        """Put a batch of new events into state and outbox. Unfit blames a record, Unavailable the world."""


def read(topic: Topic, record: Any) -> Item:
    if record.value is None:
        return Tombstone(topic, record.partition, record.offset)
    try:
        event = parse(record.value, topic.kinds)
    except Unfit as error:
        return misfit(topic, record, error.reason, str(error))
    return Received(event, topic, record.partition, record.offset, record)


def misfit(topic: Topic, record: Any, reason: str, sentence: str, event: Event | None = None) -> Misfit:
    identity = None if event is None else derive(event.tenantid, event.source, event.id)
    origin = Origin(topic.name, record.partition, record.offset, record.key, record.headers, identity)
    return Misfit(record.value, reason, sentence, origin, topic, record.partition, record.offset)


def spans(items: Iterable[Item], positions: dict[Place, int]) -> dict[Place, Span]:
    """What these items read of each partition. Raises KeyError for one that is not this replica's any more."""
    last = {(item.topic.name, item.partition): item.offset for item in items}
    return {place: Span(positions[place], offset + 1) for place, offset in last.items()}

"""Partitions that no replica has read lately. Their people get no message: a withdrawal or a STOP may lie there unread.

The leader sends for all people and reads the partitions of some: another replica may be frozen, killed or behind with
the rest, and the broker may be away. A late message does less harm than one whose reason is gone.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

from aiokafka.errors import KafkaError

from services.dispatcher import metrics
from shared.contracts.ids import TenantId, partition_key
from shared.contracts.topics import PARTITIONS, Topic
from shared.runtime.failures import TRANSIENT_ERRORS, record_loop_error
from shared.runtime.kafka import partition_for_key
from shared.runtime.postgres import Pool
from shared.runtime.progress import Partition, read_progress

_POLL_SECONDS = 0.4
_RECENT_SECONDS = 1.5
"""A partition counts as read for so long after it was seen to be: with the time of a claim, within two seconds."""
_BROKER_SECONDS = 5.0
_MOST_LOOKS = 64  # remembered for a partition that is not read


class FetchEndOffsets(Protocol):
    """Asks the broker for the end of each partition."""

    async def __call__(self, partitions: Iterable[Partition], /) -> Mapping[Partition, int]: ...


class UnreadPartitions:
    """Compares, again and again, the ends of ``topics``, which have a person's key, with what was read of them.

    Without ``fetch_ends`` there is no broker, and nothing to read. ``clock`` gives monotonic seconds.
    """

    def __init__(
        self,
        tenant: TenantId,
        topics: Collection[Topic],
        pool: Pool,
        fetch_ends: FetchEndOffsets | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tenant = tenant
        self._places = [(topic.name, number) for topic in topics for number in range(PARTITIONS)]
        self._pool = pool
        self._fetch_ends = fetch_ends
        self._clock = clock
        self._ends: dict[Partition, deque[tuple[float, int]]] = {
            place: deque(maxlen=_MOST_LOOKS) for place in self._places
        }
        self._read_at: dict[Partition, float] = {}
        self._all_read_at = 0.0
        self._held: dict[int, set[str]] = {}

    async def watch(self) -> None:
        """Compare the ends until the task is cancelled. While the broker or the database is away, all partitions become
        unread.
        """
        try:
            while True:
                await self._compare_ends_safely()
                metrics.UNREAD_PARTITIONS.set(len(self.numbers()))
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            metrics.UNREAD_PARTITIONS.set(0)

    async def compare_ends(self) -> None:
        """Raises KafkaError, Unavailable, TimeoutError and the database's errors."""
        if self._fetch_ends is None:
            return
        looked_at = self._clock()
        async with asyncio.timeout(_BROKER_SECONDS):
            ends = await self._fetch_ends(self._places)
            positions = await read_progress(self._pool, self._places)
        for place in self._places:
            self._ends[place].append((looked_at, ends.get(place, 0)))
            self._update_read_at(place, positions.get(place, 0))
        self._all_read_at = min(self._read_at.get(place, 0.0) for place in self._places)

    def numbers(self) -> frozenset[int]:
        """The numbers of partitions that have, in any topic, records published a while ago and not read yet."""
        if self._fetch_ends is None:
            return frozenset()
        oldest = self._clock() - _RECENT_SECONDS
        return frozenset(number for topic, number in self._places if self._read_at.get((topic, number), 0.0) < oldest)

    def is_unread(self, person_id: str) -> bool:
        """Whether this person's partition is unread. Such a person is remembered, so that claims find messages of other
        people instead.
        """
        if not self._held:
            return False
        number = self._number_of(person_id)
        if number not in self._held:
            return False
        self._held[number].add(person_id)
        return True

    def is_read(self, person_id: str) -> bool:
        """Whether this person's partition counts as read in this instant; cheap where all do."""
        if self._fetch_ends is None or self._all_read_at >= self._clock() - _RECENT_SECONDS:
            return True
        return self._number_of(person_id) not in self.numbers()

    def refresh(self) -> list[str]:
        """The people met so far whose partitions are still unread."""
        self._held = {number: self._held.get(number, set()) for number in self.numbers()}
        return [person_id for people in self._held.values() for person_id in people]

    @property
    def is_everything_unread(self) -> bool:
        return len(self.numbers()) == PARTITIONS

    def _number_of(self, person_id: str) -> int:
        return partition_for_key(partition_key(self._tenant, "persons", person_id))

    async def _compare_ends_safely(self) -> None:
        try:
            await self.compare_ends()
        except (KafkaError, *TRANSIENT_ERRORS):
            pass  # the consumer and the relay log the cause
        except Exception as error:  # noqa: BLE001 -- the boundary of a loop: no input may end it
            record_loop_error("unread_partitions", error)

    def _update_read_at(self, place: Partition, position: int) -> None:
        """The instant of the newest comparison whose end was reached; older comparisons are forgotten."""
        comparisons = self._ends[place]
        while comparisons and comparisons[0][1] <= position:
            self._read_at[place], _ = comparisons.popleft()

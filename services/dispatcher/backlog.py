"""What was written before a replica became the owner is read before it sends: withdrawals, addresses, windows, pauses.

Whichever replicas read the partitions, their progress is in PostgreSQL. The ends are those of the moment at which the
portfolio became ours; what is written later is read while we send. A broker that is away, or a partition that is not
read, means waiting: a message that is late does less harm than one that was taken back.
"""

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from aiokafka.errors import KafkaError

from services.dispatcher import metrics
from shared.contracts.topics import PARTITIONS
from shared.runtime.batch import TRANSIENT_ERRORS
from shared.runtime.postgres import Connection, load_queries
from shared.runtime.progress import Partition
from shared.runtime.telemetry import get_logger

log = get_logger()
_sql = load_queries(__file__, "backlog.sql")
_LOOK_EVERY = 0.1  # seconds
_ASK_AGAIN = 0.5
_BROKER_SECONDS = 5.0  # the session that owns the portfolio must say something every fifteen seconds
_TELL_EVERY = 30.0
_NAMED = 5  # partitions in a log line


class Ends(Protocol):
    """Asks the broker for the end of each partition."""

    async def __call__(self, places: Iterable[Partition], /) -> Mapping[Partition, int]: ...


@dataclass(frozen=True, slots=True)
class Backlog:
    """``ends`` None: there is no broker, and nothing to wait for."""

    topics: Collection[str]
    ends: Ends | None

    async def read_up(self, connection: Connection) -> None:
        """Return once all that was written before the call has been read, by whichever replica."""
        if self.ends is None:
            return
        metrics.CATCHING_UP.set(1)
        try:
            await self._until_read(connection, await self._ends(self.ends, connection))
        finally:
            metrics.CATCHING_UP.set(0)

    async def _ends(self, ask: Ends, connection: Connection) -> Mapping[Partition, int]:
        places = [(topic, partition) for topic in self.topics for partition in range(PARTITIONS)]
        told = 0.0
        while True:
            try:
                async with asyncio.timeout(_BROKER_SECONDS):
                    return await ask(places)
            except (KafkaError, *TRANSIENT_ERRORS) as error:
                if time.monotonic() - told > _TELL_EVERY:
                    told = time.monotonic()
                    log.warning("dependency.awaited", neighbour="kafka", setting="STET_KAFKA_BOOTSTRAP",
                                error=type(error).__name__)  # fmt: skip
            await connection.execute("select")
            await asyncio.sleep(_ASK_AGAIN)

    async def _until_read(self, connection: Connection, ends: Mapping[Partition, int]) -> None:
        told = time.monotonic()
        while unread := _unread(await self._positions(connection), ends):
            if time.monotonic() - told > _TELL_EVERY:
                told = time.monotonic()
                named = [f"{topic}:{partition}" for topic, partition in unread[:_NAMED]]
                log.error("backlog.unread", partitions=len(unread), first=named)
            await asyncio.sleep(_LOOK_EVERY)

    async def _positions(self, connection: Connection) -> Mapping[Partition, int]:
        rows = await connection.fetch(_sql.positions, list(self.topics))
        return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}


def _unread(positions: Mapping[Partition, int], ends: Mapping[Partition, int]) -> list[Partition]:
    return [place for place, end in sorted(ends.items()) if positions.get(place, 0) < end]

"""How far a service has read, kept in PostgreSQL with the state it read it into; Kafka's own offsets only show lag."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.errors import Unavailable
from shared.postgres import Connection, Pool
from shared.transaction import QUERIES

Place = tuple[str, int]
"""A topic (without prefix) and a partition."""


class Fenced(Unavailable):
    """Another replica has read on: this one's batch is void, and blames no record."""


@dataclass(frozen=True, slots=True)
class Span:
    """What a batch reads of a partition: from the offset expected next, up to and without ``after``."""

    expected: int
    after: int


async def read(pool: Pool, topics: Iterable[str]) -> dict[Place, int]:
    rows = await pool.fetch(QUERIES.read_progress, list(topics))
    return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}


async def lock(connection: Connection, spans: Mapping[Place, Span]) -> None:
    """Lock the batch's progress rows in order. Raises Fenced unless each stands where this replica believes."""
    topics, partitions = _columns(sorted(spans))
    rows = await connection.fetch(QUERIES.lock_progress, topics, partitions)
    kept = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
    for place, span in spans.items():
        if kept.get(place, span.expected) != span.expected:
            raise Fenced(f"{place[0]}:{place[1]} was read by another replica")


async def move(connection: Connection, spans: Mapping[Place, Span]) -> None:
    places = sorted(spans)
    topics, partitions = _columns(places)
    await connection.execute(QUERIES.move_progress, topics, partitions, [spans[place].after for place in places])


async def catch_up(pool: Pool, read_to_end: Mapping[Place, int], now: datetime) -> None:
    """These partitions hold nothing beyond what was read; ``now`` was taken before their ends were looked up."""
    places = sorted(read_to_end)
    if places:
        topics, partitions = _columns(places)
        await pool.execute(QUERIES.catch_up, topics, partitions, [read_to_end[place] for place in places], now)


def _columns(places: Sequence[Place]) -> tuple[list[str], list[int]]:
    return [topic for topic, _ in places], [partition for _, partition in places]

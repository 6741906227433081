"""How far a service has read, kept in PostgreSQL with the state it read it into; Kafka's own offsets only show lag."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.contracts.errors import Unavailable
from shared.runtime.postgres import Connection, Pool
from shared.runtime.transaction import QUERIES

Partition = tuple[str, int]
"""A topic (without prefix) and a partition."""


class Fenced(Unavailable):
    """Somebody else has read on, or will: this replica's batch is void, and blames no record."""


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """What a batch reads of a partition: from the offset expected next, up to and without ``after``."""

    expected: int
    after: int


async def load_progress(pool: Pool, firsts: Mapping[Partition, int]) -> dict[Partition, int]:
    """Where to read on; a partition never read before begins at ``firsts``, its oldest record."""
    topics, partitions = _columns(sorted(firsts))
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(QUERIES.begin_progress, topics, partitions, [firsts[p] for p in sorted(firsts)])
        rows = await connection.fetch(QUERIES.read_progress, topics, partitions)
    return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}


async def read_progress(pool: Pool, partitions: Iterable[Partition]) -> dict[Partition, int]:
    """The next offset of each partition that has a row of progress."""
    rows = await pool.fetch(QUERIES.read_progress, *_columns(sorted(partitions)))
    return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}


async def advance_progress(connection: Connection, spans: Mapping[Partition, OffsetRange]) -> None:
    """Move these partitions on, first thing in a batch's transaction, and keep them locked until it ends.

    Raises Fenced unless each stands where this replica believes.
    """
    places = sorted(spans)
    topics, partitions = _columns(places)
    expected, after = [spans[p].expected for p in places], [spans[p].after for p in places]
    done = await connection.execute(QUERIES.claim_progress, topics, partitions, expected, after)
    if done != f"UPDATE {len(places)}":
        raise Fenced("a partition was read by another replica")


async def record_caught_up(pool: Pool, read_to_end: Mapping[Partition, int], now: datetime) -> set[Partition]:
    """These partitions hold nothing beyond what was read; ``now`` was taken before their ends were. Gives those
    that are caught up to it now.
    """
    places = sorted(read_to_end)
    if not places:
        return set()
    rows = await pool.fetch(QUERIES.catch_up, *_columns(places), [read_to_end[place] for place in places], now)
    return {(row["topic"], row["partition"]) for row in rows}


def _columns(places: Sequence[Partition] | Iterable[Partition]) -> tuple[list[str], list[int]]:
    places = list(places)
    return [topic for topic, _ in places], [partition for _, partition in places]

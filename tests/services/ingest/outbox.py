"""What ingest's transactions have left to be relayed."""

from shared.contracts.envelope import Event, parse_event
from shared.contracts.topics import ALL_TOPICS
from shared.runtime.postgres import Pool

TOPICS = {topic.name: topic for topic in ALL_TOPICS}


async def left(pool: Pool) -> list[Event]:
    """Everything in the outbox, in order; parked records are not events and are left out."""
    rows = await pool.fetch("SELECT topic, key, value FROM outbox WHERE topic NOT LIKE 'parked.%' ORDER BY id")
    events = [parse_event(row["value"], TOPICS[row["topic"]].kinds) for row in rows]
    assert [row["key"].decode() for row in rows] == [event.partitionkey for event in events]
    return events


async def empty(pool: Pool) -> None:
    await pool.execute("DELETE FROM outbox")

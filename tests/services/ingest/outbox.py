"""Reads and clears the outbox of ingest."""

from shared.contracts.envelope import Event, parse_event
from shared.contracts.topics import ALL_TOPICS
from shared.runtime.postgres import Pool

TOPICS = {topic.name: topic for topic in ALL_TOPICS}


async def outbox_events(pool: Pool) -> list[Event]:
    """All events in the outbox, in order; parked records are no events."""
    rows = await pool.fetch("select topic, key, value from outbox where topic not like 'parked.%' order by id")
    events = [parse_event(row["value"], TOPICS[row["topic"]].kinds) for row in rows]
    assert [row["key"].decode() for row in rows] == [event.partitionkey for event in events]
    return events


async def clear_outbox(pool: Pool) -> None:
    await pool.execute("delete from outbox")

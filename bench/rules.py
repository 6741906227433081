"""Rules beside a bare consumer that does the same inserts: events a second, from Kafka to what is committed.

Both stand still while a round's events are written, so that only reading, deciding and committing is measured.
"""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from bench import people, samples
from bench.ground import Ground, ground, held, until
from bench.rounds import repeat
from bench.rulebooks import telling
from bench.stream import fill
from bench.table import Row, against_floor
from dev.processes import Child
from shared.contracts.topics import CONSONANCE_EVENTS, CONTACTS

NOW = datetime(2027, 3, 3, 10, tzinfo=UTC)
"""A Wednesday morning, at which business time stands still: nobody is asleep, so every message leaves at once."""

_WANTED = 0.4
_RULES = (50, 500)
_EVENTS_A_SECOND = 10_000
_READ = "select coalesce(sum(next_offset), 0) from {schema}.progress where topic = 'consonance.events'"


@dataclass
class Reading:
    """Where the readers of ``consonance.events`` are; ``written`` is where the topic ends."""

    footing: Ground
    written: int = 0
    changes: int = 0

    async def known(self) -> None:
        """Everybody and every work the events will name."""
        await fill(self.footing.kafka, CONTACTS, people.people(people.PEOPLE, NOW))
        self.written += await fill(self.footing.kafka, CONSONANCE_EVENTS, people.works(NOW))

    async def more(self, count: int, rules: int) -> None:
        changes = people.stage_changes(self.changes, count, rules, NOW)
        self.written += await fill(self.footing.kafka, CONSONANCE_EVENTS, changes)
        self.changes += count

    async def read(self, schema: str) -> int:
        return int(await self.footing.database.fetchval(_READ.format(schema=schema)))

    async def rate(self, schema: str, reader: Child) -> float:
        """Events a second until ``schema`` has committed all that is written."""
        began, before = time.monotonic(), await self.read(schema)
        await until(lambda: self.read(schema), self.written, reader)
        return (self.written - before) / (time.monotonic() - began)

    async def relayed(self, reader: Child) -> None:
        """What rules committed has left its outbox, so that the relay disturbs nobody else's round."""
        await until(self._outbox_empty, 1, reader)

    async def _outbox_empty(self) -> int:
        return int(await self.footing.database.fetchval("select not exists (select from rules.outbox)"))


async def measure(seconds: float) -> AsyncIterator[Row]:
    count = int(_EVENTS_A_SECOND * seconds)
    async with ground(NOW) as footing:
        reading = Reading(footing)
        await reading.known()
        floor: Child | None = None
        for rules in _RULES:
            ours = await start(footing, rules)
            await settled(reading, ours, rules)
            floor = floor or await _start_floor(footing)
            await until(lambda: reading.read("floor"), reading.written, floor)
            rounds = await repeat(partial(_pair, reading, ours, floor, (count, rules)))
            yield against_floor(f"rules: events, {rules} rules", rounds, _WANTED)
            await footing.end(ours)


async def start(footing: Ground, rules: int) -> Child:
    folder = telling(footing.layout.folder / "data" / f"rules-{rules}", rules)
    return await footing.service("rules", STET_RULES_DIR=str(folder))


async def settled(reading: Reading, ours: Child, rules: int) -> None:
    """People, works and a first lot of events are behind it."""
    await reading.more(_EVENTS_A_SECOND, rules)
    await until(lambda: reading.read("rules"), reading.written, ours)
    await reading.relayed(ours)


async def _start_floor(footing: Ground) -> Child:
    sample = await samples.of_rules(footing.kafka, footing.database)
    arguments = ("--kafka", footing.kafka, "--postgres", footing.stack.neighbours.postgres_dsn, "--sample", sample)
    floor = await footing.tool("floor_rules", *arguments)
    await until(lambda: _has_schema(footing), 1, floor)
    return floor


async def _has_schema(footing: Ground) -> int:
    return int(await footing.database.fetchval("select to_regclass('floor.messages') is not null"))


async def _pair(reading: Reading, ours: Child, floor: Child, load: tuple[int, int]) -> tuple[float, float]:
    with held(floor):
        with held(ours):
            await reading.more(*load)
        mine = await reading.rate("rules", ours)
        await reading.relayed(ours)
    return mine, await reading.rate("floor", floor)

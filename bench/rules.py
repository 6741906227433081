"""Rules beside a bare consumer that does the same inserts: events per second, from Kafka to the commit.

Both are suspended while a round's events are written, so that only reading, deciding and committing is measured.
``measure_memory`` sends a million events through rules and watches the memory of its process.
"""

import base64
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.console import Console

from bench import records
from bench.environment import BenchEnvironment, bench_environment, suspended, wait_until_reached
from bench.records import fill_topic
from bench.results import BenchResult, compare_with_floor, repeat_pair
from bench.rule_folders import write_notice_rules
from dev.processes import Child, ProcessFailed
from shared.contracts.decisions import DecisionRecorded, NoEffectRecorded
from shared.contracts.messages import SendMessage
from shared.contracts.topics import CONSONANCE_EVENTS, CONTACTS, DECISIONS, MESSAGES_REQUESTED, PARTITIONS

NOW = datetime(2027, 3, 3, 10, tzinfo=UTC)
"""A Wednesday morning, at which business time stands still: no quiet hours, so every message leaves at once."""

_TARGET = 0.4
_RULES = (50, 500)
_EVENTS_PER_SECOND = 10_000
_READ_OFFSETS = "select coalesce(sum(next_offset), 0) from {schema}.progress where topic = 'consonance.events'"


@dataclass
class EventStream:
    """The topic ``consonance.events`` and the progress of its readers; ``written`` is the end of the topic."""

    environment: BenchEnvironment
    written: int = 0
    changes: int = 0

    async def write_people_and_works(self) -> None:
        """All the people and works that the events will name."""
        kafka = self.environment.kafka
        await fill_topic(kafka, CONTACTS, records.people_records(records.PEOPLE, NOW))
        self.written += await fill_topic(kafka, CONSONANCE_EVENTS, records.work_records(NOW))

    async def write_changes(self, count: int, rules: int) -> None:
        changes = records.stage_change_records(self.changes, count, rules, NOW)
        self.written += await fill_topic(self.environment.kafka, CONSONANCE_EVENTS, changes)
        self.changes += count

    async def committed(self, schema: str) -> int:
        return int(await self.environment.database.fetchval(_READ_OFFSETS.format(schema=schema)))

    async def measure_rate(self, schema: str, reader: Child) -> float:
        """Events per second until ``schema`` has committed everything that is written."""
        began, before = time.monotonic(), await self.committed(schema)
        await wait_until_reached(lambda: self.committed(schema), self.written, reader)
        return (self.written - before) / (time.monotonic() - began)

    async def wait_until_relayed(self, reader: Child) -> None:
        """Until the outbox of rules is empty, so that its relay does not run into the other round."""
        await wait_until_reached(self._is_outbox_empty, 1, reader)

    async def _is_outbox_empty(self) -> int:
        return int(await self.environment.database.fetchval("select not exists (select from rules.outbox)"))


async def measure(seconds: float) -> AsyncIterator[BenchResult]:
    count = int(_EVENTS_PER_SECOND * seconds)
    async with bench_environment(NOW) as environment:
        stream = EventStream(environment)
        await stream.write_people_and_works()
        floor: Child | None = None
        for rules in _RULES:
            ours = await _start_rules(environment, rules)
            await _warm_up(stream, ours, rules)
            floor = floor or await _start_floor(environment)
            await wait_until_reached(lambda: stream.committed("floor"), stream.written, floor)
            medians = await repeat_pair(partial(_measure_pair, stream, ours, floor, (count, rules)))
            yield compare_with_floor(f"rules: events, {rules} rules", medians, _TARGET)
            await environment.stop(ours)


async def _start_rules(environment: BenchEnvironment, rules: int, settings: Mapping[str, str] | None = None) -> Child:
    folder = environment.layout.folder / "data" / f"rules-{rules}"
    if not folder.exists():
        write_notice_rules(folder, rules)
    return await environment.start_service("rules", STET_RULES_DIR=str(folder), **(settings or {}))


async def _warm_up(stream: EventStream, ours: Child, rules: int) -> None:
    """Until people, works and a first set of events are processed."""
    await stream.write_changes(_EVENTS_PER_SECOND, rules)
    await wait_until_reached(lambda: stream.committed("rules"), stream.written, ours)
    await stream.wait_until_relayed(ours)


async def measure_events(stream: EventStream, load: tuple[int, int], settings: dict[str, str]) -> float:
    """Events per second of a process of rules that is started for it, and stopped after it."""
    ours = await _start_rules(stream.environment, load[1], settings)
    await _warm_up(stream, ours, load[1])
    with suspended(ours):
        await stream.write_changes(*load)
    rate = await stream.measure_rate("rules", ours)
    await stream.wait_until_relayed(ours)
    await stream.environment.stop(ours)
    return rate


async def _start_floor(environment: BenchEnvironment) -> Child:
    sample = await _sample_of_rules(environment.kafka, environment.database)
    dsn = environment.stack.neighbours.postgres_dsn
    arguments = ("--kafka", environment.kafka, "--postgres", dsn, "--sample", sample)
    floor = await environment.start_tool("floor_rules", *arguments)
    await wait_until_reached(lambda: _has_schema(environment), 1, floor)
    return floor


async def _has_schema(environment: BenchEnvironment) -> int:
    return int(await environment.database.fetchval("select to_regclass('floor.messages') is not null"))


async def _measure_pair(stream: EventStream, ours: Child, floor: Child, load: tuple[int, int]) -> tuple[float, float]:
    with suspended(floor):
        with suspended(ours):
            await stream.write_changes(*load)
        our_rate = await stream.measure_rate("rules", ours)
        await stream.wait_until_relayed(ours)
    return our_rate, await stream.measure_rate("floor", floor)


# ------------------------------------------------------------------ a sample of what rules writes

_SELECT_CHAIN = """\
select tenant, rule, subject, revision, key, tags, people, guards, document::text from rules.chains
order by changed_at desc limit 1"""
_SELECT_INPUTS = "select document from rules.decision_inputs order by recorded_at desc limit 1"
_SELECT_FACT = """\
select document from rules.recorded_facts
order by abs(length(document) - (select avg(length(document)) from rules.recorded_facts)) limit 1"""
_SAMPLED_KINDS = {"message": SendMessage.kind, "decision": DecisionRecorded.kind, "silence": NoEffectRecorded.kind}


async def _sample_of_rules(kafka: str, database: Any) -> str:
    """JSON with a chain's row, and as base64 what a decision was made from and the largest record of each kind.

    The floor writes rows of the same size. Raises ProcessFailed where rules wrote no chain or none of a kind.
    """
    largest = await _largest_by_kind(kafka)
    missing = [kind for kind in _SAMPLED_KINDS.values() if kind not in largest]
    chain = await database.fetchrow(_SELECT_CHAIN)
    inputs, fact = await database.fetchval(_SELECT_INPUTS), await database.fetchval(_SELECT_FACT)
    if missing or chain is None or inputs is None or fact is None:
        raise ProcessFailed("rules", f"wrote none of {', '.join(missing) or 'a chain'}", Path("-"), "")
    found = {name: largest[kind] for name, kind in _SAMPLED_KINDS.items()} | {"inputs": inputs, "fact": fact}
    sampled = {name: base64.b64encode(each).decode() for name, each in found.items()}
    return orjson.dumps({"chain": dict(chain), **sampled}).decode()


async def _largest_by_kind(kafka: str) -> dict[str, bytes]:
    """Of all records written so far."""
    partitions = [
        TopicPartition(topic.name, number) for topic in (DECISIONS, MESSAGES_REQUESTED) for number in range(PARTITIONS)
    ]
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False, auto_offset_reset="earliest")
    consumer.assign(partitions)
    largest: dict[str, bytes] = {}
    async with consumer:
        left = sum((await consumer.end_offsets(partitions)).values())
        while left > 0:
            for fetched in (await consumer.getmany(timeout_ms=500)).values():
                left -= len(fetched)
                for record in fetched:
                    kind = orjson.loads(record.value)["type"]
                    largest[kind] = max(largest.get(kind, b""), record.value, key=len)
    return largest


# ------------------------------------------------------------------ memory

_MEMORY_EVENTS = 1_000_000
_MEMORY_STEP = 50_000
_MEMORY_RULES = 50
_MAX_GROWTH = 1.1  # from the first quarter of the way to the last
_QUARTER = 5  # steps; fetched but unread records make any single reading differ by a tenth


async def measure_memory() -> AsyncIterator[BenchResult]:
    console = Console(stderr=True)
    async with bench_environment(NOW) as environment:
        stream = EventStream(environment)
        await stream.write_people_and_works()
        ours = await _start_rules(environment, _MEMORY_RULES)
        await _warm_up(stream, ours, _MEMORY_RULES)
        process, readings = psutil.Process(ours.pid), []
        for done in range(_MEMORY_STEP, _MEMORY_EVENTS + 1, _MEMORY_STEP):
            await stream.write_changes(_MEMORY_STEP, _MEMORY_RULES)
            await wait_until_reached(lambda: stream.committed("rules"), stream.written, ours, seconds=600)
            await stream.wait_until_relayed(ours)
            readings.append(process.memory_info().rss / 2**20)
            console.print(f"  {done:,} events: {readings[-1]:.0f} MiB", highlight=False)
    first, last = median(readings[1 : 1 + _QUARTER]), median(readings[-_QUARTER:])
    growth = last / first
    name = "rules: memory over a million events"
    yield BenchResult(name, f"{first:.0f} MiB", f"{last:.0f} MiB", growth, f"≤ {_MAX_GROWTH}", growth <= _MAX_GROWTH)

"""The test bed of the delivery promise: topics of their own, a migrated database, services to kill, and counting."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from dev.ports import free_ports
from dev.postgres import login_of
from dev.processes import Child, Command
from shared.contracts.envelope import Event
from shared.contracts.ids import EventId, MessageId, PersonId, TenantId
from shared.contracts.messages import MessageWithdrawn
from shared.contracts.topics import MESSAGES_EVENTS, PARTITIONS
from tests.infrastructure import declare_topics, stop_and_show_log

ROOT = Path(__file__).resolve().parents[3]
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TABLE = """
create table rules.effects (place bigint generated always as identity, event_id text, key text, worker text);
grant all on rules.effects to stet_rules;
"""


_PROGRESS = """
select array_agg(partition) as partitions, array_agg(next_offset) as offsets,
    (select count(*) from rules.outbox) as waiting
from rules.progress where topic = 'messages.events'
"""


def event(key: str, number: int, reason: str = "say", event_id: str = "") -> Event:
    """The ``number``-th event of ``key``; its message id says both."""
    message = MessageId(f"{key}#{number:06}")
    data = MessageWithdrawn(message_id=message, person_id=PersonId(key), at=NOON, reason=reason)
    return Event(
        id=EventId(event_id or message), source="stet/test", type=data.kind, time=NOON, recordedtime=NOON,
        tenantid=TenantId("t"), partitionkey=key, data=data,
    )  # fmt: skip


async def until(what: Callable[[], Awaitable[object]], seconds: float = 40) -> None:
    """Wait until ``what`` gives something true. At most half of the time is spent on asking."""
    deadline = time.monotonic() + seconds
    asked = time.monotonic()
    while not await what():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(max(0.05, time.monotonic() - asked))
        asked = time.monotonic()


class SampleService(Child):
    """A process of the sample, with its log."""

    async def has_logged(self, words: str) -> bool:
        return words in self.log.read_text()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)


@dataclass
class DeliveryTestbed:
    bootstrap: str
    dsn: str
    folder: Path
    prefix: str
    children: list[SampleService] = field(default_factory=list)
    _ends: dict[int, int] | None = None  # of the partitions, until more is produced

    @property
    def settings(self) -> dict[str, str]:
        return {
            "PYTHONPATH": str(ROOT), "STET_TENANT": "t", "STET_KAFKA_BOOTSTRAP": self.bootstrap,
            "STET_POSTGRES_DSN": login_of(self.dsn, "rules"), "STET_TOPIC_PREFIX": self.prefix,
        }  # fmt: skip

    async def prepare(self) -> None:
        await declare_topics(self.bootstrap, self.prefix)
        connection = await asyncpg.connect(self.dsn)
        await connection.execute(TABLE)
        await connection.close()

    async def run(self, name: str, module: str, *arguments: str) -> str:
        """A command of ours; what it printed."""
        child = Child(Command(name, (sys.executable, "-m", module, *arguments), self.settings), self.folder)
        child.log.unlink(missing_ok=True)
        await child.run()
        return child.log.read_text()

    async def sample(self, name: str = "sample", **settings: str) -> SampleService:
        """A running sample; it may still be waiting for its neighbours."""
        return await self.service(name, "tests.shared.promise.sample_service", **settings)

    async def service(self, name: str, module: str, **settings: str) -> SampleService:
        """A running service of any kind; it may still be waiting for its neighbours."""
        more = {"STET_HEALTH_PORT": str(free_ports(1)[0]), "STET_INSTANCE": name, **settings}
        command = Command(name, (sys.executable, "-m", module), self.settings | more)
        child = SampleService(command, self.folder)
        await child.start()
        self.children.append(child)
        return child

    async def end(self) -> None:
        """Stop the services, and print the ends of their logs, which pytest shows for a test that failed."""
        for child in self.children:
            await stop_and_show_log(child)

    async def produce(self, events: Iterable[Event]) -> None:
        await self.produce_raw((one.partitionkey.encode(), one.to_bytes(), []) for one in events)

    async def produce_raw(self, records: Iterable[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]) -> None:
        topic = self.prefix + MESSAGES_EVENTS.name
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=True) as producer:
            futures = [await producer.send(topic, value, key, headers=headers) for key, value, headers in records]
            await asyncio.gather(*futures)
        self._ends = None

    async def read(self, topic: str) -> list[Any]:
        """All records of a topic, partition by partition."""
        places = _places(self.prefix + topic)
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            consumer.assign(places)
            left = sum((await consumer.end_offsets(places)).values())
            records: list[Any] = []
            while len(records) < left:
                for found in (await consumer.getmany(timeout_ms=200)).values():
                    records += found
            return records
        finally:
            await consumer.stop()

    async def rows(self, query: str) -> Sequence[Any]:
        connection = await asyncpg.connect(self.dsn)
        try:
            return list(await connection.fetch(query))
        finally:
            await connection.close()

    async def run_sql(self, statement: str) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def effects(self) -> list[tuple[str, str]]:
        """(event id, worker) in the order they took effect."""
        rows = await self.rows("select event_id, worker from rules.effects order by place")
        return [(row["event_id"], row["worker"]) for row in rows]

    async def count(self) -> int:
        return int((await self.rows("select count(*) from rules.effects"))[0][0])

    async def reached(self, count: int) -> bool:
        return await self.count() >= count

    async def workers(self, count: int) -> bool:
        """Whether so many processes have had an effect."""
        return len({worker for _, worker in await self.effects()}) >= count

    async def all_read(self) -> bool:
        """Whether progress stands at the end of every partition, and nothing waits to leave."""
        (row,) = await self.rows(_PROGRESS)
        if row["waiting"]:
            return False
        if self._ends is None:
            self._ends = await self.ends()
        return dict(zip(row["partitions"] or (), row["offsets"] or (), strict=True)) == self._ends

    async def ends(self) -> dict[int, int]:
        """Of all partitions; only ``produce`` moves them."""
        async with AIOKafkaConsumer(bootstrap_servers=self.bootstrap) as consumer:
            found = await consumer.end_offsets(_places(self.prefix + MESSAGES_EVENTS.name))
        return {place.partition: offset for place, offset in found.items()}


def _places(topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, partition) for partition in range(PARTITIONS)]

"""A real writeback process on a real broker and database: requests in, events out."""

import asyncio
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from dev.ports import LOOPBACK, free_ports
from dev.postgres import login_of
from dev.processes import Child, Command
from shared.contracts.envelope import Event
from shared.contracts.topics import PARTITIONS, Topic
from tests.dev.consonance.simulator_under_test import KEY
from tests.infrastructure import ROOT, declare_topics

_READY_SECONDS = 40


@dataclass(frozen=True)
class WritebackProcess:
    """``prefix``: the prefix of its topic names."""

    bootstrap: str
    health_port: int
    child: Child
    prefix: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:8]}.")

    async def start(self) -> None:
        """Returns when it is ready."""
        await self.child.start()
        await self.child.wait_until(self._ready, _READY_SECONDS)

    async def get(self, path: str) -> tuple[int, str]:
        url = f"http://{LOOPBACK}:{self.health_port}/{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.text()

    async def send(self, topic: Topic, *events: Event) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap)
        await producer.start()
        try:
            for event in events:
                key = event.partitionkey.encode()
                await producer.send_and_wait(self.prefix + topic.name, event.to_bytes(), key=key)
        finally:
            await producer.stop()

    async def read_topic(self, topic: Topic, count: int, outcome: str = "") -> list[dict[str, Any]]:
        """The first ``count`` events of a topic and those fetched with them, each id once.

        With an outcome, all events until ``count`` of them have it: a killed process may say ``unknown`` before.
        """
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            consumer.assign([TopicPartition(self.prefix + topic.name, number) for number in range(PARTITIONS)])
            events: dict[str, dict[str, Any]] = {}
            while sum(outcome in event["type"] for event in events.values()) < count:
                fetched = await consumer.getmany(timeout_ms=100)
                found = [orjson.loads(record.value) for records in fetched.values() for record in records]
                events |= {event["id"]: event for event in found}
            return list(events.values())
        finally:
            await consumer.stop()

    async def wait_until_idle(self) -> None:
        """Until the process reports nothing to do."""
        while orjson.loads((await self.get("development/idle"))[1])["busy"]:
            await asyncio.sleep(0.05)

    async def _ready(self) -> bool:
        try:
            return (await self.get("readyz"))[0] == 200
        except aiohttp.ClientError:
            return False


async def prepare_process(
    bootstrap: str, dsn: str, folder: Path, consonance_url: str, **settings: str
) -> WritebackProcess:
    """Creates its topics and does not start it yet."""
    (health_port,) = free_ports(1)
    prefix = f"t{uuid.uuid4().hex[:8]}."
    environment = {
        "PYTHONPATH": str(ROOT),
        "STET_TENANT": "penrose",
        "STET_KAFKA_BOOTSTRAP": bootstrap,
        "STET_POSTGRES_DSN": login_of(dsn, "writeback"),
        "STET_TOPIC_PREFIX": prefix,
        "STET_HEALTH_PORT": str(health_port),
        "STET_CONSONANCE_KEY": KEY,
        "STET_CONSONANCE_URL": f"{consonance_url}/graphql",
        "STET_CONSONANCE_TIMEOUT": "2",
        "STET_CONSONANCE_EFFECT_SECONDS": "4",
        **settings,
    }
    await declare_topics(bootstrap, prefix)
    command = Command("writeback", (sys.executable, "-m", "services.writeback"), environment)
    return WritebackProcess(bootstrap, health_port, Child(command, folder), prefix)

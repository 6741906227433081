"""Records every topic with a consumer of its own, and at the end the tables and the simulators.

``seen_at`` is the time at which this consumer, which is never killed, read a record: by then every consumer could have.
"""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import asyncpg
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from dev.layout import Neighbours, StackAddresses
from shared.contracts.topics import ALL_TOPICS, PARTITIONS
from shared.runtime.postgres import load_queries

_TABLES = ("attempts", "messages", "chains", "waiting", "writes", "tasks", "parked")
_QUERIES = load_queries(__file__, "tables.sql")
_SIMULATORS: Mapping[str, tuple[str, str]] = {
    "sent": ("whatsapp", "messages"),
    "replies": ("whatsapp", "replies"),
    "counts": ("whatsapp", "counts"),
    "pushed": ("consonance", "pushes"),
    "written": ("consonance", "log"),
    "acquisitions": ("consonance", "state/acquisitions"),
}


class RecordedStack(Protocol):
    """A stack whose topics, tables and simulators are recorded: processes of this machine, or pods of a cluster."""

    @property
    def layout(self) -> StackAddresses: ...

    @property
    def neighbours(self) -> Neighbours: ...

    async def not_ready(self) -> list[str]: ...


async def connect(stack: RecordedStack) -> Any:
    """A connection as superuser."""
    return await asyncpg.connect(stack.neighbours.postgres_dsn, timeout=5)


@dataclass
class RunLog:
    """The actions of the run itself, one JSON line each (pushes, disruptions, recoveries, faults), counted by kind."""

    file: Path
    counts: dict[str, int] = field(default_factory=dict)

    def note(self, kind: str, **more: Any) -> None:
        """``at`` is seconds since 1970."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        with self.file.open("ab") as out:
            out.write(orjson.dumps({"at": time.time(), "kind": kind, **more}) + b"\n")


@dataclass
class TopicRecorder:
    """``read`` is the next offset of each partition."""

    consumer: AIOKafkaConsumer
    file: Path
    records: int = 0
    read: dict[tuple[str, int], int] = field(default_factory=dict)

    async def watch(self) -> None:
        """Run for ever; wait while the broker is away."""
        with self.file.open("ab") as out:
            while True:
                with suppress(KafkaError):
                    for place, records in (await self.consumer.getmany(timeout_ms=200)).items():
                        seen_at = time.time()
                        out.writelines(_line(record, seen_at) for record in records)
                        self.records += len(records)
                        self.read[place.topic, place.partition] = records[-1].offset + 1
                    out.flush()

    async def behind(self) -> int:
        """The number of records in the broker that are not recorded yet."""
        places = [TopicPartition(*place) for place in _places()]
        ends = await self.consumer.end_offsets(places)
        return sum(end - self.read.get((place.topic, place.partition), 0) for place, end in ends.items())

    async def ends(self) -> dict[tuple[str, int], int]:
        found = await self.consumer.end_offsets([TopicPartition(*place) for place in _places()])
        return {(place.topic, place.partition): end for place, end in found.items()}


def _places() -> list[tuple[str, int]]:
    return [(topic.name, partition) for topic in ALL_TOPICS for partition in range(PARTITIONS)]


@asynccontextmanager
async def recording(bootstrap: str, folder: Path) -> AsyncIterator[TopicRecorder]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign([TopicPartition(*place) for place in _places()])
    recorder = TopicRecorder(consumer, folder / "topics.jsonl")
    watching = asyncio.ensure_future(recorder.watch())
    try:
        yield recorder
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await consumer.stop()


def _line(record: Any, seen_at: float) -> bytes:
    where = {"topic": record.topic, "partition": record.partition, "offset": record.offset, "seen_at": seen_at}
    key = record.key.decode(errors="replace") if record.key else None
    try:
        value = orjson.loads(record.value)
    except orjson.JSONDecodeError:
        value = {"raw": base64.b64encode(record.value).decode()}
    return orjson.dumps({**where, "key": key, "event": value}) + b"\n"


async def save_tables(stack: RecordedStack, folder: Path) -> None:
    """Save the tables and the simulators' logs, each as a file of JSON lines."""
    connection = await connect(stack)
    try:
        for name in _TABLES:
            rows = [_plain(row) for row in await connection.fetch(getattr(_QUERIES, name))]
            _write(folder / f"{name}.jsonl", rows)
    finally:
        await connection.close()
    urls = {"whatsapp": stack.layout.whatsapp_url, "consonance": stack.layout.consonance_url}
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        for name, (simulator, path) in _SIMULATORS.items():
            async with session.get(f"{urls[simulator]}/_simulator/{path}") as answer:
                rows = orjson.loads(await answer.read())
            _write(folder / f"{name}.jsonl", rows if isinstance(rows, list) else [rows])


def _plain(row: Any) -> dict[str, Any]:
    found = dict(row)
    if "document" in found:
        found["document"] = orjson.loads(found["document"])
    return found


def _write(file: Path, rows: list[Any]) -> None:
    file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))

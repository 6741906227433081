"""The floor of a dispatcher that loses nothing and sends nothing that is not written down first.

It does what every such sender has to do, in batches, and nothing else: requests from Kafka become rows, a row becomes
an intent before its request leaves, the response is kept together with its event, and the event goes to Kafka. It
plans, limits and measures nothing, knows no people, and keeps no order of a person's messages.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Annotated, Any

import aiohttp
import asyncpg
import orjson
import typer
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from shared.contracts.topics import MESSAGES_EVENTS, MESSAGES_REQUESTED, PARTITIONS
from shared.runtime.kafka import BATCH_BYTES, MAX_REQUEST_BYTES, partition
from shared.runtime.postgres import load_queries

_SQL = load_queries(__file__, "floor_sender.sql")
_MOST_RECORDS = 1000
_MOST_RESULTS = 500
_GATHER_SECONDS = 0.01
_PAUSE_SECONDS = 0.002
_CONNECTIONS = 4
_EVENT = {
    "specversion": "1.0",
    "source": "stet/dispatcher",
    "type": "message.accepted.v1",
    "time": "2027-03-03T10:00:00.000000Z",
    "recordedtime": "2027-03-03T10:00:00.000000Z",
    "tenantid": "bench",
}


class _SenderFloor:
    """``accepted`` are responses, ``published`` events that Kafka has."""

    def __init__(self, pool: Any, producer: AIOKafkaProducer, session: aiohttp.ClientSession, at_once: int) -> None:
        self.accepted = self.published = 0
        self._pool = pool
        self._producer = producer
        self._session = session
        self._at_once = at_once
        self._claimed: asyncio.Queue[str] = asyncio.Queue()
        self._results: list[tuple[str, str]] = []

    async def insert_batch(self, records: Sequence[Any]) -> None:
        requests = [orjson.loads(record.value)["data"] for record in records]
        ids = [request["message_id"] for request in requests]
        offsets = {record.partition: record.offset + 1 for record in records}
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_SQL.insert_sends, ids, list(map(orjson.dumps, requests)))
            await connection.execute(_SQL.save_offsets, list(offsets), list(offsets.values()))

    async def claim(self) -> None:
        while True:
            rows = []
            if self._claimed.qsize() < self._at_once // 2:
                rows = await self._pool.fetch(_SQL.claim_sends, self._at_once)
            for row in rows:
                self._claimed.put_nowait(row["message_id"])
            if not rows:
                await asyncio.sleep(_PAUSE_SECONDS)

    async def send(self, url: str, body: bytes) -> None:
        while True:
            message_id = await self._claimed.get()
            async with self._session.post(url, data=body) as response:
                answer = orjson.loads(await response.read())
            self.accepted += 1
            self._results.append((message_id, answer["messages"][0]["id"]))

    async def record(self) -> None:
        while True:
            await asyncio.sleep(_GATHER_SECONDS)
            while results := self._results[:_MOST_RESULTS]:
                del self._results[:_MOST_RESULTS]
                events = [(message_id.encode(), _event(message_id, wamid)) for message_id, wamid in results]
                async with self._pool.acquire() as connection, connection.transaction():
                    await connection.execute(_SQL.accept_sends, *map(list, zip(*results, strict=True)))
                    await connection.copy_records_to_table("events", columns=("key", "value"), records=events)

    async def publish(self) -> None:
        while True:
            rows = await self._pool.fetch(_SQL.fetch_events, _MOST_RECORDS)
            sent = [await self._producer.send(MESSAGES_EVENTS.name, row["value"], row["key"]) for row in rows]
            await asyncio.gather(*sent)
            if rows:
                await self._pool.execute(_SQL.delete_events, [row["id"] for row in rows])
                self.published += len(rows)
            else:
                await asyncio.sleep(_PAUSE_SECONDS)


def _event(message_id: str, wamid: str) -> bytes:
    data = {"message_id": message_id, "person_id": message_id, "wamid": wamid, "wording": "template"}
    return orjson.dumps({**_EVENT, "id": message_id, "causationid": message_id, "data": data})


async def _unread(consumer: AIOKafkaConsumer, pool: Any) -> int:
    """Positions the consumer where the last run ended; returns how many requests there are since."""
    known = {row["partition"]: row["next_offset"] for row in await pool.fetch("select * from read_offsets")}
    places = [TopicPartition(MESSAGES_REQUESTED.name, number) for number in range(PARTITIONS)]
    consumer.assign(places)
    ends = await consumer.end_offsets(places)
    for place in places:
        consumer.seek(place, known.get(place.partition, 0))
    return sum(ends[place] - known.get(place.partition, 0) for place in places)


async def _run(kafka: str, postgres: str, url: str, at_once: int) -> dict[str, float]:
    """Sends every request that was not sent by an earlier run; ``cpu`` are the seconds of this process for it."""
    loop = asyncio.get_running_loop()
    settings = {"search_path": "floor"}
    reads = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False, fetch_max_bytes=16 * 1024 * 1024)
    writes = AIOKafkaProducer(
        bootstrap_servers=kafka, acks="all", enable_idempotence=True, max_batch_size=BATCH_BYTES,
        max_request_size=MAX_REQUEST_BYTES, partitioner=partition,
    )  # fmt: skip
    headers = {"Authorization": "Bearer " + "x" * 64, "Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=at_once, keepalive_timeout=15)
    async with (
        asyncpg.create_pool(postgres, min_size=_CONNECTIONS, max_size=_CONNECTIONS, server_settings=settings) as pool,
        reads as consumer,
        writes as producer,
        aiohttp.ClientSession(connector=connector, headers=headers, cookie_jar=aiohttp.DummyCookieJar()) as session,
    ):
        await pool.execute(_SQL.create_tables)
        async with session.get(f"{url.partition('/v')[0]}/last") as response:
            body = await response.read()
        messages = await _unread(consumer, pool)
        floor = _SenderFloor(pool, producer, session, at_once)
        work = (floor.claim(), floor.record(), floor.publish(), *(floor.send(url, body) for _ in range(at_once)))
        began, seconds, cpu = loop.time(), 0.0, time.process_time()
        tasks = [asyncio.ensure_future(each) for each in work]
        while floor.published < messages:
            found = await consumer.getmany(timeout_ms=10, max_records=_MOST_RECORDS)
            if records := [record for some in found.values() for record in some]:
                await floor.insert_batch(records)
            if floor.accepted == messages:
                seconds = seconds or loop.time() - began
            for task in tasks:
                if task.done():
                    task.result()
        for task in tasks:
            task.cancel()
        cpu = time.process_time() - cpu
        return {"messages": messages, "seconds": seconds or loop.time() - began, "cpu": cpu}


def main(
    *,
    kafka: Annotated[str, typer.Option()],
    postgres: Annotated[str, typer.Option()],
    url: Annotated[str, typer.Option()],
    at_once: Annotated[int, typer.Option()],
) -> None:
    sys.stdout.buffer.write(orjson.dumps(uvloop.run(_run(kafka, postgres, url, at_once))))


if __name__ == "__main__":
    typer.run(main)

"""The floor of rules: a bare consumer that does the same number of inserts of the same size, and decides nothing.

It reads the same records in batches of the same size, one transaction each, and inserts copies of a sample of what
rules wrote.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Annotated, Any

import asyncpg
import orjson
import typer
import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.records import stage_of
from shared.contracts.topics import CONSONANCE_EVENTS, PARTITIONS
from shared.runtime.clock import machine_now
from shared.runtime.postgres import load_queries

_SQL = load_queries(__file__, "floor_rules.sql")
_MOST_RECORDS = 500
_MATCHING_PREFIX = stage_of(0)[: len("bench-")]


class _RulesFloor:
    def __init__(self, connection: Any, sample: dict[str, Any]) -> None:
        self._connection = connection
        self._chain = sample["chain"]
        self._message = base64.b64decode(sample["message"])
        self._decision = base64.b64decode(sample["decision"])
        self._silence = base64.b64decode(sample["silence"])
        self._inputs = base64.b64decode(sample["inputs"])
        self._fact = base64.b64decode(sample["fact"])

    async def insert_batch(self, records: Sequence[Any]) -> None:
        events = [orjson.loads(record.value) for record in records]
        matching = [event for event in events if event["data"].get("to_stage", "").startswith(_MATCHING_PREFIX)]
        chains = {_id(event["id"]): int(event["data"]["work"]["work_id"]) for event in matching}
        now = machine_now()
        async with self._connection.transaction():
            await self._connection.execute(_SQL.insert_inbox, [event["id"] for event in events], now)
            if chains:
                await self._insert_chains(chains, now)
            await self._insert_outbox(chains, now)
            offsets = {record.partition: record.offset + 1 for record in records}
            await self._connection.execute(_SQL.update_progress, list(offsets), list(offsets.values()))

    async def _insert_chains(self, chains: Mapping[str, int], now: datetime) -> None:
        """``chains`` are works by chain; each has two people of its own."""
        row, ids = self._chain, list(chains)
        await self._connection.execute(
            _SQL.insert_chains,
            ids,
            row["tenant"],
            row["rule"],
            row["subject"],
            row["revision"],
            row["key"],
            row["tags"],
            row["people"],
            row["guards"],
            now,
            row["document"],
        )
        people = {chain: [_id(f"{work}/{place}") for place in range(2)] for chain, work in chains.items()}
        sent = [(_id(f"{chain}/{person}"), chain, person) for chain, both in people.items() for person in both]
        await self._connection.execute(_SQL.insert_messages, *map(list, zip(*sent, strict=True)), now)
        written = [person for _, _, person in sent]
        await self._connection.execute(_SQL.save_last_rules, row["tenant"], written, row["rule"])
        await self._connection.execute(_SQL.insert_inputs, row["tenant"], ids, now, self._inputs)
        facts = [*written, *(_id(str(work)) for work in chains.values())]
        await self._connection.execute(_SQL.insert_facts, facts, self._fact)

    async def _insert_outbox(self, chains: Iterable[str], now: datetime) -> None:
        outgoing = [("decisions", b"silence", self._silence)]
        for chain in chains:
            key = chain.encode()
            outgoing += [("messages.requested", key, self._message)] * 2 + [("decisions", key, self._decision)]
        await self._connection.execute(_SQL.insert_outbox, *map(list, zip(*outgoing, strict=True)), now)


def _id(name: str) -> str:
    return blake2b(name.encode(), digest_size=16).hexdigest()


async def _run(kafka: str, postgres: str, sample: str) -> None:
    connection = await asyncpg.connect(postgres, server_settings={"search_path": "floor"})
    await connection.execute(_SQL.create_tables)
    floor = _RulesFloor(connection, orjson.loads(sample))
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_bytes=16 * 1024 * 1024,
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    consumer.assign([TopicPartition(CONSONANCE_EVENTS.name, partition) for partition in range(PARTITIONS)])
    async with consumer:
        while True:
            found = await consumer.getmany(timeout_ms=10, max_records=_MOST_RECORDS)
            if records := [record for some in found.values() for record in some]:
                await floor.insert_batch(records)


def main(
    *,
    kafka: Annotated[str, typer.Option()],
    postgres: Annotated[str, typer.Option()],
    sample: Annotated[str, typer.Option()],
) -> None:
    uvloop.run(_run(kafka, postgres, sample))


if __name__ == "__main__":
    typer.run(main)

"""The last act of the demo: a person of the stories is erased, and looked for in every table, topic, file and log.

The search knows nothing of the inventory by which services erase: it reads everything there is.
"""

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from dev.layout import ROOT, SERVICES, TENANT
from dev.postgres import login_of
from dev.spellings import stands_in
from dev.stack import Stack
from shared.contracts.errors import StetError
from shared.contracts.personal_data import TABLES
from shared.contracts.topics import ALL_TOPICS, CONTACTS, PARTITIONS
from shared.runtime.erasure import PASSES_AFTER

_PASS_SECONDS = 120.0
_READ_SECONDS = 60.0
_COMPACT_SECONDS = 60.0
_QUIET_READS = 3
_TABLE_NAMES = "select table_name from information_schema.tables where table_schema = $1 and table_type = 'BASE TABLE'"
_PERSON_NAMED = "select person_id, bsuid, phone_key from ingest.people where state ->> 'display_name' = $1"
_FILES_OF = "select object_key from ingest.media_files where person_id = $1 and object_key is not null"
_ERASED_SINCE = "select person_id from ingest.erasures where requested_at >= $1"


class OperatorCommandFailed(StetError):
    """A command of the operators ended with an error; the sentence is what it printed."""


Places = Mapping[str, Sequence[str]]
"""The places in which each word was found; a word that is nowhere has none."""


@dataclass(frozen=True)
class ErasedPerson:
    """``before`` and ``after`` say where the words were found; ``dry_run`` how many rows or records each place held.

    ``pseudonym`` says where the person's id is still found: decisions stay readable by it.
    """

    name: str
    words: Sequence[str]
    pseudonym: Sequence[str]
    dry_run: Mapping[str, int]
    before: Places
    after: Places
    files: int
    hours: float

    @property
    def is_gone(self) -> bool:
        return not any(self.after.values())


# ------------------------------------------------------------------ the erasure


async def erase_named(stack: Stack, name: str, words: Sequence[str] = ()) -> ErasedPerson:
    """Erase a person as ``stet erase`` does. ``words`` are texts of theirs that must be gone, too."""
    await compact_at_once(stack)
    async with database(stack) as connection:
        person, bsuid, number = await connection.fetchrow(_PERSON_NAMED, name)
        keys = [row["object_key"] for row in await connection.fetch(_FILES_OF, person)]
    secrets = [name, *words, *([bsuid] if bsuid else []), *([number.removeprefix("+")] if number else [])]
    dry_run = await _erase(stack, person, "--dry-run")
    before = await _places(stack, secrets, keys)
    began = business_time(stack)
    await _erase(stack, person, "--yes", "--reason", "the person asked for it")
    await pass_a_day(stack, began)
    await until(lambda: _is_nowhere(stack, secrets), _COMPACT_SECONDS)
    after, hours = await _places(stack, secrets, keys), (business_time(stack) - began).total_seconds() / 3600
    return ErasedPerson(
        name=name,
        words=secrets,
        pseudonym=(await search_stores(stack, [person]))[person],
        dry_run={place["place"]: place["found"] for place in dry_run},
        before=before,
        after=after,
        files=len(keys),
        hours=hours,
    )


async def _erase(stack: Stack, *arguments: str) -> list[dict[str, Any]]:
    """``stet erase`` in a process of its own; its lines."""
    settings = {
        "STET_POSTGRES_DSN": login_of(stack.neighbours.postgres_dsn, "operator"),
        "STET_KAFKA_BOOTSTRAP": stack.neighbours.kafka_bootstrap,
        "STET_TENANT": TENANT,
        "STET_DEVELOPMENT_CLOCK": str(stack.layout.clock),
        "STET_ALLOW_DEVELOPMENT_CLOCK": "1",
    }
    command = (sys.executable, "-m", "ops", "erase", *arguments, "--format", "json")
    process = await asyncio.create_subprocess_exec(
        *command, env=os.environ | settings, cwd=ROOT, stdout=PIPE, stderr=PIPE
    )
    output, errors = await process.communicate()
    if process.returncode != 0:
        raise OperatorCommandFailed(errors.decode())
    return [json.loads(line) for line in output.splitlines()]


async def _places(stack: Stack, secrets: Sequence[str], keys: Sequence[str]) -> dict[str, list[str]]:
    stored = [key for key in keys if (files_folder(stack) / key).exists()]
    return {**await search_stores(stack, secrets), **{key: ["the file store"] for key in stored}}


def files_folder(stack: Stack) -> Path:
    return stack.layout.folder / "data" / "files"


def business_time(stack: Stack) -> datetime:
    assert stack.clock is not None  # noqa: S101 -- the stacks of stories have a development clock
    return stack.clock.now()


async def compact_at_once(stack: Stack) -> None:
    """The promise of hours is a setting of the topic; here the broker compacts as soon as it can."""
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.neighbours.kafka_bootstrap)
    await admin.start()
    try:
        configs = {"max.compaction.lag.ms": "1", "min.cleanable.dirty.ratio": "0.0", "cleanup.policy": "compact"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, CONTACTS.name, configs)])
    finally:
        await admin.close()


async def pass_a_day(stack: Stack, began: datetime) -> None:
    """Wait until every service has begun each erasure under way; then let a day pass, and wait until all have made
    their passes.
    """
    await until(lambda: _have_passed(stack, began, 1), _PASS_SECONDS)
    await stack.virtual_clock.run_until(began + PASSES_AFTER[-1])
    await until(lambda: _have_passed(stack, began, len(PASSES_AFTER)), _PASS_SECONDS)


async def _have_passed(stack: Stack, began: datetime, passes: int) -> bool:
    async with database(stack) as connection:
        people = [row["person_id"] for row in await connection.fetch(_ERASED_SINCE, began)]
        for service in SERVICES:
            query = f"select count(*) from {service}.erasures where person_id = any($1::text[]) and passes >= $2"  # noqa: S608
            if await connection.fetchval(query, people, passes) < len(people):
                return False
    return bool(people)


async def _is_nowhere(stack: Stack, words: Sequence[str]) -> bool:
    return not any((await search_stores(stack, words)).values())


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Whether it came true in that time."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.5)
    return True


# ------------------------------------------------------------------ the search


async def search_stores(stack: Stack, words: Sequence[str]) -> dict[str, list[str]]:
    """Where these words stand, in clear, in base64 or in hex: in tables, topics, stored files and logs."""
    found: dict[str, list[str]] = {word: [] for word in words}
    async for place, content in _stores(stack):
        for word in words:
            if stands_in(content, word):
                found[word].append(place)
    return found


async def _stores(stack: Stack) -> AsyncIterator[tuple[str, bytes]]:
    """Every place once, with all that it holds. A bytes column shows as hex, and is given as it is, too."""
    async with database(stack) as connection:
        for schema in TABLES:
            for (table,) in await connection.fetch(_TABLE_NAMES, schema):
                rows = await connection.fetch(f'select * from "{schema}"."{table}"')  # noqa: S608
                yield f"{schema}.{table}", b"\0".join(_bytes_of(value) for row in rows for value in row.values())
    async for place, content in _topics(stack):
        yield place, content
    for file in sorted(files_folder(stack).rglob("*")):
        if file.is_file():
            yield f"file {file.name}", file.read_bytes()
    for service in SERVICES:
        yield f"log of {service}", (stack.layout.folder / "logs" / f"{service}.log").read_bytes()


def _bytes_of(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


async def _topics(stack: Stack) -> AsyncIterator[tuple[str, bytes]]:
    """All records of all topics up to the ends of now, with keys and headers."""
    places = [TopicPartition(topic.name, number) for topic in ALL_TOPICS for number in range(PARTITIONS)]
    contents: dict[str, list[bytes]] = {topic.name: [] for topic in ALL_TOPICS}
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.neighbours.kafka_bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(places)
        ends, firsts = await consumer.end_offsets(places), await consumer.beginning_offsets(places)
        for place in places:
            consumer.seek(place, firsts[place])
        deadline, quiet = time.monotonic() + _READ_SECONDS, 0
        while quiet < _QUIET_READS and any([await consumer.position(place) < ends[place] for place in places]):
            batches = await consumer.getmany(timeout_ms=500)
            quiet = 0 if batches else quiet + 1  # records that a compaction or a deletion took leave a gap at the end
            for place, records in batches.items():
                for record in records:
                    headers = [part for name, value in record.headers for part in (name.encode(), value)]
                    contents[place.topic] += [record.key or b"", record.value or b"", *headers]
            if time.monotonic() > deadline:
                raise TimeoutError(f"the topics were not read in {_READ_SECONDS:.0f} s")
    finally:
        await consumer.stop()
    for name, parts in contents.items():
        yield f"topic {name}", b"\0".join(parts)


@asynccontextmanager
async def database(stack: Stack) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(stack.neighbours.postgres_dsn)
    try:
        yield connection
    finally:
        await connection.close()

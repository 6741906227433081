"""After the last story: was anything lost, sent or written twice, parked, or left in doubt?"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from dev.demo.stage import World
from dev.layout import SERVICES
from dev.stack import Stack
from shared.runtime.parked import QUERIES as PARKED

_MOST = 20
_EXPECTED = {"ingest parked polled contacts: contact 835: phones.0.phoneNumber: there is no usable number in it"}
"""A clerk of the seed's typed "ask at the studio" into a phone field, which somebody must be told."""


async def left_behind(world: World) -> list[str]:
    """A sentence for each thing that nobody expected."""
    return [*await _messages(world), *await _pushes(world), *await _writes(world), *await _parked(world.stack)]


async def _messages(world: World) -> list[str]:
    counts = await world.outside.at_whatsapp("counts")
    nobodys = [f"{one.to} was sent “{one.text}”, in no story" for one in world.mailbox.unexpected(None)]
    twice = [f"a message was sent {times} times" for times in counts["repeated_callbacks"].values()]
    waiting = counts["webhooks"]["undelivered"]
    return [*nobodys, *twice, *([f"{waiting} webhooks were not delivered"] if waiting else [])]


async def _pushes(world: World) -> list[str]:
    pushes = await world.outside.in_consonance("pushes")
    return [f"the push {one['id']} is {one['state']}: {one['statuses']}" for one in pushes if one["state"] != "taken"]


async def _writes(world: World) -> list[str]:
    return [
        f"{entry['operation']} {entry['input']} was written ({entry['fate']}), in no story"
        for entry in await world.ledger.unexpected()
    ]


async def _parked(stack: Stack) -> list[str]:
    found = []
    for service in SERVICES:
        async with _schema(stack, service) as connection:
            listed = await connection.fetch(PARKED.list_parked, ["parked"], _MOST)
            rows = [await connection.fetchrow(PARKED.show_parked, row["id"]) for row in listed]
        found += [f"{service} parked {row['topic']}: {row['sentence']}" for row in rows]
    missing = [f"it was not told that {one.removeprefix('ingest parked ')}" for one in _EXPECTED.difference(found)]
    return [*(one for one in found if one not in _EXPECTED), *missing]


@asynccontextmanager
async def _schema(stack: Stack, service: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(stack.neighbours.postgres_dsn, server_settings={"search_path": service})
    try:
        yield connection
    finally:
        await connection.close()

"""What stands before the replicas of ingest: each connection goes to one that is ready, in turn.

A replica that is killed cuts its connections; one that stands still keeps them until the caller's patience ends, and is
given no new ones once it no longer says that it is ready.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import aiohttp

from dev.ports import LOOPBACK

_LOOK_SECONDS = 0.5
_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Backend:
    port: int
    ready_url: str


@dataclass
class Balancer:
    backends: Sequence[Backend]
    _ready: set[Backend] = field(default_factory=set)
    _turn: int = 0

    async def watch(self) -> None:
        """For ever: which replicas say that they are ready."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1)) as session:
            while True:
                answers = await asyncio.gather(*(_is_ready(session, one.ready_url) for one in self.backends))
                self._ready = {one for one, ready in zip(self.backends, answers, strict=True) if ready}
                await asyncio.sleep(_LOOK_SECONDS)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to whichever replica takes it; with none it is closed."""
        opened = await self._open()
        if opened is None:
            writer.close()
            return
        far_reader, far_writer = opened
        ways = (_pump(reader, far_writer), _pump(far_reader, writer))
        _, left = await asyncio.wait([asyncio.ensure_future(way) for way in ways], return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        for one in (writer, far_writer):
            one.close()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        self._turn += 1
        ready = [one for one in self.backends if one in self._ready] or list(self.backends)
        for step in range(len(ready)):
            with suppress(OSError):
                return await asyncio.open_connection(LOOPBACK, ready[(self._turn + step) % len(ready)].port)
        return None


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    with suppress(aiohttp.ClientError, TimeoutError):
        async with session.get(url) as answer:
            return answer.ok
    return False


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def balancing(port: int, backends: Sequence[Backend]) -> AsyncIterator[None]:
    balancer = Balancer(backends)
    server = await asyncio.start_server(balancer.carry, LOOPBACK, port)
    watching = asyncio.ensure_future(balancer.watch())
    try:
        yield
    finally:
        watching.cancel()
        server.close()

"""A load balancer before the replicas of ingest: each connection goes to a ready replica, in turn.

A killed replica closes its connections; a frozen one keeps them until the caller's timeout, and gets no new ones once
it is no longer ready.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import aiohttp

from dev.ports import LOOPBACK

_POLL_SECONDS = 0.5
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
        """Run for ever: ask which replicas are ready."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1)) as session:
            while True:
                answers = await asyncio.gather(*(_is_ready(session, one.ready_url) for one in self.backends))
                self._ready = {one for one, ready in zip(self.backends, answers, strict=True) if ready}
                await asyncio.sleep(_POLL_SECONDS)

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection to the first replica that takes it; close it where none does."""
        opened = await self._open()
        if opened is None:
            writer.close()
            return
        far_reader, far_writer = opened
        directions = (_pump(reader, far_writer), _pump(far_reader, writer))
        _, left = await asyncio.wait(
            [asyncio.ensure_future(one) for one in directions], return_when=asyncio.FIRST_COMPLETED
        )
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
async def load_balancer(port: int, backends: Sequence[Backend]) -> AsyncIterator[None]:
    balancer = Balancer(backends)
    server = await asyncio.start_server(balancer.forward, LOOPBACK, port)
    watching = asyncio.ensure_future(balancer.watch())
    try:
        yield
    finally:
        watching.cancel()
        server.close()

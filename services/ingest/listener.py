"""The public port: opens it, watches over its connections, and closes it when what is in hand has been answered."""

import asyncio
import resource
from collections.abc import Callable
from time import monotonic

from services.ingest.connections import Connections, Cut, Limits, Stage
from services.ingest.door import Door
from services.ingest.http_connection import HttpConnection
from shared.contracts.errors import Misconfigured

_BACKLOG = 1024
"""Connections the kernel keeps until they are accepted."""

_SWEEP_SECONDS = 0.25
_STOP_SECONDS = 4.0
_OTHER_FILES = 256
"""Room beside the connections: the broker, the database, files."""


class Listener:
    """``told`` hears of every connection that is cut off."""

    def __init__(self, door: Door, limits: Limits, told: Callable[[Cut], None], address: str, port: int) -> None:
        self._door = door
        self._address = address
        self._port = port
        self._backlog = min(_BACKLOG, limits.connections // 2)  # accepted all at once, they do not push each other out
        self._connections = Connections(limits, told)
        self._bound = False
        _allow_files(limits.connections)

    async def serve(self) -> None:
        """Until cancelled; requests in hand are answered first."""
        server = await asyncio.get_running_loop().create_server(
            lambda: HttpConnection(self._door, self._connections), self._address, self._port, backlog=self._backlog
        )
        self._bound = True
        try:
            await self._sweep_forever()
        finally:
            self._bound = False
            server.close()
            await self._finish()

    async def takes(self) -> bool:
        """Whether the port is open."""
        return self._bound

    def open_connections(self) -> int:
        return len(self._connections)

    def body_bytes(self) -> int:
        return self._connections.held

    async def _sweep_forever(self) -> None:
        swept = monotonic()
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = monotonic()
            if now - swept < 4 * _SWEEP_SECONDS:  # else we were late ourselves: what has come meanwhile is read first
                self._connections.sweep(now)
            swept = now

    async def _finish(self) -> None:
        for connection in self._connections.all_at(*Stage):
            connection.close_after_answer()
        if self._connections.answering:
            await asyncio.wait(self._connections.answering, timeout=_STOP_SECONDS)
        for connection in self._connections.all_at(*Stage):
            connection.close()


def _allow_files(connections: int) -> None:
    """As many open files as the system lets us have. Raises Misconfigured where that is too few."""
    wanted = connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise Misconfigured("STET_LISTEN_CONNECTIONS", f"this process may open {hard} files, {wanted} are needed")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

"""The public port: granian, inside this process's own event loop, so that requests meet the producer and the pool."""

import asyncio

from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from services.ingest.door import Door

_BACKLOG = 1024
_AT_ONCE = 512
"""Requests in hand; more wait in the socket, so memory stays flat while a neighbour is away."""


class Listener:
    def __init__(self, door: Door, address: str, port: int) -> None:
        self._server = Server(
            door,
            address=address,
            port=port,
            interface=Interfaces.ASGINL,
            backlog=_BACKLOG,
            backpressure=_AT_ONCE,
            http1_settings=HTTP1Settings(pipeline_flush=True),
            websockets=False,
            log_enabled=False,
        )
        self.listening = False

    async def serve(self) -> None:
        """Until cancelled; requests in hand are answered first."""
        serving = asyncio.ensure_future(self._server.serve())
        self.listening = True
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            self._server.stop()  # type: ignore[no-untyped-call]  # granian leaves it untyped
            await serving
            raise
        finally:
            self.listening = False

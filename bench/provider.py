"""A provider that accepts every message, at once or after a delay, and keeps their number, the last body and its time.

``Provider`` can also run inside another process, which gets each message by a callback.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, cast

import orjson
import typer
import uvloop

OnMessage = Callable[[bytes, str], None]
"""Takes the body of a message and its wamid."""


class Provider:
    def __init__(self, on_message: OnMessage | None = None, delay: float = 0.0) -> None:
        """``delay`` is the seconds from a message to its response."""
        self.delay = delay
        self.count = 0
        self.last = b"{}"
        self.last_at = 0.0  # by the machine's monotonic clock, which all its processes share
        self._on_message = on_message

    async def serve(self, port: int) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(partial(_Connection, self), "127.0.0.1", port)

    def answer(self, line: bytes, body: bytes) -> bytes:
        if line.startswith(b"POST"):
            return _reply(self._accept(body))
        counted = {"count": self.count, "last_at": self.last_at}
        return _reply(self.last if line.startswith(b"GET /last") else orjson.dumps(counted))

    def _accept(self, body: bytes) -> bytes:
        self.count += 1
        self.last, self.last_at = body, time.monotonic()
        wamid = f"wamid.PROVIDER{self.count:012d}"
        if self._on_message is not None:
            self._on_message(body, wamid)
        return b'{"messaging_product":"whatsapp","contacts":[],"messages":[{"id":"%s"}]}' % wamid.encode()


class _Connection(asyncio.Protocol):
    """HTTP/1.1 for a pooled client: one request at a time, with a content length."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none of asyncio's classes

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end or len(rest) < _length(head):
            return
        self._buffer = b""
        answer, delay = self._provider.answer(head, rest), self._provider.delay
        if delay and head.startswith(b"POST"):
            asyncio.get_running_loop().call_later(delay, self._write, answer)
        else:
            self._write(answer)

    def _write(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)


def _length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0]) if found else 0


def _reply(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


async def _serve(port: int, delay: float) -> None:
    async with await Provider(delay=delay).serve(port) as server:
        await server.serve_forever()


def main(*, port: Annotated[int, typer.Option()], delay: Annotated[float, typer.Option()] = 0.0) -> None:
    uvloop.run(_serve(port, delay))


if __name__ == "__main__":
    typer.run(main)

"""The load on the webhook, in a process of its own: open connections, each with one signed request in flight.

Requests are written as bytes prepared beforehand; only responses of 200 count, and any other ends the run.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from functools import partial
from typing import cast

import orjson
import uvloop

from bench.webhooks import PATH, signature, statuses

_BODIES = 500


class _LoadConnection(asyncio.Protocol):
    """Sends the next request as soon as it has the response; neither server responds with a body."""

    def __init__(self, requests: Sequence[bytes], first: int) -> None:
        self.answered = 0
        self.unexpected = b""
        self._requests = requests
        self._next = first
        self._transport: asyncio.Transport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none of asyncio's classes
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(b"\r\n\r\n"):
            return
        if not self._received.startswith(b"HTTP/1.1 200"):
            self.unexpected = self._received
            return
        self._received = b""
        self.answered += 1
        self._send()

    def _send(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._requests[self._next % len(self._requests)])
            self._next += 1

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


async def _load(port: int, requests: Sequence[bytes], seconds: float, connections: int) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    opened = []
    for number in range(connections):
        factory = partial(_LoadConnection, requests, number * len(requests) // connections)
        _, connection = await loop.create_connection(factory, "127.0.0.1", port)
        opened.append(connection)
    began, before = loop.time(), sum(one.answered for one in opened)
    await asyncio.sleep(seconds)
    answered, took = sum(one.answered for one in opened) - before, loop.time() - began
    for connection in opened:
        connection.close()
        if connection.unexpected:
            sys.exit(f"not answered 200: {connection.unexpected[:200]!r}")
    if not answered:
        sys.exit("nothing was answered")
    return {"webhooks": answered, "seconds": took}


def _requests(secret: str, number: str, count: int) -> list[bytes]:
    """Of bodies with ``count`` statuses each."""
    return [_request(statuses(number, place, count), secret) for place in range(max(10, _BODIES // count))]


def _request(body: bytes, secret: str) -> bytes:
    lines = (
        f"POST {PATH} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json",
        f"content-length: {len(body)}", f"x-hub-signature-256: {signature(body, secret)}", "", "",
    )  # fmt: skip
    return "\r\n".join(lines).encode() + body


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--secret", required=True)
    parser.add_argument("--number", required=True)
    parser.add_argument("--statuses", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    requests = _requests(options.secret, options.number, options.statuses)
    result = uvloop.run(_load(options.port, requests, options.seconds, options.connections))
    sys.stdout.buffer.write(orjson.dumps(result))


if __name__ == "__main__":
    main()

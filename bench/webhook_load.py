"""The load on the webhook, in a process of its own: kept connections, each with one signed request in flight.

Requests are written as bytes prepared beforehand; only responses of 200 count, and any other ends the run.
"""

import asyncio
import sys
from collections.abc import Iterator
from itertools import cycle
from typing import Annotated, cast

import orjson
import typer
import uvloop

from bench.webhooks import PATH, signature, statuses, text
from shared.runtime.clock import machine_now

_BODIES = 500
_FIRST_PHONE = 447_000_000_000
_SENDERS_PER_SECOND = 10_000  # prepared, each for one request: more than are answered


class _Connection(asyncio.Protocol):
    """Sends the next request as soon as an answer has come; no answer has a body."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self.answered = 0
        self.unexpected = b""
        self._requests = requests
        self._transport: asyncio.Transport | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none of asyncio's classes
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._buffer.endswith(b"\r\n\r\n"):
            return
        if not self._buffer.startswith(b"HTTP/1.1 200"):
            self.unexpected = self._buffer
            return
        self._buffer = b""
        self.answered += 1
        self._send()

    def _send(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(next(self._requests))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


async def _load(port: int, requests: Iterator[bytes], connection_count: int, seconds: float) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    connections = []
    for _ in range(connection_count):
        _, connection = await loop.create_connection(lambda: _Connection(requests), "127.0.0.1", port)
        connections.append(connection)
    began, before = loop.time(), sum(each.answered for each in connections)
    await asyncio.sleep(seconds)
    answered, took = sum(each.answered for each in connections) - before, loop.time() - began
    for connection in connections:
        connection.close()
        if connection.unexpected:
            sys.exit(f"not answered 200: {connection.unexpected[:200]!r}")
    if not answered:
        sys.exit("nothing was answered")
    return {"webhooks": answered, "seconds": took}


def _status_requests(phone_number: str, statuses_in_body: int, secret: str) -> Iterator[bytes]:
    """The same ones again and again."""
    count = max(10, _BODIES // statuses_in_body)
    bodies = (statuses(phone_number, place, statuses_in_body) for place in range(count))
    return cycle([_request(body, secret) for body in bodies])


def _sender_requests(phone_number: str, people: range, secret: str) -> Iterator[bytes]:
    """A text of each of these people."""
    at = int(machine_now().timestamp())
    bodies = (text(phone_number, str(_FIRST_PHONE + person), f"wamid.NEW{person}", "Hello", at) for person in people)
    return iter([_request(body, secret) for body in bodies])


def _request(body: bytes, secret: str) -> bytes:
    lines = (
        f"POST {PATH} HTTP/1.1",
        "host: 127.0.0.1",
        "content-type: application/json",
        f"content-length: {len(body)}",
        f"x-hub-signature-256: {signature(body, secret)}",
        "",
        "",
    )
    return "\r\n".join(lines).encode() + body


def main(  # noqa: PLR0913 -- one for each option
    *,
    port: Annotated[int, typer.Option()],
    secret: Annotated[str, typer.Option()],
    number: Annotated[str, typer.Option()],
    statuses_in_body: Annotated[int, typer.Option("--statuses")] = 1,
    first_sender: Annotated[int | None, typer.Option(help="Instead of statuses: texts of people from this on.")] = None,
    seconds: float = 2.0,
    connections: int = 64,
) -> None:
    if first_sender is None:
        requests = _status_requests(number, statuses_in_body, secret)
    else:
        people = range(first_sender, first_sender + int(seconds * _SENDERS_PER_SECOND))
        requests = _sender_requests(number, people, secret)
    sys.stdout.buffer.write(orjson.dumps(uvloop.run(_load(port, requests, connections, seconds))))


if __name__ == "__main__":
    typer.run(main)

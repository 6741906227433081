"""Hostile clients of the public port, and how long the port keeps their connections."""

import asyncio
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import uvloop

from dev.ports import LOOPBACK
from dev.processes import Child, Command
from tests.services.ingest.payloads import status, statuses, webhook
from tests.services.ingest.service import signed

ROOT = Path(__file__).parents[3]
MEBIBYTE = 1024 * 1024
HEAD = b"POST /whatsapp/webhook HTTP/1.1\r\nHost: x\r\nX-Hub-Signature-256: sha256=" + b"0" * 64
_PAUSE = 1.0  # seconds, before one that was cut off comes again
Attack = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def half_a_header(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD)
    await reader.read()


async def header_byte_by_byte(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"\r\n")
    while True:
        writer.write(b"x: y\r\n")
        await writer.drain()
        await asyncio.sleep(0.3)


async def body_byte_by_byte(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"\r\nContent-Length: 3000000\r\n\r\n")
    while True:
        writer.write(b"drop")
        await writer.drain()
        await asyncio.sleep(0.3)


async def body_without_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """All but the last bytes of the largest body."""
    writer.write(HEAD + b"\r\nContent-Length: %d\r\n\r\n" % (3 * MEBIBYTE))
    writer.write(b" " * (3 * MEBIBYTE - 10))
    await reader.read()


async def forged_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"\r\nContent-Length: %d\r\n\r\n" % (3 * MEBIBYTE) + b" " * (3 * MEBIBYTE))
    await reader.read()


async def many_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Requests ahead of their answers."""
    writer.write(b"GET /whatsapp/webhook HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)
    await reader.read()


async def endless_header(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET / HTTP/1.1\r\n" + b"x-more: and more\r\n" * 50_000)
    await reader.read()


async def endless_target(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET /" + b"x" * MEBIBYTE)
    await reader.read()


async def tiny_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 200_000)
    await reader.read()


async def kept_alive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A request that is taken, and then nothing."""
    body = webhook(statuses(status("wamid.kept")))
    lines = (f"{name}: {value}" for name, value in {**signed(body), "Content-Length": str(len(body))}.items())
    writer.write("\r\n".join(("POST /whatsapp/webhook HTTP/1.1", "Host: x", *lines, "", "")).encode() + body)
    await reader.read()


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        silent, half_a_header, header_byte_by_byte, body_byte_by_byte, body_without_end, forged_body, many_at_once,
        endless_header, endless_target, tiny_chunks, kept_alive,
    )
}  # fmt: skip


@asynccontextmanager
async def under_attack(port: int, folder: Path, **counts: int) -> AsyncIterator[None]:
    """So many of each, again and again, from a process of their own, while the body of the ``async with`` runs."""
    named = [f"{name}={count}" for name, count in counts.items()]
    arguments = (sys.executable, "-m", "tests.services.ingest.hostile_clients", str(port), *named)
    child = Child(Command("hostile_clients", arguments, {"PYTHONPATH": str(ROOT)}), folder)
    await child.start()
    try:
        yield
    finally:
        await child.stop()


async def seconds_allowed(port: int, attack: Attack) -> float:
    """The seconds for which the connection of one such client is kept."""
    began = time.monotonic()
    await _once(port, attack)
    return time.monotonic() - began


async def _repeat(port: int, attack: Attack) -> None:
    while True:
        await _once(port, attack)
        await asyncio.sleep(_PAUSE)


async def _once(port: int, attack: Attack) -> None:
    with suppress(OSError):
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        try:
            async with asyncio.timeout(60):
                await attack(reader, writer)
        finally:
            writer.transport.abort()


async def _attack_forever(port: int, counts: dict[str, int]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(8192, hard)), hard))
    await asyncio.gather(*(_repeat(port, ATTACKS[name]) for name, count in counts.items() for _ in range(count)))


if __name__ == "__main__":
    uvloop.run(
        _attack_forever(
            int(sys.argv[1]), {name: int(count) for name, _, count in (one.partition("=") for one in sys.argv[2:])}
        )
    )

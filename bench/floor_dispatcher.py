"""The floor of the dispatcher: one aiohttp client that sends the same bodies, as many at once, without a store."""

import asyncio
import sys
from collections.abc import Iterator
from typing import Annotated

import aiohttp
import orjson
import typer
import uvloop


async def _send_all(origin: str, path: str, messages: int, at_once: int) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    connector = aiohttp.TCPConnector(limit=at_once, keepalive_timeout=15)
    headers = {"Authorization": "Bearer " + "x" * 64, "Content-Type": "application/json"}
    async with aiohttp.ClientSession(
        connector=connector, headers=headers, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        async with session.get(f"{origin}/last") as response:
            body = await response.read()
        bodies = iter([body] * messages)
        began = loop.time()
        await asyncio.gather(*(_send(session, f"{origin}{path}", bodies) for _ in range(at_once)))
        return {"messages": messages, "seconds": loop.time() - began}


async def _send(session: aiohttp.ClientSession, url: str, bodies: Iterator[bytes]) -> None:
    for body in bodies:
        async with session.post(url, data=body) as response:
            orjson.loads(await response.read())


def main(
    *,
    origin: Annotated[str, typer.Option()],
    path: Annotated[str, typer.Option()],
    messages: Annotated[int, typer.Option()],
    at_once: Annotated[int, typer.Option()],
) -> None:
    sys.stdout.buffer.write(orjson.dumps(uvloop.run(_send_all(origin, path, messages, at_once))))


if __name__ == "__main__":
    typer.run(main)

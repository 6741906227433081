"""The floor of the dispatcher: one aiohttp client that sends the same bodies, as many at once, without a store."""

import argparse
import asyncio
import sys
from collections.abc import Iterator

import aiohttp
import orjson
import uvloop


async def _send_all(options: argparse.Namespace) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    connector = aiohttp.TCPConnector(limit=options.at_once, keepalive_timeout=15)
    headers = {"Authorization": "Bearer " + "x" * 64, "Content-Type": "application/json"}
    async with aiohttp.ClientSession(
        connector=connector, headers=headers, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        async with session.get(f"{options.origin}/last") as response:
            body = await response.read()
        bodies = iter([body] * options.messages)
        began = loop.time()
        await asyncio.gather(
            *(_send(session, f"{options.origin}{options.path}", bodies) for _ in range(options.at_once))
        )
        return {"messages": options.messages, "seconds": loop.time() - began}


async def _send(session: aiohttp.ClientSession, url: str, bodies: Iterator[bytes]) -> None:
    for body in bodies:
        async with session.post(url, data=body) as response:
            orjson.loads(await response.read())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--origin", required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--at-once", type=int, required=True)
    sys.stdout.buffer.write(orjson.dumps(uvloop.run(_send_all(parser.parse_args()))))


if __name__ == "__main__":
    main()

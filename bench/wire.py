"""The dispatcher before a provider that takes 100 ms: how full it keeps the requests that may be open at once.

The floor is arithmetic: so many requests, each 100 ms long. Beside it stands a bare client on the same machine, because
with a thousand open requests ten thousand messages a second would have to be sent: the processor is the limit first.
"""

import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aiohttp

from bench import records
from bench.dispatcher import MESSAGES_PATH, known_people, notice_requests
from bench.environment import BenchEnvironment, bench_environment, run_tool, suspended, wait_until_reached
from bench.records import fill_topic
from bench.results import BenchResult
from dev.processes import Child
from shared.contracts.topics import CONTACTS, MESSAGES_REQUESTED
from shared.runtime.clock import machine_now

_DELAY = 0.1  # seconds
_IN_FLIGHT = (32, 256, 1000)
_PEOPLE = 10_000  # more than may be in flight, each of whom gets one message at a time
_TARGET = 0.97
_WARM_UP = 1.0  # seconds of the wire's own rate


async def measure(seconds: float) -> AsyncIterator[BenchResult]:
    async with bench_environment() as environment, aiohttp.ClientSession() as session:
        url = environment.layout.whatsapp_url
        await environment.start_tool("provider", "--delay", str(_DELAY), port=urlsplit(url).port)
        await fill_topic(environment.kafka, CONTACTS, records.people_records(_PEOPLE, machine_now()))
        sent = 0
        for in_flight in _IN_FLIGHT:
            settings = {"STET_LIMITS_LIFTED": "1", "STET_ALLOW_DEVELOPMENT_CLOCK": "1"}
            dispatcher = await environment.start_service("dispatcher", STET_SENDS_IN_FLIGHT=str(in_flight), **settings)
            await wait_until_reached(lambda: known_people(environment), _PEOPLE, dispatcher)
            messages = int(in_flight / _DELAY * (2 * seconds + 2 * _WARM_UP))
            ours = await _measure_ours(environment, session, dispatcher, (sent, messages, in_flight))
            sent += messages
            await environment.stop(dispatcher)
            bare = await _measure_bare(url, messages, in_flight)
            wire = in_flight / _DELAY
            yield BenchResult(
                f"wire: {in_flight} in flight, provider at 100 ms (bare client {bare:,.0f})",
                f"{wire:,.0f}", f"{ours:,.0f}", ours / wire, f"≥ {_TARGET}", ours / wire >= _TARGET,
            )  # fmt: skip


async def _measure_ours(
    environment: BenchEnvironment, session: aiohttp.ClientSession, dispatcher: Child, load: tuple[int, int, int]
) -> float:
    """Messages per second at the provider between two instants at which the queue was long."""
    first, messages, in_flight = load
    url = environment.layout.whatsapp_url
    before = await _received(session, url)
    with suspended(dispatcher):
        requests = notice_requests(first, messages, machine_now(), _PEOPLE)
        await fill_topic(environment.kafka, MESSAGES_REQUESTED, requests)
    warm = int(in_flight / _DELAY * _WARM_UP)
    await wait_until_reached(lambda: _received(session, url), before + warm, dispatcher)
    began, count = time.monotonic(), await _received(session, url)
    await wait_until_reached(lambda: _received(session, url), before + messages - warm, dispatcher)
    rate = (await _received(session, url) - count) / (time.monotonic() - began)
    await wait_until_reached(lambda: _received(session, url), before + messages, dispatcher)
    return rate


async def _measure_bare(url: str, messages: int, in_flight: int) -> float:
    measured = await run_tool(
        "floor_dispatcher",
        *("--origin", url, "--path", MESSAGES_PATH, "--messages", str(messages), "--at-once", str(in_flight)),
    )
    return float(measured["messages"] / measured["seconds"])


async def _received(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(url + "/count") as answer:
        return int((await answer.json())["count"])

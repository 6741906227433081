"""From the webhook of a tap to the request with the answering message at the provider, at twenty taps per second.

Ingest, rules and dispatcher are the real ones, with their real limits and clock; the provider only counts. Every person
wrote first and got a question, so each tap carries a button that the dispatcher delivered.
"""

import math
from collections.abc import AsyncIterator, Sized
from statistics import median
from urllib.parse import urlsplit

import aiohttp

from bench.conversations import Conversations, run_at_pace, start_services, write_contacts
from bench.environment import bench_environment, wait_until_reached
from bench.provider import Provider
from bench.results import BenchResult

_TAPS_PER_SECOND = 20
_TAPS = 300
_WARM_UP = 40
_TARGET_P99 = 0.150


def _latencies(conversations: Conversations) -> list[float]:
    """Seconds, in the order of the taps, without the warm-up."""
    return [conversations.answered[phone] - began for phone, began in conversations.tapped.items()][_WARM_UP:]


async def measure(_seconds: float) -> AsyncIterator[BenchResult]:
    async with bench_environment() as environment, aiohttp.ClientSession() as session:
        conversations = Conversations(environment, session)
        server = await Provider(conversations.record_message).serve(urlsplit(environment.layout.whatsapp_url).port or 0)
        async with server:
            await start_services(environment)
            phones = await write_contacts(environment, _TAPS + _WARM_UP)
            await run_at_pace(conversations.send_text, phones, _TAPS_PER_SECOND)
            await wait_until_reached(lambda: _count(conversations.questions), len(phones))
            await run_at_pace(conversations.send_tap, phones, _TAPS_PER_SECOND)
            await wait_until_reached(lambda: _count(conversations.answered), len(phones))
        for result in _results(sorted(_latencies(conversations))):
            yield result


async def _count(collection: Sized) -> int:
    return len(collection)


def _results(seconds: list[float]) -> list[BenchResult]:
    middle, worst = median(seconds), seconds[math.ceil(0.99 * len(seconds)) - 1]
    name = f"latency: tap to reply at {_TAPS_PER_SECOND}/s"
    return [
        BenchResult(f"{name}, median", "–", f"{middle * 1000:.0f} ms", None),
        BenchResult(
            f"{name}, p99", "–", f"{worst * 1000:.0f} ms", None, f"≤ {_TARGET_P99 * 1000:.0f} ms", worst <= _TARGET_P99
        ),
    ]

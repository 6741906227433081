"""From the webhook of a tap to the request with the answering message at the provider, at twenty taps per second.

Ingest, rules and dispatcher are the real ones, with their real limits and clock; the provider only counts. Every person
wrote first and got a question, so each tap carries a button that the dispatcher delivered.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sized
from dataclasses import dataclass, field
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from bench import webhooks
from bench.environment import BenchEnvironment, bench_environment, wait_until_reached
from bench.provider import Provider
from bench.results import BenchResult
from bench.rule_folders import write_question_rule
from dev.processes import ProcessFailed
from shared.runtime.clock import machine_now

_TAPS_PER_SECOND = 20
_TAPS = 300
_WARM_UP = 40
_TARGET_P99 = 0.150
_SERVICES = ("ingest", "rules", "dispatcher")


@dataclass
class _Conversations:
    """``questions``: phone → button id and wamid; ``tapped`` and ``answered``: phone → monotonic seconds."""

    environment: BenchEnvironment
    session: aiohttp.ClientSession
    questions: dict[str, tuple[str, str]] = field(default_factory=dict)
    tapped: dict[str, float] = field(default_factory=dict)
    answered: dict[str, float] = field(default_factory=dict)

    def record_message(self, body: bytes, wamid: str) -> None:
        message = orjson.loads(body)
        phone = message["to"].removeprefix("+")
        if message["type"] == "interactive":
            self.questions[phone] = (message["interactive"]["action"]["buttons"][0]["reply"]["id"], wamid)
        elif phone in self.tapped:
            self.answered.setdefault(phone, time.monotonic())

    async def send_text(self, phone: str) -> None:
        number, at = self.environment.layout.lines["main"], int(machine_now().timestamp())
        await self._post(webhooks.text(number, phone, f"wamid.WRITE{phone}", "Hello, is this the publisher", at))

    async def send_tap(self, phone: str) -> None:
        number, at = self.environment.layout.lines["main"], int(machine_now().timestamp())
        button, quoted = self.questions[phone]
        body = webhooks.button_reply(number, phone, f"wamid.TAP{phone}", (button, "Go on"), quoted, at)
        self.tapped[phone] = time.monotonic()
        await self._post(body)

    async def _post(self, body: bytes) -> None:
        layout = self.environment.layout
        headers = {"X-Hub-Signature-256": webhooks.signature(body, layout.secrets.whatsapp_app_secret)}
        async with self.session.post(layout.ingest_url + webhooks.PATH, data=body, headers=headers) as answer:
            if answer.status != 200:
                raise ProcessFailed("ingest", f"answered {answer.status}", layout.folder / "logs" / "ingest.log", "")

    @property
    def latencies(self) -> list[float]:
        """Seconds, in the order of the taps, without the warm-up."""
        return [self.answered[phone] - began for phone, began in self.tapped.items()][_WARM_UP:]


async def measure(_seconds: float) -> AsyncIterator[BenchResult]:
    async with bench_environment() as environment, aiohttp.ClientSession() as session:
        conversations = _Conversations(environment, session)
        server = await Provider(conversations.record_message).serve(urlsplit(environment.layout.whatsapp_url).port or 0)
        async with server:
            await _start_services(environment)
            phones = [f"447700{number:06d}" for number in range(_TAPS + _WARM_UP)]
            await _run_at_pace(conversations.send_text, phones)
            await wait_until_reached(lambda: _count(conversations.questions), len(phones))
            await _run_at_pace(conversations.send_tap, phones)
            await wait_until_reached(lambda: _count(conversations.answered), len(phones))
        for result in _results(sorted(conversations.latencies)):
            yield result


async def _start_services(environment: BenchEnvironment) -> None:
    folder = str(write_question_rule(environment.layout.folder / "data" / "question"))
    for name in _SERVICES:
        await environment.start_service(name, STET_RULES_DIR=folder)


async def _run_at_pace(act: Callable[[str], Coroutine[Any, Any, None]], phones: list[str]) -> None:
    """Starts the calls at a steady pace, whether or not the earlier ones have ended."""
    loop = asyncio.get_running_loop()
    began, in_flight = loop.time(), set()
    for place, phone in enumerate(phones):
        await asyncio.sleep(max(0.0, began + place / _TAPS_PER_SECOND - loop.time()))
        in_flight.add(asyncio.ensure_future(act(phone)))
    await asyncio.gather(*in_flight)


async def _count(collection: Sized) -> int:
    return len(collection)


def _results(seconds: list[float]) -> list[BenchResult]:
    middle, worst = median(seconds), seconds[math.ceil(0.99 * len(seconds)) - 1]
    name = f"latency: tap to reply at {_TAPS_PER_SECOND}/s"
    return [
        BenchResult(f"{name}, median", "–", f"{middle * 1000:.0f} ms", None, "–", is_met=True),
        BenchResult(
            f"{name}, p99", "–", f"{worst * 1000:.0f} ms", None, f"≤ {_TARGET_P99 * 1000:.0f} ms", worst <= _TARGET_P99
        ),
    ]

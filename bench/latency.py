"""From a tap's webhook to the message that answers it leaving for the provider, at twenty taps a second.

Ingest, rules and dispatcher are the real ones, with their real limits and clock; the provider is bare. Everybody who
taps has written before and was asked a question, so each tap carries a button the dispatcher delivered.
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
from bench.ground import Ground, ground, until
from bench.provider import Provider
from bench.rulebooks import conversing
from bench.table import Row
from dev.processes import ProcessFailed
from shared.runtime.clock import machine_now

_A_SECOND = 20
_TAPS = 300
_WARM_UP = 40
_WANTED_P99 = 0.150
_SERVICES = ("ingest", "rules", "dispatcher")


@dataclass
class _Conversation:
    """``questions``: phone → button id and wamid; ``tapped`` and ``answered``: phone → when, by the monotonic clock."""

    footing: Ground
    session: aiohttp.ClientSession
    questions: dict[str, tuple[str, str]] = field(default_factory=dict)
    tapped: dict[str, float] = field(default_factory=dict)
    answered: dict[str, float] = field(default_factory=dict)

    def heard(self, body: bytes, wamid: str) -> None:
        message = orjson.loads(body)
        phone = message["to"].removeprefix("+")
        if message["type"] == "interactive":
            self.questions[phone] = (message["interactive"]["action"]["buttons"][0]["reply"]["id"], wamid)
        elif phone in self.tapped:
            self.answered.setdefault(phone, time.monotonic())

    async def write(self, phone: str) -> None:
        number, at = self.footing.layout.lines["main"], int(machine_now().timestamp())
        await self._post(webhooks.text(number, phone, f"wamid.WRITE{phone}", "Hello, is anybody there", at))

    async def tap(self, phone: str) -> None:
        number, at = self.footing.layout.lines["main"], int(machine_now().timestamp())
        button, quoted = self.questions[phone]
        body = webhooks.button_reply(number, phone, f"wamid.TAP{phone}", (button, "Go on"), quoted, at)
        self.tapped[phone] = time.monotonic()
        await self._post(body)

    async def _post(self, body: bytes) -> None:
        layout = self.footing.layout
        signed = {"X-Hub-Signature-256": webhooks.signature(body, layout.secrets.whatsapp_app_secret)}
        async with self.session.post(layout.ingest_url + webhooks.PATH, data=body, headers=signed) as answer:
            if answer.status != 200:
                raise ProcessFailed("ingest", f"answered {answer.status}", layout.folder / "logs" / "ingest.log", "")

    @property
    def seconds(self) -> list[float]:
        """In the order they were tapped, without those that warmed up."""
        return [self.answered[phone] - began for phone, began in self.tapped.items()][_WARM_UP:]


async def measure(_seconds: float) -> AsyncIterator[Row]:
    async with ground() as footing, aiohttp.ClientSession() as session:
        conversation = _Conversation(footing, session)
        server = await Provider(conversation.heard).serve(urlsplit(footing.layout.whatsapp_url).port or 0)
        async with server:
            await _start(footing)
            phones = [f"447700{number:06d}" for number in range(_TAPS + _WARM_UP)]
            await _steadily(conversation.write, phones)
            await until(lambda: _len(conversation.questions), len(phones))
            await _steadily(conversation.tap, phones)
            await until(lambda: _len(conversation.answered), len(phones))
        for row in _rows(sorted(conversation.seconds)):
            yield row


async def _start(footing: Ground) -> None:
    folder = str(conversing(footing.layout.folder / "data" / "conversing"))
    for name in _SERVICES:
        await footing.service(name, STET_RULES_DIR=folder)


async def _steadily(act: Callable[[str], Coroutine[Any, Any, None]], phones: list[str]) -> None:
    """At the same pace whether or not the earlier ones are through."""
    loop = asyncio.get_running_loop()
    began, under_way = loop.time(), set()
    for place, phone in enumerate(phones):
        await asyncio.sleep(max(0.0, began + place / _A_SECOND - loop.time()))
        under_way.add(asyncio.ensure_future(act(phone)))
    await asyncio.gather(*under_way)


async def _len(found: Sized) -> int:
    return len(found)


def _rows(seconds: list[float]) -> list[Row]:
    middle, worst = median(seconds), seconds[math.ceil(0.99 * len(seconds)) - 1]
    what = f"latency: tap to reply at {_A_SECOND}/s"
    return [
        Row(f"{what}, median", "–", f"{middle * 1000:.0f} ms", None, "–", met=True),
        Row(
            f"{what}, p99", "–", f"{worst * 1000:.0f} ms", None, f"≤ {_WANTED_P99 * 1000:.0f} ms", worst <= _WANTED_P99
        ),
    ]

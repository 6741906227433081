"""Delivers updates to the webhook: collected into bodies, signed, repeated until answered 200, and mixed on request.

All times here are machine time. Like Meta it never gives up an update, but it retries faster.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from random import Random
from typing import Protocol

import aiohttp

from dev.whatsapp.chance import Chance
from dev.whatsapp.messages import Counts
from dev.whatsapp.webhook_payloads import AccountUpdate, WebhookUpdate, encode, envelope, signature

_WORKERS = 4
_MOST_UPDATES = 100  # in one body; Meta promises at most 1,000
_MIXED_UPDATES = 20  # in one body while disorder is on
_LINGER = 0.004  # seconds: lets neighbours gather while disorder is on
_FIRST_RETRY, _LONGEST_RETRY = 0.05, 1.0  # seconds
_ANSWER_WITHIN = 10.0  # seconds
_HELD, _REPEATED, _REDELIVERED = 0.2, 0.1, 0.1  # of updates, updates and bodies, at full disorder
_MOST_BODIES = 16  # unanswered at a time; while the webhook is away the rest gathers into larger ones
_LATEST = 0.25  # seconds: how long a straggler may be held


class WebhookSettings(Protocol):
    """Settings that the control API may change while the simulator runs."""

    webhook_url: str | None
    disorder: float
    subscribed: bool


@dataclass(slots=True)
class _Body:
    content: bytes
    generation: object
    name: str
    attempts: int = 0
    answered: bool = False


class Webhooks:
    """``strict`` keeps the order of updates where there is no disorder; without it bodies overtake each other."""

    def __init__(
        self, account: str, secret: str, delivery: WebhookSettings, chance: Chance, *, strict: bool = True
    ) -> None:
        self._account = account
        self._secret = secret
        self._trouble = delivery
        self._chance = chance
        self._strict = strict
        self._order = asyncio.Lock()
        self._tally = Counts()
        self._pending: deque[WebhookUpdate | AccountUpdate] = deque()
        self._bodies: asyncio.Queue[_Body] = asyncio.Queue()
        self._gathered = asyncio.Event()
        self._later = 0
        self._unanswered = 0
        self._answered = asyncio.Event()
        self._posting = 0
        self._generation = object()

    def forget(self, counters: Counts) -> None:
        """Drop everything undelivered and count from here into ``counters``."""
        self._tally = counters
        self._generation = object()
        self._later = 0
        self._unanswered = 0
        self._answered.set()
        self._pending.clear()
        while not self._bodies.empty():
            self._bodies.get_nowait()

    @property
    def undelivered(self) -> int:
        return len(self._pending) + self._bodies.qsize() + self._later + self._posting

    def put(self, update: WebhookUpdate | AccountUpdate) -> None:
        if self._trouble.webhook_url is None or not self._trouble.subscribed:
            return
        self._tally.add("webhooks.updates")
        disorder = self._trouble.disorder
        if self._chance.happens(_HELD * disorder, update.name, "held"):
            self._after(self._delay_of(update), lambda: self._gather(update))
        else:
            self._gather(update)
        if self._chance.happens(_REPEATED * disorder, update.name, "repeated"):
            self._tally.add("webhooks.repeated")
            self._after(self._delay_of(update), lambda: self._gather(update))

    async def run(self) -> None:
        """Build and post until cancelled."""
        timeout = aiohttp.ClientTimeout(total=_ANSWER_WITHIN)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._build())
            for _ in range(_WORKERS):
                tasks.create_task(self._work(session))

    def _delay_of(self, update: WebhookUpdate | AccountUpdate) -> float:
        return _LATEST * self._chance.draw(update.name, "late")

    def _gather(self, update: WebhookUpdate | AccountUpdate) -> None:
        self._pending.append(update)
        self._gathered.set()

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        self._later += 1
        asyncio.get_running_loop().call_later(seconds, self._run_later, self._generation, action)

    def _run_later(self, generation: object, action: Callable[[], None]) -> None:
        if generation is self._generation:
            self._later -= 1
            action()

    async def _build(self) -> None:
        while True:
            await self._gathered.wait()
            await asyncio.sleep(_LINGER if self._trouble.disorder else 0)
            self._gathered.clear()
            while self._pending:
                if self._unanswered < _MOST_BODIES:
                    self._unanswered += 1
                    self._bodies.put_nowait(self._next_body())
                    await asyncio.sleep(0)
                else:
                    self._answered.clear()
                    await self._answered.wait()

    def _next_body(self) -> _Body:
        name = self._pending[0].name
        disorder = self._trouble.disorder
        most = 1 + int(self._chance.draw(name, "size") * _MIXED_UPDATES) if disorder else _MOST_UPDATES
        batch = [self._pending.popleft() for _ in range(min(most, len(self._pending)))]
        if disorder:
            Random(name).shuffle(batch)
        apart = self._chance.happens(disorder, name, "apart")
        content = encode(envelope(self._account, batch, one_change_each=apart))
        return _Body(content, self._generation, name)

    async def _work(self, session: aiohttp.ClientSession) -> None:
        while True:
            body = await self._bodies.get()
            self._posting += 1
            async with self._turn():
                await self._deliver(session, body)
            self._posting -= 1

    def _turn(self) -> AbstractAsyncContextManager[None]:
        return self._order if self._in_order else nullcontext()

    @property
    def _in_order(self) -> bool:
        return self._strict and not self._trouble.disorder

    async def _deliver(self, session: aiohttp.ClientSession, body: _Body) -> None:
        answered = await self._post(session, body)
        while not answered and body.generation is self._generation and self._in_order:
            await asyncio.sleep(_backoff(body.attempts))
            answered = await self._post(session, body)
        if body.generation is not self._generation:
            return
        if not answered:
            self._after(_backoff(body.attempts), lambda: self._bodies.put_nowait(body))
        elif not body.answered:
            self._settle(body)

    def _settle(self, body: _Body) -> None:
        """It was answered 200 for the first time; now and then Meta delivers it again all the same."""
        body.answered = True
        self._unanswered -= 1
        self._answered.set()
        if self._chance.happens(_REDELIVERED * self._trouble.disorder, body.name, "again"):
            self._after(_LATEST * self._chance.draw(body.name, "late"), lambda: self._bodies.put_nowait(body))

    async def _post(self, session: aiohttp.ClientSession, body: _Body) -> bool:
        """Whether the answer was 200; nothing else counts."""
        url = self._trouble.webhook_url
        if url is None:
            return False
        body.attempts += 1
        headers = {"Content-Type": "application/json", "X-Hub-Signature-256": signature(self._secret, body.content)}
        try:
            async with session.post(url, data=body.content, headers=headers, allow_redirects=False) as answer:
                answered = answer.status == HTTPStatus.OK
        except (aiohttp.ClientError, TimeoutError):
            answered = False
        if body.generation is self._generation:
            self._count(body, answered=answered)
        return answered

    def _count(self, body: _Body, *, answered: bool) -> None:
        self._tally.add("webhooks.posts")
        if body.attempts > 1:
            self._tally.add("webhooks.redelivered")
        self._tally.add("webhooks.delivered" if answered else "webhooks.refused")


def _backoff(attempts: int) -> float:
    return min(_FIRST_RETRY * 2.0 ** min(attempts - 1, 10), _LONGEST_RETRY)

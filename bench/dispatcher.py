"""The dispatcher beside two floors: messages per second from Kafka through store and planner to a provider, and the CPU
that a message costs each process.

The first floor is a bare client loop, which forgets everything: no sender that keeps its promise comes near it. The
second does the least that the promise asks for (floor_sender.py), and says what planning and order cost. Other work of
the machine changes the rates much more than the CPU of a message.
"""

import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from bench import records
from bench.environment import (
    BenchEnvironment,
    Seconds,
    bench_environment,
    cpu_seconds,
    run_tool,
    suspended,
    wait_until_reached,
)
from bench.records import fill_topic
from bench.results import ROUNDS, BenchResult, compare_with_floor, measure_in_turns
from dev.processes import Child
from shared.contracts.ids import Line, MessageId, derive_id
from shared.contracts.messages import OpenSpan, Resend, SendMessage, TemplateCall
from shared.contracts.topics import CONTACTS, MESSAGES_REQUESTED
from shared.runtime.clock import machine_now

_TARGET = 0.6
_CONCURRENCY = 256
_SENDER = "sender"
_OPEN = timedelta(hours=9)
_POLL_SECONDS = 0.05  # asking a hundred times a second takes a tenth of a core from those measured
MESSAGES_PATH = "/v25.0/123456789012345/messages"
_MESSAGES_PER_SECOND = 2_000
_COUNT_PEOPLE = "select count(*) from dispatcher.people"
_HAS_NO_OPEN_SEND = "select not exists (select from dispatcher.messages where state in ('waiting', 'intent'))"


@dataclass
class _SendRounds:
    """``ours`` and ``floor`` have the CPU of a message in each round, by process; ``neighbours`` serve both."""

    environment: BenchEnvironment
    dispatcher: Child
    neighbours: Mapping[str, int]
    session: aiohttp.ClientSession
    messages: int
    requested: int = 0
    ours: list[Seconds] = field(default_factory=list)
    floor: list[Seconds] = field(default_factory=list)

    async def measure_ours(self) -> float:
        """Messages per second, from the first record read to the last message at the provider."""
        with suspended(self.dispatcher):
            requests = notice_requests(self.requested, self.messages, machine_now())
            self.requested += await fill_topic(self.environment.kafka, MESSAGES_REQUESTED, requests)
        target = await self._received() + self.messages
        pids = {_SENDER: self.dispatcher.pid, **self.neighbours}
        before = cpu_seconds(pids)
        began = time.monotonic()
        await wait_until_reached(self._received, target, self.dispatcher, poll=_POLL_SECONDS)
        took = await self._last_at() - began
        await wait_until_reached(self._is_settled, 1, self.dispatcher)
        self.ours.append(_per_message(cpu_seconds(pids), before, self.messages))
        return self.messages / took

    async def measure_floor(self) -> float:
        measured = await run_tool(
            "floor_dispatcher",
            "--origin",
            self.environment.layout.whatsapp_url,
            "--path",
            MESSAGES_PATH,
            "--messages",
            str(self.messages),
            "--at-once",
            str(_CONCURRENCY),
        )
        return float(measured["messages"] / measured["seconds"])

    async def measure_durable_floor(self) -> float:
        """It sends the requests of the last round once more."""
        layout, before = self.environment.layout, cpu_seconds(self.neighbours)
        measured = await run_tool(
            "floor_sender",
            "--kafka",
            self.environment.kafka,
            "--postgres",
            self.environment.stack.neighbours.postgres_dsn,
            "--url",
            layout.whatsapp_url + MESSAGES_PATH,
            "--at-once",
            str(_CONCURRENCY),
        )
        after = {_SENDER: measured["cpu"], **cpu_seconds(self.neighbours)}
        self.floor.append(_per_message(after, {_SENDER: 0.0, **before}, measured["messages"]))
        return float(measured["messages"] / measured["seconds"])

    async def _received(self) -> int:
        return int((await self._counted())["count"])

    async def _last_at(self) -> float:
        return float((await self._counted())["last_at"])

    async def _counted(self) -> dict[str, Any]:
        async with self.session.get(self.environment.layout.whatsapp_url + "/count") as answer:
            counted: dict[str, Any] = await answer.json()
            return counted

    async def _is_settled(self) -> int:
        return int(await self.environment.database.fetchval(_HAS_NO_OPEN_SEND))


async def measure(seconds: float) -> AsyncIterator[BenchResult]:
    async with bench_environment() as environment, aiohttp.ClientSession() as session:
        provider = await environment.start_tool("provider", port=urlsplit(environment.layout.whatsapp_url).port)
        dispatcher = await environment.start_service(
            "dispatcher",
            STET_LIMITS_LIFTED="1",
            STET_ALLOW_DEVELOPMENT_CLOCK="1",
            STET_SENDS_IN_FLIGHT=str(_CONCURRENCY),
        )
        await fill_topic(environment.kafka, CONTACTS, records.people_records(records.PEOPLE, machine_now()))
        await wait_until_reached(lambda: known_people(environment), records.PEOPLE, dispatcher)
        neighbours = {name: child.pid for name, child in {**environment.stack.children, "provider": provider}.items()}
        rounds = _SendRounds(environment, dispatcher, neighbours, session, int(_MESSAGES_PER_SECOND * seconds))
        yield compare_with_floor(
            "dispatcher: messages to the provider",
            await measure_in_turns(rounds.measure_ours, rounds.measure_floor),
            _TARGET,
        )
        yield compare_with_floor(
            "dispatcher: beside a sender that loses nothing",
            await measure_in_turns(rounds.measure_ours, rounds.measure_durable_floor),
            _TARGET,
        )
        for result in _cpu_results(rounds.ours[-ROUNDS:], rounds.floor[-ROUNDS:]):
            yield result


def _per_message(after: Seconds, before: Seconds, messages: int) -> Seconds:
    used = {name: (after[name] - before[name]) / messages for name in after}
    return {**used, "all processes": sum(used.values())}


def _cpu_results(ours: Sequence[Seconds], floor: Sequence[Seconds]) -> Iterator[BenchResult]:
    """A row for each process, in microseconds."""
    for name in ours[0]:
        mine, other = (1e6 * median(one[name] for one in rounds) for rounds in (ours, floor))
        what = f"dispatcher: CPU for a message, {name}"
        yield BenchResult(what, f"{other:.0f} µs", f"{mine:.0f} µs", other / mine)


async def known_people(environment: BenchEnvironment) -> int:
    return int(await environment.database.fetchval(_COUNT_PEOPLE))


def notice_requests(
    first: int, count: int, now: datetime, people: int = records.PEOPLE
) -> Iterator[records.KeyedRecord]:
    """Requests number ``first`` and on, to so many people in turn; they may leave now, tomorrow and the day after."""
    days = [now - timedelta(hours=1) + day * timedelta(days=1) for day in range(3)]
    for number in range(first, first + count):
        person = records.person_id(number % people)
        text = f"Good news about “The Book of Number {number}”, Reader: it is now at “proofs”. There is nothing to do."
        template = TemplateCall(
            name="bench_notice_v1", language="en", parameters={"title": f"Number {number}", "stage": "proofs"}
        )
        request = SendMessage(
            message_id=MessageId(derive_id("bench", number)),
            person_id=person,
            line=Line("main"),
            say="bench_notice",
            language="en",
            body=text,
            template=template,
            resend=Resend.IF_UNPROVEN,
            expires_at=now + timedelta(days=2),
            open_hours=tuple(OpenSpan(opens=day, closes=day + _OPEN) for day in days),
        )
        yield records.keyed_record(request, request.message_id, records.person_key(person), now)

"""A critical alert beside a bulk of notices, on the real clock and with Meta's usual rate of 80 messages a second.

Ten thousand notices wait for ten thousand people on one number. Meanwhile critical messages are requested at a steady
pace, every second one for a person whose notice still waits. The delay is from the request on Kafka to the provider.
Notices may take the number's rate but for the share that is kept from the bulk, and what the alerts take: 76 a second.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median
from urllib.parse import urlsplit

import orjson
from aiokafka import AIOKafkaProducer

from bench import records
from bench.environment import BenchEnvironment, bench_environment, wait_until_reached
from bench.provider import Provider
from bench.records import fill_topic
from bench.results import BenchResult
from services.dispatcher.rate_limits import NUMBER_RATE_LIMIT, URGENT_SHARE
from shared.contracts.ids import Line, MessageId
from shared.contracts.messages import Lane, Resend, SendMessage, TemplateCall
from shared.contracts.topics import CONTACTS, MESSAGES_REQUESTED
from shared.runtime.clock import machine_now

_BULK = 10_000
_STRANGERS = 200  # people who get no notice
_EVERY = 0.5  # seconds between two alerts
_ALERTS = 160
_TARGET_P99 = 2.0
_TARGET_SHARE = 0.95
_COUNT_PEOPLE = "select count(*) from dispatcher.people"
_COUNT_WAITING = "select count(*) from dispatcher.messages where state = 'waiting'"
_COUNT_BEGUN = "select count(*) from dispatcher.attempts"


@dataclass
class _Arrivals:
    """Monotonic seconds: when alerts were requested, and when alerts and notices came to the provider."""

    requested: dict[str, float] = field(default_factory=dict)
    alerts: dict[str, float] = field(default_factory=dict)
    notices: list[float] = field(default_factory=list)

    def record(self, body: bytes, _wamid: str) -> None:
        message_id, _, _ = orjson.loads(body)["biz_opaque_callback_data"].rpartition(".")
        if message_id in self.requested:
            self.alerts.setdefault(message_id, time.monotonic())
        else:
            self.notices.append(time.monotonic())

    @property
    def delays(self) -> list[float]:
        return sorted(self.alerts[one] - began for one, began in self.requested.items())

    @property
    def notices_per_second(self) -> float:
        """While alerts were requested; the first and the last second are left out."""
        first, last = min(self.requested.values()) + 1, max(self.requested.values()) - 1
        return sum(first <= at < last for at in self.notices) / (last - first)


async def measure(_seconds: float) -> AsyncIterator[BenchResult]:
    arrivals = _Arrivals()
    async with bench_environment() as environment:
        server = await Provider(arrivals.record).serve(urlsplit(environment.layout.whatsapp_url).port or 0)
        async with server:
            dispatcher = await environment.start_service("dispatcher")
            people = _BULK + _STRANGERS
            await fill_topic(environment.kafka, CONTACTS, records.people_records(people, machine_now()))
            await wait_until_reached(lambda: _count(environment, _COUNT_PEOPLE), people, dispatcher)
            await fill_topic(environment.kafka, MESSAGES_REQUESTED, _notices(machine_now()))
            await wait_until_reached(lambda: _count(environment, _COUNT_BEGUN), 1, dispatcher)
            await _request_alerts(environment, arrivals)
            await wait_until_reached(lambda: _arrived(arrivals), _ALERTS, dispatcher)
            left = await _count(environment, _COUNT_WAITING)
    for result in _results(arrivals, left):
        yield result


async def _request_alerts(environment: BenchEnvironment, arrivals: _Arrivals) -> None:
    loop = asyncio.get_running_loop()
    producer = AIOKafkaProducer(bootstrap_servers=environment.kafka)
    async with producer:
        began = loop.time()
        for number in range(_ALERTS):
            await asyncio.sleep(max(0.0, began + number * _EVERY - loop.time()))
            # from the end of the queue, so that the notice of this person still waits
            place = _BULK - 1 - number if number % 2 else _BULK + number
            key, value = _request(place, f"alert-{number}", Lane.CRITICAL, machine_now())
            arrivals.requested[f"alert-{number}"] = time.monotonic()
            await producer.send(MESSAGES_REQUESTED.name, value, key.encode())


def _notices(now: datetime) -> Iterator[records.KeyedRecord]:
    return (_request(number, f"notice-{number}", Lane.BULK, now) for number in range(_BULK))


def _request(person: int, message_id: str, lane: Lane, now: datetime) -> records.KeyedRecord:
    request = SendMessage(
        message_id=MessageId(message_id),
        person_id=records.person_id(person),
        line=Line("main"),
        say="bench_notice",
        language="en",
        body="Your royalty statement is ready.",
        template=TemplateCall(name="bench_notice_v1", language="en", parameters={"title": message_id}),
        lane=lane,
        resend=Resend.IF_UNPROVEN,
        expires_at=now + timedelta(days=2),
    )
    return records.keyed_record(request, message_id, records.person_key(request.person_id), now)


async def _count(environment: BenchEnvironment, query: str) -> int:
    return int(await environment.database.fetchval(query))


async def _arrived(arrivals: _Arrivals) -> int:
    return len(arrivals.alerts)


def _results(arrivals: _Arrivals, left: int) -> list[BenchResult]:
    delays = arrivals.delays
    worst = delays[math.ceil(0.99 * len(delays)) - 1]
    allowed = NUMBER_RATE_LIMIT.count - NUMBER_RATE_LIMIT.count // URGENT_SHARE - 1 / _EVERY
    share = arrivals.notices_per_second / allowed
    name = f"lanes: alert beside {_BULK:,} notices"
    return [
        BenchResult(f"{name}, median", "–", f"{median(delays):.2f} s", None),
        BenchResult(
            f"{name}, p99 ({left:,} left)", "–", f"{worst:.2f} s", None, f"≤ {_TARGET_P99:g} s", worst <= _TARGET_P99
        ),
        BenchResult(
            "lanes: notices meanwhile",
            f"{allowed:g}",
            f"{arrivals.notices_per_second:.1f}",
            share,
            f"≥ {_TARGET_SHARE}",
            share >= _TARGET_SHARE,
        ),
    ]

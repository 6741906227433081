"""The CPU of each service, and what the database and Kafka keep, for a thousand messages: docs/operations/sizing.md.

A conversation is two messages from a person and two to them, each of which WhatsApp reports as sent, delivered and
read: ten webhooks. The use of idle processes is taken off.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import orjson

from bench import webhooks
from bench.conversations import SERVICES, Conversations, run_at_pace, start_services, write_contacts
from bench.environment import BenchEnvironment, Seconds, bench_environment, cpu_seconds, wait_until_reached
from bench.provider import Provider
from bench.results import BenchResult
from shared.runtime.clock import machine_now
from shared.runtime.postgres import load_queries

_SQL = load_queries(__file__, "sizing.sql")
_PER_SECOND = 25
_WARM_UP = 200
_CONVERSATIONS = 1_500
_MESSAGES = 4 * _CONVERSATIONS
_IDLE_SECONDS = 15.0
_SETTLE_SECONDS = 5.0
_STATES = ("sent", "delivered", "read")


@dataclass
class _ReportedConversations(Conversations):
    """Conversations whose messages WhatsApp reports as sent, delivered and read."""

    reports: set[asyncio.Task[None]] = field(default_factory=set)

    def record_message(self, body: bytes, wamid: str) -> None:
        super().record_message(body, wamid)
        message = orjson.loads(body)
        sent = wamid, message.get("biz_opaque_callback_data")
        task = asyncio.ensure_future(self._report(message["to"].removeprefix("+"), sent))
        self.reports.add(task)
        task.add_done_callback(self.reports.discard)

    async def _report(self, phone: str, sent: tuple[str, str | None]) -> None:
        number = self.environment.layout.lines["main"]
        for state in _STATES:
            await self.post(webhooks.status(number, phone, sent, state, int(machine_now().timestamp())))


async def measure(_seconds: float) -> AsyncIterator[BenchResult]:
    async with bench_environment() as environment, aiohttp.ClientSession() as session:
        conversations = _ReportedConversations(environment, session)
        server = await Provider(conversations.record_message).serve(urlsplit(environment.layout.whatsapp_url).port or 0)
        async with server:
            phones = await write_contacts(environment, _WARM_UP + _CONVERSATIONS)
            processes = await start_services(environment) | environment.stack.children
            pids = {name: child.pid for name, child in processes.items()}
            await _converse(conversations, phones[:_WARM_UP])
            idle = await _idle(pids)
            before, cpu, began = await _kept(environment), cpu_seconds(pids), asyncio.get_running_loop().time()
            await _converse(conversations, phones[_WARM_UP:])
            used, seconds = _difference(cpu_seconds(pids), cpu), asyncio.get_running_loop().time() - began
            kept = _difference(await _kept(environment), before)
    for name in SERVICES:
        yield BenchResult(f"sizing: {name}, idle", "–", f"{100 * idle[name]:.1f} % of a core", None)
    for name in pids:
        yield _cpu_result(name, used[name] - idle[name] * seconds)
    for name, amount in kept.items():
        yield _result(f"{name} keeps", f"{amount / _MESSAGES * 1000 / 2**20:.1f} MiB")


def _cpu_result(name: str, seconds: float) -> BenchResult:
    per_thousand = seconds / _MESSAGES * 1000
    return _result(f"CPU of {name}", f"{per_thousand:.2f} s ({1000 / per_thousand:,.0f} messages a second on a core)")


def _result(what: str, ours: str) -> BenchResult:
    return BenchResult(f"sizing: {what}, for 1,000 messages", "–", ours, None)


async def _converse(conversations: _ReportedConversations, phones: Sequence[str]) -> None:
    """Returns once all statuses are reported and all services have come to rest."""
    steps = (
        (conversations.send_text, conversations.questions),
        (conversations.send_tap, conversations.answered),
    )
    for send, found in steps:
        expected = len(found) + len(phones)
        await run_at_pace(send, phones, _PER_SECOND)
        await wait_until_reached(partial(_count, found), expected)
    while conversations.reports:
        await asyncio.gather(*conversations.reports)
    await asyncio.sleep(_SETTLE_SECONDS)


async def _count(found: Sized) -> int:
    return len(found)


async def _idle(pids: Mapping[str, int]) -> Seconds:
    """CPU seconds for each second in which nothing comes."""
    before = cpu_seconds(pids)
    await asyncio.sleep(_IDLE_SECONDS)
    return {name: used / _IDLE_SECONDS for name, used in _difference(cpu_seconds(pids), before).items()}


async def _kept(environment: BenchEnvironment) -> Mapping[str, float]:
    """Bytes of what is kept: by schema, of the inboxes, and of all records in Kafka."""
    rows = await environment.database.fetch(_SQL.sizes, list(SERVICES))
    return {**{row["name"]: float(row["bytes"]) for row in rows}, "Kafka": _log_bytes(environment.layout.folder)}


def _log_bytes(folder: Path) -> float:
    return float(sum(path.stat().st_size for path in (folder / "data" / "kafka").rglob("*.log")))


def _difference(after: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    return {name: value - before[name] for name, value in after.items()}

"""The cost of a claim, and the memory of the dispatcher, with ten thousand and with a million waiting messages.

The messages are put into the queue by SQL: half are for people of their own, the other half are long chats, of which
only the first message may go. A claim finds and begins messages in a transaction that is rolled back. The million comes
after a dispatcher has looked at the ten thousand: none of their people is known, so their chats wait behind them.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

import psutil

from bench.environment import BenchEnvironment, bench_environment
from bench.results import BenchResult
from dev.layout import TENANT
from dev.processes import Child, ProcessFailed
from services.dispatcher.store import LaneCapacity, MessageStore, UnreadableMessage
from shared.contracts.messages import Lane, MessageForm
from shared.runtime.clock import machine_now
from shared.runtime.postgres import Connection, connect, load_queries

_SHORT, _LONG = 10_000, 1_000_000
_CHAT = 500  # messages in a long chat
_CLAIMED = 64
_CLAIMS = 30
_TARGET_COST = 1.2
_TARGET_MEMORY = 1.1
_SETTLE_SECONDS = 15
_SQL = load_queries(__file__, "backlog.sql")


@dataclass(frozen=True, slots=True)
class _Cost:
    """``claim`` and ``look`` in milliseconds, ``memory`` in megabytes."""

    claim: float
    look: float
    memory: float


async def measure(_seconds: float) -> AsyncIterator[BenchResult]:
    async with bench_environment() as environment:
        short = await _measure(environment, 0, _SHORT)
        long = await _measure(environment, _SHORT, _LONG)
    yield _compare("claim of 64", "ms", short.claim, long.claim, _TARGET_COST)
    yield _compare("look for expired and lost messages", "ms", short.look, long.look, 2.0)
    yield _compare("memory of the dispatcher", "MB", short.memory, long.memory, _TARGET_MEMORY)


def _compare(name: str, unit: str, short: float, long: float, most: float) -> BenchResult:
    ratio = long / short
    return BenchResult(
        f"backlog: {name}, {_LONG:,} waiting beside {_SHORT:,}",
        f"{short:,.1f} {unit}", f"{long:,.1f} {unit}", ratio, f"≤ {most:g}", ratio <= most,
    )  # fmt: skip


async def _measure(environment: BenchEnvironment, first: int, last: int) -> _Cost:
    database, now = environment.database, machine_now()
    await database.execute(_SQL.insert_waiting, TENANT, now, first, last - 1, _CHAT, timeout=600)
    await database.execute("vacuum analyze dispatcher.messages", timeout=600)
    store, session = MessageStore(TENANT), await connect(environment.stack.neighbours.postgres_dsn, "dispatcher")
    claim = await _time(lambda: _claim(session, store, now))
    look = await _time(lambda: _look(session, store, now))
    await session.close()
    return _Cost(claim, look, await _memory(environment))


async def _time(act: Callable[[], Awaitable[None]]) -> float:
    """The median of many, in milliseconds; the first are dropped."""
    took = []
    for _ in range(_CLAIMS):
        began = time.perf_counter()
        await act()
        took.append((time.perf_counter() - began) * 1000)
    return median(took[5:])


async def _claim(session: Connection, store: MessageStore, now: datetime) -> None:
    transaction = session.transaction()
    await transaction.start()
    try:
        lanes = [LaneCapacity("main", lane, _CLAIMED) for lane in Lane]
        due = await store.find_due(session, lanes, [], (now, now), _CLAIMED)
        readable = [one for one in due if not isinstance(one, UnreadableMessage)]
        if len(readable) != _CLAIMED:
            raise ProcessFailed("bench", f"{len(readable)} of {_CLAIMED} messages may go", Path("-"), "")
        sends = {one.message.message_id: (MessageForm.TEMPLATE, ("t", "en")) for one in readable}
        await store.begin_attempts(session, sends, now, now, now)
    finally:
        await transaction.rollback()


async def _look(session: Connection, store: MessageStore, now: datetime) -> None:
    """The queries of the reconciliation, asked four times a second."""
    await store.find_expired(session, now, 500)
    await store.find_on_unknown_lines(session, ["main"], now, 500)
    await store.release_crossed(session, now, 0, 500)


async def _memory(environment: BenchEnvironment) -> float:
    """The resident memory of a dispatcher that has the queue before it, and a provider that cannot be reached."""
    dispatcher = await environment.start_service("dispatcher", STET_WHATSAPP_GRAPH_URL="http://127.0.0.1:9")
    most = 0.0
    ends = time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < ends:
        most = max(most, _resident(dispatcher))
        await asyncio.sleep(0.2)
    await environment.stop(dispatcher)
    return most


def _resident(child: Child) -> float:
    with suppress(psutil.Error):
        process = psutil.Process(child.pid)
        return float(sum(one.memory_info().rss for one in [process, *process.children(recursive=True)]) / 2**20)
    return 0.0

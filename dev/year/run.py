"""Plays the months on a stack with a virtual clock, and measures every table at the end of some of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import aiohttp
import asyncpg
from aiokafka import AIOKafkaProducer

from dev.demo.people import read_people
from dev.demo.simulators import Simulators, development_clock
from dev.layout import SERVICES
from dev.stack import Stack, StackOptions
from dev.year.traffic import Traffic
from dev.year.verdict import Sizes, TableSize
from shared.runtime.clock import machine_now
from shared.runtime.postgres import load_queries

QUERIES = load_queries(__file__, "tables.sql")
STARTS_AT = datetime(2027, 1, 4, 9, tzinfo=UTC)
"""A Monday."""
WEEKS = 4
MONTH = timedelta(weeks=WEEKS)
SCHEMAS = (*SERVICES, "operator")
KEPT: Mapping[str, str] = {
    "STET_KEEP_CHAINS_DAYS": "60",
    "STET_KEEP_MESSAGES_DAYS": "60",
    "STET_KEEP_VISITORS_DAYS": "60",
    "STET_KEEP_MEDIA_DAYS": "60",
    "STET_KEEP_COST_DAYS": "62",
    "STET_KEEP_INBOX_DAYS": "60",
}
"""Shorter than the defaults, of which some are longer than the year; the others are as deployed."""

_OF_SERVICE = {
    "ingest": ("STET_KEEP_VISITORS_DAYS", "STET_KEEP_MEDIA_DAYS"),
    "rules": ("STET_KEEP_CHAINS_DAYS",),
    "dispatcher": ("STET_KEEP_MESSAGES_DAYS", "STET_KEEP_COST_DAYS"),
    "writeback": ("STET_KEEP_CHAINS_DAYS", "STET_KEEP_MEDIA_DAYS"),
}
_POLLED_ON_REQUEST = {"STET_CONSONANCE_POLL_SECONDS": "86400"}
_STEP = timedelta(hours=2)
_SETTLE_SECONDS = 300.0
"""A year must not end because the machine was busy for a while."""
_SWEEP_SECONDS = 90.0
_POLL_SECONDS = 2.0

ReportMonth = Callable[[str], None]


@dataclass
class YearResult:
    """By month, the first of which is 1: the sizes of the tables, and how much traffic of each kind was kept."""

    sizes: dict[int, Sizes] = field(default_factory=dict)
    counts: dict[int, Mapping[str, int]] = field(default_factory=dict)
    seconds: float = 0.0


async def play(months: int, seed: int, measured: frozenset[int], report: ReportMonth) -> YearResult:
    """Raises StetError or OSError where the run itself fails."""
    began, result = time.monotonic(), YearResult()
    async with Stack.open("year", STARTS_AT, _options(), report) as stack, _traffic(stack, seed) as traffic:
        for month in range(1, months + 1):
            await _play_month(stack, traffic, month)
            await _age_and_restart(stack)
            swept = await _until_swept(stack)
            if month in measured:
                result.sizes[month], result.counts[month] = swept, await _counts(stack)
            rows = sum(size.rows for size in swept.values())
            report(f"month {month} of {months} is over: {rows:,} rows")
    result.seconds = time.monotonic() - began
    return result


def _options() -> StackOptions:
    settings = {
        service: {name: KEPT[name] for name in (*names, "STET_KEEP_INBOX_DAYS")}
        for service, names in _OF_SERVICE.items()
    }
    settings["ingest"] |= _POLLED_ON_REQUEST
    return StackOptions(settings=settings, ready_seconds=_SETTLE_SECONDS)


@asynccontextmanager
async def _traffic(stack: Stack, seed: int) -> AsyncIterator[Traffic]:
    async with aiohttp.ClientSession() as session:
        simulators = Simulators.of(stack.layout, session)
        people = await read_people(simulators)
        await simulators.poll()
        await stack.virtual_clock.settle(_SETTLE_SECONDS)
        producer = AIOKafkaProducer(bootstrap_servers=stack.neighbours.kafka_bootstrap)
        await producer.start()
        try:
            traffic = Traffic(simulators, people, development_clock(stack), producer, seed)
            await traffic.begin()
            yield traffic
        finally:
            await producer.stop()


async def _play_month(stack: Stack, traffic: Traffic, month: int) -> None:
    virtual = stack.virtual_clock
    for week in range((month - 1) * WEEKS, month * WEEKS):
        monday = STARTS_AT + timedelta(weeks=week)
        for days, act in ((0, traffic.monday), (2, traffic.wednesday), (4, traffic.friday)):
            await virtual.run_until(monday + timedelta(days=days, hours=1), _SETTLE_SECONDS, _STEP)
            await act(week)
    await virtual.run_until(STARTS_AT + MONTH * month, _SETTLE_SECONDS, _STEP)


# ------------------------------------------------------------------ sweeps


async def _age_and_restart(stack: Stack) -> None:
    """Let the machine's time pass, too: what is kept by it becomes older by a month, and a new process sweeps at once.

    An operator settles what is parked.
    """
    for service in SERVICES:
        async with _connection(stack, service) as connection:
            await connection.execute(QUERIES.settle_parked, machine_now())
            await connection.execute(QUERIES.age_every_service, MONTH)
            if (of_its_own := getattr(QUERIES, f"age_{service}", None)) is not None:
                await connection.execute(of_its_own, MONTH)
    await asyncio.gather(*(stack.children[service].stop() for service in SERVICES))
    await asyncio.gather(*(stack.start(service) for service in SERVICES))


async def _until_swept(stack: Stack) -> Sizes:
    """The sizes of all tables, once two looks in a row find as many rows."""
    await stack.virtual_clock.settle(_SETTLE_SECONDS)
    deadline, before = time.monotonic() + _SWEEP_SECONDS, await _sizes(stack)
    while True:
        await asyncio.sleep(_POLL_SECONDS)
        now = await _sizes(stack)
        if _rows(now) == _rows(before) or time.monotonic() > deadline:
            return now
        before = now


def _rows(sizes: Sizes) -> dict[str, int]:
    return {name: size.rows for name, size in sizes.items()}


async def _sizes(stack: Stack) -> Sizes:
    async with _connection(stack, "public") as connection:
        await connection.execute(QUERIES.define_count)
        rows = await connection.fetch(QUERIES.table_sizes, list(SCHEMAS))
    return {row["name"]: TableSize(row["rows"], row["bytes"]) for row in rows}


async def _counts(stack: Stack) -> Mapping[str, int]:
    async with _connection(stack, "public") as connection:
        return dict(await connection.fetchrow(QUERIES.counts))


@asynccontextmanager
async def _connection(stack: Stack, schema: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(stack.neighbours.postgres_dsn, server_settings={"search_path": schema})
    try:
        yield connection
    finally:
        await connection.close()

"""Kills and freezes the processes of a run, ends their sessions and holds their tables in PostgreSQL, and makes the
simulators fail, in an order that the seed decides.

Every kind of disruption comes once before any comes twice. The full disk is real: a file system of limited size is
filled to the last byte, which needs the right to mount one.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson

from dev.chaos.chaos_stack import ChaosStack
from dev.chaos.recorder import RunLog, connect
from dev.layout import SERVICES

_NEIGHBOURS = ("kafka", "postgres")
_BOTH = 0.25  # of kills hit both replicas at once
_PAUSE = (0.5, 3.0)  # seconds between the end of a disruption and the next
_DOWN = (0.0, 2.0)  # seconds until a killed process is started again
_FROZEN = (3.0, 12.0)  # sometimes longer than a consumer group's session timeout
_REFUSING = (3.0, 6.0)  # a database that is read-only or full
_RECOVERY_SECONDS = 3.0  # for which the next disruption waits for the recovery from this one
_SENDS_BETWEEN_FAULTS = 25  # sends between two faults at WhatsApp
_LAST_RECOVERY_SECONDS = 240.0  # for all processes to be back; a missing one shows in the work left
_FAULT_EVERY = (3.0, 7.0)
_POSTGRES_AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)
_CUT_EVERY = 0.2
_END_SESSIONS = """
select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'stet-%' and random() < 0.2
"""
_LOCK_TABLES = "begin; lock table {0}.inbox, {0}.outbox, {0}.parked in access exclusive mode"
_BALLAST = "ballast"
_CHUNK = b"\0" * (4 * 1024 * 1024)

_WHATSAPP_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "timeout_after_accept", "count": 2, "seconds": 6},
    {"kind": "timeout_before", "count": 1, "seconds": 6},
    {"kind": "hang", "count": 2, "seconds": 7},
    {"kind": "http_503", "count": 2},
    {"kind": "http_500", "count": 1},
    {"kind": "refuse_connection", "count": 2},
)
_CONSONANCE_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "write_then_timeout", "count": 1, "seconds": 6},
    {"kind": "http_503", "count": 2},
    {"kind": "latency", "count": 2, "seconds": 3},
    {"kind": "ok_with_errors", "count": 1, "place": "graphql"},
)
FAULTS = tuple(f"{place} {fault['kind']}" for place, faults in
               (("whatsapp", _WHATSAPP_FAULTS), ("consonance", _CONSONANCE_FAULTS)) for fault in faults)  # fmt: skip


IsOver = Callable[[aiohttp.ClientSession, str, int], Awaitable[bool]]


@dataclass(frozen=True)
class Disruption:
    """``kill rules``, ``freeze kafka``, ``lock dispatcher``, ``cut off postgres``, ``full disk postgres``."""

    how: str
    target: str

    def __str__(self) -> str:
        return f"{self.how} {self.target}"


def disruptions_of(stack: ChaosStack) -> list[Disruption]:
    found = [Disruption(how, target) for how in ("kill", "freeze") for target in (*SERVICES, *_NEIGHBOURS)]
    found += [Disruption("lock", target) for target in ("rules", "dispatcher")]
    found += [Disruption(how, "postgres") for how in ("read-only", "cut off")]
    return [*found, Disruption("full disk", "postgres")] if stack.disk is not None else found


@dataclass
class FaultInjector:
    stack: ChaosStack
    seed: int
    journal: RunLog
    report: Callable[[str], None]
    disruptions: int = 0
    _running: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def disrupt_until(self, deadline: float, latest: float) -> None:
        """Disrupt until ``deadline`` (monotonic), then until every kind has come once, but not beyond ``latest``."""
        chance = random.Random(f"{self.seed}/killer")
        left = self._shuffled(chance)
        covered = False
        while time.monotonic() < (deadline if covered else latest):
            await self._disrupt(self._next(left), chance)
            if not left:
                covered, left = True, self._shuffled(chance)
            await asyncio.sleep(chance.uniform(*_PAUSE))
        await asyncio.wait(self._running.values(), timeout=_LAST_RECOVERY_SECONDS)

    def _next(self, left: list[Disruption]) -> Disruption:
        """The next one at a target that has recovered; where none has, the next one anyway."""
        busy = {target for target, doing in self._running.items() if not doing.done()}
        place = next((n for n, kind in reversed(list(enumerate(left))) if kind.target not in busy), len(left) - 1)
        return left.pop(place)

    def _shuffled(self, chance: random.Random) -> list[Disruption]:
        found = disruptions_of(self.stack)
        chance.shuffle(found)
        return found

    async def _disrupt(self, kind: Disruption, chance: random.Random) -> None:
        self.disruptions += 1
        names = self._names(kind, chance)
        if (before := self._running.get(kind.target)) is not None:
            await before
        self.report(f"{self.disruptions:4d}  {kind.how} {', '.join(names)}")
        self.journal.note("disruption", number=self.disruptions, how=kind.how, target=kind.target, names=names)
        doing = asyncio.ensure_future(self._run(kind, names, chance.uniform(*_SECONDS[kind.how])))
        self._running[kind.target] = doing
        await asyncio.wait({doing}, timeout=_SECONDS[kind.how][1] + _RECOVERY_SECONDS)

    async def _run(self, kind: Disruption, names: list[str], seconds: float) -> None:
        number = self.disruptions
        async with _ACTIONS[kind.how](self.stack, names):
            await asyncio.sleep(seconds)
        self.journal.note("ended", number=number)
        await asyncio.gather(*(self.stack.bring_back(name) for name in names))
        self.journal.note("ready", number=number)

    def _names(self, kind: Disruption, chance: random.Random) -> list[str]:
        if kind.target in _NEIGHBOURS:
            return [kind.target]
        names = self.stack.replicas(kind.target)
        return names if kind.how == "kill" and chance.random() < _BOTH else [chance.choice(names)]

    async def inject_response_faults(self) -> None:
        """Run for ever: one fault after the other at each simulator."""
        async with aiohttp.ClientSession(raise_for_status=True) as session:
            whatsapp = self._inject_at(
                session, "whatsapp", self.stack.layout.whatsapp_url, _WHATSAPP_FAULTS, _SendFaultGap().is_over
            )
            consonance = self._inject_at(
                session, "consonance", self.stack.layout.consonance_url, _CONSONANCE_FAULTS, _none_left
            )
            await asyncio.gather(whatsapp, consonance)

    async def _inject_at(
        self, session: aiohttp.ClientSession, name: str, url: str, faults: Sequence[dict[str, Any]], is_over: IsOver
    ) -> None:
        """The next fault follows once the last has hit; else they pile up while nothing is sent, and hit each retry."""
        chance, asked = random.Random(f"{self.seed}/faults/{name}"), 0
        while True:
            for fault in chance.sample(faults, len(faults)):
                await asyncio.sleep(chance.uniform(*_FAULT_EVERY))
                while not await is_over(session, url, asked):
                    await asyncio.sleep(0.5)
                await session.post(f"{url}/_simulator/faults", data=orjson.dumps(fault))
                asked += fault["count"]
                self.journal.note("fault", fault=f"{name} {fault['kind']}")


@dataclass
class _SendFaultGap:
    """Decides whether the next fault at WhatsApp may follow: the last one was applied, and many sends succeeded since.

    A refused sender retries one by one, ever later; a fault for each retry would stop it for good.
    """

    succeeded: int = 0
    hit: int = 0

    async def is_over(self, session: aiohttp.ClientSession, url: str, asked: int) -> bool:
        async with session.get(f"{url}/_simulator/counts") as answer:
            counts = orjson.loads(await answer.read())
        hit = int(sum(counts["faults"].values()))
        if hit > self.hit:
            self.hit, self.succeeded = hit, counts["sends"]
        return hit >= asked and counts["sends"] >= self.succeeded + _SENDS_BETWEEN_FAULTS


async def _none_left(session: aiohttp.ClientSession, url: str, _: int) -> bool:
    async with session.get(f"{url}/_simulator/faults") as answer:
        return not orjson.loads(await answer.read())


@asynccontextmanager
async def _killed(stack: ChaosStack, names: list[str]) -> AsyncIterator[None]:
    await asyncio.gather(*(stack.kill(name) for name in names))
    try:
        yield
    finally:
        await asyncio.gather(*(stack.bring_back(name) for name in names))


@asynccontextmanager
async def _frozen(stack: ChaosStack, names: list[str]) -> AsyncIterator[None]:
    for name in names:
        stack.freeze(name)
    try:
        yield
    finally:
        for name in names:
            stack.resume(name)


@asynccontextmanager
async def _read_only(stack: ChaosStack, _: list[str]) -> AsyncIterator[None]:
    await _set_read_only(stack, "on")
    try:
        yield
    finally:
        await _set_read_only(stack, "off")


async def _set_read_only(stack: ChaosStack, value: str) -> None:
    connection = await connect(stack)
    try:
        await connection.execute("set default_transaction_read_only = off")
        await connection.execute(f"alter system set default_transaction_read_only = {value}")
        await connection.execute("select pg_reload_conf()")
    finally:
        await connection.close()


@asynccontextmanager
async def _cut_off(stack: ChaosStack, _: list[str]) -> AsyncIterator[None]:
    """PostgreSQL ends sessions of services again and again, wherever they are: in a query, or idle in a transaction."""
    cutting = asyncio.ensure_future(_end_sessions(stack))
    try:
        yield
    finally:
        cutting.cancel()


async def _end_sessions(stack: ChaosStack) -> None:
    while True:
        with suppress(*_POSTGRES_AWAY):
            connection = await connect(stack)
            try:
                await connection.execute(_END_SESSIONS)
            finally:
                connection.terminate()
        await asyncio.sleep(_CUT_EVERY)


@asynccontextmanager
async def _locked(stack: ChaosStack, names: list[str]) -> AsyncIterator[None]:
    """An operator's transaction holds the tables that each batch of a service writes to, and that of parked records."""
    service, connection = names[0].rpartition("-")[0], None
    with suppress(*_POSTGRES_AWAY):
        connection = await connect(stack)
        await connection.execute(_LOCK_TABLES.format(service))
    try:
        yield
    finally:
        if connection is not None:
            connection.terminate()


@asynccontextmanager
async def _full(stack: ChaosStack, _: list[str]) -> AsyncIterator[None]:
    """A server that ends on a full disk is started again once there is space."""
    if stack.disk is None:
        raise RuntimeError("there is no disk to fill")
    ballast = stack.disk / _BALLAST
    stack.down.add("postgres")
    await asyncio.to_thread(_fill, ballast)
    try:
        yield
    finally:
        ballast.unlink()
        await _restart_postgres(stack)


async def _restart_postgres(stack: ChaosStack) -> None:
    """Return once it answers again; a server that ended is started."""
    while not await _answers(stack):
        if not stack.postgres.child.alive:
            with suppress(Exception):
                await stack.postgres.child.stop()
                await stack.postgres.start()
        await asyncio.sleep(0.2)
    stack.down.discard("postgres")


async def _answers(stack: ChaosStack) -> bool:
    with suppress(*_POSTGRES_AWAY):
        connection = await connect(stack)
        await connection.close()
        return True
    return False


def _fill(ballast: Path) -> None:
    with suppress(OSError), ballast.open("wb", buffering=0) as out:
        while out.write(_CHUNK):
            pass
    with suppress(OSError), ballast.open("ab", buffering=0) as out:
        while out.write(b"\0"):
            pass


Action = Callable[[ChaosStack, list[str]], Any]
_ACTIONS: dict[str, Action] = {
    "kill": _killed,
    "freeze": _frozen,
    "read-only": _read_only,
    "full disk": _full,
    "cut off": _cut_off,
    "lock": _locked,
}
_SECONDS = {
    "kill": _DOWN,
    "freeze": _FROZEN,
    "read-only": _REFUSING,
    "full disk": _REFUSING,
    "cut off": _REFUSING,
    "lock": _FROZEN,
}

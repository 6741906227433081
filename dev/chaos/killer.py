"""Strikes at the processes of a run and spoils answers of the simulators, in an order the seed decides.

Every kind of strike comes once before any comes twice. A full disk is a real one: a file system of limited size that is
filled to the last byte; it needs the right to mount one.
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

from dev.chaos.journal import Journal
from dev.chaos.rig import Rig, connect
from dev.layout import SERVICES

_NEIGHBOURS = ("kafka", "postgres")
_BOTH = 0.25  # of kills: both replicas at once
_PAUSE = (0.5, 3.0)  # seconds between the end of a strike and the next
_DOWN = (0.0, 2.0)  # seconds until what was killed is started again
_FROZEN = (3.0, 12.0)  # longer than a group's patience now and then
_SHUT = (3.0, 6.0)  # a database that is read-only or full
_PATIENCE = 3.0  # seconds for which the next strike waits until this one is got over
_GO_WELL = 25  # sends between two faults at WhatsApp
_LAST_PATIENCE = 240.0  # seconds, until all that was struck is back; who is not shows in what is left
_FAULT_EVERY = (3.0, 7.0)
_BALLAST = "ballast"
_CHUNK = b"\0" * (4 * 1024 * 1024)

_AT_WHATSAPP: tuple[dict[str, Any], ...] = (
    {"kind": "timeout_after_accept", "count": 2, "seconds": 6},
    {"kind": "timeout_before", "count": 1, "seconds": 6},
    {"kind": "hang", "count": 2, "seconds": 7},
    {"kind": "http_503", "count": 2},
    {"kind": "http_500", "count": 1},
    {"kind": "refuse_connection", "count": 2},
)
_AT_CONSONANCE: tuple[dict[str, Any], ...] = (
    {"kind": "write_then_timeout", "count": 1, "seconds": 6},
    {"kind": "http_503", "count": 2},
    {"kind": "latency", "count": 2, "seconds": 3},
    {"kind": "ok_with_errors", "count": 1, "place": "graphql"},
)
FAULTS = tuple(f"{place} {fault['kind']}" for place, faults in
               (("whatsapp", _AT_WHATSAPP), ("consonance", _AT_CONSONANCE)) for fault in faults)  # fmt: skip


IsOver = Callable[[aiohttp.ClientSession, str, int], Awaitable[bool]]


@dataclass(frozen=True)
class Kind:
    """``kill rules``, ``freeze kafka``, ``read-only postgres``, ``full disk postgres``."""

    how: str
    target: str

    def __str__(self) -> str:
        return f"{self.how} {self.target}"


def kinds(run: Rig) -> list[Kind]:
    found = [Kind(how, target) for how in ("kill", "freeze") for target in (*SERVICES, *_NEIGHBOURS)]
    found.append(Kind("read-only", "postgres"))
    return [*found, Kind("full disk", "postgres")] if run.disk is not None else found


@dataclass
class Killer:
    run: Rig
    seed: int
    journal: Journal
    say: Callable[[str], None]
    strikes: int = 0
    _doing: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def strike_until(self, deadline: float, latest: float) -> None:
        """Until ``deadline`` (monotonic), and then until every kind has come once, but not beyond ``latest``."""
        chance = random.Random(f"{self.seed}/killer")
        left = self._shuffled(chance)
        covered = False
        while time.monotonic() < (deadline if covered else latest):
            await self._strike(self._next(left), chance)
            if not left:
                covered, left = True, self._shuffled(chance)
            await asyncio.sleep(chance.uniform(*_PAUSE))
        await asyncio.wait(self._doing.values(), timeout=_LAST_PATIENCE)

    def _next(self, left: list[Kind]) -> Kind:
        """The next at a target that has come back from the last strike at it; where none has, the next all the same."""
        busy = {target for target, doing in self._doing.items() if not doing.done()}
        place = next((n for n, kind in reversed(list(enumerate(left))) if kind.target not in busy), len(left) - 1)
        return left.pop(place)

    def _shuffled(self, chance: random.Random) -> list[Kind]:
        found = kinds(self.run)
        chance.shuffle(found)
        return found

    async def _strike(self, kind: Kind, chance: random.Random) -> None:
        self.strikes += 1
        names = self._names(kind, chance)
        if (before := self._doing.get(kind.target)) is not None:
            await before
        self.say(f"{self.strikes:4d}  {kind.how} {', '.join(names)}")
        self.journal.note("strike", number=self.strikes, how=kind.how, target=kind.target, names=names)
        doing = asyncio.ensure_future(self._do(kind, names, chance.uniform(*_SECONDS[kind.how])))
        self._doing[kind.target] = doing
        await asyncio.wait({doing}, timeout=_SECONDS[kind.how][1] + _PATIENCE)

    async def _do(self, kind: Kind, names: list[str], seconds: float) -> None:
        number = self.strikes
        async with _DOING[kind.how](self.run, names):
            await asyncio.sleep(seconds)
        self.journal.note("let go", number=number)
        await asyncio.gather(*(self.run.bring_back(name) for name in names))
        self.journal.note("ready", number=number)

    def _names(self, kind: Kind, chance: random.Random) -> list[str]:
        if kind.target in _NEIGHBOURS:
            return [kind.target]
        names = self.run.replicas(kind.target)
        return names if kind.how == "kill" and chance.random() < _BOTH else [chance.choice(names)]

    async def spoil(self) -> None:
        """For ever: one fault after the other at each simulator."""
        async with aiohttp.ClientSession(raise_for_status=True) as session:
            whatsapp = self._spoil(session, "whatsapp", self.run.layout.whatsapp_url, _AT_WHATSAPP, _Sends().over)
            consonance = self._spoil(session, "consonance", self.run.layout.consonance_url, _AT_CONSONANCE, _none_left)
            await asyncio.gather(whatsapp, consonance)

    async def _spoil(
        self, session: aiohttp.ClientSession, name: str, url: str, faults: Sequence[dict[str, Any]], is_over: IsOver
    ) -> None:
        """The next only once the last has hit: else they pile up while nothing is sent, and hit every new try."""
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
class _Sends:
    """Whether WhatsApp may be spoiled again: the last fault has hit, and many sends went well since.

    A sender that is refused tries again one by one, ever later; a fault for each try would keep it silent for good.
    """

    went_well: int = 0
    hit: int = 0

    async def over(self, session: aiohttp.ClientSession, url: str, asked: int) -> bool:
        async with session.get(f"{url}/_simulator/counts") as answer:
            counts = orjson.loads(await answer.read())
        hit = int(sum(counts["faults"].values()))
        if hit > self.hit:
            self.hit, self.went_well = hit, counts["sends"]
        return hit >= asked and counts["sends"] >= self.went_well + _GO_WELL


async def _none_left(session: aiohttp.ClientSession, url: str, _: int) -> bool:
    async with session.get(f"{url}/_simulator/faults") as answer:
        return not orjson.loads(await answer.read())


@asynccontextmanager
async def _killed(run: Rig, names: list[str]) -> AsyncIterator[None]:
    await asyncio.gather(*(run.kill(name) for name in names))
    try:
        yield
    finally:
        await asyncio.gather(*(run.bring_back(name) for name in names))


@asynccontextmanager
async def _frozen(run: Rig, names: list[str]) -> AsyncIterator[None]:
    for name in names:
        run.freeze(name)
    try:
        yield
    finally:
        for name in names:
            run.thaw(name)


@asynccontextmanager
async def _read_only(run: Rig, _: list[str]) -> AsyncIterator[None]:
    await _set_read_only(run, "on")
    try:
        yield
    finally:
        await _set_read_only(run, "off")


async def _set_read_only(run: Rig, value: str) -> None:
    connection = await connect(run)
    try:
        await connection.execute("set default_transaction_read_only = off")
        await connection.execute(f"alter system set default_transaction_read_only = {value}")
        await connection.execute("select pg_reload_conf()")
    finally:
        await connection.close()


@asynccontextmanager
async def _full(run: Rig, _: list[str]) -> AsyncIterator[None]:
    """A server that gives up on a full disk is started again once there is room."""
    if run.disk is None:
        raise RuntimeError("there is no disk to fill")
    ballast = run.disk / _BALLAST
    run.down.add("postgres")
    await asyncio.to_thread(_fill, ballast)
    try:
        yield
    finally:
        ballast.unlink()
        await _revive(run)


async def _revive(run: Rig) -> None:
    """Once it answers again; a server that ended is started."""
    while not await _answers(run):
        if not run.postgres.child.alive:
            with suppress(Exception):
                await run.postgres.child.stop()
                await run.postgres.start()
        await asyncio.sleep(0.2)
    run.down.discard("postgres")


async def _answers(run: Rig) -> bool:
    with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
        connection = await connect(run)
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


Doing = Callable[[Rig, list[str]], Any]
_DOING: dict[str, Doing] = {"kill": _killed, "freeze": _frozen, "read-only": _read_only, "full disk": _full}
_SECONDS = {"kill": _DOWN, "freeze": _FROZEN, "read-only": _SHUT, "full disk": _SHUT}

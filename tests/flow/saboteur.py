"""Kills processes in the middle of stories, while what these have just begun is on its way, and starts them again."""

import asyncio
import random
from dataclasses import dataclass, field
from datetime import datetime

import aiohttp

from dev.stack import Stack
from tests.flow.tools import run_tool

_UNCERTAIN = "services.dispatcher.uncertain"
_LATEST = 0.1  # seconds after somebody was seen at work: about as long as an event takes through all services
_PATIENCE = 30.0  # seconds, for a strike that waits for messages


@dataclass(frozen=True)
class Strike:
    """``kill -9`` of ``name``, at the first work that begins at ``at`` (business time) or later.

    ``sends``: once so many messages of that work have left. ``swallowed``: so many more never arrive, and nobody
    says so.
    """

    name: str
    at: datetime
    sends: int = 0
    swallowed: int = 0


@dataclass
class Saboteur:
    """Moves business time as the stack's conductor does, and strikes on the way: one strike for each stretch of it."""

    stack: Stack
    strikes: tuple[Strike, ...]
    struck: list[Strike] = field(default_factory=list)
    doubts: int = 0  # sends that an operator had to settle

    async def run_until(self, instant: datetime, within: float) -> None:
        conductor = self.stack.conductor
        strike = self._due()
        if strike is not None:
            moving = asyncio.ensure_future(conductor.run_until(instant, within))
            if await self._at_work(moving):
                await self._strike(strike)
            await moving
            if strike.name == "dispatcher":
                await self._settle_doubt(within)
        await conductor.run_until(instant, within)

    async def _at_work(self, moving: asyncio.Future[None]) -> bool:
        """Whether there is anything to interrupt; where there is not, the strike waits for the next stretch."""
        while not moving.done():
            if await self.stack.conductor.work():
                return True
        return False

    def _due(self) -> Strike | None:
        clock = self.stack.clock
        waiting = (strike for strike in self.strikes if strike not in self.struck)
        return next((strike for strike in waiting if clock is not None and strike.at <= clock.now()), None)

    async def _strike(self, strike: Strike) -> None:
        """At another moment of the work each time: what is to hold has to hold at any."""
        if strike.sends:
            await self._until_sent(strike.sends, strike.swallowed)
        else:
            await asyncio.sleep(random.Random(f"{strike}").uniform(0.0, _LATEST))
        await self.stack.kill(strike.name)
        await self.stack.start(strike.name)
        self.struck.append(strike)

    async def _until_sent(self, more: int, swallowed: int) -> None:
        async with aiohttp.ClientSession(f"{self.stack.layout.whatsapp_url}/_simulator/") as session:
            if swallowed:
                fault = {"kind": "timeout_before", "count": swallowed}
                await (await session.post("faults", json=fault)).read()
            before = await _sends(session)
            async with asyncio.timeout(_PATIENCE):
                while await _sends(session) < before + more:
                    await asyncio.sleep(0.002)

    async def _settle_doubt(self, within: float) -> None:
        """An operator's part: what no status has proved, after all of them have come, did not arrive."""
        await self.stack.conductor.settle(within)
        for line in (await run_tool(self.stack, _UNCERTAIN, "list")).splitlines():
            if " resend " in line:
                await run_tool(self.stack, _UNCERTAIN, "settle", line.split()[0], "--as", "not_sent", "--resend")
                self.doubts += 1


async def _sends(session: aiohttp.ClientSession) -> int:
    async with session.get("counts") as answer:
        return int((await answer.json())["sends"])

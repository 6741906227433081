"""Kills processes in the middle of stories, while their work is on its way, and starts them again."""

import asyncio
import json
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import aiohttp

from dev.stack import Stack
from tests.flow.tools import run_tool

_SENDS = ("ops", "sends")
_NOT_SENT = ("--as", "not_sent", "--resend", "--yes", "--reason", "no status has proved it")
_LATEST_SECONDS = 0.1  # after work was seen: about as long as an event takes through all services
_SENDS_SECONDS = 30.0  # for a kill that waits for messages
_SENDS_WITHIN = timedelta(minutes=5)  # of business time: then the operator settles, before people answer too late


@dataclass(frozen=True)
class PlannedKill:
    """``kill -9`` of ``name``, at the first work that begins at ``at`` (business time) or later.

    ``sends``: once so many messages of that work have left. ``swallowed``: so many requests more never arrive, and
    get no answer.
    """

    name: str
    at: datetime
    sends: int = 0
    swallowed: int = 0


@dataclass
class ProcessKiller:
    """Moves business time as the stack's virtual clock does, and kills on the way: one process for each step of it."""

    stack: Stack
    kills: tuple[PlannedKill, ...]
    killed: list[PlannedKill] = field(default_factory=list)
    uncertain: int = 0  # sends that an operator had to settle

    async def run_until(self, instant: datetime, within: float) -> None:
        virtual_clock = self.stack.virtual_clock
        kill = self._due(instant)
        if kill is not None:
            stop = min(instant, kill.at + _SENDS_WITHIN) if kill.sends else instant
            moving = asyncio.ensure_future(virtual_clock.run_until(stop, within))
            if await self._work_begins(moving):
                await self._kill(kill)
            await moving
            if kill.name == "dispatcher":
                await self._settle_uncertain(within)
        await virtual_clock.run_until(instant, within)

    async def _work_begins(self, moving: asyncio.Future[None]) -> bool:
        """Whether there is work to interrupt; without any the kill waits for the next step."""
        while not moving.done():
            if await self.stack.virtual_clock.work():
                return True
        return False

    def _due(self, instant: datetime) -> PlannedKill | None:
        """The next kill; one in the midst of sends waits for a move in which messages fall due."""
        if self.stack.clock is None:
            return None
        now = self.stack.clock.now()
        waiting = (kill for kill in self.kills if kill not in self.killed)
        return next((kill for kill in waiting if kill.at <= now and (not kill.sends or instant > now)), None)

    async def _kill(self, kill: PlannedKill) -> None:
        """Kill at another moment of the work each time: the promise has to hold at any."""
        if kill.sends:
            await self._until_sent(kill.sends, kill.swallowed)
        else:
            await asyncio.sleep(random.Random(f"{kill}").uniform(0.0, _LATEST_SECONDS))
        await self.stack.kill(kill.name)
        await self.stack.start(kill.name)
        self.killed.append(kill)

    async def _until_sent(self, more: int, swallowed: int) -> None:
        async with aiohttp.ClientSession(f"{self.stack.layout.whatsapp_url}/_simulator/") as session:
            if swallowed:
                fault = {"kind": "timeout_before", "count": swallowed}
                await (await session.post("faults", json=fault)).read()
            before = await _sends(session)
            async with asyncio.timeout(_SENDS_SECONDS):
                while await _sends(session) < before + more:
                    await asyncio.sleep(0.002)

    async def _settle_uncertain(self, within: float) -> None:
        """The operator's part: a send that no status has proved, after all of them have come, did not arrive."""
        await self.stack.virtual_clock.settle(within)
        for line in (await run_tool(self.stack, *_SENDS, "list", "--format", "json")).splitlines():
            await run_tool(self.stack, *_SENDS, "settle", json.loads(line)["message_id"], *_NOT_SENT)
            self.uncertain += 1


async def _sends(session: aiohttp.ClientSession) -> int:
    async with session.get("counts") as answer:
        return int((await answer.json())["sends"])

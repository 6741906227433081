"""Kills processes in the middle of stories: while what the stories have just begun is on its way."""

import asyncio
import random
from dataclasses import dataclass, field
from datetime import datetime

from dev.stack import Stack
from tests.flow.tools import run_tool

_UNCERTAIN = "services.dispatcher.uncertain"


@dataclass(frozen=True)
class Strike:
    """``kill -9`` of ``name``, at the first work that begins at ``at`` (business time) or after it."""

    at: datetime
    name: str


@dataclass
class Saboteur:
    """Moves business time as the stack's conductor does, and strikes on the way, one at a time."""

    stack: Stack
    strikes: list[Strike]
    seed: int = 7
    struck: list[Strike] = field(default_factory=list)

    async def run_until(self, instant: datetime, within: float) -> None:
        conductor = self.stack.conductor
        strike = self._due()
        if strike is not None:
            async with asyncio.TaskGroup() as group:
                group.create_task(conductor.run_until(instant, within))
                group.create_task(self._strike(strike))
            if strike.name == "dispatcher":
                await self._settle_doubt()
        await conductor.run_until(instant, within)

    def _due(self) -> Strike | None:
        clock = self.stack.clock
        due = [one for one in self.strikes if one not in self.struck and clock is not None and one.at <= clock.now()]
        return due[0] if due else None

    async def _strike(self, strike: Strike) -> None:
        """At another moment of the work each time: what is to hold has to hold at any."""
        moment = random.Random(f"{self.seed}/{strike.at}/{strike.name}").uniform(0.0, 0.15)
        await asyncio.sleep(moment)
        await self.stack.kill(strike.name)
        await self.stack.start(strike.name)
        self.struck.append(strike)

    async def _settle_doubt(self) -> None:
        """An operator's part: a send that nothing proves, after every status has come, did not arrive."""
        await self.stack.conductor.settle(60.0)
        for line in (await run_tool(self.stack, _UNCERTAIN, "list")).splitlines():
            if "resend" in line:
                await run_tool(self.stack, _UNCERTAIN, "settle", line.split()[0], "--as", "not_sent", "--resend")

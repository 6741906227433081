"""What an operator asks first, as metrics, and what the development clock waits for."""

import asyncio
from dataclasses import dataclass

from services.writeback.ledger import Backlog, Ledger
from services.writeback.queue import Queue, surprised
from shared.runtime.clock import Clock
from shared.runtime.failures import TRANSIENT_ERRORS
from shared.runtime.health import IdleStatus
from shared.runtime.telemetry import gauge, get_logger

log = get_logger()
_EVERY = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Report:
    ledger: Ledger
    queue: Queue
    clock: Clock

    async def run(self) -> None:
        while True:
            try:
                self.show(await self.ledger.backlog())
            except TRANSIENT_ERRORS:
                log.info("report.waits")  # the relay and the consumer say more; the last values stand
            except Exception as error:  # noqa: BLE001 -- the boundary of a loop: what it was given must not end it
                surprised("report", error)
            await asyncio.sleep(_EVERY)

    def show(self, backlog: Backlog) -> None:
        age = (self.clock.now() - backlog.oldest).total_seconds() if backlog.oldest is not None else 0.0
        gauge("stet_writeback_oldest_unwritten_seconds", "Age of the oldest reply not written").set(max(age, 0.0))
        gauge("stet_writeback_waiting", "Writes in motion").set(backlog.moving)
        gauge("stet_writeback_held", "Writes behind a manual task of their record").set(backlog.held)
        gauge("stet_writeback_tasks_open", "Manual tasks that nobody has closed").set(backlog.manual)

    async def idle(self) -> IdleStatus:
        """A manual task, and what waits behind it, keeps nobody: only a person moves it."""
        backlog = await self.ledger.backlog()
        busy = [f"{backlog.moving} writes"] if backlog.moving else []
        busy += [f"{self.queue.at_work} requests in flight"] if self.queue.at_work else []
        return IdleStatus(tuple(busy), None, self.queue.turns)

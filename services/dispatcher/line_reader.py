"""Reads what WhatsApp says of each number: its quality, which people's blocks and reports lower, and its limits.

No webhook says the quality any more (Meta, "phone_number_quality_update": registration and throughput alone), and none
repeats a limit that was set before. The leader reads them at its start and then every few minutes (machine time).
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta

from services.dispatcher.account_limits import read_limits
from services.dispatcher.account_store import AccountStore
from services.dispatcher.sender import Sender
from services.dispatcher.whatsapp_client import NumberReport
from shared.runtime.clock import Clock
from shared.runtime.failures import TRANSIENT_ERRORS, record_loop_error
from shared.runtime.postgres import Pool
from shared.runtime.telemetry import get_logger

log = get_logger()
EVERY = timedelta(minutes=10)
_LEADER_SECONDS = 1.0  # between two looks at whether this replica leads


@dataclass(frozen=True, slots=True)
class LineReader:
    """``fetch`` asks WhatsApp for a line's number; None where it does not say.

    ``accounts``: the WhatsApp business account of each line, where settings name it.
    """

    pool: Pool
    clock: Clock
    store: AccountStore
    sender: Sender
    fetch: Callable[[str], Awaitable[NumberReport | None]]
    lines: Collection[str]
    accounts: Mapping[str, str]

    async def run(self) -> None:
        """Until the task is cancelled."""
        while True:
            if self.sender.claimer is None:
                await asyncio.sleep(_LEADER_SECONDS)
                continue
            try:
                await self.read()
            except TRANSIENT_ERRORS as error:
                log.info("lines.delayed", error=type(error).__name__)
            except Exception as error:  # noqa: BLE001 -- the boundary of a loop: no input may end it
                record_loop_error("lines", error)
            await asyncio.sleep(EVERY.total_seconds())

    async def read(self) -> None:
        """Once. Raises what the database raises."""
        for line in self.lines:
            began = self.clock.now()  # what a webhook reports later than this is newer
            report = await self.fetch(line)
            if report is None:
                continue
            await self.store.save_quality(self.pool, line, report, began)
            if limits := read_limits(report.throughput, report.display_number, report.people):
                await self.store.save_limits(self.pool, self.accounts.get(line, ""), began, limits)

"""Reads what WhatsApp says of each account's templates and of each number, every few minutes of machine time.

The leader reads both at its start too: what Meta changed while no webhook came, and which templates are missing. No
webhook says the quality of a number any more (Meta, "phone_number_quality_update": registration and throughput alone),
and none repeats a limit that was set before.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta

from services.dispatcher import metrics
from services.dispatcher.account_limits import read_limits
from services.dispatcher.account_store import AccountStore
from services.dispatcher.message_updates import SERVICE
from services.dispatcher.sender import Sender
from services.dispatcher.templates import read_listed
from services.dispatcher.whatsapp_client import NumberReport
from shared.clients.graph_api import TemplateClient, TemplateEndpoint, TemplateRefused
from shared.contracts.errors import Unavailable
from shared.runtime.clock import Clock
from shared.runtime.failures import TRANSIENT_ERRORS, record_loop_error
from shared.runtime.outbox import transaction
from shared.runtime.postgres import Pool
from shared.runtime.telemetry import get_logger

log = get_logger()

_LEADER_SECONDS = 1.0  # between two looks at whether this replica leads
_LINES_EVERY = timedelta(minutes=10)
_RETRY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class TemplateReader:
    """Reads the list of each account's templates."""

    pool: Pool
    clock: Clock
    store: AccountStore
    sender: Sender
    endpoints: Sequence[TemplateEndpoint]
    every: timedelta

    async def run(self) -> None:
        """Read again and again, until the task is cancelled."""
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(TemplateClient(one)) for one in self.endpoints]
            while True:
                if self.sender.claimer is None:
                    await asyncio.sleep(_LEADER_SECONDS)
                    continue
                have_read = [await self._attempt(client) for client in clients]
                await asyncio.sleep((self.every if all(have_read) else min(_RETRY, self.every)).total_seconds())

    async def read(self, client: TemplateClient) -> None:
        """Read a list to its end and save it in one transaction. Raises what the client and the database raise."""
        began = self.clock.now()  # what a webhook reports later than this is newer than the list
        listed = read_listed(await client.list(), began)
        async with transaction(self.pool, self.clock, SERVICE) as tx:
            await self.store.save_listing(tx.connection, client.account, listed, began)

    async def _attempt(self, client: TemplateClient) -> bool:
        try:
            await self.read(client)
        except TemplateRefused as refused:
            metrics.TEMPLATE_READINGS.labels("refused").inc()
            log.warning("templates.refused", code=refused.code)
        except (Unavailable, *TRANSIENT_ERRORS) as error:
            metrics.TEMPLATE_READINGS.labels("unavailable").inc()
            log.info("templates.delayed", error=type(error).__name__)
        except Exception as error:  # noqa: BLE001 -- the boundary of a loop: no input may end it
            record_loop_error("templates", error)
        else:
            metrics.TEMPLATE_READINGS.labels("read").inc()
            return True
        return False


@dataclass(frozen=True, slots=True)
class LineReader:
    """Reads the quality of each number, which people's blocks and reports lower, and its limits.

    ``fetch`` asks WhatsApp for a line's number; None where it does not say.
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
        """Read again and again, until the task is cancelled."""
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
            await asyncio.sleep(_LINES_EVERY.total_seconds())

    async def read(self) -> None:
        """Read each line's number once, and save the report. Raises the errors of the database."""
        for line in self.lines:
            began = self.clock.now()  # what a webhook reports later than this is newer
            report = await self.fetch(line)
            if report is None:
                continue
            await self.store.save_quality(self.pool, line, report, began)
            if limits := read_limits(report.throughput, report.display_number, report.people):
                await self.store.save_limits(self.pool, self.accounts.get(line, ""), began, limits)

"""Reads the list of each account's templates: what Meta changed while no webhook came, and which ones are missing.

The leader reads it at its start and then every few minutes (machine time).
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta

from services.dispatcher import metrics
from services.dispatcher.account_store import AccountStore
from services.dispatcher.handlers import TEMPLATES_CHANNEL
from services.dispatcher.message_updates import SERVICE
from services.dispatcher.sender import Sender
from services.dispatcher.templates import read_listed
from shared.clients.graph_api import TemplateClient, TemplateEndpoint, TemplateRefused
from shared.contracts.errors import Unavailable
from shared.runtime.clock import Clock
from shared.runtime.failures import TRANSIENT_ERRORS, record_loop_error
from shared.runtime.outbox import transaction
from shared.runtime.postgres import Pool
from shared.runtime.telemetry import get_logger

log = get_logger()
_LEADER_SECONDS = 1.0  # between two looks at whether this replica leads
_RETRY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class TemplateReader:
    """``every`` is machine time."""

    pool: Pool
    clock: Clock
    store: AccountStore
    sender: Sender
    endpoints: Sequence[TemplateEndpoint]
    every: timedelta

    async def run(self) -> None:
        """Until the task is cancelled."""
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
            await self.store.save_listing(tx.connection, client.account, listed, began, TEMPLATES_CHANNEL)

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

"""The owner's life: wait for the portfolio, read what came before, remember from the ledger what rates must know, claim
until the portfolio is lost.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from services.dispatcher import metrics
from services.dispatcher.backlog import Backlog
from services.dispatcher.claims import Claims, Moment
from services.dispatcher.hold_store import HELD, HoldStore
from services.dispatcher.holds import Target
from services.dispatcher.intake import CALLED_BACK, WAKE
from services.dispatcher.limits import Limits
from services.dispatcher.outcomes import Doubtful
from services.dispatcher.portfolio import Portfolio
from services.dispatcher.queue import Queue
from services.dispatcher.rates import Rates
from services.dispatcher.sending import Sender
from services.dispatcher.setting_aside import surprised
from services.dispatcher.states import Reason
from shared.runtime.batch import TRANSIENT_ERRORS
from shared.runtime.postgres import SERIALIZATION_FAILURES, Connection
from shared.runtime.telemetry import get_logger

log = get_logger()
_AFTER_TROUBLE = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class Owner:
    portfolio: Portfolio
    backlog: Backlog
    store: HoldStore
    queue: Queue
    sender: Sender
    limits: Limits
    lines: Collection[str]
    lease: timedelta

    async def run(self) -> None:
        while True:
            try:
                async with self.portfolio.owned() as connection:
                    await self._own(connection)
            except SERIALIZATION_FAILURES:
                log.info("portfolio.repeated")
            except TRANSIENT_ERRORS as error:
                log.warning("portfolio.lost", error=type(error).__name__)
                await asyncio.sleep(_AFTER_TROUBLE)
            except Exception as error:  # noqa: BLE001 -- the boundary of a loop: what it was given must not end it
                surprised("owner", error)
                await asyncio.sleep(_AFTER_TROUBLE)

    async def _own(self, connection: Connection) -> None:
        for channel, hear in self._channels():
            await connection.add_listener(channel, hear)
        await self.backlog.read_up(connection)
        claims = await self._remember(connection, self.sender.moment())
        log.info("portfolio.owned", lines=len(self.lines))
        metrics.OWNS.set(1)
        try:
            await self.sender.claim(connection, claims)
        finally:
            metrics.OWNS.set(0)

    def _channels(self) -> Sequence[tuple[str, Callable[..., None]]]:
        sender = self.sender
        return (WAKE, sender.wake), (CALLED_BACK, sender.call_back), (HELD, sender.hear_of_holds)

    async def _remember(self, connection: Connection, moment: Moment) -> Claims:
        """A predecessor's sends count: its last burst may still have to be paid back, its doubts still slow us down."""
        rates, since = Rates(self.limits), moment.business - self.limits.pair.horizon
        for line, person_id, at in await self.queue.recent_attempts(connection, since):
            rates.spend(line, person_id, at)
        holds = self.sender.holds
        await self.store.forget(connection, moment.business)
        holds.remember(await self.store.load(connection), moment.machine)
        for line in await self.queue.begun_lines(connection, self.sender.flight.message_ids):
            holds.learn(Doubtful(Reason.LEASE_ENDED), Target(line, ""), moment.business, moment.machine)
        return Claims(self.queue, rates, self.sender.holds, self.limits, self.lines, self.lease)

"""What still moves and what waits: the idle report a development clock asks for, and the gauges an operator reads."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.dispatcher import metrics
from services.dispatcher.claims import Moment
from services.dispatcher.evidence import Proofs
from services.dispatcher.ledger import Ledger, OpenSends
from services.dispatcher.queue import LineQueue, Queue
from services.dispatcher.sending import TOKEN_SETTING, WHEN_REFUSED, Sender
from services.dispatcher.setting_aside import surprised
from shared.runtime.batch import TRANSIENT_ERRORS
from shared.runtime.health import IdleStatus
from shared.runtime.postgres import Pool
from shared.runtime.telemetry import get_logger

log = get_logger()
_EVERY = 5.0  # seconds between two looks at the gauges


@dataclass(frozen=True, slots=True)
class Watch:
    pool: Pool
    queue: Queue
    ledger: Ledger
    proofs: Proofs
    sender: Sender
    lines: Collection[str]
    unproven_after: timedelta

    async def idle(self) -> IdleStatus:
        moment = self.sender.moment()
        sends = await self.ledger.open_sends(self.pool)
        busy = ["in_flight"] if sends.in_flight or self.sender.flight else []
        dues = []
        await self.queue.release_met(self.pool, moment.business)  # or a development clock would leap past it
        for line, waiting in (await self.queue.lines(self.pool)).items():
            due = self._due(line, waiting, moment)
            if due is None or due <= moment.business:
                busy.append("queue")
            else:
                dues.append(due)
        if await self.proofs.matched(self.pool):
            busy.append("statuses")
        if (settles := self._settles(sends)) is not None and settles > moment.business:
            dues.append(settles)
        return IdleStatus(tuple(busy), min(dues, default=None), self.sender.recorded)

    async def gauges(self) -> None:
        while True:
            try:
                await self._set_gauges(self.sender.moment())
            except TRANSIENT_ERRORS as error:
                log.info("gauges.wait", error=type(error).__name__)
            except Exception as error:  # noqa: BLE001 -- the boundary of a loop: what it was given must not end it
                surprised("gauges", error)
            await asyncio.sleep(_EVERY)

    async def token(self) -> str:
        """For readiness: which secret is refused and what to do, or nothing."""
        return f"{TOKEN_SETTING}: {WHEN_REFUSED}" if self.sender.token_refused else ""

    def _due(self, line: str, waiting: LineQueue, moment: Moment) -> datetime | None:
        """Business time; None while only the machine's time holds it back."""
        if waiting.expires <= moment.business:
            return waiting.expires
        if self.sender.holds.awaits_operator(line, moment.machine):
            return waiting.expires
        if waiting.next <= moment.business and self.sender.holds.stopped(line, moment.machine):
            return None
        claims = self.sender.claims
        room = claims.rates.next_room(line, moment.business) if claims else moment.business
        held = self.sender.holds.number_until(line, moment.business) or moment.business
        return min(max(waiting.next, room, held), waiting.expires)

    def _settles(self, sends: OpenSends) -> datetime | None:
        return sends.next_unproven + self.unproven_after if sends.next_unproven is not None else None

    async def _set_gauges(self, moment: Moment) -> None:
        sends = await self.ledger.open_sends(self.pool)
        waiting = await self.queue.waiting(self.pool)
        metrics.IN_FLIGHT.set(len(self.sender.flight))
        metrics.UNCERTAIN.set(sends.uncertain)
        metrics.OLDEST_UNCERTAIN.set(_age(sends.oldest_uncertain, moment.business))
        metrics.WAITING.set(waiting.waiting)
        metrics.SET_ASIDE_NOW.set(waiting.set_aside)
        metrics.OLDEST_WAITING.set(_age(waiting.oldest, moment.business))
        for line in self.lines:
            metrics.STOPPED.labels(line).set(self.sender.holds.awaits_operator(line, moment.machine))


def _age(since: datetime | None, now: datetime) -> float:
    return (now - since).total_seconds() if since is not None else 0.0

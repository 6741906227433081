"""Reports on the running dispatcher: whether it is idle (for a development clock), its gauges, and a refused token."""

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.dispatcher import metrics
from services.dispatcher.account_store import AccountStore
from services.dispatcher.claimer import Moment
from services.dispatcher.delivery_evidence import DeliveryEvidence
from services.dispatcher.reasons import TEMPLATE_WAITS
from services.dispatcher.sender import REFUSED_HINT, TOKEN_SETTING, Sender
from services.dispatcher.store import LineSchedule, MessageStore, OpenSends
from shared.contracts.messages import Lane
from shared.runtime.failures import repeat
from shared.runtime.health import IdleStatus
from shared.runtime.postgres import Pool

_EVERY = 5.0  # seconds between two updates of the gauges
_REST = 20  # times as long as counting took, where that is longer than the seconds above
_LONGEST_REST = 60.0
_LOOKED_AT = 500


@dataclass(frozen=True, slots=True)
class Monitor:
    pool: Pool
    store: MessageStore
    account: AccountStore
    evidence: DeliveryEvidence
    sender: Sender
    lines: Collection[str]
    unproven_after: timedelta

    async def idle(self) -> IdleStatus:
        """Work that still moves, and the business instant at which something is due next."""
        # else a development clock would jump past what is released now
        await self._release_crossed()
        claimer = self.sender.claimer
        is_releasing = claimer is not None and await claimer.templates.is_behind(self.pool)
        # both queries see one instant: a message claimed between them would be neither waiting nor in flight
        async with self.pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
            sends = await self.store.open_sends(connection)
            schedules = await self.store.line_schedules(connection)
        # only now: a new leader ends the stored waits for an operator at its own instant, which may be later than a
        # moment read before the queries, and the queue would seem to wait for the operator still
        moment = self.sender.moment()
        busy = ["in_flight"] if sends.in_flight or self.sender.in_flight else []
        busy += ["templates"] if is_releasing else []
        dues = []
        for (line, lane), schedule in schedules.items():
            due = self._due(line, lane, schedule, moment)
            if due is None or due <= moment.business:
                busy.append("queue")
            else:
                dues.append(due)
        if await self.evidence.has_matched_early_status(self.pool):
            busy.append("statuses")
        if (settles_at := self._settles_at(sends)) is not None and settles_at > moment.business:
            dues.append(settles_at)
        return IdleStatus(tuple(busy), min(dues, default=None), self.sender.recorded)

    async def update_gauges(self) -> None:
        """Update the gauges until the task is cancelled. Waiting messages are counted, so a long queue is counted less
        often.
        """
        await repeat("gauges", self._refresh_and_sleep, _EVERY)

    async def _refresh_and_sleep(self) -> None:
        began = time.monotonic()
        await self.refresh_gauges()
        await asyncio.sleep(min(max((time.monotonic() - began) * _REST - _EVERY, 0), _LONGEST_REST))

    async def refresh_gauges(self) -> None:
        """Set all gauges once, from the database and from this process."""
        moment = self.sender.moment()
        sends = await self.store.open_sends(self.pool)
        waiting = await self.store.waiting_by_lane(self.pool, moment.business)
        set_aside = await self.store.count_set_aside(self.pool)
        pauses = await self.store.oldest_pauses(self.pool)
        metrics.SENDS_IN_FLIGHT.set(len(self.sender.in_flight))
        metrics.SENDS_UNCERTAIN.set(sends.uncertain)
        metrics.OLDEST_UNCERTAIN_AGE.set(_age(sends.oldest_uncertain, moment.business))
        metrics.MESSAGES_SET_ASIDE.set(set_aside)
        await self._update_account_gauges()
        metrics.ACCOUNT_WARNINGS.set(await self.account.count_warnings(self.pool, moment.business))
        for lane in Lane:
            messages, oldest = waiting.get(lane, (0, None))
            metrics.MESSAGES_WAITING.labels(lane).set(messages)
            metrics.OLDEST_WAITING_AGE.labels(lane).set(_age(oldest, moment.business))
        for kind in metrics.PAUSE_KINDS:
            metrics.OLDEST_PAUSE_AGE.labels(kind).set(_age(pauses.get(kind), moment.machine))
        qualities = await self.account.load_qualities(self.pool)
        for line in self.lines:
            for quality in metrics.NUMBER_QUALITIES:
                metrics.LINE_QUALITY.labels(line, quality).set(qualities.get(line, "UNKNOWN") == quality)
            metrics.LINE_STOPPED.labels(line).set(self.sender.throttles.awaits_operator(line, moment.machine))

    async def _release_crossed(self) -> None:
        now = self.sender.moment().business
        after = await self.store.release_crossed(self.pool, now, 0, _LOOKED_AT)
        while after:
            after = await self.store.release_crossed(self.pool, now, after, _LOOKED_AT)

    async def token_problem(self) -> str:
        """The refused secret and its remedy, as a detail of readiness; empty where none is refused."""
        return f"{TOKEN_SETTING}: {REFUSED_HINT}" if self.sender.is_token_refused else ""

    def _due(self, line: str, lane: Lane, schedule: LineSchedule, moment: Moment) -> datetime | None:
        """Business time; None while only machine time holds the line back."""
        if schedule.expires <= moment.business:
            return schedule.expires
        if self.sender.throttles.awaits_operator(line, moment.machine):
            return schedule.expires
        if schedule.next <= moment.business and self.sender.throttles.is_stopped(line, moment.machine):
            return None
        claimer = self.sender.claimer
        if claimer is not None and claimer.is_disabled(line, moment.business):
            return schedule.expires
        free_at = claimer.usage.free_at(line, moment.business, lane) if claimer else moment.business
        throttled_until = self.sender.throttles.number_until(line, moment.business) or moment.business
        return min(max(schedule.next, free_at, throttled_until), schedule.expires)

    def _settles_at(self, sends: OpenSends) -> datetime | None:
        return sends.next_unproven + self.unproven_after if sends.next_unproven is not None else None

    async def _update_account_gauges(self) -> None:
        statuses, recategorised = await self.account.count_templates(self.pool)
        waiting = await self.account.waiting_for_templates(self.pool)
        for status in metrics.TEMPLATE_STATUSES:
            metrics.TEMPLATES.labels(status).set(statuses.pop(status, 0))
        metrics.TEMPLATES.labels("OTHER").set(sum(statuses.values()))
        metrics.TEMPLATES_RECATEGORISED.set(recategorised)
        for reason in TEMPLATE_WAITS:
            metrics.MESSAGES_FOR_TEMPLATES.labels(reason.value).set(waiting.get(reason.value, 0))
        limited = await self.account.waiting_for_limits(self.pool)
        for reason in metrics.ACCOUNT_WAITS:
            metrics.LIMITED_MESSAGES.labels(reason.value).set(limited.get(reason.value, 0))


def _age(since: datetime | None, now: datetime) -> float:
    return max((now - since).total_seconds(), 0.0) if since is not None else 0.0

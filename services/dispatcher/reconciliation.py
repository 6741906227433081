"""Reconciles messages as time passes: leases end, messages expire, silence settles uncertain sends, and pairs that
crossed each other on their way are matched. An operator settles the other uncertain sends by hand.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import assert_never

from services.dispatcher import metrics
from services.dispatcher.account_store import AccountStore
from services.dispatcher.claimer import Moment
from services.dispatcher.message_state import (
    MessageState,
    SendEvidence,
    StateChange,
    TrackedMessage,
    mark_uncertain,
    prove_sent,
    settle_and_resend,
    settle_by_silence,
    settle_not_sent,
    withdraw,
)
from services.dispatcher.message_updates import SERVICE, MessageUpdate, MessageUpdater
from services.dispatcher.people_store import PeopleStore
from services.dispatcher.reasons import MessageReason
from services.dispatcher.sender import ResultRecorder, Sender
from services.dispatcher.store import LAST_PLACE, MessageStore, QueuePlace
from services.dispatcher.throttle_store import ThrottleStore
from shared.contracts.ids import TenantId, Wamid
from shared.runtime.batch import bisect
from shared.runtime.clock import FAR_AHEAD, Clock
from shared.runtime.failures import (
    SERIALIZATION_FAILURES,
    TRANSIENT_ERRORS,
    FailureLog,
    describe_failure,
    parking_reason,
    record_loop_error,
)
from shared.runtime.outbox import transaction
from shared.runtime.postgres import Pool
from shared.runtime.telemetry import get_logger

log = get_logger()
EVERY_SECONDS = 1.0
EVERY_SECONDS_ON_VIRTUAL_CLOCK = 0.25
_BATCH = 500
_REST = 20  # times as long as a look took at the attempts since throttles began
_LONGEST_REST = 30.0  # seconds
_GAP_REPORT_DELAY = timedelta(seconds=30)  # six heartbeats of ingest
_EARLY_AMENDMENTS_KEPT = timedelta(days=14)  # requests stay on their topic for seven
_CROSSED_WITHIN = timedelta(hours=1)  # no transaction is open for so long
_LEASE_MARGIN = timedelta(seconds=2)  # clocks of two machines may differ by this


@dataclass(slots=True)
class Reconciler:
    """Runs on the leader only. ``unproven_after`` must pass on both clocks before silence counts.

    A round looks at a part of the messages where there may be many, and the next round goes on from there. ``every`` is
    the pause between two rounds, in seconds.
    """

    sender: Sender
    recorder: ResultRecorder
    store: MessageStore
    account: AccountStore
    lines: Collection[str]
    unproven_after: timedelta
    every: float = EVERY_SECONDS
    _crossed_after: int = field(default=0, init=False)
    _statuses_after: str = field(default="", init=False)
    _rests_until: float = field(default=0.0, init=False)
    _latest: datetime | None = field(default=None, init=False)
    _is_set_back: bool = field(default=False, init=False)
    _ahead_below: QueuePlace | None = field(default=LAST_PLACE, init=False)
    _failures: FailureLog = field(init=False, default_factory=lambda: FailureLog("reconciliation.delayed"))

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self.every)
            if self.sender.claimer is None:
                self._latest = None
            else:
                await self.run_once(self.sender.moment())

    async def run_once(self, moment: Moment) -> None:
        """Every step, whether or not an earlier one failed."""
        steps: Sequence[Callable[[Moment], Awaitable[None]]] = (
            self.expire_leases,
            self.drop_expired,
            self.settle_silent_sends,
            self.match_early_statuses,
            self.match_early_requests,
            self.release_crossed,
            self.release_far_ahead,
            self.end_throttles,
        )
        for step in steps:
            try:
                await step(moment)
            except SERIALIZATION_FAILURES:
                log.info("reconciliation.retried", step=step.__name__)
            except TRANSIENT_ERRORS as error:
                self._failures.warn(error, step=step.__name__)
            except Exception as error:  # noqa: BLE001 -- the boundary of a loop: no input may end it
                record_loop_error(step.__name__, error)

    async def expire_leases(self, moment: Moment) -> None:
        """The process that began these sends has gone: their outcome will not come."""
        expired = await self.store.expired_leases(
            self.recorder.pool, moment.machine - _LEASE_MARGIN, self.sender.in_flight.message_ids, _BATCH
        )
        if expired:
            log.warning("lease.expired", messages=len(expired))
            await self.recorder.update_each("reconcile", dict.fromkeys(expired, _expire_lease))

    async def drop_expired(self, moment: Moment) -> None:
        """Messages whose time is over, and messages of lines that are not configured."""
        pool = self.recorder.pool
        expired = await self.store.find_expired(pool, moment.business, _BATCH)
        unknown = await self.store.find_on_unknown_lines(pool, self.lines, moment.business, _BATCH)
        drops = [(message_id, reason) for message_id, reason in expired.items()]
        drops += [(message_id, MessageReason.UNKNOWN_LINE) for message_id in set(unknown).difference(expired)]
        if drops:
            await self.recorder.drop(drops)

    async def settle_silent_sends(self, moment: Moment) -> None:
        """Proof by absence: the webhooks were complete, all of them are read, and the time has passed on both clocks.

        Replicas of ingest take turns at the heartbeat, and each reports its own gaps at its own turn. Only some turns
        later is it known that no other replica refused a webhook meanwhile.
        """
        pool = self.recorder.pool
        span = await self.account.covered_span(pool)
        read = await self.account.caught_up_to(pool)
        if span is None or read is None:
            return
        latest = min(span.until - _GAP_REPORT_DELAY, moment.machine) - self.unproven_after
        begun_before = min(read, moment.business) - self.unproven_after
        silent = await self.store.settled_by_silence(pool, begun_before, (span.since, latest), _BATCH)
        if silent:
            log.warning("sends.settled", messages=len(silent))
            await self.recorder.update_each("reconcile", dict.fromkeys(silent, settle_by_silence))

    async def match_early_statuses(self, moment: Moment) -> None:
        evidence, pool = self.recorder.evidence, self.recorder.pool
        matched, self._statuses_after = await evidence.matched_early_statuses(pool, self._statuses_after)
        await bisect(matched, self._apply_statuses, self._park_statuses)
        await evidence.delete_old_early_statuses(pool, moment.business)

    async def match_early_requests(self, moment: Moment) -> None:
        """Amendments and withdrawals that crossed their message on its way."""
        pool, clock = self.recorder.pool, self.recorder.clock
        if matched := await self.store.matched_early_amendments(pool, _BATCH):
            async with transaction(pool, clock, SERVICE) as tx:
                await self.store.lock(tx.connection, matched)
                amendments = await self.store.take_early_amendments(tx.connection, matched)
                await self.store.amend(tx.connection, amendments, tx.now)
            self.sender.wake()
        await self.store.delete_old_early_amendments(pool, moment.business - _EARLY_AMENDMENTS_KEPT, _BATCH)
        since = moment.business - _CROSSED_WITHIN
        withdrawn = await self.store.matched_early_withdrawals(pool, since, _BATCH)
        if withdrawn:
            updates = {one: partial(withdraw, reason=reason) for one, reason in withdrawn.items()}
            await self.recorder.update_each("reconcile", updates)

    async def release_crossed(self, moment: Moment) -> None:
        """The thing that a message waits for may come between the planner's look and the note that it waits."""
        after, pool = self._crossed_after, self.recorder.pool
        self._crossed_after = await self.store.release_crossed(pool, moment.business, after, _BATCH)

    async def release_far_ahead(self, moment: Moment) -> None:
        """Messages do not wait for as long as the clock was set back.

        They are looked for when this process begins to lead, and whenever its clock has gone back.
        """
        latest, self._latest = self._latest, moment.business
        if latest is None or latest > moment.business + FAR_AHEAD:
            self._ahead_below, self._is_set_back = LAST_PLACE, latest is not None
        if self._ahead_below is None:
            return
        released, self._ahead_below = await self.store.release_far_ahead(
            self.recorder.pool, moment.business, self._ahead_below, _BATCH, is_set_back=self._is_set_back
        )
        if released:
            log.warning("messages.released", messages=released, hint="the clock was set back")
            self.sender.wake()

    async def end_throttles(self, _: Moment) -> None:
        """A throttle that a status caused ends once an attempt begun since then got a good status."""
        throttles, store, pool = self.sender.throttles, self.recorder.throttles, self.recorder.pool
        await self._end_succeeded()
        if changes := throttles.take_changes():
            try:
                await store.save(pool, changes)
            except Exception:
                throttles.restore_changes(changes)
                raise

    async def _end_succeeded(self) -> None:
        """The attempts since a throttle began may be many, so a look that took long is followed by a rest."""
        began, throttles = time.monotonic(), self.sender.throttles
        if began < self._rests_until:
            return
        for key, throttle in throttles.awaiting_status().items():
            if await self.recorder.throttles.has_succeeded_since(self.recorder.pool, key, throttle):
                log.info("throttle.ended", scope=key.scope.value, code=throttle.code)
                throttles.end(key)
        ended = time.monotonic()
        self._rests_until = ended + min((ended - began) * _REST, _LONGEST_REST)

    async def _apply_statuses(self, wamids: Sequence[str]) -> None:
        async with transaction(self.recorder.pool, self.recorder.clock, SERVICE) as tx:
            await self.recorder.evidence.apply_early_statuses(tx, wamids)

    async def _park_statuses(self, wamid: str, error: Exception) -> None:
        metrics.SET_ASIDE.labels("match_early_statuses", parking_reason(error)).inc()
        async with transaction(self.recorder.pool, self.recorder.clock, SERVICE) as tx:
            await self.recorder.evidence.park_early_statuses(tx, wamid, parking_reason(error), describe_failure(error))


def _expire_lease(message: TrackedMessage, *, now: datetime) -> StateChange:
    if message.state is not MessageState.INTENT:
        return StateChange(message)
    return mark_uncertain(message, MessageReason.LEASE_ENDED, now)


class Settlement(StrEnum):
    """An operator's decision about an uncertain send."""

    SENT = "sent"
    NOT_SENT = "not_sent"
    RESEND = "resend"


async def settle_by_operator(
    pool: Pool, clock: Clock, tenant: TenantId, message_id: str, settlement: Settlement, wamid: Wamid | None
) -> bool:
    """Settle an uncertain send and publish it; False, and nothing changed, where the send is not uncertain any more.

    ``wamid`` goes with SENT where it is known. RESEND puts the message back into the queue until its expiry.
    """
    updater = MessageUpdater(tenant, MessageStore(tenant), PeopleStore(tenant), ThrottleStore(tenant))
    settled: list[str] = []
    apply = partial(_settle_by_operator, settlement=settlement, wamid=wamid, settled=settled)
    async with transaction(pool, clock, SERVICE) as tx:
        await updater.apply(tx, [MessageUpdate(message_id, apply)])
    return bool(settled)


def _settle_by_operator(
    message: TrackedMessage, *, now: datetime, settlement: Settlement, wamid: Wamid | None, settled: list[str]
) -> StateChange:
    if message.state is not MessageState.UNCERTAIN:
        return StateChange(message)
    settled.append(message.message_id)
    match settlement:
        case Settlement.SENT:
            return prove_sent(message, wamid, SendEvidence.PERSON, now)
        case Settlement.NOT_SENT:
            return settle_not_sent(message, SendEvidence.PERSON, now)
        case Settlement.RESEND:
            return settle_and_resend(message, SendEvidence.PERSON, now)
        case _:
            assert_never(settlement)

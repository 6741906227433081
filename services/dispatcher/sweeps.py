"""What time brings: leases end, messages expire, silence settles doubt, and what crossed on its way is matched."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from services.dispatcher import metrics
from services.dispatcher.account import Account
from services.dispatcher.advance import Change
from services.dispatcher.claims import Moment
from services.dispatcher.queue import Queue
from services.dispatcher.results import SERVICE, Records
from services.dispatcher.sending import Sender
from services.dispatcher.setting_aside import each, surprised
from services.dispatcher.standing import Standing, Step, doubted, unproven
from services.dispatcher.states import Reason, State
from shared.runtime.batch import TRANSIENT_ERRORS
from shared.runtime.bisect import bisect
from shared.runtime.failures import describe_failure, parking_reason
from shared.runtime.postgres import SERIALIZATION_FAILURES
from shared.runtime.telemetry import get_logger
from shared.runtime.transaction import Transaction, transaction

log = get_logger()
_EVERY = 0.25  # seconds between two sweeps
_BATCH = 500
_TOLD_WITHIN = timedelta(seconds=30)  # six heartbeats of ingest's
_LEASE_MARGIN = timedelta(seconds=2)  # clocks of two machines may differ by this


@dataclass(frozen=True, slots=True)
class Sweeps:
    """Only the owner of the portfolio sweeps. ``unproven_after`` must pass on both clocks before silence counts."""

    sender: Sender
    records: Records
    queue: Queue
    account: Account
    lines: Collection[str]
    unproven_after: timedelta

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            if self.sender.claims is not None:
                await self.sweep(self.sender.moment())

    async def sweep(self, moment: Moment) -> None:
        sweeps: Sequence[Callable[[Moment], Awaitable[None]]] = (
            self.end_leases, self.expire, self.settle_by_silence, self.match_statuses, self.match_waits, self.end_holds,
        )  # fmt: skip
        for one in sweeps:
            try:
                await one(moment)
            except SERIALIZATION_FAILURES:
                log.info("sweep.repeated", sweep=one.__name__)
            except TRANSIENT_ERRORS as error:
                log.warning("sweep.waits", sweep=one.__name__, error=type(error).__name__)
            except Exception as error:  # noqa: BLE001 -- the boundary of a loop: what it was given must not end it
                surprised(one.__name__, error)

    async def end_leases(self, moment: Moment) -> None:
        """Whoever began them has gone: nobody will say what became of them."""
        ended = await self.records.progress.ledger.leases_ended(
            self.records.pool, moment.machine - _LEASE_MARGIN, self.sender.flight.message_ids, _BATCH
        )
        if ended:
            log.warning("lease.ended", messages=len(ended))
            await self._advance(ended, _lease_ended)

    async def expire(self, moment: Moment) -> None:
        expired = await self.queue.expired(self.records.pool, moment.business, _BATCH)
        strangers = await self.queue.of_other_lines(self.records.pool, self.lines, moment.business, _BATCH)
        drops = [(message_id, Reason.EXPIRED) for message_id in expired]
        drops += [(message_id, Reason.UNKNOWN_LINE) for message_id in set(strangers).difference(expired)]
        if drops:
            await self.records.drop(drops)

    async def settle_by_silence(self, moment: Moment) -> None:
        """Proof by absence: the stream was whole, all of it is read, and both clocks have passed the policy's time.

        Replicas of ingest take turns at the heartbeat, and each tells of its own refusals at its own turn: only after
        some of them is it known that no other replica refused anything meanwhile.
        """
        pool = self.records.pool
        span = await self.account.whole_span(pool)
        read = await self.account.read_up_to(pool)
        if span is None or read is None:
            return
        latest = min(span.until - _TOLD_WITHIN, moment.machine) - self.unproven_after
        begun_before = min(read, moment.business) - self.unproven_after
        silent = await self.records.progress.ledger.unproven(pool, begun_before, (span.since, latest), _BATCH)
        if silent:
            log.warning("sends.unproven", messages=len(silent))
            await self._advance(silent, lambda tx: partial(_unproven, tx.now))

    async def match_statuses(self, moment: Moment) -> None:
        wamids = await self.records.proofs.matched(self.records.pool)
        await bisect(wamids, self._catch_up, self._park_statuses)
        await self.records.proofs.forget(self.records.pool, moment.business)

    async def _catch_up(self, wamids: Sequence[str]) -> None:
        async with transaction(self.records.pool, self.records.clock, SERVICE) as tx:
            await self.records.proofs.catch_up(tx, wamids)

    async def _park_statuses(self, wamid: str, error: Exception) -> None:
        metrics.SET_ASIDE.labels("match_statuses", parking_reason(error)).inc()
        async with transaction(self.records.pool, self.records.clock, SERVICE) as tx:
            await self.records.proofs.park(tx, wamid, parking_reason(error), describe_failure(error))

    async def match_waits(self, moment: Moment) -> None:
        """Who is waited for may come between the look at the queue and the note that says so."""
        await self.queue.release_met(self.records.pool, moment.business)

    async def end_holds(self, _: Moment) -> None:
        """What a status stopped goes on once an attempt begun since came to a good one."""
        holds, store, pool = self.sender.holds, self.records.holds, self.records.pool
        for held, hold in holds.by_status().items():
            if await store.went_well(pool, held, hold):
                log.info("hold.ended", scope=held.scope.value, code=hold.code)
                holds.end(held)
        if changes := holds.changes():
            try:
                await store.write(pool, changes)
            except Exception:
                holds.put_back(changes)
                raise

    async def _advance(
        self, message_ids: Sequence[str], making: Callable[[Transaction], Callable[[Standing], Step]]
    ) -> None:
        async def attempt(part: Sequence[str]) -> None:
            async with transaction(self.records.pool, self.records.clock, SERVICE) as tx:
                make = making(tx)
                await self.records.progress.advance(tx, [Change(message_id, make) for message_id in part])

        await each("sweep", self.records.pool, self.records.progress.tenant, message_ids, attempt)


def _lease_ended(tx: Transaction) -> Callable[[Standing], Step]:
    return partial(_doubt, tx.now)


def _doubt(now: datetime, standing: Standing) -> Step:
    return doubted(standing, Reason.LEASE_ENDED, now) if standing.state is State.INTENT else Step(standing)


def _unproven(now: datetime, standing: Standing) -> Step:
    return unproven(standing, now)

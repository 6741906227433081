"""The loops of rules: run due chains, release waiting events, and measure. Machine time only paces them."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from services.rules import store, waiting_events
from services.rules.conversation.recurrence import Occurrence, latest_occurrence, next_occurrence, period_key
from services.rules.handlers import RulesHandlers
from services.rules.metrics import Backlog, OpenQuestions
from services.rules.rollout.revisions import observe_set_aside
from shared.contracts.ids import ChainId, RuleId
from shared.runtime.batch import bisect
from shared.runtime.clock import Clock, machine_now
from shared.runtime.failures import (
    FailureKind,
    FailureLog,
    LocksBusy,
    classify_failure,
    describe_failure,
    parking_reason,
    repeat,
)
from shared.runtime.health import IdleStatus
from shared.runtime.outbox import Transaction, transaction
from shared.runtime.postgres import Pool
from shared.runtime.telemetry import error_location, get_logger

log = get_logger()
_BATCH_SIZE = 200
_MEASURE_SECONDS = 5.0
_POSTPONED_SECONDS = 60.0
_REVIEW_SECONDS = 5.0
"""How soon a change of the rulebook is noticed; machine time."""
_REPEAT_SECONDS = 0.05
_CHECK_PERIODS_EVERY = timedelta(minutes=1)
"""Business time; a new revision may have another recurring rule, and one that failed is tried again."""
T = TypeVar("T")


@dataclass(slots=True)
class PollingLoops:
    """``tick`` is how long an idle loop sleeps, in seconds."""

    rules: RulesHandlers
    pool: Pool
    clock: Clock
    tick: float
    ran: int = 0
    _postponed: dict[str, float] = field(default_factory=dict)
    _periods_at: datetime | None = None
    _failures: FailureLog = field(init=False, default_factory=lambda: FailureLog("loop.retried"))

    async def run_due(self) -> None:
        """Run forever the chains that are due and whose partitions are applied up to it."""
        await self._repeat(self._run_due_once, pause=self.tick)

    async def review_changed(self) -> None:
        """Apply forever what a change of the rulebook means for the chains of earlier ones."""
        await self._repeat(self._review_once, pause=_REVIEW_SECONDS)

    async def release_waiting(self) -> None:
        """Release events whose facts have arrived, or whose wait is over, until the task is cancelled."""
        await self._repeat(self._release_once, pause=self.tick)

    async def start_periods(self) -> None:
        """Start forever the recurring rules whose period has begun, one that began while no replica ran included."""
        await self._repeat(self._start_periods_once, pause=self.tick)

    async def _start_periods_once(self) -> int:
        if not self._period_is_due():
            return 0
        now, done = self.clock.now(), 0
        async with self.pool.acquire() as connection:
            book = (await self.rules.rollout.in_force(connection)).active.rulebook
            recurring = {name: rule.every for name, rule in book.rules.items() if rule.every is not None}
            known = (
                await store.started_periods(connection, self.rules.tenant, list(recurring), now) if recurring else ()
            )
        office = book.calendar.office
        for last in known:
            every = recurring.get(last.rule)
            found = latest_occurrence(every, office, now) if every else None
            if found is not None and found.at > last.at and found.period != last.period:
                done += await self._start_period(last.rule, found)
        nexts = [found.at for every in recurring.values() if (found := next_occurrence(every, office, now))]
        self._periods_at = min([*nexts, now + _CHECK_PERIODS_EVERY])
        return done

    def _period_is_due(self) -> bool:
        return self._periods_at is None or self._periods_at <= self.clock.now()

    async def _start_period(self, rule: RuleId, occurrence: Occurrence) -> int:
        """A rule that fails is put off, so that the others start."""
        if rule in self._postponed_now():
            return 0
        key = period_key(self.rules.tenant, rule)
        try:
            return int(await self._locked_transaction({key}, lambda tx: self.rules.start_period(tx, rule, occurrence)))
        except Exception as error:
            if classify_failure(error) is not FailureKind.RECORD:
                raise
            self._postpone(rule, error)
            return 0

    async def _repeat(self, once: Callable[[], Awaitable[int]], *, pause: float) -> None:
        """``pause`` is how long it sleeps, in seconds, when nothing was to do."""
        while True:
            if not await self._try_once(once):
                await asyncio.sleep(pause)

    async def _try_once(self, once: Callable[[], Awaitable[int]]) -> int:
        try:
            done = await once()
        except Exception as error:
            if classify_failure(error) is FailureKind.RETRYABLE:
                await asyncio.sleep(random.uniform(0, _REPEAT_SECONDS))
                return 1
            if classify_failure(error) is not FailureKind.TRANSIENT:
                raise
            self._failures.warn(error)
            await asyncio.sleep(1)
            return 0
        self.ran += done
        return done

    def _postpone(self, name: str, error: Exception) -> None:
        """Skip for a while a chain or event that could not even be set aside or parked, so that the others go on."""
        self._postponed[name] = time.monotonic() + _POSTPONED_SECONDS
        log.error("work.delayed", name=name, error=type(error).__name__, where=error_location(error))

    def _postponed_now(self) -> list[str]:
        now = time.monotonic()
        self._postponed = {name: until for name, until in self._postponed.items() if until > now}
        return list(self._postponed)

    async def _run_due_once(self) -> int:
        async with self.pool.acquire() as connection:
            due = await store.due_chains(connection, self.clock.now(), self._postponed_now(), _BATCH_SIZE)
        await bisect(due, self._run_chains, self._set_aside)
        return len(due)

    async def _run_chains(self, due: Sequence[store.DueChain]) -> None:
        chains = [chain.chain_id for chain in due]
        await self._locked_transaction({chain.key for chain in due}, lambda tx: self.rules.run_due(tx, chains))

    async def _review_once(self) -> int:
        """Review some chains of changed rules. One that fails is found by bisection, and the others go on."""
        async with self.pool.acquire() as connection:
            in_force = await self.rules.rollout.in_force(connection)
            on_trial = [book.revision for book in in_force.rulebooks]
            book, tenant = in_force.active.rulebook, self.rules.tenant
            found = await store.chains_to_review(connection, tenant, book, on_trial, _BATCH_SIZE)
        postponed = self._postponed_now()
        ready = [(chain, key) for chain, key in found if chain not in postponed]
        await bisect(ready, self._review_chains, self._postpone_review)
        return len(ready)

    async def _review_chains(self, some: Sequence[tuple[ChainId, str]]) -> None:
        keys, chains = {key for _, key in some}, [chain for chain, _ in some]
        await self._locked_transaction(keys, partial(self.rules.review_changed, chains=chains))

    async def _postpone_review(self, one: tuple[ChainId, str], error: Exception) -> None:
        self._postpone(one[0], error)

    async def _locked_transaction(self, locks: set[str], act: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run in a transaction with these locks; where others are busy, once more with those too."""
        try:
            async with transaction(self.pool, self.clock, "rules", locks=locks) as tx:
                return await act(tx)
        except LocksBusy as crowded:
            async with transaction(self.pool, self.clock, "rules", locks={*locks, *crowded.names}) as tx:
                return await act(tx)

    async def _set_aside(self, chain: store.DueChain, error: Exception) -> None:
        """Set a chain aside whose due step failed; an operator lets it go on."""
        log.error("chain.set_aside", chain_id=chain.chain_id, error=type(error).__name__, where=error_location(error))
        try:
            async with transaction(self.pool, self.clock, "rules", locks=[chain.key]) as tx:
                await store.set_aside(tx.connection, chain, parking_reason(error), describe_failure(error))
                await observe_set_aside(
                    tx.connection, self.rules.tenant, chain.chain_id, type(error).__name__, machine_now()
                )
        except Exception as second:
            if classify_failure(second) is not FailureKind.RECORD:
                raise
            self._postpone(chain.chain_id, second)

    async def _release_once(self) -> int:
        async with self.pool.acquire() as connection:
            keys = await waiting_events.ready_keys(connection, self.clock.now(), self._postponed_now())
        return sum([await self._release(key) for key in keys])

    async def _release(self, key: str) -> int:
        """Release the events of a key by halves, down to the one that fails; that one is parked."""
        done, most = 0, _BATCH_SIZE
        while True:
            try:
                done += await self._locked_transaction({key}, partial(self.rules.release_waiting, key=key, most=most))
            except Exception as error:
                if classify_failure(error) is not FailureKind.RECORD:
                    raise
                if most > 1:
                    most //= 2
                    continue
                await self._park_first(key, error)
            if most == _BATCH_SIZE or key in self._postponed:
                return done
            most = _BATCH_SIZE

    async def _park_first(self, key: str, error: Exception) -> None:
        log.error("event.parked", error=type(error).__name__, where=error_location(error))
        try:
            async with transaction(self.pool, self.clock, "rules", locks=[key]) as tx:
                await self.rules.park_first_waiting(tx, key, error)
        except Exception as second:
            if classify_failure(second) is not FailureKind.RECORD:
                raise
            self._postpone(key, second)

    async def idle(self) -> IdleStatus:
        now = self.clock.now()
        due = await self.pool.fetchrow(store.QUERIES.due_state, now)
        queued = await self.pool.fetchrow(store.QUERIES.waiting_state)
        busy = ["due"] if due["due"] else []
        if self._period_is_due():
            busy.append("periods")
        if queued["waiting"] and await self._ready(now):
            busy.append("waiting")
        dues = [at for at in (due["next_due"], queued["next_due"]) if at is not None]
        return IdleStatus(tuple(busy), min(dues, default=None), self.ran)

    async def _ready(self, now: datetime) -> bool:
        async with self.pool.acquire() as connection:
            return bool(await waiting_events.ready_keys(connection, now))

    async def measure(self) -> None:
        """Run forever: publish every five seconds how far behind rules is, and whether the engines disagreed."""
        await repeat("measure", self._measure_once, _MEASURE_SECONDS)

    async def _measure_once(self) -> None:
        metrics, now = self.rules.metrics, self.clock.now()
        metrics.set_disagreements(self.rules.rollout.engines.disagreements)
        metrics.set_backlog(now, await self._backlog(now))

    async def _backlog(self, now: datetime) -> Backlog:
        due = await self.pool.fetchrow(store.QUERIES.due_state, now)
        waiting = await self.pool.fetchrow(store.QUERIES.waiting_state)
        questions = await self.pool.fetch(store.QUERIES.open_questions)
        return Backlog(
            oldest_due=due["next_due"],
            waiting=waiting["waiting"],
            oldest_waiting=waiting["oldest"],
            set_aside=await self.pool.fetchval(store.QUERIES.count_set_aside),
            oldest_pause=await self.pool.fetchval(store.QUERIES.oldest_pause, self.rules.tenant),
            questions=[OpenQuestions(row["rule"], row["questions"], row["oldest"]) for row in questions],
        )

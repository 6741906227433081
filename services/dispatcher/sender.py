"""The sender: claims due messages, sends them over many connections at once, and records the outcomes in batches.

Only the leader claims. When it loses its lease, or is asked to stop, requests that have begun are finished and
recorded, and the others go back into the queue. A process that dies leaves intents; their leases end, and they become
uncertain.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import count

from msgspec import Struct

from services.dispatcher import metrics
from services.dispatcher.claimer import ClaimedBatch, Claimer, Moment, SendIntent, TemplateOfLine
from services.dispatcher.delivery_evidence import DeliveryEvidence
from services.dispatcher.delivery_reports import apply_outcome
from services.dispatcher.message_state import RetryTime, drop
from services.dispatcher.message_updates import SERVICE, AcceptedSend, ApplyUpdate, MessageUpdate, MessageUpdater
from services.dispatcher.provider_responses import (
    SendAccepted,
    SendError,
    SendNotStarted,
    SendOutcome,
    may_have_arrived,
)
from services.dispatcher.reasons import MessageReason
from services.dispatcher.throttle_store import ThrottleStore
from services.dispatcher.throttles import ThrottleChanges, Throttles
from services.dispatcher.whatsapp_client import WhatsAppClient
from shared.contracts.ids import MessageId
from shared.contracts.messages import Lane
from shared.runtime.batch import bisect
from shared.runtime.clock import Clock, machine_now
from shared.runtime.failures import FailureLog, describe_failure, parking_reason
from shared.runtime.metrics import current_exemplar
from shared.runtime.outbox import transaction
from shared.runtime.postgres import Connection, Pool, raise_if_read_only
from shared.runtime.telemetry import get_logger
from shared.runtime.tracing import annotate, effect_span, loop_span

log = get_logger()

KEEPALIVE_SECONDS = 1.0
"""A leader with nothing to do uses its session this often; the database ends a session that stays silent."""

_POLL_SECONDS = 0.1  # until the queue is read again without a notification: limits, waits and clocks move by themselves
_MOST_RESULTS = 500  # in one transaction
_RECORDERS = 2
_AHEAD = 2  # half as many sends as may be open are claimed ahead, so that no connection waits for the next claim
_SMALLEST_CLAIM = 4  # a quarter of what may be open; smaller claims would cost the database more per message
_SHORTEST_PAUSE = 0.02  # seconds; a rate that frees one send at a time is not asked for each of them
_MOST_OPEN = 4  # times as many sends may be begun and not recorded as may have a request open
_MANY = 32  # sends in flight, from which on it pays to gather outcomes
_GATHER_SECONDS = 0.01
_PRIORITIES = {Lane.CRITICAL: 0, Lane.NORMAL: 1, Lane.BULK: 2}
_LEASE_MARGIN = timedelta(seconds=1)
_DRAIN_SECONDS = 4.0
_RETRY_SECONDS = 0.5
TOKEN_SETTING = "STET_WHATSAPP_TOKEN"  # noqa: S105 -- a setting's name
REFUSED_HINT = (
    "WhatsApp refuses it: make a new token of the system user in Meta Business Settings, put it in place, restart the"
    " dispatcher; the queue is kept"
)


class SendResult(Struct, frozen=True):
    """``retry_at`` is when the message may be sent again, if the outcome allows that."""

    intent: SendIntent
    outcome: SendOutcome
    retry_at: RetryTime


class InFlight:
    """Sends that have begun and whose outcome is not committed: counts per line, their people and their templates.

    A person in flight gets no other message until then.
    """

    def __init__(self) -> None:
        self._lines: Counter[str] = Counter()
        self._people: dict[str, str] = {}  # message id → person id
        self._templates: Counter[TemplateOfLine] = Counter()
        self._cancelled: set[str] = set()

    def __len__(self) -> int:
        return len(self._people)

    @property
    def lines(self) -> Mapping[str, int]:
        return self._lines

    @property
    def people(self) -> Collection[str]:
        return self._people.values()

    @property
    def message_ids(self) -> Collection[str]:
        return self._people.keys()

    @property
    def templates(self) -> Collection[TemplateOfLine]:
        return [template for template, sends in self._templates.items() if sends]

    def add(self, intent: SendIntent) -> None:
        self._lines[intent.target.line] += 1
        self._people[intent.message_id] = intent.target.person_id
        if intent.target.template:
            self._templates[intent.target.line, intent.target.template] += 1

    def remove(self, intent: SendIntent) -> None:
        self._lines[intent.target.line] -= 1
        del self._people[intent.message_id]
        self._cancelled.discard(intent.message_id)
        if intent.target.template:
            self._templates[intent.target.line, intent.target.template] -= 1

    def cancel(self, message_id: str) -> None:
        """Keep the request of a message from beginning, if it has not begun yet. The call may come before ``add``."""
        self._cancelled.add(message_id)

    def cancel_all(self) -> None:
        self._cancelled.update(self._people)

    def is_cancelled(self, intent: SendIntent) -> bool:
        return intent.message_id in self._cancelled


@dataclass(frozen=True, slots=True)
class ResultRecorder:
    """Writes outcomes and other changes of many messages, one transaction for as many as possible."""

    pool: Pool
    clock: Clock
    updater: MessageUpdater
    evidence: DeliveryEvidence
    throttles: ThrottleStore

    async def record(self, results: Sequence[SendResult], throttles: ThrottleChanges) -> None:
        """Outcomes and the throttles they caused, in one transaction."""
        async with transaction(self.pool, self.clock, SERVICE) as tx:
            sends = list(_accepted_sends(results))
            accepted = await self.updater.accept(tx, sends)
            others = [_outcome_update(result) for result in results if result.intent.message_id not in accepted]
            await self.updater.apply(tx, others)
            await self.evidence.apply_early_statuses(tx, [send.wamid for send in sends])
            await self.throttles.save(tx.connection, throttles)

    async def drop(self, drops: Sequence[tuple[str, MessageReason]]) -> None:
        """Drop those of the messages that still wait."""
        updates = {message_id: partial(drop, reason=reason) for message_id, reason in drops}
        await self.update_each("drop", updates)

    async def update_each(self, loop: str, updates: Mapping[str, ApplyUpdate]) -> None:
        """Update messages by id, all in one transaction; bisect, and set aside those that cannot be updated."""

        async def attempt(message_ids: Sequence[str]) -> None:
            async with transaction(self.pool, self.clock, SERVICE) as tx:
                await self.updater.apply(tx, [MessageUpdate(one, updates[one]) for one in message_ids])

        await bisect(list(updates), attempt, partial(self._set_aside, loop))

    async def _set_aside(self, loop: str, message_id: str, error: Exception) -> None:
        await self.updater.store.set_aside(self.pool, message_id, parking_reason(error))
        metrics.SET_ASIDE.labels(loop, parking_reason(error)).inc()
        log.error("message.set_aside", loop=loop, message_id=message_id, sentence=describe_failure(error))


class Sender:
    """At most ``max_requests`` open at once. ``deliver`` and ``record`` run as tasks; the leader runs ``claim``."""

    def __init__(
        self,
        clock: Clock,
        recorder: ResultRecorder,
        whatsapp: WhatsAppClient,
        throttles: Throttles,
        max_requests: int,
    ) -> None:
        self.in_flight = InFlight()
        self.throttles = throttles
        self.recorded = 0
        self.is_token_refused = False
        self._clock = clock
        self._recorder = recorder
        self._whatsapp = whatsapp
        self._max_requests = max_requests
        self._claimer: Claimer | None = None
        self._outgoing: asyncio.PriorityQueue[tuple[int, int, SendIntent]] = asyncio.PriorityQueue()
        self._queued = count()
        self._ahead = max_requests // _AHEAD
        self._smallest_claim = max(1, max_requests // _SMALLEST_CLAIM)
        self._requests = 0  # begun and without a response
        self._results: list[SendResult] = []
        self._has_results = asyncio.Event()
        self._throttles_changed = False
        self._record_failures = FailureLog("results.delayed")
        self._wake = asyncio.Event()
        self._written: set[str] = set()
        metrics.set_token_refused(TOKEN_SETTING, is_refused=False)

    @property
    def claimer(self) -> Claimer | None:
        """None while another replica is the leader."""
        return self._claimer

    def wake(self, *_: object) -> None:
        """There may be something to send; a listener of PostgreSQL's NOTIFY."""
        self._wake.set()

    def cancel(self, _connection: object, _pid: int, _channel: str, message_id: str) -> None:
        """Rules withdrew a claimed message: its request is not written, unless it has begun. A listener of NOTIFY."""
        self.in_flight.cancel(message_id)

    def reload_throttles(self, *_: object) -> None:
        """Load the throttles again, since another replica recorded one; a listener of NOTIFY."""
        self._throttles_changed = True
        self._wake.set()

    def moment(self) -> Moment:
        return Moment(self._clock.now(), machine_now(), time.monotonic())

    async def claim(self, connection: Connection, claimer: Claimer) -> None:
        """Claim until the leader's session is lost or the task is cancelled; then wait for the sends in flight."""
        self._claimer = claimer
        used_at = time.monotonic()
        try:
            while True:
                self._wake.clear()
                await self._load_throttles(connection)
                await claimer.pauses.refresh(connection, self._clock.now())
                await claimer.templates.refresh(connection, self._clock.now())
                await claimer.reported_limits.refresh(connection, self._clock.now())
                await claimer.budget.refresh(connection, self._clock.now())
                if not await _await_claim(self._claim_round(connection, claimer)):
                    await self._pause(self._seconds_until_free(claimer))
                    used_at = await _keep_alive(connection, used_at)
        finally:
            self._claimer = None
            self.in_flight.cancel_all()  # no notice of their withdrawal would come
            self._give_back(claimer.unconfirmed)
            await asyncio.shield(self.drain())

    async def deliver(self) -> None:
        """Send claimed messages, with as many tasks as requests may be open, until it is cancelled and drained."""
        await self._run_until_drained(self._deliver, self._max_requests)

    async def record(self) -> None:
        """Record outcomes, two batches at once, until it is cancelled and drained.

        While the database is away, they are kept in memory.
        """
        await self._run_until_drained(self._record, _RECORDERS)

    async def _run_until_drained(self, work: Callable[[], Awaitable[None]], count: int) -> None:
        """Run ``work`` in ``count`` tasks until it is drained. A process that ends cancels the claims, the sends and
        the records in the same instant.
        """
        tasks = [asyncio.ensure_future(work()) for _ in range(count)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        except asyncio.CancelledError:
            await self.drain()
            raise
        finally:
            for task in tasks:
                task.cancel()

    async def drain(self) -> None:
        """Wait, for a few seconds at most, until nothing is claimed any more or in flight."""
        ends = time.monotonic() + _DRAIN_SECONDS
        while (self._claimer is not None or self.in_flight) and time.monotonic() < ends:
            await asyncio.sleep(0.01)

    async def _claim_round(self, connection: Connection, claimer: Claimer) -> bool:
        """Whether there may be more to do at once."""
        free = min(
            self._max_requests + self._ahead - self._requests, _MOST_OPEN * self._max_requests - len(self.in_flight)
        )
        if free < self._smallest_claim:
            return False
        moment = self.moment()
        capacities = claimer.capacities(self.in_flight.lines, free, moment)
        if not capacities:
            return False
        in_flight = (self.in_flight.people, self.in_flight.templates)
        batch = await claimer.claim(connection, capacities, free, in_flight, moment)
        for intent in batch.intents.values():
            self.in_flight.add(intent)
            self._outgoing.put_nowait((_PRIORITIES[intent.lane], next(self._queued), intent))
        self._requests += len(batch.intents)
        if batch.drops:
            await self._recorder.drop(batch.drops)
        _count_plans(batch)
        return bool(batch.intents or batch.drops or batch.waits or batch.held)

    def _give_back(self, intents: Iterable[SendIntent]) -> None:
        """Put intents back into the queue that have not left. They may be committed: the session was lost before its
        answer came.
        """
        for intent in intents:
            self.in_flight.add(intent)
            retry_at = RetryTime(self._clock.now())
            self._results.append(SendResult(intent, SendNotStarted(MessageReason.LEASE_ENDED), retry_at))
        self._has_results.set()

    async def _load_throttles(self, connection: Connection) -> None:
        if self._throttles_changed:
            self._throttles_changed = False
            self.throttles.merge(await self._recorder.throttles.load(connection))
        moment = self.moment()
        self.throttles.shorten(moment.business, moment.machine)
        self._report_token()

    def _report_token(self) -> None:
        is_refused = self.throttles.is_token_refused()
        if is_refused is self.is_token_refused:
            return
        self.is_token_refused = is_refused
        metrics.set_token_refused(TOKEN_SETTING, is_refused=is_refused)
        if is_refused:
            log.error("secret.refused", setting=TOKEN_SETTING, hint=REFUSED_HINT)
        else:
            log.info("secret.accepted", setting=TOKEN_SETTING)

    def _seconds_until_free(self, claimer: Claimer) -> float:
        """The seconds until a rate that is used up now allows the next send; business time passes like machine time."""
        now = self._clock.now()
        lanes = (Lane.CRITICAL, Lane.BULK)  # the two that have rates of their own
        waits = [
            (claimer.usage.free_at(line, now, lane) - now).total_seconds() for line in claimer.lines for lane in lanes
        ]
        return max(_SHORTEST_PAUSE, min((wait for wait in waits if wait > 0), default=_POLL_SECONDS))

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(min(seconds, _POLL_SECONDS)):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _deliver(self) -> None:
        while True:
            _, _, intent = await self._outgoing.get()
            outcome = await self._send(intent)
            self._release_unwritten(intent)
            if self._claimer is not None:
                self._claimer.usage.portfolio.settle(intent.target.person_id, counts=may_have_arrived(outcome))
            moment = self.moment()
            retry_at = self.throttles.record(outcome, intent.target, moment.business, moment.machine)
            self._report_token()
            self._results.append(SendResult(intent, outcome, retry_at))
            self._has_results.set()
            self._requests -= 1
            if self._requests <= self._max_requests + self._ahead - self._smallest_claim:
                self._wake.set()

    async def _send(self, intent: SendIntent) -> SendOutcome:
        line = intent.target.line
        attributes = {"stet.line": line, "stet.wording": intent.wording.value, "stet.attempt": intent.attempt}
        with effect_span("dispatcher.send", intent.origin.traceparent, attributes):
            began = time.perf_counter()
            outcome = await self._whatsapp.send(line, intent.body, partial(self._may_write, intent))
            metrics.REQUEST_DURATION.observe(time.perf_counter() - began, current_exemplar())
            label, code = metrics.outcome_labels(outcome)
            annotate({"stet.outcome": label}, error=(code or label) if label != "accepted" else None)
            return outcome

    def _may_write(self, intent: SendIntent) -> bool:
        """Asked in the instant in which the request would be written, which may be seconds after the claim."""
        claimer, target = self._claimer, intent.target
        if claimer is None or self.in_flight.is_cancelled(intent) or not claimer.unread.is_read(target.person_id):
            return False
        margin = _LEASE_MARGIN.total_seconds()
        if machine_now() >= intent.lease_until - _LEASE_MARGIN or time.monotonic() >= intent.lease_ends - margin:
            return False
        self._written.add(intent.message_id)
        claimer.usage.confirm(target.line, target.person_id, self._clock.now())
        return True

    def _release_unwritten(self, intent: SendIntent) -> None:
        """A request that was never written does not count against the rate limits."""
        if intent.message_id in self._written:
            self._written.remove(intent.message_id)
        elif self._claimer is not None:
            self._claimer.usage.release(intent.target.line)

    async def _record(self) -> None:
        while True:
            await self._has_results.wait()
            if len(self.in_flight) > _MANY:
                await asyncio.sleep(_GATHER_SECONDS)
            self._has_results.clear()
            while batch := self._results[:_MOST_RESULTS]:
                del self._results[:_MOST_RESULTS]
                await self._record_batch(batch)

    async def _record_batch(self, batch: list[SendResult]) -> None:
        """A result that cannot be recorded is found by bisection and left out; its lease ends, so it gets uncertain."""
        left = {result.intent.message_id: result for result in batch}
        traces = [result.intent.origin.traceparent for result in batch]
        while left:
            try:
                with loop_span("dispatcher.record", traces, len(left)):
                    await bisect(list(left.values()), partial(self._commit, left), partial(self._give_up, left))
            except Exception as error:  # noqa: BLE001 -- the boundary of a loop; results are kept until they are recorded
                self._record_failures.warn(error, results=len(left) + len(self._results))
                await asyncio.sleep(_RETRY_SECONDS)
        self._wake.set()

    async def _commit(self, left: dict[str, SendResult], part: Sequence[SendResult]) -> None:
        changes = self.throttles.take_changes()
        try:
            await self._recorder.record(part, changes)
        except BaseException:
            self.throttles.restore_changes(changes)
            raise
        self._finish(left, part)
        metrics.count_outcomes(result.outcome for result in part)
        _log_failures(part)

    async def _give_up(self, left: dict[str, SendResult], result: SendResult, error: Exception) -> None:
        metrics.SET_ASIDE.labels("record", parking_reason(error)).inc()
        log.error("result.set_aside", message_id=result.intent.message_id, sentence=describe_failure(error))
        self._finish(left, [result])

    def _finish(self, left: dict[str, SendResult], part: Sequence[SendResult]) -> None:
        for result in part:
            self.in_flight.remove(result.intent)
            del left[result.intent.message_id]
        self.recorded += len(part)


def _accepted_sends(results: Iterable[SendResult]) -> Iterator[AcceptedSend]:
    for result in results:
        if isinstance(result.outcome, SendAccepted):
            intent, wamid = result.intent, result.outcome.wamid
            message_id, template = MessageId(intent.message_id), intent.target.template
            yield AcceptedSend(message_id, intent.attempt, intent.wording, wamid, intent.origin, template)


def _outcome_update(result: SendResult) -> MessageUpdate:
    intent, outcome = result.intent, result.outcome
    apply = partial(
        apply_outcome, attempt=intent.attempt, outcome=outcome, retry_at=result.retry_at, lease_until=intent.lease_until
    )
    return MessageUpdate(intent.message_id, apply)


async def _await_claim(claiming: Awaitable[bool]) -> bool:
    """Wait until the claim has ended, also where this process ends: an intent that is committed and not known here
    would become uncertain.
    """
    task = asyncio.ensure_future(claiming)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with suppress(Exception):  # it would be retried
            await asyncio.wait_for(task, _DRAIN_SECONDS)
        raise


async def _keep_alive(connection: Connection, used_at: float) -> float:
    """Use the leader's session where all its lines are throttled or full; returns when it was last used."""
    now = time.monotonic()
    if now - used_at < KEEPALIVE_SECONDS:
        return used_at
    await connection.execute("select")
    raise_if_read_only(connection)
    return now


def _log_failures(batch: Iterable[SendResult]) -> None:
    """Accepted sends are only counted."""
    for result in batch:
        if isinstance(result.outcome, SendAccepted):
            continue
        intent, (outcome, error_class) = result.intent, metrics.outcome_labels(result.outcome)
        log.warning(
            "send.refused",
            message_id=intent.message_id,
            attempt=intent.attempt,
            line=intent.target.line,
            outcome=outcome,
            error_class=error_class,
            code=result.outcome.code if isinstance(result.outcome, SendError) else None,
        )


def _count_plans(batch: ClaimedBatch) -> None:
    if batch.intents:
        metrics.PLANNED_MESSAGES.labels("send", "").inc(len(batch.intents))
    for reason, times in Counter(reason for _, _, reason, _ in batch.waits).items():
        metrics.PLANNED_MESSAGES.labels("wait", reason).inc(times)
    for message_id, reason in batch.drops:
        metrics.PLANNED_MESSAGES.labels("drop", reason.value).inc()
        log.info("message.dropped", message_id=message_id, reason=reason.value)

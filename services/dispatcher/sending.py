"""The sender: claims what is due, sends it over many connections at once, and records the results in batches.

Only the owner of the portfolio claims. What is in flight when it loses the portfolio, or is asked to stop, is finished
and recorded first; a process that dies leaves intents, whose leases end and make them uncertain.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial

from services.dispatcher import metrics
from services.dispatcher.claims import Claims, Intent, Moment, Round
from services.dispatcher.flight import Flight
from services.dispatcher.holds import Holds
from services.dispatcher.outcomes import Faulted, Outcome, Taken
from services.dispatcher.portfolio import SPEAK_EVERY
from services.dispatcher.results import Records, Result
from services.dispatcher.whatsapp import WhatsApp
from shared.runtime.bisect import bisect
from shared.runtime.clock import Clock, machine_now
from shared.runtime.failures import describe_failure, parking_reason
from shared.runtime.postgres import Connection, raise_if_read_only
from shared.runtime.telemetry import effect_span, get_logger

log = get_logger()
_LOOK_AGAIN = 0.1  # seconds until the queue is looked at without being told: rates, waits and clocks move by themselves
_MOST_RESULTS = 500
_RECORDERS = 2
_MOST_OPEN = 4  # times as many sends may be begun and not recorded as may be on the wire
_MANY = 32  # in flight, from which on claims and results are worth gathering
_GATHER = 0.01  # seconds
_LEASE_MARGIN = timedelta(seconds=1)
_DRAIN_SECONDS = 4.0
_AFTER_TROUBLE = 0.5
TOKEN_SETTING = "STET_WHATSAPP_TOKEN"  # noqa: S105 -- a setting's name
WHEN_REFUSED = (
    "WhatsApp refuses it: make a new token of the system user in Meta Business Settings, put it in place, restart the"
    " dispatcher; the queue is kept"
)


class Sender:
    """``at_once`` sends in flight at most. Run ``deliver`` and ``record`` as tasks; the owner runs ``claim``."""

    def __init__(self, clock: Clock, records: Records, whatsapp: WhatsApp, holds: Holds, at_once: int) -> None:
        self.flight = Flight()
        self.holds = holds
        self.recorded = 0
        self._clock = clock
        self._records = records
        self._whatsapp = whatsapp
        self._at_once = at_once
        self._claims: Claims | None = None
        self._outgoing: asyncio.Queue[Intent] = asyncio.Queue()
        self._requests = 0  # begun and not answered
        self._results: list[Result] = []
        self._landed = asyncio.Event()
        self._holds_changed = False
        self._wake = asyncio.Event()
        self._written: set[str] = set()
        self.token_refused = False

    @property
    def claims(self) -> Claims | None:
        """None while another replica owns the portfolio."""
        return self._claims

    def wake(self, *_: object) -> None:
        """There may be something to do."""
        self._wake.set()

    def call_back(self, _connection: object, _pid: int, _channel: str, message_id: str) -> None:
        """Rules has taken back what is claimed: it is not written any more, unless it has begun."""
        self.flight.call_back(message_id)

    def hear_of_holds(self, *_: object) -> None:
        """Another replica has read a status that stops something."""
        self._holds_changed = True
        self._wake.set()

    def moment(self) -> Moment:
        return Moment(self._clock.now(), machine_now())

    async def claim(self, connection: Connection, claims: Claims) -> None:
        """Until the connection that owns the portfolio is lost, or the task is cancelled; then what flies lands."""
        self._claims = claims
        spoke = time.monotonic()
        try:
            while True:
                self._wake.clear()
                await self._load_holds(connection)
                if not await self._round(connection, claims):
                    await self._rest()
                    spoke = await _stay(connection, spoke)
        finally:
            self._claims = None
            await asyncio.shield(self.drain())

    async def deliver(self) -> None:
        """Send what is claimed, with as many tasks as may be in flight."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._at_once):
                group.create_task(self._deliver())

    async def record(self) -> None:
        """Write results for ever, two batches at once; a database that is away is waited for, the results are kept."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_RECORDERS):
                group.create_task(self._record())

    async def drain(self) -> None:
        """Wait, within reason, until nothing is in flight."""
        ends = time.monotonic() + _DRAIN_SECONDS
        while self.flight and time.monotonic() < ends:
            await asyncio.sleep(0.01)

    async def _round(self, connection: Connection, claims: Claims) -> bool:
        """Whether there may be more to do at once."""
        free = min(self._at_once - self._requests, _MOST_OPEN * self._at_once - len(self.flight))
        if free <= self._at_once // 4:
            return False
        moment = self.moment()
        rooms = claims.rooms(self.flight.lines, free, moment)
        if not rooms:
            return False
        decided = await claims.claim(connection, rooms, self.flight.people, moment, self.flight.templates)
        for intent in decided.intents.values():
            self.flight.take_off(intent)
            self._outgoing.put_nowait(intent)
        self._requests += len(decided.intents)
        if decided.drops:
            await self._records.drop(decided.drops)
        _count(decided)
        return bool(decided.intents or decided.drops or decided.waits)

    async def _load_holds(self, connection: Connection) -> None:
        if self._holds_changed:
            self._holds_changed = False
            self.holds.remember(await self._records.holds.load(connection))
        self._show_token()

    def _show_token(self) -> None:
        refused = self.holds.token_refused()
        if refused is self.token_refused:
            return
        self.token_refused = refused
        metrics.TOKEN_REFUSED.set(refused)
        if refused:
            log.error("secret.refused", setting=TOKEN_SETTING, hint=WHEN_REFUSED)
        else:
            log.info("secret.accepted", setting=TOKEN_SETTING)

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_AGAIN):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _deliver(self) -> None:
        while True:
            intent = await self._outgoing.get()
            started = time.perf_counter()
            outcome = await self._send(intent)
            metrics.SEND_SECONDS.observe(time.perf_counter() - started)
            self._end_claim(intent)
            moment = self.moment()
            delay = self.holds.learn(outcome, intent.target, moment.business, moment.machine)
            self._show_token()
            self._results.append(Result(intent, outcome, delay))
            self._landed.set()
            self._requests -= 1
            if self._requests <= self._at_once // 2:
                self._wake.set()

    async def _send(self, intent: Intent) -> Outcome:
        line = intent.target.line
        with effect_span("dispatcher.send", intent.traceparent, line=line, wording=intent.wording.value):
            return await self._whatsapp.send(line, intent.body, partial(self._may_write, intent))

    def _may_write(self, intent: Intent) -> bool:
        """Asked at the instant the request would be written."""
        if machine_now() >= intent.lease_until - _LEASE_MARGIN or self.flight.is_called_back(intent):
            return False
        self._written.add(intent.message_id)
        if self._claims is not None:
            self._claims.rates.wrote(intent.target.line, intent.target.person_id, self._clock.now())
        return True

    def _end_claim(self, intent: Intent) -> None:
        """What was never written spent nothing."""
        if intent.message_id in self._written:
            self._written.remove(intent.message_id)
        elif self._claims is not None:
            self._claims.rates.gave_up(intent.target.line)

    async def _record(self) -> None:
        while True:
            await self._landed.wait()
            if len(self.flight) > _MANY:
                await asyncio.sleep(_GATHER)
            self._landed.clear()
            while batch := self._results[:_MOST_RESULTS]:
                del self._results[:_MOST_RESULTS]
                await self._write(batch)

    async def _write(self, batch: list[Result]) -> None:
        """What cannot be written is found by halves and left; its lease ends, and so it becomes uncertain."""
        left = {result.intent.message_id: result for result in batch}
        while left:
            try:
                await bisect(list(left.values()), partial(self._commit, left), partial(self._leave, left))
            except Exception as error:  # noqa: BLE001 -- the boundary of a loop; results are kept until they are written
                log.warning("results.wait", error=type(error).__name__, results=len(left) + len(self._results))
                await asyncio.sleep(_AFTER_TROUBLE)
        self._wake.set()

    async def _commit(self, left: dict[str, Result], part: Sequence[Result]) -> None:
        changes = self.holds.changes()
        try:
            await self._records.write(part, changes)
        except BaseException:
            self.holds.put_back(changes)
            raise
        self._land(left, part)
        metrics.count_outcomes(result.outcome for result in part)
        _tell(part)

    async def _leave(self, left: dict[str, Result], result: Result, error: Exception) -> None:
        metrics.SET_ASIDE.labels("record", parking_reason(error)).inc()
        log.error("result.set_aside", message_id=result.intent.message_id, sentence=describe_failure(error))
        self._land(left, [result])

    def _land(self, left: dict[str, Result], part: Sequence[Result]) -> None:
        for result in part:
            self.flight.land(result.intent)
            del left[result.intent.message_id]
        self.recorded += len(part)


async def _stay(connection: Connection, spoke: float) -> float:
    """An owner whose lines are all held, or full, says now and then that it is there; when it last did."""
    now = time.monotonic()
    if now - spoke < SPEAK_EVERY:
        return spoke
    await connection.execute("select")
    raise_if_read_only(connection)
    return now


def _tell(batch: Iterable[Result]) -> None:
    """What went through is counted; what did not is said."""
    for result in batch:
        if isinstance(result.outcome, Taken):
            continue
        intent, (outcome, code_class) = result.intent, metrics.labels_of(result.outcome)
        log.warning(
            "send.not_taken",
            message_id=intent.message_id,
            attempt=intent.attempt,
            line=intent.target.line,
            outcome=outcome,
            code_class=code_class,
            code=result.outcome.code if isinstance(result.outcome, Faulted) else None,
        )


def _count(decided: Round) -> None:
    if decided.intents:
        metrics.VERDICTS.labels("send", "").inc(len(decided.intents))
    for _, _, reason in decided.waits:
        metrics.VERDICTS.labels("wait", reason).inc()
    for message_id, reason in decided.drops:
        metrics.VERDICTS.labels("drop", reason.value).inc()
        log.info("message.dropped", message_id=message_id, reason=reason.value)

"""Claiming: what is due is fetched in one statement, planned in memory, begun in one statement; only then it leaves."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from msgspec import Struct

from services.dispatcher import metrics
from services.dispatcher.holds import Holds, Target
from services.dispatcher.limits import Limits
from services.dispatcher.parameters import Unsendable
from services.dispatcher.payload import body_of, callback_of
from services.dispatcher.plan import Drop, History, Send, Wait, plan
from services.dispatcher.queue import Candidate, Queue, Unreadable
from services.dispatcher.rates import Rates
from services.dispatcher.states import Reason
from shared.contracts.messages import Wording
from shared.runtime.failures import describe_failure
from shared.runtime.postgres import Connection
from shared.runtime.telemetry import get_logger

log = get_logger()
_KEPT_IN_MEMORY = frozenset({Reason.NUMBER_RATE, Reason.NUMBER_HELD})  # the line is not fetched until then

_TEMPLATE_TRIED = timedelta(seconds=1)  # until it is known how the one message fared


class Moment(Struct, frozen=True):
    """Both clocks, read once for a round."""

    business: datetime
    machine: datetime


class Intent(Struct, frozen=True):
    """A send that is committed to the ledger and may leave until ``lease_until`` (machine time)."""

    message_id: str
    attempt: int
    target: Target
    wording: Wording
    body: bytes
    lease_until: datetime
    traceparent: str | None = None


@dataclass(slots=True)
class Round:
    """What one look at the queue decided. ``busy`` are people, ``templates`` those of sends in flight."""

    intents: dict[str, Intent] = field(default_factory=dict)
    waits: list[tuple[str, datetime, str]] = field(default_factory=list)
    drops: list[tuple[str, Reason]] = field(default_factory=list)
    busy: set[str] = field(default_factory=set)
    templates: set[tuple[str, str]] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Claims:
    """``lines`` are the configured ones; ``lease`` is how long a send may take to leave and be answered."""

    queue: Queue
    rates: Rates
    holds: Holds
    limits: Limits
    lines: Collection[str]
    lease: timedelta

    def rooms(self, in_flight: Mapping[str, int], at_most: int, moment: Moment) -> dict[str, int]:
        """Per line, how many to fetch: none while it is held, one while it is being tried again."""
        rooms = {}
        for line in self.lines:
            room = self._room(line, in_flight.get(line, 0), at_most, moment)
            if room > 0:
                rooms[line] = room
        return rooms

    async def claim(
        self,
        connection: Connection,
        rooms: Mapping[str, int],
        busy: Collection[str],
        moment: Moment,
        templates: Collection[tuple[str, str]] = (),
    ) -> Round:
        """One person's messages go one at a time, so that none overtakes an earlier one."""
        candidates = await self.queue.due(connection, rooms, busy, moment.business, moment.machine)
        decided = self._decide(candidates, Round(busy=set(busy), templates=set(templates)), moment)
        if decided.waits:
            await self.queue.wait(connection, decided.waits)
        if decided.intents:
            await self._begin(connection, decided, moment)
        return decided

    def _room(self, line: str, in_flight: int, at_most: int, moment: Moment) -> int:
        if self.holds.stopped(line, moment.machine) or self.holds.number_until(line, moment.business):
            return 0
        if self.holds.probing(line):
            return 0 if in_flight else 1
        return self.rates.room(line, moment.business, at_most)

    def _decide(self, candidates: Iterable[Candidate | Unreadable], decided: Round, moment: Moment) -> Round:
        for candidate in candidates:
            if isinstance(candidate, Unreadable):
                _drop_unreadable(decided, candidate.message_id, candidate.error)
            elif candidate.message.person_id not in decided.busy:
                try:
                    self._decide_one(candidate, decided, moment)
                except Exception as error:  # noqa: BLE001 -- one message that surprises must not keep the others
                    _drop_unreadable(decided, candidate.message.message_id, error)
        return decided

    def _decide_one(self, candidate: Candidate, decided: Round, moment: Moment) -> None:
        message = candidate.message
        history = self._history(candidate, decided.templates, moment.business)
        match plan(message, history, self.limits, moment.business):
            case Send() as send:
                self._intend(candidate, send, decided, moment)
                decided.busy.add(message.person_id)
            case Wait(until, reason) if reason not in _KEPT_IN_MEMORY:
                decided.waits.append((message.message_id, until, reason.value))
            case Wait():
                decided.busy.add(message.person_id)
            case Drop(reason):
                decided.drops.append((message.message_id, reason))

    def _intend(self, candidate: Candidate, send: Send, decided: Round, moment: Moment) -> None:
        message = candidate.message
        attempt = message.attempts + 1
        try:
            body = body_of(message.spoken, send.wording, send.address, callback_of(message.message_id, attempt))
        except Unsendable as refused:
            decided.drops.append((message.message_id, refused.why))
            return
        self.rates.claim(message.line, message.person_id, moment.business)
        template = _template_of(candidate) if send.wording is Wording.TEMPLATE else None
        target = Target(message.line, message.person_id, template)
        if template:
            decided.templates.add(template)
        decided.intents[message.message_id] = Intent(
            message.message_id, attempt, target, send.wording, body, moment.machine + self.lease, candidate.traceparent
        )

    async def _begin(self, connection: Connection, decided: Round, moment: Moment) -> None:
        """What was withdrawn between fetching and now is not begun, and not sent."""
        wordings = {intent.message_id: intent.wording for intent in decided.intents.values()}
        lease = moment.machine + self.lease
        begun = await self.queue.begin(connection, wordings, moment.business, moment.machine, lease)
        for message_id, intent in list(decided.intents.items()):
            if begun.get(message_id) != intent.attempt:
                self.rates.gave_up(intent.target.line)
                del decided.intents[message_id]

    def _template_held_until(
        self, template: tuple[str, str] | None, in_flight: Collection[tuple[str, str]], now: datetime
    ) -> datetime | None:
        """A template whose wait is over is tried with one message first."""
        until = self.holds.template_until(template)
        return now + _TEMPLATE_TRIED if until is not None and until <= now and template in in_flight else until

    def _history(self, candidate: Candidate, templates: Collection[tuple[str, str]], now: datetime) -> History:
        line, person_id = candidate.message.line, candidate.message.person_id
        return History(
            line_known=True,
            person_known=candidate.person_known,
            address=candidate.address,
            window_opened_at=candidate.window_opened_at,
            template=candidate.template,
            template_held_until=self._template_held_until(_template_of(candidate), templates, now),
            number_held_until=self.holds.number_until(line, now),
            pair_held_until=self.holds.pair_until(line, person_id),
            number_sends=self.rates.number(line, now),
            pair_sends=self.rates.pair(line, person_id),
        )


def _drop_unreadable(decided: Round, message_id: str, error: Exception) -> None:
    metrics.SET_ASIDE.labels("claim", Reason.UNREADABLE.value).inc()
    log.error("message.unreadable", message_id=message_id, sentence=describe_failure(error))
    decided.drops.append((message_id, Reason.UNREADABLE))


def _template_of(candidate: Candidate) -> tuple[str, str] | None:
    call = candidate.message.spoken.template
    return (call["name"], call["language"]) if call else None

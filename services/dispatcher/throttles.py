"""Which pairs, templates, numbers or accounts must wait after a send's outcome, and until when.

One table serves errors of a response and errors that a failed status reports later. A throttle by rate ends by business
time, because it is the provider's rate. After an outage, a closed account or a missing permission the wait is machine
time, and grows. One scope is tripped once per wait, however many sends were in flight.

An accepted send ends a throttle that a response caused. Where a status caused it, WhatsApp accepts every send and fails
it later, so only a good status ends it; until then one send is tried after each wait. PostgreSQL keeps the throttles
(``throttle_store``), so that a restart or another replica forgets none.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from services.dispatcher.message_state import RetryTime
from services.dispatcher.provider_responses import (
    ErrorAction,
    ErrorPolicy,
    ErrorScope,
    SendAccepted,
    SendError,
    SendNotStarted,
    SendOutcome,
    SendUncertain,
)
from services.dispatcher.reasons import MessageReason
from services.dispatcher.templates import TemplateKey, TemplateKnowledge

_RATE_BASE = 4  # Meta: retry after 4^X seconds, X = 0, 1, 2 …
_RATE_WAITS = [timedelta(seconds=_RATE_BASE**step) for step in range(6)]
_OUTAGE_WAITS = [timedelta(seconds=2**step) for step in range(7)]  # 1, 2, 4 … 64 seconds
_OPERATOR_WAITS = [timedelta(minutes=minutes) for minutes in (5, 10, 20, 30)]  # one send then tries whether it is over
_TEMPLATE_WAIT = timedelta(hours=1)
_RETRY_WAIT = timedelta(seconds=2)
_CLOCKS_APART = timedelta(seconds=5)  # those of two replicas
# Meta, "Template pacing": it holds messages until it knows what people think of the first, and may then drop them.
_PACING_WAITS = [timedelta(minutes=minutes) for minutes in (15, 30, 60)]

_RATE_ACTIONS = frozenset({ErrorAction.THROTTLE_NUMBER, ErrorAction.THROTTLE_PAIR})
_TOKEN_CODES = frozenset({0, 190})


class SendTarget(Struct, frozen=True):
    """The line, person and template of one send."""

    line: str
    person_id: str
    template: tuple[str, str] | None = None


class ThrottleClock(StrEnum):
    """The clock by which a throttle ends."""

    BUSINESS = "business"
    MACHINE = "machine"


class ThrottleKey(Struct, frozen=True, order=True):
    """The throttled scope: a pair (line, person), marketing to a person, a template (name, language), a number (line),
    or an account.

    The subject of the last is a WhatsApp business account, or empty for all of them. ``account`` is that of a template,
    empty where no setting names it: two accounts may have templates of one name.
    """

    clock: ThrottleClock
    scope: ErrorScope
    subject: str = ""
    detail: str = ""
    account: str = ""


class Throttle(Struct, frozen=True):
    """The columns of the table ``throttles`` that follow its key, in their order.

    ``until`` is by the clock of the key; ``wait`` is the length of its newest wait; ``trips`` counts the waits.

    ``ends_early``: the first accepted send ends it. ``by_operator``: an operator must act first. ``by_status``: only a
    good status of an attempt begun after ``since`` (business time) and ``machine_since`` ends it. ``fixed``: Meta named
    the wait, so a restart does not shorten it.
    """

    until: datetime
    wait: timedelta
    trips: int
    since: datetime
    machine_since: datetime
    code: int | None = None
    ends_early: bool = False
    by_operator: bool = False
    by_status: bool = False
    fixed: bool = False


class ThrottleChanges(Struct, frozen=True):
    """Changes to write: throttles to save, and ended ones with the ``until`` that the database has of each."""

    saved: Mapping[ThrottleKey, Throttle]
    ended: Mapping[ThrottleKey, datetime]

    def __bool__(self) -> bool:
        return bool(self.saved or self.ended)


class _Trip(Struct, frozen=True):
    """A reason to throttle a key; ``waits`` are the growing waits to choose from."""

    key: ThrottleKey
    waits: list[timedelta]
    ends_early: bool = False
    by_operator: bool = False
    fixed: bool = False


class Throttles:
    """The leader keeps all of them in memory; a reader of statuses loads those it needs.

    ``accounts``: the WhatsApp business account of each line, where settings name it.
    """

    def __init__(self, accounts: Mapping[str, str] | None = None) -> None:
        self._accounts = accounts or {}
        self._throttles: dict[ThrottleKey, Throttle] = {}
        self._stored: dict[ThrottleKey, datetime] = {}  # the ``until`` that the database has
        self._changed: set[ThrottleKey] = set()

    def record(
        self, outcome: SendOutcome, target: SendTarget, now: datetime, machine: datetime, *, by_status: bool = False
    ) -> RetryTime:
        """Trip or end throttles after an outcome; returns when the message itself may be planned again.

        Where its template is throttled, that is at once: it may have a fallback. Without one the planner holds it.
        """
        if isinstance(outcome, SendAccepted):
            if outcome.is_held and target.template is not None:
                key = template_key(target.template, self._account(target.line))
                self._trip(_Trip(key, _PACING_WAITS), now, machine, None, by_status=False)
            self._record_success(target, now, machine)
            return RetryTime(now)
        trip = _trip_of(outcome, target, self._account(target.line))
        if trip is None:
            is_retried = isinstance(outcome, SendError) and outcome.policy.action is ErrorAction.RETRY
            return RetryTime(now, machine + _RETRY_WAIT if is_retried else None)
        code = outcome.code if isinstance(outcome, SendError) else None
        # Meta names the wait before more marketing to a person, and no other message proves that it is over
        by_status = by_status and trip.key.scope is not ErrorScope.MARKETING
        until = self._trip(trip, now, machine, code, by_status=by_status).until
        is_held_until_then = trip.key.clock is ThrottleClock.BUSINESS and trip.key.scope is not ErrorScope.TEMPLATE
        return RetryTime(until if is_held_until_then else now)

    def number_until(self, line: str, now: datetime) -> datetime | None:
        """Business time; throttles of the account concern every number."""
        untils = [throttle.until for throttle in self._of_line(ThrottleClock.BUSINESS, line)]
        return max((until for until in untils if until > now), default=None)

    def pair_until(self, line: str, person_id: str) -> datetime | None:
        return self._until(ThrottleKey(ThrottleClock.BUSINESS, ErrorScope.PAIR, line, person_id))

    def marketing_until(self, person_id: str) -> datetime | None:
        """When the next marketing template may go to this person, by any line."""
        return self._until(ThrottleKey(ThrottleClock.BUSINESS, ErrorScope.MARKETING, person_id))

    def template_until(self, line: str, template: TemplateKey | None, *, is_critical: bool = False) -> datetime | None:
        """Pacing, the throttle without an error's code, does not hold critical messages back."""
        if template is None or not self._throttles:
            return None
        throttle = self._throttles.get(template_key(template, self._account(line)))
        if throttle is None or (is_critical and throttle.code is None):
            return None
        return throttle.until

    def is_stopped(self, line: str, machine: datetime) -> bool:
        """Nothing of this line may leave yet, by machine time."""
        return any(throttle.until > machine for throttle in self._of_line(ThrottleClock.MACHINE, line))

    def awaits_operator(self, line: str, machine: datetime) -> bool:
        throttles = self._of_line(ThrottleClock.MACHINE, line)
        return any(throttle.by_operator and throttle.until > machine for throttle in throttles)

    def is_token_refused(self) -> bool:
        """WhatsApp refuses the token, and no send has been accepted since."""
        return any(throttle.by_operator and throttle.code in _TOKEN_CODES for throttle in self._throttles.values())

    def is_probing(self, line: str) -> bool:
        """A wait is over and no send has been accepted since: one send at a time."""
        return bool(self._throttles) and any(any(self._of_line(clock, line)) for clock in ThrottleClock)

    def awaiting_status(self) -> dict[ThrottleKey, Throttle]:
        """Throttles that only a good status ends."""
        return {key: throttle for key, throttle in self._throttles.items() if throttle.by_status}

    def end(self, key: ThrottleKey) -> None:
        if self._throttles.pop(key, None) is not None:
            self._changed.add(key)

    def end_of_usable_templates(self, templates_of: Callable[[str], TemplateKnowledge]) -> bool:
        """End the throttles of templates that Meta has since reported as usable; returns whether any ended. Pacing is
        not reported.

        ``templates_of`` returns the templates of an account, or of all accounts for an empty name.
        """
        ended = [
            key
            for key, throttle in self._throttles.items()
            if key.scope is ErrorScope.TEMPLATE
            and throttle.code is not None
            and templates_of(key.account).is_usable_since((key.subject, key.detail), throttle.since)
        ]
        for key in ended:
            self.end(key)
        return bool(ended)

    def shorten(self, now: datetime, machine: datetime) -> None:
        """Correct the throttles after a clock was set back: none lasts longer than its own wait, whatever the size of
        the step.

        Only memory is changed, as every later leader finds the step by itself.
        """
        for key, throttle in self._throttles.items():
            at = machine if key.clock is ThrottleClock.MACHINE else now
            if throttle.until - at > throttle.wait + _CLOCKS_APART:
                self._throttles[key] = replace(throttle, until=at + throttle.wait)

    # ------------------------------------------------------------------ between memory and the database

    def merge(self, stored: Mapping[ThrottleKey, Throttle], machine: datetime | None = None) -> None:
        """Take over the throttles that the database has and memory has not, or has with an earlier end.

        ``machine`` is given at a start. A start is an operator's act: a throttle that waits for one is tried at once.
        """
        for key, throttle in stored.items():
            known_until = self._stored.get(key)
            self._stored[key] = throttle.until
            mine = self._throttles.get(key)
            if mine is not None and mine.until >= throttle.until:
                self._throttles[key] = replace(mine, by_status=mine.by_status or throttle.by_status)
            elif known_until != throttle.until:
                self._throttles[key] = _tried_at_start(throttle, machine) if machine is not None else throttle

    def take_changes(self) -> ThrottleChanges:
        """The changes since the last call; a second call returns nothing until there are new changes."""
        saved = {key: self._throttles[key] for key in sorted(self._changed) if key in self._throttles}
        ended = {key: self._stored.pop(key) for key in self._changed - saved.keys() if key in self._stored}
        self._stored.update({key: throttle.until for key, throttle in saved.items()})
        self._changed.clear()
        return ThrottleChanges(saved, ended)

    def restore_changes(self, changes: ThrottleChanges) -> None:
        """Let ``take_changes`` return these changes again, since they could not be saved."""
        self._changed.update(changes.saved, changes.ended)
        for key, until in changes.ended.items():
            self._stored.setdefault(key, until)

    # ------------------------------------------------------------------ internals

    def _trip(self, trip: _Trip, now: datetime, machine: datetime, code: int | None, *, by_status: bool) -> Throttle:
        """Throttle the key for the next of its growing waits, unless it is throttled already.

        The pacing of a template does not hold what its error holds, so an error is not a part of it.
        """
        at = machine if trip.key.clock is ThrottleClock.MACHINE else now
        before = self._throttles.get(trip.key)
        was_paced = before is not None and trip.key.scope is ErrorScope.TEMPLATE and before.code is None
        if before is None or at >= before.until or (was_paced and code is not None):
            trips = before.trips + 1 if before else 1
            wait = trip.waits[min(trips, len(trip.waits)) - 1]
            throttle = Throttle(
                until=at + wait,
                wait=wait,
                trips=trips,
                since=now,
                machine_since=machine,
                code=code,
                ends_early=trip.ends_early,
                by_operator=trip.by_operator,
                by_status=by_status,
                fixed=trip.fixed,
            )
        else:
            throttle = replace(
                before, by_operator=before.by_operator or trip.by_operator, by_status=before.by_status or by_status
            )
        self._put(trip.key, throttle)
        return throttle

    def _put(self, key: ThrottleKey, throttle: Throttle) -> None:
        if self._throttles.get(key) != throttle:
            self._throttles[key] = throttle
            self._changed.add(key)

    def _record_success(self, target: SendTarget, now: datetime, machine: datetime) -> None:
        """End the throttles whose wait is over, and the outages; where a status must come first, wait once more."""
        if not self._throttles:
            return
        for key in _keys_of(target, self._account(target.line)):
            throttle = self._throttles.get(key)
            at = machine if key.clock is ThrottleClock.MACHINE else now
            if throttle is None or not (throttle.until <= at or (throttle.ends_early and not throttle.by_status)):
                continue
            if throttle.by_status:
                self._put(key, replace(throttle, until=at + throttle.wait))
            else:
                self.end(key)

    def _of_line(self, clock: ThrottleClock, line: str) -> Iterable[Throttle]:
        if not self._throttles:
            return []
        found = map(self._throttles.get, _keys_of_line(clock, line, self._account(line)))
        return [throttle for throttle in found if throttle is not None]

    def _account(self, line: str) -> str:
        """The WhatsApp business account of a line; empty where no setting names it."""
        return self._accounts.get(line, "")

    def _until(self, key: ThrottleKey) -> datetime | None:
        throttle = self._throttles.get(key) if self._throttles else None
        return throttle.until if throttle else None


def template_key(template: TemplateKey, account: str) -> ThrottleKey:
    return ThrottleKey(ThrottleClock.BUSINESS, ErrorScope.TEMPLATE, *template, account)


def throttle_key(outcome: SendOutcome, target: SendTarget, accounts: Mapping[str, str]) -> ThrottleKey | None:
    """The key that the outcome would throttle, if any."""
    trip = _trip_of(outcome, target, accounts.get(target.line, ""))
    return trip.key if trip else None


def _tried_at_start(throttle: Throttle, machine: datetime) -> Throttle:
    is_tried = throttle.by_operator and not throttle.fixed
    return replace(throttle, until=min(throttle.until, machine)) if is_tried else throttle


def _trip_of(outcome: SendOutcome, target: SendTarget, account: str) -> _Trip | None:
    match outcome:
        case SendNotStarted(MessageReason.NOT_REACHED):
            return _Trip(ThrottleKey(ThrottleClock.MACHINE, ErrorScope.ACCOUNT), _OUTAGE_WAITS, ends_early=True)
        case SendUncertain():
            return _Trip(
                ThrottleKey(ThrottleClock.MACHINE, ErrorScope.NUMBER, target.line), _OUTAGE_WAITS, ends_early=True
            )
        case SendError(_, policy, retry_after):
            return _trip_of_error(policy, retry_after, target, account)
        case SendNotStarted() | SendAccepted():
            return None


def _trip_of_error(
    policy: ErrorPolicy, retry_after: timedelta | None, target: SendTarget, account: str
) -> _Trip | None:
    named = [retry_after] if retry_after else [policy.wait] if policy.wait else None
    if policy.action in _RATE_ACTIONS:
        key = _key(ThrottleClock.BUSINESS, policy.scope, target, account)
        return _Trip(key, named or _RATE_WAITS, fixed=bool(named))
    if policy.scope in {ErrorScope.TEMPLATE, ErrorScope.MARKETING}:
        if target.template is None:
            return None
        key = _key(ThrottleClock.BUSINESS, policy.scope, target, account)
        return _Trip(key, [policy.wait or _TEMPLATE_WAIT], fixed=True)
    if policy.action is ErrorAction.OPERATOR:
        key = _key(ThrottleClock.MACHINE, policy.scope, target, account)
        return _Trip(key, named or _OPERATOR_WAITS, by_operator=True, fixed=bool(named))
    if policy.ambiguous:
        key = ThrottleKey(ThrottleClock.MACHINE, ErrorScope.NUMBER, target.line)
        return _Trip(key, [policy.wait] if policy.wait else _OUTAGE_WAITS, ends_early=True)
    return None


def _key(clock: ThrottleClock, scope: ErrorScope, target: SendTarget, account: str) -> ThrottleKey:
    match scope:
        case ErrorScope.PAIR:
            return ThrottleKey(clock, scope, target.line, target.person_id)
        case ErrorScope.MARKETING:
            return ThrottleKey(clock, scope, target.person_id)
        case ErrorScope.NUMBER:
            return ThrottleKey(clock, scope, target.line)
        case ErrorScope.TEMPLATE:
            return template_key(target.template, account) if target.template else ThrottleKey(clock, scope)
        case ErrorScope.BUSINESS_ACCOUNT:
            return ThrottleKey(clock, ErrorScope.ACCOUNT, account)
        case ErrorScope.ACCOUNT | ErrorScope.MESSAGE:
            return ThrottleKey(clock, ErrorScope.ACCOUNT)


def _keys_of(target: SendTarget, account: str) -> Iterable[ThrottleKey]:
    for clock in ThrottleClock:
        yield from _keys_of_line(clock, target.line, account)
    yield ThrottleKey(ThrottleClock.BUSINESS, ErrorScope.PAIR, target.line, target.person_id)
    yield ThrottleKey(ThrottleClock.BUSINESS, ErrorScope.MARKETING, target.person_id)
    if target.template:
        yield template_key(target.template, account)


def _keys_of_line(clock: ThrottleClock, line: str, account: str) -> Iterable[ThrottleKey]:
    yield ThrottleKey(clock, ErrorScope.ACCOUNT)
    if account:
        yield ThrottleKey(clock, ErrorScope.ACCOUNT, account)
    yield ThrottleKey(clock, ErrorScope.NUMBER, line)

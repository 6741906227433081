"""Who was told to wait: what an outcome stops (a pair, a template, a number, the account), and until when.

One table, whichever way an error came: in the answer to a request, or later as a failed status. A throttle is the
provider's rate, so it ends by business time; an outage, a closed account or a missing permission end by the machine's,
after a growing wait. One scope is struck once per wait, however many sends were in flight when it came.

A hold that an answer brought is over once a send is accepted. Behind one that a status brought WhatsApp accepts every
send and fails it later, so only a good status ends it; until then one send is tried after each wait. Holds are kept in
PostgreSQL (``hold_store``): a restart or another replica forgets none.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from services.dispatcher.errors import Action, Fault, Scope
from services.dispatcher.outcomes import Doubtful, Faulted, Outcome, Taken, Unsent
from services.dispatcher.standing import Delay
from services.dispatcher.states import Reason

_THROTTLE_BASE = 4  # Meta: retry after 4^X seconds, X = 0, 1, 2 …
_THROTTLE_WAITS = [timedelta(seconds=_THROTTLE_BASE**step) for step in range(6)]
_OUTAGE_WAITS = [timedelta(seconds=2**step) for step in range(7)]  # 1, 2, 4 … 64 seconds
_OPERATOR_WAITS = [timedelta(minutes=minutes) for minutes in (5, 10, 20, 30)]  # one send then tries whether it is over
_TEMPLATE_WAIT = timedelta(hours=1)
_RETRY = timedelta(seconds=2)

_THROTTLES = frozenset({Action.THROTTLE_NUMBER, Action.THROTTLE_PAIR})
_TOKEN_CODES = frozenset({0, 190})


class Target(Struct, frozen=True):
    """What one send touches."""

    line: str
    person_id: str
    template: tuple[str, str] | None = None


class Runs(StrEnum):
    """By which clock a hold ends."""

    BUSINESS = "business"
    MACHINE = "machine"


class Held(Struct, frozen=True, order=True):
    """What is held: a pair (line, person), a template (name, language), a number (line), or the account."""

    runs: Runs
    scope: Scope
    subject: str = ""
    detail: str = ""


class Hold(Struct, frozen=True):
    """``until`` is by the clock of its ``Held``; ``wait`` is how long its newest wait was.

    ``ends_early``: the first send that goes through ends it. ``by_operator``: somebody must act first. ``by_status``:
    only a good status of an attempt begun after ``since`` (business) and ``machine_since`` ends it. ``fixed``: Meta
    named the wait, so that a restart does not try earlier.
    """

    until: datetime
    wait: timedelta
    strikes: int
    since: datetime
    machine_since: datetime
    code: int | None = None
    ends_early: bool = False
    by_operator: bool = False
    by_status: bool = False
    fixed: bool = False


class Changes(Struct, frozen=True):
    """What the ledger does not know yet: holds to keep, and those that are over, by the end it knows of each."""

    kept: Mapping[Held, Hold]
    over: Mapping[Held, datetime]

    def __bool__(self) -> bool:
        return bool(self.kept or self.over)


class _Strike(Struct, frozen=True):
    """A reason to hold something, before it is known how often there was one."""

    held: Held
    waits: list[timedelta]
    ends_early: bool = False
    by_operator: bool = False
    fixed: bool = False


class Holds:
    """In the owner's memory all of them; where a status is read, those it concerns."""

    def __init__(self) -> None:
        self._holds: dict[Held, Hold] = {}
        self._stored: dict[Held, datetime] = {}  # the ends that the ledger knows
        self._changed: set[Held] = set()

    def learn(
        self, outcome: Outcome, target: Target, now: datetime, machine: datetime, *, by_status: bool = False
    ) -> Delay:
        """What the outcome stops; the delay is the message's own, should it go again."""
        if isinstance(outcome, Taken):
            self._went_through(target, now, machine)
            return Delay(now)
        strike = _strike_of(outcome, target)
        if strike is None:
            retry = isinstance(outcome, Faulted) and outcome.fault.action is Action.RETRY
            return Delay(now, machine + _RETRY if retry else None)
        code = outcome.code if isinstance(outcome, Faulted) else None
        until = self._hold(strike, now, machine, code, by_status=by_status).until
        return Delay(until if strike.held.runs is Runs.BUSINESS else now)

    def number_until(self, line: str, now: datetime) -> datetime | None:
        """Business time; the account's throttles are every number's."""
        untils = [hold.until for hold in self._of_line(Runs.BUSINESS, line)]
        return max((until for until in untils if until > now), default=None)

    def pair_until(self, line: str, person_id: str) -> datetime | None:
        return self._until(Held(Runs.BUSINESS, Scope.PAIR, line, person_id))

    def template_until(self, template: tuple[str, str] | None) -> datetime | None:
        return self._until(Held(Runs.BUSINESS, Scope.TEMPLATE, *template)) if template else None

    def stopped(self, line: str, machine: datetime) -> bool:
        """Nothing of this line may leave before the machine's time is up."""
        return any(hold.until > machine for hold in self._of_line(Runs.MACHINE, line))

    def awaits_operator(self, line: str, machine: datetime) -> bool:
        return any(hold.by_operator and hold.until > machine for hold in self._of_line(Runs.MACHINE, line))

    def token_refused(self) -> bool:
        """WhatsApp refuses our token, and nothing has gone through since."""
        return any(hold.by_operator and hold.code in _TOKEN_CODES for hold in self._holds.values())

    def probing(self, line: str) -> bool:
        """A wait is over and nothing has gone through since: one send at a time."""
        return bool(self._holds) and any(any(self._of_line(runs, line)) for runs in Runs)

    def by_status(self) -> dict[Held, Hold]:
        """Those that only a good status ends."""
        return {held: hold for held, hold in self._holds.items() if hold.by_status}

    def end(self, held: Held) -> None:
        if self._holds.pop(held, None) is not None:
            self._changed.add(held)

    # -------------------------------------------------------------- between memory and the ledger

    def remember(self, stored: Mapping[Held, Hold], machine: datetime | None = None) -> None:
        """Take over what the ledger knows better. With ``machine``, at a start, which is a person's doing: what waits
        for an operator is tried at once.
        """
        for held, hold in stored.items():
            known = self._stored.get(held)
            self._stored[held] = hold.until
            mine = self._holds.get(held)
            if mine is not None and mine.until >= hold.until:
                self._holds[held] = replace(mine, by_status=mine.by_status or hold.by_status)
            elif known != hold.until:
                self._holds[held] = _tried_now(hold, machine) if machine is not None else hold

    def changes(self) -> Changes:
        """What is to be written; told once."""
        kept = {held: self._holds[held] for held in sorted(self._changed) if held in self._holds}
        over = {held: self._stored.pop(held) for held in self._changed - kept.keys() if held in self._stored}
        self._stored.update({held: hold.until for held, hold in kept.items()})
        self._changed.clear()
        return Changes(kept, over)

    def put_back(self, changes: Changes) -> None:
        """They could not be written."""
        self._changed.update(changes.kept, changes.over)
        for held, until in changes.over.items():
            self._stored.setdefault(held, until)

    # -------------------------------------------------------------- inside

    def _hold(self, strike: _Strike, now: datetime, machine: datetime, code: int | None, *, by_status: bool) -> Hold:
        """Hold it for the next of the growing waits, unless it is held already."""
        at = machine if strike.held.runs is Runs.MACHINE else now
        before = self._holds.get(strike.held)
        if before is None or at >= before.until:
            strikes = before.strikes + 1 if before else 1
            wait = strike.waits[min(strikes, len(strike.waits)) - 1]
            hold = Hold(at + wait, wait, strikes, now, machine, code, strike.ends_early, strike.by_operator,
                        by_status, strike.fixed)  # fmt: skip
        else:
            hold = replace(
                before, by_operator=before.by_operator or strike.by_operator, by_status=before.by_status or by_status
            )
        self._put(strike.held, hold)
        return hold

    def _put(self, held: Held, hold: Hold) -> None:
        if self._holds.get(held) != hold:
            self._holds[held] = hold
            self._changed.add(held)

    def _went_through(self, target: Target, now: datetime, machine: datetime) -> None:
        """A send was accepted: forget the waits that are over, and the outages; but wait again for a status."""
        if not self._holds:
            return
        for held in _touched(target):
            hold = self._holds.get(held)
            at = machine if held.runs is Runs.MACHINE else now
            if hold is None or not (hold.until <= at or (hold.ends_early and not hold.by_status)):
                continue
            if hold.by_status:
                self._put(held, replace(hold, until=at + hold.wait))
            else:
                self.end(held)

    def _of_line(self, runs: Runs, line: str) -> Iterable[Hold]:
        if not self._holds:
            return []
        found = (self._holds.get(Held(runs, Scope.ACCOUNT)), self._holds.get(Held(runs, Scope.NUMBER, line)))
        return [hold for hold in found if hold is not None]

    def _until(self, held: Held) -> datetime | None:
        hold = self._holds.get(held) if self._holds else None
        return hold.until if hold else None


def _tried_now(hold: Hold, machine: datetime) -> Hold:
    return replace(hold, until=min(hold.until, machine)) if hold.by_operator and not hold.fixed else hold


def held_by(outcome: Outcome, target: Target) -> Held | None:
    """What the outcome would stop."""
    strike = _strike_of(outcome, target)
    return strike.held if strike else None


def _strike_of(outcome: Outcome, target: Target) -> _Strike | None:
    match outcome:
        case Unsent(Reason.NOT_REACHED):
            return _Strike(_held(Runs.MACHINE, Scope.ACCOUNT, target), _OUTAGE_WAITS, ends_early=True)
        case Doubtful():
            return _Strike(_held(Runs.MACHINE, Scope.NUMBER, target), _OUTAGE_WAITS, ends_early=True)
        case Faulted(_, fault, wait):
            return _strike_of_fault(fault, wait, target)
        case Unsent() | Taken():
            return None


def _strike_of_fault(fault: Fault, wait: timedelta | None, target: Target) -> _Strike | None:
    named = [wait] if wait else [fault.hold] if fault.hold else None
    if fault.action in _THROTTLES:
        return _Strike(_held(Runs.BUSINESS, fault.scope, target), named or _THROTTLE_WAITS, fixed=bool(named))
    if fault.scope is Scope.TEMPLATE:
        held = _held(Runs.BUSINESS, Scope.TEMPLATE, target)
        return _Strike(held, [fault.hold or _TEMPLATE_WAIT], fixed=True) if target.template else None
    if fault.action is Action.OPERATOR:
        held = _held(Runs.MACHINE, fault.scope, target)
        return _Strike(held, named or _OPERATOR_WAITS, by_operator=True, fixed=bool(named))
    if fault.ambiguous:
        held = _held(Runs.MACHINE, Scope.NUMBER, target)
        return _Strike(held, [fault.hold] if fault.hold else _OUTAGE_WAITS, ends_early=True)
    return None


def _held(runs: Runs, scope: Scope, target: Target) -> Held:
    match scope:
        case Scope.PAIR:
            return Held(runs, scope, target.line, target.person_id)
        case Scope.NUMBER:
            return Held(runs, scope, target.line)
        case Scope.TEMPLATE:
            return Held(runs, scope, *(target.template or ()))
        case Scope.ACCOUNT | Scope.MESSAGE:
            return Held(runs, Scope.ACCOUNT)


def _touched(target: Target) -> Iterable[Held]:
    for runs in Runs:
        yield Held(runs, Scope.ACCOUNT)
        yield Held(runs, Scope.NUMBER, target.line)
    yield Held(Runs.BUSINESS, Scope.PAIR, target.line, target.person_id)
    if target.template:
        yield Held(Runs.BUSINESS, Scope.TEMPLATE, *target.template)

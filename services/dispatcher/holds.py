"""Who was told to wait: what an outcome stops (a pair, a template, a number, the account), and until when.

A throttle is the provider's rate, so it ends by business time; an outage, a closed door or a missing permission end by
the machine's, after a growing wait. One scope is struck once per wait, however many sends were in flight when it came.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec import Struct

from services.dispatcher.errors import Action, Fault, Scope
from services.dispatcher.outcomes import Doubtful, Faulted, Outcome, Taken, Unsent
from services.dispatcher.standing import Delay
from services.dispatcher.states import Reason

_THROTTLE_BASE = 4  # Meta: retry after 4^X seconds, X = 0, 1, 2 …
_THROTTLE_STEPS = 5
_OUTAGE_STEPS = 6  # 1, 2, 4 … 64 seconds
_OPERATOR_LOOK = timedelta(minutes=5)  # one send then tries whether somebody has acted
_TEMPLATE_LOOK = timedelta(hours=1)
_RETRY = timedelta(seconds=2)

_THROTTLES = frozenset({Action.THROTTLE_NUMBER, Action.THROTTLE_PAIR})


class Target(Struct, frozen=True):
    """What one send touches."""

    line: str
    person_id: str
    template: tuple[str, str] | None = None


@dataclass(slots=True)
class _Hold:
    """``ends_early``: the first send that goes through ends it. ``by_operator``: somebody must act first."""

    until: datetime
    strikes: int
    ends_early: bool = False
    by_operator: bool = False


class Holds:
    def __init__(self) -> None:
        self._business: dict[Hashable, _Hold] = {}
        self._machine: dict[Hashable, _Hold] = {}

    def learn(self, outcome: Outcome, target: Target, now: datetime, machine: datetime) -> Delay:
        """What the outcome stops; the delay is the message's own, should it go again."""
        match outcome:
            case Taken():
                self._clear(target, now, machine)
            case Unsent(Reason.NOT_REACHED):
                self._outage(_key(Scope.ACCOUNT, target), machine)
            case Doubtful():
                self._outage(_key(Scope.NUMBER, target), machine)
            case Faulted(_, fault, wait):
                return self._faulted(fault, wait, target, now, machine)
            case Unsent():
                pass
        return Delay(now)

    def number_until(self, line: str, now: datetime) -> datetime | None:
        """Business time; the account's throttles are every number's."""
        untils = [self._business[key].until for key in _line_keys(line) if key in self._business]
        return max((until for until in untils if until > now), default=None)

    def pair_until(self, line: str, person_id: str) -> datetime | None:
        return _until(self._business.get((Scope.PAIR, line, person_id)))

    def template_until(self, template: tuple[str, str] | None) -> datetime | None:
        return _until(self._business.get((Scope.TEMPLATE, *template))) if template else None

    def stopped(self, line: str, machine: datetime) -> bool:
        """Nothing of this line may leave before the machine's time is up."""
        return any(hold.until > machine for hold in self._of_line(self._machine, line))

    def awaits_operator(self, line: str, machine: datetime) -> bool:
        return any(hold.by_operator and hold.until > machine for hold in self._of_line(self._machine, line))

    def probing(self, line: str) -> bool:
        """A wait is over and nothing has gone through since: one send at a time."""
        return any(True for hold in (*self._of_line(self._machine, line), *self._of_line(self._business, line)))

    def _faulted(self, fault: Fault, wait: timedelta | None, target: Target, now: datetime, machine: datetime) -> Delay:
        key = _key(fault.scope, target)
        if fault.action in _THROTTLES:
            return Delay(self._throttle(key, wait, now))
        if fault.scope is Scope.TEMPLATE:
            return Delay(_strike(self._business, key, now, [fault.hold or _TEMPLATE_LOOK]).until)
        if fault.action is Action.OPERATOR:
            _strike(self._machine, key, machine, [wait or fault.hold or _OPERATOR_LOOK]).by_operator = True
        elif fault.ambiguous:
            self._outage(_key(Scope.NUMBER, target), machine, fault.hold)
        elif fault.action is Action.RETRY:
            return Delay(now, machine + _RETRY)
        return Delay(now)

    def _throttle(self, key: Hashable, wait: timedelta | None, now: datetime) -> datetime:
        steps = [timedelta(seconds=_THROTTLE_BASE**step) for step in range(_THROTTLE_STEPS + 1)]
        return _strike(self._business, key, now, [wait] if wait else steps).until

    def _outage(self, key: Hashable, machine: datetime, hold: timedelta | None = None) -> None:
        steps = [timedelta(seconds=2**step) for step in range(_OUTAGE_STEPS + 1)]
        _strike(self._machine, key, machine, [hold] if hold else steps).ends_early = True

    def _clear(self, target: Target, now: datetime, machine: datetime) -> None:
        """A send went through: forget the waits that are over, and the outages."""
        if not (self._business or self._machine):
            return
        for key in (*_line_keys(target.line), _key(Scope.PAIR, target), _key(Scope.TEMPLATE, target)):
            for holds, at in ((self._business, now), (self._machine, machine)):
                held = holds.get(key)
                if held is not None and (held.ends_early or held.until <= at):
                    del holds[key]

    @staticmethod
    def _of_line(holds: dict[Hashable, _Hold], line: str) -> list[_Hold]:
        return [holds[key] for key in _line_keys(line) if key in holds] if holds else []


def _strike(holds: dict[Hashable, _Hold], key: Hashable, at: datetime, steps: list[timedelta]) -> _Hold:
    """Hold it for the next of the growing steps, unless it is held already."""
    held = holds.get(key)
    if held is None or at >= held.until:
        strikes = held.strikes + 1 if held else 1
        held = _Hold(at + steps[min(strikes, len(steps)) - 1], strikes)
        holds[key] = held
    return held


def _key(scope: Scope, target: Target) -> Hashable:
    match scope:
        case Scope.PAIR:
            return (scope, target.line, target.person_id)
        case Scope.NUMBER:
            return (scope, target.line)
        case Scope.TEMPLATE:
            return (scope, *(target.template or ()))
        case Scope.ACCOUNT | Scope.MESSAGE:
            return (scope,)


def _line_keys(line: str) -> tuple[Hashable, Hashable]:
    return (Scope.ACCOUNT,), (Scope.NUMBER, line)


def _until(hold: _Hold | None) -> datetime | None:
    return hold.until if hold else None

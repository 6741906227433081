"""Meta's error codes as data: what each one stops, what becomes of the message, and whether it may have been sent.

Decided by ``error.code`` alone; HTTP statuses lie (throttles are 400). Source: Meta, "WhatsApp Cloud API error codes".
Only a plain refusal is safe to repeat; 1, 2, 131000, 131016, 131057 and 133004 are the server's own trouble, after
which the message may still arrive, so they leave the send uncertain.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Action(StrEnum):
    """What becomes of the message."""

    RETRY = "retry"  # a refusal that may pass: a few more times, then it fails
    THROTTLE_NUMBER = "throttle_number"  # later, and the whole number (or account) slows down
    THROTTLE_PAIR = "throttle_pair"  # later, and only this person's messages wait
    REFUSE_PERSON = "refuse_person"  # this person cannot be reached
    REFUSE_TEMPLATE = "refuse_template"  # this template cannot be sent
    REFUSE_MESSAGE = "refuse_message"  # this message is wrong
    USE_TEMPLATE = "use_template"  # the window was closed: again, as a template
    OPERATOR = "operator"  # somebody must act; the queue is kept


class Scope(StrEnum):
    """What stops with it."""

    MESSAGE = "message"
    PAIR = "pair"
    TEMPLATE = "template"
    NUMBER = "number"
    ACCOUNT = "account"


@dataclass(frozen=True, slots=True)
class Fault:
    """``ambiguous``: the message may have been sent all the same. ``hold``: how long its scope stops, where known."""

    action: Action
    scope: Scope = Scope.MESSAGE
    ambiguous: bool = False
    hold: timedelta | None = None


_ACCOUNT_STOPS = Fault(Action.OPERATOR, Scope.ACCOUNT)
_NUMBER_STOPS = Fault(Action.OPERATOR, Scope.NUMBER)
_TEMPLATE_STOPS = Fault(Action.OPERATOR, Scope.TEMPLATE)
_MAYBE_SENT = Fault(Action.RETRY, ambiguous=True)
_WRONG_MESSAGE = Fault(Action.REFUSE_MESSAGE)
_WRONG_TEMPLATE = Fault(Action.REFUSE_TEMPLATE)
_UNREACHABLE = Fault(Action.REFUSE_PERSON)


def _each(codes: Iterable[int], fault: Fault) -> dict[int, Fault]:
    return dict.fromkeys(codes, fault)


FAULTS: Mapping[int, Fault] = {
    **_each((0, 190), _ACCOUNT_STOPS),  # the token is invalid or has expired
    **_each((3, 10, *range(200, 300), 131005), _ACCOUNT_STOPS),  # a permission is missing
    **_each((1, 2, 131000, 131016, 133004), _MAYBE_SENT),  # the server's own trouble
    131057: Fault(Action.RETRY, Scope.NUMBER, ambiguous=True, hold=timedelta(minutes=1)),  # the number is upgraded
    4: Fault(Action.THROTTLE_NUMBER, Scope.ACCOUNT),  # calls of the app
    80007: Fault(Action.THROTTLE_NUMBER, Scope.ACCOUNT),  # all numbers of the business account
    130429: Fault(Action.THROTTLE_NUMBER, Scope.NUMBER),
    131056: Fault(Action.THROTTLE_PAIR, Scope.PAIR),
    131048: _NUMBER_STOPS,  # spam or quality: trying again makes it worse
    131064: _ACCOUNT_STOPS,  # templates were classified wrongly; lifts by itself
    33: _NUMBER_STOPS,  # the number was deleted
    **_each((368, 131031), _NUMBER_STOPS),  # policy restriction, account locked
    131037: _NUMBER_STOPS,  # a 555 number without an approved display name
    131042: _ACCOUNT_STOPS,  # payment
    **_each((131045, 133000, 133005, 133006, 133008, 133009, 133010), _NUMBER_STOPS),  # (de)registration and PIN
    133015: Fault(Action.OPERATOR, Scope.NUMBER, hold=timedelta(minutes=5)),
    133016: Fault(Action.OPERATOR, Scope.NUMBER, hold=timedelta(hours=72)),
    **_each((131036, 131055, 134100, 134101, 134102), _NUMBER_STOPS),  # other products of Meta's on this number
    131063: _TEMPLATE_STOPS,  # marketing is disabled on Cloud API
    **_each((130403, 130497, 131026, 131050, 137000), _UNREACHABLE),
    131047: Fault(Action.USE_TEMPLATE),
    **_each((100, 130472, 131008, 131009, 131021, 131049, 131051, 131052, 131053, 131062), _WRONG_MESSAGE),
    **_each((132000, 132005, 132012, 132018), _WRONG_MESSAGE),
    **_each((132001, 132007, 132016, 132068, 132069), _WRONG_TEMPLATE),
    132015: Fault(Action.OPERATOR, Scope.TEMPLATE, hold=timedelta(hours=1)),  # paused; looked at again
    135000: Fault(Action.RETRY),  # generic parameter error
}

_OBJECT_MISSING = 33  # as a subcode of 100: the phone number id is not one of ours
_INVALID_PARAMETER = 100
_SERVER_ERRORS = 500


def fault_of(code: int, subcode: int | None = None, *, http_status: int = 400) -> Fault:
    """What a code means; one Meta has not documented fails the message, or leaves it uncertain after a 5xx."""
    if code == _INVALID_PARAMETER and subcode == _OBJECT_MISSING:
        return _NUMBER_STOPS
    known = FAULTS.get(code)
    if known is not None:
        return known
    return _MAYBE_SENT if http_status >= _SERVER_ERRORS else _WRONG_MESSAGE


def code_class(code: int | None) -> str:
    """A closed label for metrics."""
    if code is None:
        return "none"
    return FAULTS[code].action.value if code in FAULTS else "undocumented"

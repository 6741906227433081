"""What becomes of one waiting message right now: send it, wait and until when, or drop it and why. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from services.dispatcher import windows
from services.dispatcher.limits import Limits
from services.dispatcher.payload import Address, Spoken
from services.dispatcher.states import Reason
from shared.contracts.messages import Wording

_TEMPLATE_LOOK = timedelta(hours=1)  # how often a paused template is looked at; its return wakes the message anyway


class TemplateState(StrEnum):
    USABLE = "usable"
    PAUSED = "paused"
    DISABLED = "disabled"


class Queued(Struct, frozen=True):
    """A waiting message, as ``plan`` needs it. ``template_only``: free text has already failed on a closed window."""

    message_id: str
    person_id: str
    line: str
    spoken: Spoken
    requested_at: datetime
    expires_at: datetime
    template_only: bool = False
    attempts: int = 0


class History(Struct, frozen=True):
    """What is known at this moment of a message's person, number and template; instants are business time.

    ``held`` are scopes the provider asked to leave alone, until when. ``address`` None: known and not reachable.
    """

    line_known: bool
    person_known: bool
    address: Address | None
    window_opened_at: datetime | None
    template: TemplateState = TemplateState.USABLE
    template_held_until: datetime | None = None
    number_held_until: datetime | None = None
    pair_held_until: datetime | None = None
    number_sends: Sequence[datetime] = ()
    pair_sends: Sequence[datetime] = ()


class Send(Struct, frozen=True):
    wording: Wording
    address: Address


class Wait(Struct, frozen=True):
    until: datetime
    reason: Reason


class Drop(Struct, frozen=True):
    reason: Reason


Verdict = Send | Wait | Drop


def plan(message: Queued, history: History, limits: Limits, now: datetime) -> Verdict:
    if now >= message.expires_at:
        return Drop(Reason.EXPIRED)
    if not history.line_known:
        return Drop(Reason.UNKNOWN_LINE)
    if not history.person_known:
        return _wait_for_person(message, limits, now)
    if history.address is None:
        return Drop(Reason.NO_ADDRESS)
    wording = _wording(message, history, limits, now)
    if wording is None:
        return Drop(Reason.NO_TEMPLATE)
    return _obstacle(message, wording, history, limits, now) or Send(wording, history.address)


def _wait_for_person(message: Queued, limits: Limits, now: datetime) -> Verdict:
    """Contacts and requests travel on different topics: the person may be on the way."""
    patience_ends = message.requested_at + limits.patience
    if now >= patience_ends:
        return Drop(Reason.NO_ADDRESS)
    return _until(message, patience_ends, Reason.UNKNOWN_PERSON)


def _wording(message: Queued, history: History, limits: Limits, now: datetime) -> Wording | None:
    if not message.template_only and windows.is_open(history.window_opened_at, limits, now):
        return Wording.FREE_TEXT
    return Wording.TEMPLATE if message.spoken.template is not None else None


def _obstacle(message: Queued, wording: Wording, history: History, limits: Limits, now: datetime) -> Wait | Drop | None:
    held = _template_obstacle(message, history, now) if wording is Wording.TEMPLATE else None
    if held is not None:
        return held
    for until, reason in _delays(message.line, history, limits, now):
        if until is not None and until > now:
            return _until(message, until, reason)
    return None


def _template_obstacle(message: Queued, history: History, now: datetime) -> Wait | Drop | None:
    if history.template is TemplateState.DISABLED:
        return Drop(Reason.TEMPLATE_DISABLED)
    if history.template is TemplateState.PAUSED:
        return _until(message, now + _TEMPLATE_LOOK, Reason.TEMPLATE_PAUSED)
    if history.template_held_until is not None and history.template_held_until > now:
        return _until(message, history.template_held_until, Reason.TEMPLATE_HELD)
    return None


def _delays(line: str, history: History, limits: Limits, now: datetime) -> Sequence[tuple[datetime | None, Reason]]:
    held = ((history.number_held_until, Reason.NUMBER_HELD), (history.pair_held_until, Reason.PAIR_HELD))
    if limits.lifted:
        return held
    return (
        *held,
        (limits.pair.free_at(history.pair_sends, now), Reason.PAIR_RATE),
        (limits.number(line).free_at(history.number_sends, now), Reason.NUMBER_RATE),
    )


def _until(message: Queued, until: datetime, reason: Reason) -> Wait:
    """No later than its expiry, so that rules hears of that in time."""
    return Wait(min(until, message.expires_at), reason)

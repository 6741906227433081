"""Decides what to do with one waiting message now: send it, let it wait until an instant, or drop it. Pure.

It also judges the customer service window: each message or call of a person to a number opens it for 24 hours
(docs/reference/whatsapp.md).
"""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from services.dispatcher.payload import MessageContent, RecipientAddress
from services.dispatcher.rate_limits import SendLimits
from services.dispatcher.reasons import MessageReason
from services.dispatcher.templates import TemplateState, is_unwanted_marketing
from shared.contracts.messages import Lane, MessageForm
from shared.contracts.whatsapp import MessageKind, MessageReceived

OpenHours = Sequence[datetime]
"""Instants (business time), oldest first: an opening, its closing, the next opening, and so on. Without any, the
message may leave at any hour."""

_PAUSED_TEMPLATE_WAIT = timedelta(hours=1)  # a template whose state changes releases its messages earlier
_TEMPLATE_WAITS = {
    TemplateState.PENDING: MessageReason.TEMPLATE_PENDING,
    TemplateState.PAUSED: MessageReason.TEMPLATE_PAUSED,
    TemplateState.REJECTED: MessageReason.TEMPLATE_REJECTED,
    TemplateState.MISSING: MessageReason.TEMPLATE_MISSING,
    TemplateState.RECATEGORISED: MessageReason.TEMPLATE_RECATEGORISED,
    TemplateState.DISABLED: MessageReason.TEMPLATE_DISABLED,
}
_OPENING_KINDS = frozenset(
    {
        MessageKind.TEXT,
        MessageKind.BUTTON,
        MessageKind.LIST,
        MessageKind.MEDIA,
        MessageKind.LOCATION,
        MessageKind.CALL,
        MessageKind.UNSUPPORTED,
        MessageKind.OTHER,  # contacts, orders and the answers of flows among them
    }
)
"""Not reactions, edits and deletions: a window counted too short costs a template, one too long a failed message."""


def next_opening(open_hours: OpenHours, now: datetime) -> datetime | None:
    """``now`` where the message may leave, else the next opening, and None after the last closing."""
    place = bisect_right(open_hours, now)
    if not open_hours or place % 2:
        return now
    return open_hours[place] if place < len(open_hours) else None


def open_time(open_hours: OpenHours, begins: datetime, ends: datetime) -> timedelta:
    """How much of the time between two instants was open; for most messages both lie in one span."""
    place = bisect_right(open_hours, begins)
    if not open_hours or (place % 2 and begins <= ends <= open_hours[place]):
        return ends - begins
    spans = zip(open_hours[::2], open_hours[1::2], strict=True)
    return sum((max(min(ends, closes) - max(begins, opens), timedelta()) for opens, closes in spans), timedelta())


class QueuedMessage(Struct, frozen=True):
    """A waiting message.

    ``template_only``: free text must not be used. It has failed already because the window was closed, or it would be
    an offer that the person has not agreed to, and another template goes in its place.
    """

    message_id: str
    person_id: str
    line: str
    content: MessageContent
    requested_at: datetime
    expires_at: datetime
    template_only: bool = False
    attempts: int = 0
    lane: Lane = Lane.NORMAL
    mandatory: bool = False
    open_hours: OpenHours = ()


class SendContext(Struct, frozen=True):
    """The present knowledge of a message's person, number and template; instants are business time.

    ``is_marketing_paused`` and ``marketing_limited_until`` are of a marketing template alone: Meta delivers none to the
    person's country, or none to the person until then.

    The ``…_throttled_until`` are throttles of the provider, the ``…_restricted_until`` its restrictions of the account;
    ``portfolio_free_at`` is when a template to this person fits into the portfolio's people of a day, ``budget_until``
    when the month's budget allows the message. ``address`` None: the person is known and has no address.
    ``document_refusal`` is why the message's document can never be had; ``document_awaited_until`` is when to look
    again for one that WhatsApp does not have yet.
    ``number_sends`` and ``pair_sends`` are oldest first.
    """

    person_known: bool
    address: RecipientAddress | None
    window_opened_at: datetime | None
    template: TemplateState = TemplateState.USABLE
    is_marketing_paused: bool = False
    marketing_limited_until: datetime | None = None
    template_throttled_until: datetime | None = None
    is_template_paused_by_operator: bool = False
    document_awaited_until: datetime | None = None
    document_refusal: MessageReason | None = None
    portfolio_free_at: datetime | None = None
    template_restricted_until: datetime | None = None
    free_text_restricted_until: datetime | None = None
    budget_until: datetime | None = None
    number_throttled_until: datetime | None = None
    pair_throttled_until: datetime | None = None
    number_sends: Sequence[datetime] = ()
    pair_sends: Sequence[datetime] = ()


class SendNow(Struct, frozen=True):
    wording: MessageForm
    address: RecipientAddress


class Postpone(Struct, frozen=True):
    until: datetime
    reason: MessageReason


class DropMessage(Struct, frozen=True):
    reason: MessageReason


SendPlan = SendNow | Postpone | DropMessage


def plan_send(message: QueuedMessage, context: SendContext, limits: SendLimits, now: datetime) -> SendPlan:
    """Decide about a waiting message at ``now`` (business time); the first obstacle in this order decides.

    Its expiry, its person and address, its wording, its document, its template, its open hours, the account and the
    budget, throttles and rates.
    """
    if now >= message.expires_at:
        held = context.is_template_paused_by_operator
        return DropMessage(MessageReason.EXPIRED_WHILE_PAUSED if held else MessageReason.EXPIRED)
    if not context.person_known:
        return _wait_for_person(message, limits, now)
    if context.address is None:
        return DropMessage(MessageReason.NO_ADDRESS)
    wording = _choose_wording(message, context, limits, now)
    if wording is None:
        return DropMessage(MessageReason.NO_TEMPLATE)
    return _find_obstacle(message, wording, context, limits, now) or SendNow(wording, context.address)


def opens_window(message: MessageReceived) -> bool:
    """A message in a group does not open the window of the person's own chat."""
    return message.message_kind in _OPENING_KINDS and not message.in_group


def is_window_open(opened_at: datetime | None, limits: SendLimits, now: datetime) -> bool:
    """The window closes early by a margin, because a slow request must still arrive inside."""
    return opened_at is not None and now < opened_at + limits.window - limits.window_margin


def goes_as_free_text(message: QueuedMessage, opened_at: datetime | None, limits: SendLimits, now: datetime) -> bool:
    """Inside the window, unless it is marketing to a person who has not agreed to marketing."""
    if message.template_only or is_unwanted_marketing(message.content.template):
        return False
    return is_window_open(opened_at, limits, now)


def _wait_for_person(message: QueuedMessage, limits: SendLimits, now: datetime) -> SendPlan:
    """Contacts and requests travel on different topics: the person may be on the way."""
    last_instant = message.requested_at + limits.unknown_person_wait
    if now >= last_instant:
        return DropMessage(MessageReason.NO_ADDRESS)
    return _wait(message, last_instant, MessageReason.UNKNOWN_PERSON)


def _choose_wording(
    message: QueuedMessage, context: SendContext, limits: SendLimits, now: datetime
) -> MessageForm | None:
    if goes_as_free_text(message, context.window_opened_at, limits, now):
        return MessageForm.FREE_TEXT
    return MessageForm.TEMPLATE if message.content.template is not None else None


def _find_obstacle(
    message: QueuedMessage, wording: MessageForm, context: SendContext, limits: SendLimits, now: datetime
) -> Postpone | DropMessage | None:
    if context.document_refusal is not None:
        return DropMessage(context.document_refusal)
    if context.document_awaited_until is not None:
        return _wait(message, context.document_awaited_until, MessageReason.DOCUMENT_PENDING)
    obstacle = _find_template_obstacle(message, context, now) if wording is MessageForm.TEMPLATE else None
    if obstacle is not None:
        return obstacle
    opening = next_opening(message.open_hours, now)
    if opening != now:
        return _wait(message, opening or message.expires_at, MessageReason.QUIET_HOURS)
    for until, reason in (*_account_delays(wording, context), *_delays(message, context, limits, now)):
        if until is not None and until > now:
            return _wait(message, until, reason)
    return None


def _find_template_obstacle(message: QueuedMessage, context: SendContext, now: datetime) -> Postpone | None:
    if (reason := _TEMPLATE_WAITS.get(context.template)) is not None:
        return _wait(message, now + _PAUSED_TEMPLATE_WAIT, reason)
    if context.is_template_paused_by_operator:
        return _wait(message, now + _PAUSED_TEMPLATE_WAIT, MessageReason.PAUSED_BY_OPERATOR)
    if context.is_marketing_paused:
        return _wait(message, now + _PAUSED_TEMPLATE_WAIT, MessageReason.MARKETING_PAUSED)
    if context.marketing_limited_until is not None and context.marketing_limited_until > now:
        return _wait(message, context.marketing_limited_until, MessageReason.MARKETING_LIMIT)
    if context.template_throttled_until is not None and context.template_throttled_until > now:
        return _wait(message, context.template_throttled_until, MessageReason.TEMPLATE_THROTTLED)
    return None


def _account_delays(wording: MessageForm, context: SendContext) -> Sequence[tuple[datetime | None, MessageReason]]:
    """The instants until which the account, the budget and the portfolio hold this wording. WhatsApp restricts
    templates, by which a business writes first, apart from free text, which answers a customer.
    """
    if wording is MessageForm.FREE_TEXT:
        return (
            (context.free_text_restricted_until, MessageReason.ACCOUNT_RESTRICTED),
            (context.budget_until, MessageReason.BUDGET_SPENT),
        )
    return (
        (context.template_restricted_until, MessageReason.ACCOUNT_RESTRICTED),
        (context.budget_until, MessageReason.BUDGET_SPENT),
        (context.portfolio_free_at, MessageReason.PORTFOLIO_LIMIT),
    )


def _delays(
    message: QueuedMessage, context: SendContext, limits: SendLimits, now: datetime
) -> Sequence[tuple[datetime | None, MessageReason]]:
    throttles = (
        (context.number_throttled_until, MessageReason.NUMBER_THROTTLED),
        (context.pair_throttled_until, MessageReason.PAIR_THROTTLED),
    )
    if limits.lifted:
        return throttles
    number = limits.number_of_lane(message.line, message.lane)
    return (
        *throttles,
        (limits.pair.free_at(context.pair_sends, now), MessageReason.PAIR_RATE),
        (number.free_at(context.number_sends, now), MessageReason.NUMBER_RATE),
    )


def _wait(message: QueuedMessage, until: datetime, reason: MessageReason) -> Postpone:
    """No longer than the message's expiry, so that rules receives the drop in time."""
    return Postpone(min(until, message.expires_at), reason)

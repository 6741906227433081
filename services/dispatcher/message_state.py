"""The state machine of one message at the provider: its states, the table of transitions, and one function for each.

Every function is pure and returns a ``StateChange``: the message afterwards, the events to publish, and how the attempt
ended. Input that changes nothing returns the same message without events, so applying it twice is harmless.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import TypedDict

from msgspec import Struct
from msgspec.structs import replace

from services.dispatcher.provider_responses import SendError
from services.dispatcher.reasons import MessageReason
from shared.contracts import messages
from shared.contracts.ids import MessageId, PersonId, Wamid
from shared.contracts.messages import MessageEventData, MessageForm, Resend, Resolution, SentTemplate

MAX_FAILURES = 10
"""Attempts of one message that may fail, for whatever reason, before the message fails."""


class MessageState(StrEnum):
    """``intent`` is committed before the request leaves, so that a crash leaves a trace."""

    WAITING = "waiting"
    INTENT = "intent"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    READ = "read"
    UNCERTAIN = "uncertain"
    FAILED = "failed"
    DROPPED = "dropped"
    WITHDRAWN = "withdrawn"


SENT = frozenset({MessageState.ACCEPTED, MessageState.DELIVERED, MessageState.READ})
"""WhatsApp is known to have accepted the message."""


class Transition(StrEnum):
    """The name of each arrow in the state diagram."""

    BEGIN = "begin"  # an attempt is committed, and its request may leave
    ACCEPT = "accept"  # WhatsApp accepted the newest attempt
    DELIVER = "deliver"  # a status: delivered
    READ = "read"  # a status: read or played
    MARK_UNCERTAIN = "mark_uncertain"  # the request left, and no readable response came
    PROVE = "prove"  # a status, a tap, a late response or an operator proves that the message was sent
    RETRY = "retry"  # the attempt did not arrive, and the message goes back into the queue
    FAIL = "fail"  # the message is given up after an attempt
    DROP = "drop"  # the message is given up before any attempt
    WITHDRAW = "withdraw"  # rules withdrew the message, and it was not sent


_ATTEMPTED = frozenset({MessageState.INTENT, MessageState.UNCERTAIN, MessageState.ACCEPTED})
_ON_THE_WAY = _ATTEMPTED | {MessageState.WAITING}

INITIAL = MessageState.WAITING
TRANSITIONS: Mapping[Transition, tuple[frozenset[MessageState], MessageState]] = {
    Transition.BEGIN: (frozenset({MessageState.WAITING}), MessageState.INTENT),  # by the query begin_attempts
    Transition.ACCEPT: (frozenset({MessageState.INTENT}), MessageState.ACCEPTED),  # also by the query accept_attempts
    Transition.DELIVER: (frozenset({MessageState.ACCEPTED}), MessageState.DELIVERED),
    Transition.READ: (frozenset({MessageState.ACCEPTED, MessageState.DELIVERED}), MessageState.READ),
    Transition.MARK_UNCERTAIN: (frozenset({MessageState.INTENT, MessageState.UNCERTAIN}), MessageState.UNCERTAIN),
    Transition.PROVE: (frozenset(MessageState) - SENT - {MessageState.DROPPED}, MessageState.ACCEPTED),
    Transition.RETRY: (_ATTEMPTED, MessageState.WAITING),
    Transition.FAIL: (_ON_THE_WAY, MessageState.FAILED),
    Transition.DROP: (frozenset({MessageState.WAITING}), MessageState.DROPPED),
    Transition.WITHDRAW: (_ON_THE_WAY, MessageState.WITHDRAWN),
}
"""For each transition the states it may start from and the state it leads to. ``docs/architecture.md`` draws this."""


class InvalidTransition(Exception):
    """The state machine has no such arrow: a fault in this service."""


class DeliveryRank(IntEnum):
    """How far WhatsApp's statuses prove the newest attempt got; it only rises. ``failed`` has no rank."""

    NONE = 0
    SENT = 1
    DELIVERED = 2
    READ = 3


class SendEvidence(StrEnum):
    """The evidence that settled an uncertain send."""

    STATUS = "status"
    TAP = "tap"
    LATE_ANSWER = "late_answer"
    SILENCE = "silence"
    PERSON = "person"


class AttemptResult(StrEnum):
    """How an attempt ended, as far as is known."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    NOT_WRITTEN = "not_written"
    UNCERTAIN = "uncertain"
    FAILED = "failed"


class TrackedMessage(Struct, frozen=True):
    """One row of the table ``messages``. ``not_before`` is business time, ``hold_until`` and ``lease_until`` (of
    the newest attempt) machine time.

    ``attempts`` counts the requests begun. ``failed_attempt`` is the newest attempt that a status reported as failed;
    ``rank`` and ``wamid`` belong to the newest accepted attempt. ``withdrawal`` is why rules withdrew the message after
    an attempt began. ``failures`` counts the attempts that WhatsApp refused, failed or never reported on. ``template``
    is a name and a language, that of the request; ``used_template`` is that of the newest attempt, which may be the
    fallback.
    """

    message_id: MessageId
    person_id: PersonId
    line: str
    state: MessageState
    reason: MessageReason | None
    resend: Resend
    expires_at: datetime
    not_before: datetime
    hold_until: datetime | None = None
    lease_until: datetime | None = None
    attempts: int = 0
    wording: MessageForm | None = None
    template_only: bool = False
    wamid: Wamid | None = None
    rank: DeliveryRank = DeliveryRank.NONE
    failed_attempt: int = 0
    failed_code: int | None = None
    withdrawal: str | None = None
    failures: int = 0
    template: tuple[str, str] | None = None
    used_template: tuple[str, str] | None = None

    @property
    def sent_template(self) -> SentTemplate | None:
        """The template as which the newest attempt was made; None for free text."""
        return sent_template(self.used_template if self.wording is MessageForm.TEMPLATE else None)


def sent_template(template: tuple[str, str] | None) -> SentTemplate | None:
    """A template's name and language, as events say them."""
    return None if template is None else SentTemplate(name=template[0], language=template[1])


class EndedAttempt(Struct, frozen=True):
    attempt: int
    result: AttemptResult
    wamid: Wamid | None = None
    code: int | None = None


class StateChange(Struct, frozen=True):
    """``error`` comes from a failed status, for throttles that concern more than this message."""

    message: TrackedMessage
    events: tuple[MessageEventData, ...] = ()
    ended: EndedAttempt | None = None
    error: SendError | None = None


class RetryTime(Struct, frozen=True):
    """When a message may be sent again: business time, and machine time where the provider must recover first."""

    not_before: datetime
    hold_until: datetime | None = None


def transition(message: TrackedMessage, name: Transition, **changes: object) -> TrackedMessage:
    """Follow one arrow of the table. Raises InvalidTransition where there is none from the message's state."""
    sources, target = TRANSITIONS[name]
    if message.state not in sources:
        raise InvalidTransition(f"message {message.message_id} is {message.state}: {name} starts elsewhere")
    return replace(message, state=target, **changes)


def accept(message: TrackedMessage, wamid: Wamid, now: datetime) -> StateChange:
    """WhatsApp accepted the newest attempt."""
    accepted = messages.MessageAccepted(
        **_subject(message, now),
        wamid=wamid,
        wording=message.wording or MessageForm.FREE_TEXT,
        template=message.sent_template,
    )
    return StateChange(
        transition(message, Transition.ACCEPT, reason=None, wamid=wamid, rank=DeliveryRank.NONE),
        (accepted, *_too_late(message, now)),
        EndedAttempt(message.attempts, AttemptResult.ACCEPTED, wamid),
    )


def prove_sent(message: TrackedMessage, wamid: Wamid | None, evidence: SendEvidence, now: datetime) -> StateChange:
    """The newest attempt was sent, although its response did not come or the attempt was given up."""
    if message.state is MessageState.INTENT and wamid is not None:
        return accept(message, wamid, now)
    if message.state in SENT:
        return StateChange(message)
    resolved = messages.MessageResolved(
        **_subject(message, now),
        resolution=Resolution.SENT,
        evidence=evidence,
        wamid=wamid,
        wording=message.wording,
        template=message.sent_template,
    )
    return StateChange(
        transition(message, Transition.PROVE, reason=None, wamid=wamid, rank=DeliveryRank.NONE),
        (resolved, *_too_late(message, now)),
        EndedAttempt(message.attempts, AttemptResult.ACCEPTED, wamid),
    )


def mark_uncertain(
    message: TrackedMessage, reason: MessageReason, now: datetime, code: int | None = None
) -> StateChange:
    """The newest attempt began, and its effect is unknown."""
    uncertain = messages.MessageUncertain(**_subject(message, now), reason=reason)
    return StateChange(
        transition(message, Transition.MARK_UNCERTAIN, reason=reason, failed_code=code),
        (uncertain, *_too_late(message, now)),
        EndedAttempt(message.attempts, AttemptResult.UNCERTAIN, code=code),
    )


def retry(
    message: TrackedMessage, reason: MessageReason, at: RetryTime, now: datetime, ended: EndedAttempt | None = None
) -> StateChange:
    """The attempt did not arrive: the message waits again, unless rules withdrew it meanwhile."""
    if message.withdrawal is not None:
        return replace(_withdraw(message, message.withdrawal, now), ended=ended)
    after = transition(
        message,
        Transition.RETRY,
        reason=reason,
        not_before=at.not_before,
        hold_until=at.hold_until,
        wamid=None,
        rank=DeliveryRank.NONE,
    )
    return StateChange(after, (), ended)


def fail(
    message: TrackedMessage,
    reason: MessageReason,
    now: datetime,
    code: int | None = None,
    ended: EndedAttempt | None = None,
) -> StateChange:
    event = messages.MessageFailed(**_subject(message, now), wamid=message.wamid, code=code, reason=reason)
    return StateChange(transition(message, Transition.FAIL, reason=reason, failed_code=code), (event,), ended)


def drop(message: TrackedMessage, reason: MessageReason, now: datetime) -> StateChange:
    """Give up a waiting message. One that was attempted before fails; only an untouched one is dropped."""
    if message.state is not MessageState.WAITING:
        return StateChange(message)
    if message.attempts:
        return fail(message, reason, now, message.failed_code)
    event = messages.MessageDropped(**_subject(message, now), reason=reason)
    return StateChange(transition(message, Transition.DROP, reason=reason), (event,))


def withdraw(message: TrackedMessage, reason: str, now: datetime) -> StateChange:
    """Rules withdraws the message: done while it waits, reported as too late once it was sent.

    For an intent only the sender knows whether the request has begun. The withdrawal is noted, and the outcome of the
    request decides whether it came in time.
    """
    if message.state is MessageState.INTENT:
        return StateChange(replace(message, withdrawal=message.withdrawal or reason))
    if message.state is MessageState.WAITING:
        return _withdraw(message, reason, now)
    if message.state in {MessageState.DROPPED, MessageState.WITHDRAWN}:
        return StateChange(message)
    too_late = messages.MessageTooLate(**_subject(message, now), wamid=message.wamid)
    return StateChange(replace(message, withdrawal=reason), (too_late,))


def settle_by_silence(message: TrackedMessage, now: datetime) -> StateChange:
    """No evidence came for long enough while the webhooks were complete: send again where the policy allows it."""
    if message.state is not MessageState.UNCERTAIN:
        return StateChange(message)
    if message.withdrawal is not None:
        resolved = _resolved(message, Resolution.NOT_SENT, SendEvidence.SILENCE, now)
        change = _withdraw(message, message.withdrawal, now)
        return replace(change, events=(*change.events, resolved))
    if message.resend is not Resend.IF_UNPROVEN:
        return StateChange(message)
    if message.failures + 1 >= MAX_FAILURES:
        return settle_not_sent(message, SendEvidence.SILENCE, now)
    return settle_and_resend(message, SendEvidence.SILENCE, now)


def settle_and_resend(message: TrackedMessage, evidence: SendEvidence, now: datetime) -> StateChange:
    """The uncertain send was not sent, and the message goes back into the queue."""
    counted = replace(message, failures=message.failures + 1)
    change = retry(counted, MessageReason.REPEATED, RetryTime(now), now)
    return replace(change, events=(resent(message, evidence, now), *change.events))


def settle_not_sent(message: TrackedMessage, evidence: SendEvidence, now: datetime) -> StateChange:
    """The uncertain send was not sent, and the message is given up."""
    after = transition(message, Transition.FAIL, reason=MessageReason.SETTLED_NOT_SENT)
    return StateChange(after, (_resolved(message, Resolution.NOT_SENT, evidence, now),))


def raise_rank(message: TrackedMessage, rank: DeliveryRank) -> TrackedMessage:
    """A status proves more than was known of a sent message."""
    match rank:
        case DeliveryRank.DELIVERED:
            return transition(message, Transition.DELIVER, rank=rank)
        case DeliveryRank.READ:
            return transition(message, Transition.READ, rank=rank)
        case DeliveryRank.SENT | DeliveryRank.NONE:
            return replace(message, rank=rank)


def _withdraw(message: TrackedMessage, reason: str, now: datetime) -> StateChange:
    event = messages.MessageWithdrawn(**_subject(message, now), reason=reason)
    return StateChange(transition(message, Transition.WITHDRAW, reason=None, withdrawal=reason), (event,))


def _too_late(message: TrackedMessage, now: datetime) -> tuple[MessageEventData, ...]:
    """The request had begun before its withdrawal came."""
    if message.state is not MessageState.INTENT or message.withdrawal is None:
        return ()
    return (messages.MessageTooLate(**_subject(message, now), wamid=message.wamid),)


def resent(message: TrackedMessage, evidence: SendEvidence, now: datetime) -> messages.MessageResolved:
    """The newest attempt did not arrive, and the message waits to go again: rules may withdraw it now."""
    return _resolved(message, Resolution.RESENT, evidence, now)


def _resolved(
    message: TrackedMessage, resolution: Resolution, evidence: SendEvidence, now: datetime
) -> messages.MessageResolved:
    return messages.MessageResolved(**_subject(message, now), resolution=resolution, evidence=evidence)


class _Subject(TypedDict):
    message_id: MessageId
    person_id: PersonId
    at: datetime


def _subject(message: TrackedMessage, now: datetime) -> _Subject:
    return {"message_id": message.message_id, "person_id": message.person_id, "at": now}

"""Applies the outcome of a request, or a later status, to a message: the policy on top of the state machine.

Pure. The sender observes the outcome of its own request; a status is WhatsApp's later report on the same attempt.
"""

from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from services.dispatcher.message_state import (
    MAX_FAILURES,
    SENT,
    AttemptResult,
    DeliveryRank,
    EndedAttempt,
    MessageState,
    RetryTime,
    SendEvidence,
    StateChange,
    TrackedMessage,
    accept,
    fail,
    mark_uncertain,
    prove_sent,
    raise_rank,
    resent,
    retry,
)
from services.dispatcher.provider_responses import (
    ErrorAction,
    ErrorPolicy,
    SendAccepted,
    SendError,
    SendNotStarted,
    SendOutcome,
    SendUncertain,
    error_policy,
)
from services.dispatcher.reasons import MessageReason
from shared.contracts import messages
from shared.contracts.ids import Wamid
from shared.contracts.whatsapp import DeliveryStatus

_MOST_REFUSALS = 3  # of a message that WhatsApp refuses with an error that may pass
_RETRY_AFTER_FAILED_STATUS = timedelta(minutes=1)
_TIME_TO_WITHDRAW = timedelta(seconds=5)  # for rules, where the reason of a message that goes again is gone

_TEMPORARY = frozenset({ErrorAction.THROTTLE_NUMBER, ErrorAction.THROTTLE_PAIR, ErrorAction.OPERATOR})
_REFUSALS = {
    ErrorAction.REFUSE_PERSON: MessageReason.UNREACHABLE,
    ErrorAction.REFUSE_MESSAGE: MessageReason.MESSAGE_REFUSED,
    ErrorAction.USE_TEMPLATE: MessageReason.NO_TEMPLATE,
}
_RANKS = {
    DeliveryStatus.SENT: DeliveryRank.SENT,
    DeliveryStatus.DELIVERED: DeliveryRank.DELIVERED,
    DeliveryStatus.READ: DeliveryRank.READ,
    DeliveryStatus.PLAYED: DeliveryRank.READ,
}
_EVENTS: dict[DeliveryRank, type[messages.MessageDelivered | messages.MessageRead]] = {
    DeliveryRank.DELIVERED: messages.MessageDelivered,
    DeliveryRank.READ: messages.MessageRead,
}


class StatusReport(Struct, frozen=True):
    """A status of one attempt; ``at`` is WhatsApp's timestamp."""

    wamid: Wamid
    attempt: int
    status: DeliveryStatus
    at: datetime
    code: int | None = None


def apply_outcome(
    message: TrackedMessage,
    attempt: int,
    outcome: SendOutcome,
    retry_at: RetryTime,
    now: datetime,
    lease_until: datetime | None = None,
) -> StateChange:
    """``retry_at`` is when the message may be sent again if the outcome allows that.

    Another leader may have begun an attempt with the same number where this one's was never committed; ``lease_until``
    tells the two apart.
    """
    if attempt != message.attempts or (lease_until is not None and lease_until != message.lease_until):
        return StateChange(message)  # the attempt was given up and repeated since; its own statuses will settle it
    if message.state is MessageState.INTENT:
        return _apply_awaited(message, outcome, retry_at, now)
    if message.state is MessageState.UNCERTAIN:
        return _apply_late(message, outcome, retry_at, now)
    return StateChange(message)


def apply_status(message: TrackedMessage, report: StatusReport, now: datetime) -> StateChange:
    """Ranks only rise. A failure after the delivery is noted and reverses nothing."""
    if report.status is DeliveryStatus.FAILED:
        return _apply_failed_status(message, report, now)
    rank = _RANKS.get(report.status)
    if rank is None or message.state in {MessageState.DROPPED, MessageState.WITHDRAWN}:
        return StateChange(message)
    if rank is DeliveryRank.SENT and report.attempt == message.failed_attempt:
        return StateChange(message)  # the attempt failed since: this status is older
    return _raise_rank(_prove(message, report, now), rank, report)


def _apply_awaited(message: TrackedMessage, outcome: SendOutcome, retry_at: RetryTime, now: datetime) -> StateChange:
    attempt = message.attempts
    match outcome:
        case SendAccepted(wamid):
            return accept(message, wamid, now)
        case SendUncertain(reason):
            return mark_uncertain(message, reason, now)
        case SendNotStarted(reason):
            keeps_place = reason is MessageReason.LEASE_ENDED  # it was not tried at all
            at = RetryTime(message.not_before) if keeps_place else retry_at
            return retry(message, reason, at, now, EndedAttempt(attempt, AttemptResult.NOT_WRITTEN))
        case SendError(code, policy) if policy.ambiguous:
            return mark_uncertain(message, MessageReason.SERVER_ERROR, now, code)
        case SendError(code, policy):
            ended = EndedAttempt(attempt, AttemptResult.REFUSED, code=code)
            return _refuse(message, ended, policy, retry_at, now)


def _apply_late(message: TrackedMessage, outcome: SendOutcome, retry_at: RetryTime, now: datetime) -> StateChange:
    """The lease had ended because the sending process stood still; its outcome is still the best evidence."""
    match outcome:
        case SendAccepted(wamid):
            return prove_sent(message, wamid, SendEvidence.LATE_ANSWER, now)
        case SendUncertain():
            return StateChange(message)
        case _:
            return _apply_awaited(message, outcome, retry_at, now)


def _refuse(
    message: TrackedMessage, ended: EndedAttempt, policy: ErrorPolicy, retry_at: RetryTime, now: datetime
) -> StateChange:
    if policy.action is ErrorAction.USE_TEMPLATE and message.template and not message.template_only:
        as_template = replace(message, template_only=True)
        return retry(as_template, MessageReason.WINDOW_WAS_CLOSED, retry_at, now, ended)
    counted = replace(message, failures=message.failures + 1, failed_code=ended.code)
    is_temporary = policy.action in _TEMPORARY and counted.failures < MAX_FAILURES
    if is_temporary or (policy.action is ErrorAction.RETRY and counted.failures < _MOST_REFUSALS):
        return retry(counted, MessageReason.REFUSED_FOR_NOW, retry_at, now, ended)
    return fail(counted, _REFUSALS.get(policy.action, MessageReason.REFUSED_AGAIN), now, ended.code, ended)


def _apply_failed_status(message: TrackedMessage, report: StatusReport, now: datetime) -> StateChange:
    """The status ``failed`` proves that the message did not arrive, so another attempt repeats nothing."""
    if message.rank >= DeliveryRank.DELIVERED:
        return StateChange(replace(message, failed_code=report.code))
    if report.attempt != message.attempts or message.state not in SENT | {MessageState.INTENT, MessageState.UNCERTAIN}:
        return StateChange(message)
    proved = _prove(message, report, now)
    marked = replace(proved.message, failed_attempt=report.attempt, failed_code=report.code)
    ended = EndedAttempt(report.attempt, AttemptResult.FAILED, report.wamid, report.code)
    policy = ErrorPolicy(ErrorAction.REFUSE_MESSAGE) if report.code is None else error_policy(report.code)
    wait = _TIME_TO_WITHDRAW if policy.action is ErrorAction.USE_TEMPLATE else _RETRY_AFTER_FAILED_STATUS
    change = _refuse(marked, ended, policy, RetryTime(now + wait), now)
    again = (resent(marked, SendEvidence.STATUS, now),) if change.message.state is MessageState.WAITING else ()
    return replace(change, events=(*proved.events, *again, *change.events), error=SendError(report.code, policy))


def _prove(message: TrackedMessage, report: StatusReport, now: datetime) -> StateChange:
    """A status of the newest attempt proves that it was sent, also where it counted as uncertain or failed."""
    if report.attempt != message.attempts or message.state in SENT:
        is_complete = message.wamid or message.state not in SENT
        return StateChange(message if is_complete else replace(message, wamid=report.wamid))
    return prove_sent(message, report.wamid, SendEvidence.STATUS, now)


def _raise_rank(change: StateChange, rank: DeliveryRank, report: StatusReport) -> StateChange:
    message = change.message
    if rank <= message.rank or message.state not in SENT:
        return change
    after = raise_rank(message, rank)
    event_type = _EVENTS.get(rank)
    if event_type is None:
        return replace(change, message=after)
    event = event_type(message_id=message.message_id, person_id=message.person_id, at=report.at, wamid=report.wamid)
    return replace(change, message=after, events=(*change.events, event))

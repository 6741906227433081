"""What an answer, or a status that comes later, makes of a message: the rules on top of the state machine. Pure."""

from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from services.dispatcher.errors import Action, Fault, fault_of
from services.dispatcher.outcomes import Doubtful, Faulted, Outcome, Taken, Unsent
from services.dispatcher.standing import (
    MOST_FAILURES,
    Delay,
    Ended,
    Ending,
    Standing,
    Step,
    again,
    doubted,
    failed,
    proved,
    taken,
)
from services.dispatcher.states import RANKS, SENT, Evidence, Rank, Reason, State
from shared.contracts import messages
from shared.contracts.ids import Wamid
from shared.contracts.whatsapp import Status

_TRIES = 3  # attempts of a message WhatsApp refuses with an error that may pass
_LATER = timedelta(minutes=1)  # before a message a status called failed goes again

_PASSING = frozenset({Action.THROTTLE_NUMBER, Action.THROTTLE_PAIR, Action.OPERATOR})
_REFUSALS = {
    Action.REFUSE_PERSON: Reason.UNREACHABLE,
    Action.REFUSE_TEMPLATE: Reason.TEMPLATE_REFUSED,
    Action.REFUSE_MESSAGE: Reason.MESSAGE_REFUSED,
    Action.USE_TEMPLATE: Reason.NO_TEMPLATE,
}


class Report(Struct, frozen=True):
    """A status of one attempt."""

    wamid: Wamid
    attempt: int
    status: Status
    at: datetime
    code: int | None = None


def answered(standing: Standing, attempt: int, outcome: Outcome, delay: Delay, now: datetime) -> Step:
    """``delay`` is when the message may go again if the outcome lets it."""
    if attempt != standing.attempts:
        return Step(standing)  # it was given up and sent again since; its own statuses will tell
    if standing.state is State.INTENT:
        return _answered(standing, outcome, delay, now)
    if standing.state is State.UNCERTAIN:
        return _answered_late(standing, outcome, delay, now)
    return Step(standing)


def reported(standing: Standing, report: Report, now: datetime) -> Step:
    """Ranks only rise; a failure after the delivery is noted and reverses nothing."""
    if report.status is Status.FAILED:
        return _reported_failed(standing, report, now)
    rank = RANKS.get(report.status)
    if rank is None or standing.state in {State.DROPPED, State.WITHDRAWN}:
        return Step(standing)
    if rank is Rank.SENT and report.attempt == standing.failed_attempt:
        return Step(standing)  # it failed since: an old piece of news
    step = _prove(standing, report, now)
    return _raise(step, rank, report)


def _answered(standing: Standing, outcome: Outcome, delay: Delay, now: datetime) -> Step:
    attempt = standing.attempts
    match outcome:
        case Taken(wamid):
            return taken(standing, wamid, now)
        case Doubtful(reason):
            return doubted(standing, reason, now)
        case Unsent(reason):
            return again(standing, reason, delay, now, Ended(attempt, Ending.NOT_WRITTEN))
        case Faulted(code, fault) if fault.ambiguous:
            return doubted(standing, Reason.SERVER_ERROR, now, code)
        case Faulted(code, fault):
            return _refused(standing, Ended(attempt, Ending.REFUSED, code=code), fault, delay, now)


def _answered_late(standing: Standing, outcome: Outcome, delay: Delay, now: datetime) -> Step:
    """Its lease had ended: the process that began it stood still, and now knows what nobody else can."""
    match outcome:
        case Taken(wamid):
            return proved(standing, wamid, Evidence.LATE_ANSWER, now)
        case Doubtful():
            return Step(standing)
        case _:
            return _answered(standing, outcome, delay, now)


def _refused(standing: Standing, ended: Ended, fault: Fault, delay: Delay, now: datetime) -> Step:
    if fault.action is Action.USE_TEMPLATE and standing.has_template and not standing.template_only:
        return again(replace(standing, template_only=True), Reason.WINDOW_WAS_CLOSED, delay, now, ended)
    counted = replace(standing, failures=standing.failures + 1, failed_code=ended.code)
    passing = fault.action in _PASSING and counted.failures < MOST_FAILURES
    if passing or (fault.action is Action.RETRY and ended.attempt < _TRIES):
        return again(counted, Reason.REFUSED_FOR_NOW, delay, now, ended)
    return failed(counted, _REFUSALS.get(fault.action, Reason.REFUSED_AGAIN), now, ended.code, ended)


def _reported_failed(standing: Standing, report: Report, now: datetime) -> Step:
    """``failed`` proves that it did not arrive, so going again repeats nothing."""
    if standing.rank >= Rank.DELIVERED:
        return Step(replace(standing, failed_code=report.code))
    if report.attempt != standing.attempts or standing.state not in SENT | {State.INTENT, State.UNCERTAIN}:
        return Step(standing)
    step = _prove(standing, report, now)
    marked = replace(step.standing, failed_attempt=report.attempt, failed_code=report.code)
    ended = Ended(report.attempt, Ending.FAILED, report.wamid, report.code)
    fault = Fault(Action.REFUSE_MESSAGE) if report.code is None else fault_of(report.code)
    wait = timedelta(0) if fault.action is Action.USE_TEMPLATE else _LATER
    then = _refused(marked, ended, fault, Delay(now + wait), now)
    return replace(then, news=(*step.news, *then.news), failure=Faulted(report.code, fault))


def _prove(standing: Standing, report: Report, now: datetime) -> Step:
    """What a status says of the newest attempt holds for the message, whatever we believed."""
    if report.attempt != standing.attempts or standing.state in SENT:
        known = standing if standing.wamid or standing.state not in SENT else replace(standing, wamid=report.wamid)
        return Step(known)
    return proved(standing, report.wamid, Evidence.STATUS, now)


def _raise(step: Step, rank: Rank, report: Report) -> Step:
    standing = step.standing
    if rank <= standing.rank or standing.state not in SENT:
        return step
    after = replace(standing, rank=rank, state=_STATE_OF_RANK[rank])
    kind = _NEWS_OF_RANK.get(rank)
    if kind is None:
        return replace(step, standing=after)
    news = kind(message_id=standing.message_id, person_id=standing.person_id, at=report.at, wamid=report.wamid)
    return replace(step, standing=after, news=(*step.news, news))


_STATE_OF_RANK = {Rank.SENT: State.ACCEPTED, Rank.DELIVERED: State.DELIVERED, Rank.READ: State.READ}
_NEWS_OF_RANK: dict[Rank, type[messages.MessageDelivered | messages.MessageRead]] = {
    Rank.DELIVERED: messages.MessageDelivered,
    Rank.READ: messages.MessageRead,
}

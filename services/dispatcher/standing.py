"""Where one message stands, and what each piece of news makes of it: the ledger's state machine. Pure.

Every function returns a ``Step``: the new standing, what to announce, and how the attempt it was about ended. News that
changes nothing gives the same standing and announces nothing, so repeating it is harmless.
"""

from datetime import datetime
from enum import StrEnum
from typing import TypedDict

from msgspec import Struct
from msgspec.structs import replace

from services.dispatcher.outcomes import Faulted
from services.dispatcher.states import SENT, Evidence, Rank, Reason, State
from shared.contracts import messages
from shared.contracts.ids import MessageId, PersonId, Wamid
from shared.contracts.messages import MessageEventData, Resend, Resolution, Wording

MOST_FAILURES = 10
"""Attempts of one message that may fail, whatever the reason, before it does."""


class Standing(Struct, frozen=True):
    """One row of the ledger. ``not_before`` is business time, ``hold_until`` machine time.

    ``attempts`` counts the requests begun; ``failed_attempt`` is the newest one a status called failed, ``rank`` and
    ``wamid`` belong to the newest one taken. ``withdrawal`` is why rules took it back after it was begun. ``failures``
    counts the attempts that WhatsApp refused, failed, or never spoke of; ``template`` is a name and a language.
    """

    message_id: MessageId
    person_id: PersonId
    line: str
    state: State
    reason: Reason | None
    resend: Resend
    has_template: bool
    expires_at: datetime
    not_before: datetime
    hold_until: datetime | None = None
    attempts: int = 0
    wording: Wording | None = None
    template_only: bool = False
    wamid: Wamid | None = None
    rank: Rank = Rank.NONE
    failed_attempt: int = 0
    failed_code: int | None = None
    withdrawal: str | None = None
    failures: int = 0
    template: tuple[str, str] | None = None


class Ending(StrEnum):
    """How an attempt ended, as far as we know."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    NOT_WRITTEN = "not_written"
    UNCERTAIN = "uncertain"
    FAILED = "failed"


class Ended(Struct, frozen=True):
    attempt: int
    ending: Ending
    wamid: Wamid | None = None
    code: int | None = None


class Step(Struct, frozen=True):
    """``failure`` is what a status said of an attempt, for what it stops beyond this message."""

    standing: Standing
    news: tuple[MessageEventData, ...] = ()
    ended: Ended | None = None
    failure: Faulted | None = None


class Delay(Struct, frozen=True):
    """When a message that goes again may: business time, and machine time where the world must recover first."""

    not_before: datetime
    hold_until: datetime | None = None


def taken(standing: Standing, wamid: Wamid, now: datetime) -> Step:
    """WhatsApp accepted the newest attempt."""
    after = replace(standing, state=State.ACCEPTED, reason=None, wamid=wamid, rank=Rank.NONE)
    accepted = messages.MessageAccepted(
        **_about(standing, now), wamid=wamid, wording=standing.wording or Wording.FREE_TEXT
    )
    return Step(after, (accepted, *_too_late(standing, now)), Ended(standing.attempts, Ending.ACCEPTED, wamid))


def proved(standing: Standing, wamid: Wamid | None, evidence: Evidence, now: datetime) -> Step:
    """Something shows that the newest attempt was sent: an answer that is not awaited, or was given up, any more."""
    if standing.state is State.INTENT and wamid is not None:
        return taken(standing, wamid, now)
    if standing.state in SENT:
        return Step(standing)
    after = replace(standing, state=State.ACCEPTED, reason=None, wamid=wamid, rank=Rank.NONE)
    resolved = messages.MessageResolved(
        **_about(standing, now), resolution=Resolution.SENT, evidence=evidence, wamid=wamid
    )
    return Step(after, (resolved, *_too_late(standing, now)), Ended(standing.attempts, Ending.ACCEPTED, wamid))


def doubted(standing: Standing, reason: Reason, now: datetime, code: int | None = None) -> Step:
    """The newest attempt was begun, and nobody knows what became of it."""
    after = replace(standing, state=State.UNCERTAIN, reason=reason, failed_code=code)
    uncertain = messages.MessageUncertain(**_about(standing, now), reason=reason)
    return Step(after, (uncertain, *_too_late(standing, now)), Ended(standing.attempts, Ending.UNCERTAIN, code=code))


def again(standing: Standing, reason: Reason, delay: Delay, now: datetime, ended: Ended | None = None) -> Step:
    """It did not arrive and may go again, unless rules has taken it back meanwhile."""
    if standing.withdrawal is not None:
        return replace_step(_withdraw(standing, standing.withdrawal, now), ended)
    after = replace(
        standing,
        state=State.WAITING,
        reason=reason,
        not_before=delay.not_before,
        hold_until=delay.hold_until,
        wamid=None,
        rank=Rank.NONE,
    )
    return Step(after, (), ended)


def failed(
    standing: Standing, reason: Reason, now: datetime, code: int | None = None, ended: Ended | None = None
) -> Step:
    after = replace(standing, state=State.FAILED, reason=reason, failed_code=code)
    news = messages.MessageFailed(**_about(standing, now), wamid=standing.wamid, code=code, reason=reason)
    return Step(after, (news,), ended)


def dropped(standing: Standing, reason: Reason, now: datetime) -> Step:
    """``plan`` gave it up. What was attempted before has failed; only the untouched is dropped."""
    if standing.state is not State.WAITING:
        return Step(standing)
    if standing.attempts:
        return failed(standing, reason, now, standing.failed_code)
    after = replace(standing, state=State.DROPPED, reason=reason)
    return Step(after, (messages.MessageDropped(**_about(standing, now), reason=reason),))


def withdrawn(standing: Standing, why: str, now: datetime) -> Step:
    """Rules takes it back: done while it waits, said to be too late once it was begun."""
    if standing.state is State.WAITING:
        return _withdraw(standing, why, now)
    if standing.state in {State.DROPPED, State.WITHDRAWN}:
        return Step(standing)
    too_late = messages.MessageTooLate(**_about(standing, now), wamid=standing.wamid)
    return Step(replace(standing, withdrawal=why), (too_late,))


def called_back(standing: Standing, why: str, now: datetime) -> Step:
    """Rules takes it back. Where a request is claimed, only the sender knows whether it has begun: what becomes of the
    request says whether the withdrawal won or came too late.
    """
    if standing.state is State.INTENT:
        return Step(replace(standing, withdrawal=standing.withdrawal or why))
    return withdrawn(standing, why, now)


def unproven(standing: Standing, now: datetime) -> Step:
    """Silence for long enough, with a whole webhook stream: resent only where its policy allows."""
    if standing.state is not State.UNCERTAIN:
        return Step(standing)
    if standing.withdrawal is not None:
        resolved = _resolved(standing, Resolution.NOT_SENT, Evidence.SILENCE, now)
        step = _withdraw(standing, standing.withdrawal, now)
        return replace(step, news=(resolved, *step.news))
    if standing.resend is not Resend.IF_UNPROVEN:
        return Step(standing)
    if standing.failures + 1 >= MOST_FAILURES:
        return not_sent(standing, Evidence.SILENCE, now)
    return resent(standing, Evidence.SILENCE, now)


def resent(standing: Standing, evidence: Evidence, now: datetime) -> Step:
    """Settled as not sent, and it goes again."""
    counted = replace(standing, failures=standing.failures + 1)
    step = again(counted, Reason.REPEATED, Delay(now), now)
    return replace(step, news=(_resolved(standing, Resolution.RESENT, evidence, now), *step.news))


def not_sent(standing: Standing, evidence: Evidence, now: datetime) -> Step:
    """Settled as not sent, and left at that."""
    after = replace(standing, state=State.FAILED, reason=Reason.SETTLED_NOT_SENT)
    return Step(after, (_resolved(standing, Resolution.NOT_SENT, evidence, now),))


def replace_step(step: Step, ended: Ended | None) -> Step:
    return replace(step, ended=ended)


def _withdraw(standing: Standing, why: str, now: datetime) -> Step:
    after = replace(standing, state=State.WITHDRAWN, reason=None, withdrawal=why)
    return Step(after, (messages.MessageWithdrawn(**_about(standing, now), reason=why),))


def _too_late(standing: Standing, now: datetime) -> tuple[MessageEventData, ...]:
    """A request that had begun before it was called back."""
    if standing.state is not State.INTENT or standing.withdrawal is None:
        return ()
    return (messages.MessageTooLate(**_about(standing, now), wamid=standing.wamid),)


def _resolved(
    standing: Standing, resolution: Resolution, evidence: Evidence, now: datetime
) -> messages.MessageResolved:
    return messages.MessageResolved(**_about(standing, now), resolution=resolution, evidence=evidence)


def _about(standing: Standing, now: datetime) -> "_About":
    return {"message_id": standing.message_id, "person_id": standing.person_id, "at": now}


class _About(TypedDict):
    message_id: MessageId
    person_id: PersonId
    at: datetime

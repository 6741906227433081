"""The compare-and-set protocol as one pure decision: after every look at Consonance, what comes next for a write.

Look, then settle, write, wait or hand to a person; after writing, look again. Nothing is written twice unless the first
attempt is proven not to have landed: the far side answered, or the time in which it could still land has passed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from services.writeback.changes import Change
from services.writeback.judgement import Judgement, Reason, Standing
from shared.contracts.writes import Outcome

MAX_ATTEMPTS = 3
"""Mutations of one write that were answered and did not land, before a person is asked to do it."""

MOST_FAILED_READS = 5
"""Reads in a row that were answered with errors, before a person is asked."""

RETRY_PAUSE = timedelta(seconds=1)
"""Machine time between an attempt that failed and the next; doubled each time."""


class Answer(StrEnum):
    """How an attempt to write was answered; ``unanswered`` also stands for a process that died waiting."""

    UNANSWERED = "unanswered"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    FAILED = "failed"


class Attempt(NamedTuple):
    """The latest attempt: its number from 1, how it was answered, the last moment (machine time) it was in flight."""

    number: int
    answer: Answer
    at: datetime


class Judged(NamedTuple):
    """``possible``: introspection shows every mutation this change still needs."""

    change: Change
    judgement: Judgement
    possible: bool


@dataclass(frozen=True, slots=True)
class Settle:
    outcome: Outcome
    detail: str | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class WriteNow:
    changes: tuple[Judged, ...]


@dataclass(frozen=True, slots=True)
class ByHand:
    """A durable task for a person."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Read again before anything else; ``unknown``: the attempt may still land."""

    unknown: bool


Next = Settle | WriteNow | ByHand | LookAgain


def next_step(judged: Sequence[Judged], attempt: Attempt | None, machine_now: datetime, may_land: timedelta) -> Next:
    """``may_land``: how long after an attempt was last in flight its mutation could still take effect."""
    if all(each.judgement.standing is Standing.APPLIED for each in judged):
        return _settled(Outcome.ALREADY_APPLIED if attempt is None else Outcome.VERIFIED, judged)
    if attempt is None:
        return _first(judged)
    if is_in_doubt(attempt) and machine_now < attempt.at + may_land:
        return LookAgain(unknown=True)
    return _after(judged, attempt, machine_now)


def after_failed_read(
    attempt: Attempt | None, failed_reads: int, machine_now: datetime, may_land: timedelta
) -> LookAgain | ByHand:
    """``failed_reads``: reads in a row that were answered with errors, this one included.

    An attempt that may have landed is not given to a person while it could still take effect.
    """
    in_doubt = is_in_doubt(attempt)
    if failed_reads < MOST_FAILED_READS:
        return LookAgain(unknown=in_doubt)
    if attempt is not None and in_doubt and machine_now < attempt.at + may_land:
        return LookAgain(unknown=True)
    return ByHand(Reason.UNREADABLE)


def is_in_doubt(attempt: Attempt | None) -> bool:
    """Whether the attempt may have landed without our having seen it."""
    return attempt is not None and attempt.answer in {Answer.UNANSWERED, Answer.ACCEPTED}


def _first(judged: Sequence[Judged]) -> Next:
    for each in judged:
        if each.judgement.standing is Standing.CONFLICT:
            return Settle(Outcome.CONFLICT, detail=each.judgement.reason)
    return _write(judged)


def _after(judged: Sequence[Judged], attempt: Attempt, machine_now: datetime) -> Next:
    if attempt.answer is Answer.REFUSED:
        return ByHand(Reason.REFUSED)
    if any(each.judgement.standing is Standing.CONFLICT for each in judged):
        return ByHand(Reason.READ_BACK_DIFFERS)
    if attempt.number >= MAX_ATTEMPTS:
        return ByHand(Reason.NOT_TAKEN)
    if machine_now < attempt.at + RETRY_PAUSE * 2 ** (attempt.number - 1):
        return LookAgain(unknown=False)
    return _write(judged)


def _write(judged: Sequence[Judged]) -> Next:
    """All of a write's changes or none: a person who must do one of them is better given the whole."""
    clear = tuple(each for each in judged if each.judgement.standing is Standing.CLEAR)
    if not all(each.possible for each in clear):
        return ByHand(Reason.UNSUPPORTED)
    return WriteNow(clear)


def _settled(outcome: Outcome, judged: Sequence[Judged]) -> Settle:
    first = judged[0].judgement
    return Settle(outcome, detail=first.detail, reference=first.reference)

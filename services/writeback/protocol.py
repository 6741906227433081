"""The compare-and-set protocol as one pure decision: after every read of Consonance, the next step of a write.

Read, then settle, write, wait or open a task; after writing, read again. A change is written again only once the
first attempt cannot take effect any more: the server answered, or the time in which it could still do so has passed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from services.writeback.changes import WriteChange
from services.writeback.comparison import ChangeComparison, ComparisonStatus, WriteReason
from shared.contracts.writes import WriteOperation, WriteOutcome
from shared.runtime.retry import Backoff

MAX_ATTEMPTS = 3
"""Attempts at one write that were answered and took no effect, before a person is asked to do it."""

MAX_FAILED_READS = 5
"""Reads in a row that were answered with errors, before a person is asked."""

MAX_UNUSABLE_ANSWERS = 120
"""As many where the server failed or answered without data: it may be a part of it that is away for about an hour."""

_BACKOFF = Backoff(first=1.0, longest=60.0)
"""Seconds of machine time between an attempt that failed and the next."""


class MutationAnswer(StrEnum):
    """How an attempt was answered; ``unanswered`` is also the answer of a process that died while it waited.

    ``refused``: the payload names errors, and will again; ``failed``: any other answer that shows no success.
    """

    UNANSWERED = "unanswered"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    FAILED = "failed"


class WriteAttempt(NamedTuple):
    """The latest attempt: its number from 1, its answer, the last moment (machine time) it was in flight."""

    number: int
    answer: MutationAnswer
    at: datetime


class FailedReads(StrEnum):
    """Which records cannot be read, as those of other writes show: all, those of one operation, or this one alone.

    ``unknown``: no other record could be asked for.
    """

    ALL = "all"
    OPERATION = "operation"
    RECORD = "record"
    UNKNOWN = "unknown"


class ComparedChange(NamedTuple):
    """``is_supported``: the schema has every mutation that this change still needs."""

    change: WriteChange
    comparison: ChangeComparison
    is_supported: bool


@dataclass(frozen=True, slots=True)
class SettleWrite:
    outcome: WriteOutcome
    detail: str | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class SendMutations:
    changes: tuple[ComparedChange, ...]


@dataclass(frozen=True, slots=True)
class OpenTask:
    """A durable task for a person."""

    reason: WriteReason


@dataclass(frozen=True, slots=True)
class ReadAgain:
    """Read again before anything else; ``is_in_doubt``: the attempt may still take effect."""

    is_in_doubt: bool


NextStep = SettleWrite | SendMutations | OpenTask | ReadAgain


def next_step(
    compared: Sequence[ComparedChange], attempt: WriteAttempt | None, machine_now: datetime, effect_window: timedelta
) -> NextStep:
    """``effect_window``: how long after an attempt was last in flight its mutation can still take effect."""
    if all(each.comparison.status is ComparisonStatus.APPLIED for each in compared):
        return _settle(WriteOutcome.ALREADY_APPLIED if attempt is None else WriteOutcome.VERIFIED, compared)
    if attempt is None:
        return _step_before_attempt(compared)
    if is_in_doubt(attempt) and machine_now < attempt.at + effect_window:
        return ReadAgain(is_in_doubt=True)
    return _step_after_attempt(compared, attempt, machine_now)


def failed_reads_of(operation: WriteOperation, others: Sequence[tuple[WriteOperation, bool]]) -> FailedReads:
    """``others``: of each other record that was asked for, the operation of its write, and whether it was answered."""
    if not others:
        return FailedReads.UNKNOWN
    if not any(is_answered for _, is_answered in others):
        return FailedReads.ALL
    alike = [is_answered for other, is_answered in others if other is operation]
    return FailedReads.OPERATION if alike and not any(alike) else FailedReads.RECORD


def step_after_failed_read(
    attempt: WriteAttempt | None,
    failed_reads: int,
    machine_now: datetime,
    effect_window: timedelta,
    *,
    most: int = MAX_FAILED_READS,
) -> ReadAgain | OpenTask:
    """``failed_reads``: reads in a row that failed, this one included; after ``most`` of them a person is asked.

    A write is not given to a person while its attempt could still take effect.
    """
    in_doubt = is_in_doubt(attempt)
    if failed_reads < most:
        return ReadAgain(is_in_doubt=in_doubt)
    if attempt is not None and in_doubt and machine_now < attempt.at + effect_window:
        return ReadAgain(is_in_doubt=True)
    return OpenTask(WriteReason.UNREADABLE)


def is_in_doubt(attempt: WriteAttempt | None) -> bool:
    """Whether the attempt may have taken effect although no read has shown it."""
    return attempt is not None and attempt.answer in {MutationAnswer.UNANSWERED, MutationAnswer.ACCEPTED}


def _step_before_attempt(compared: Sequence[ComparedChange]) -> NextStep:
    for each in compared:
        if each.comparison.status is ComparisonStatus.CONFLICT:
            return SettleWrite(WriteOutcome.CONFLICT, detail=each.comparison.reason)
    return _send_or_open_task(compared)


def _step_after_attempt(compared: Sequence[ComparedChange], attempt: WriteAttempt, machine_now: datetime) -> NextStep:
    if attempt.answer is MutationAnswer.REFUSED:
        return OpenTask(WriteReason.REFUSED)
    if any(each.comparison.status is ComparisonStatus.CONFLICT for each in compared):
        return OpenTask(WriteReason.READ_BACK_DIFFERS)
    if attempt.number >= MAX_ATTEMPTS:
        return OpenTask(WriteReason.NOT_TAKEN)
    if machine_now < attempt.at + timedelta(seconds=_BACKOFF.longest_wait(attempt.number)):
        return ReadAgain(is_in_doubt=False)
    return _send_or_open_task(compared)


def _send_or_open_task(compared: Sequence[ComparedChange]) -> NextStep:
    """Send all changes of a write, or open one task for all of them where a person must do any."""
    clear = tuple(each for each in compared if each.comparison.status is ComparisonStatus.CLEAR)
    if not all(each.is_supported for each in clear):
        return OpenTask(WriteReason.UNSUPPORTED)
    return SendMutations(clear)


def _settle(outcome: WriteOutcome, compared: Sequence[ComparedChange]) -> SettleWrite:
    first = compared[0].comparison
    return SettleWrite(outcome, detail=first.detail, reference=first.reference)

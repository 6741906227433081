"""The next step of a write after every read of Consonance."""

from datetime import timedelta

import pytest

from services.writeback.changes import split_write
from services.writeback.comparison import ChangeComparison, ComparisonStatus, WriteReason
from services.writeback.protocol import (
    MAX_ATTEMPTS,
    MAX_FAILED_READS,
    ComparedChange,
    FailedReads,
    MutationAnswer,
    NextStep,
    OpenTask,
    ReadAgain,
    SendMutations,
    SettleWrite,
    WriteAttempt,
    failed_reads_of,
    next_step,
    step_after_failed_read,
)
from shared.contracts.writes import RequestWrite, WriteOperation, WriteOutcome
from tests.services.writeback.samples import NOW, TENANT, metadata, request

EFFECT_WINDOW = timedelta(seconds=60)
APPLIED, CLEAR = ChangeComparison(ComparisonStatus.APPLIED, detail="so"), ChangeComparison(ComparisonStatus.CLEAR)
CONFLICT = ChangeComparison(ComparisonStatus.CONFLICT, reason=WriteReason.CHANGED_MEANWHILE)


def judged(judgement: ChangeComparison, *, possible: bool = True) -> ComparedChange:
    write = request(metadata()).data
    assert isinstance(write, RequestWrite)
    return ComparedChange(split_write(TENANT, write)[0], judgement, possible)


def after(answer: MutationAnswer, *judgements: ChangeComparison, number: int = 1, seconds: float = 0) -> NextStep:
    attempt = WriteAttempt(number, answer, NOW)
    return next_step([judged(j) for j in judgements], attempt, NOW + timedelta(seconds=seconds), EFFECT_WINDOW)


def first(*each: ComparedChange) -> NextStep:
    return next_step(each, None, NOW, EFFECT_WINDOW)


def test_a_value_found_before_the_first_attempt_was_applied_already() -> None:
    assert first(judged(APPLIED)) == SettleWrite(WriteOutcome.ALREADY_APPLIED, detail="so")


def test_one_conflict_settles_the_whole_write() -> None:
    assert first(judged(CLEAR), judged(CONFLICT)) == SettleWrite(
        WriteOutcome.CONFLICT, detail=WriteReason.CHANGED_MEANWHILE
    )


def test_only_missing_changes_are_written() -> None:
    assert first(judged(APPLIED), judged(CLEAR)) == SendMutations((judged(CLEAR),))


def test_one_unsupported_change_makes_the_whole_write_a_task() -> None:
    assert first(judged(CLEAR), judged(CLEAR, possible=False)) == OpenTask(WriteReason.UNSUPPORTED)


@pytest.mark.parametrize("answer", MutationAnswer)
def test_a_value_found_after_an_attempt_is_verified_whatever_was_answered(answer: MutationAnswer) -> None:
    assert after(answer, APPLIED) == SettleWrite(WriteOutcome.VERIFIED, detail="so")


@pytest.mark.parametrize("answer", [MutationAnswer.UNANSWERED, MutationAnswer.ACCEPTED])
@pytest.mark.parametrize("shown", [CLEAR, CONFLICT])
def test_an_attempt_that_may_still_land_is_only_read_again(answer: MutationAnswer, shown: ChangeComparison) -> None:
    assert after(answer, shown, seconds=59) == ReadAgain(is_in_doubt=True)


@pytest.mark.parametrize("answer", [MutationAnswer.UNANSWERED, MutationAnswer.ACCEPTED])
def test_an_attempt_that_can_no_longer_land_is_repeated(answer: MutationAnswer) -> None:
    assert isinstance(after(answer, CLEAR, seconds=61), SendMutations)


def test_a_failed_attempt_is_repeated_after_a_pause() -> None:
    assert after(MutationAnswer.FAILED, CLEAR, seconds=0.5) == ReadAgain(is_in_doubt=False)
    assert isinstance(after(MutationAnswer.FAILED, CLEAR, seconds=1), SendMutations)
    assert after(MutationAnswer.FAILED, CLEAR, number=2, seconds=1) == ReadAgain(is_in_doubt=False)


def test_a_refused_attempt_becomes_a_task() -> None:
    assert after(MutationAnswer.REFUSED, CLEAR) == OpenTask(WriteReason.REFUSED)


def test_another_value_after_ours_becomes_a_task() -> None:
    assert after(MutationAnswer.ACCEPTED, APPLIED, CONFLICT, seconds=61) == OpenTask(WriteReason.READ_BACK_DIFFERS)


def test_the_last_failed_attempt_becomes_a_task() -> None:
    assert after(MutationAnswer.FAILED, CLEAR, number=MAX_ATTEMPTS, seconds=300) == OpenTask(WriteReason.NOT_TAKEN)


@pytest.mark.parametrize("answer", [None, *MutationAnswer])
def test_too_many_failed_reads_in_a_row_become_a_task(answer: MutationAnswer | None) -> None:
    attempt = WriteAttempt(1, answer, NOW) if answer is not None else None
    late = NOW + EFFECT_WINDOW
    assert isinstance(step_after_failed_read(attempt, MAX_FAILED_READS - 1, late, EFFECT_WINDOW), ReadAgain)
    assert step_after_failed_read(attempt, MAX_FAILED_READS, late, EFFECT_WINDOW) == OpenTask(WriteReason.UNREADABLE)


@pytest.mark.parametrize("answer", [MutationAnswer.UNANSWERED, MutationAnswer.ACCEPTED])
def test_failed_reads_open_no_task_while_the_attempt_may_still_land(answer: MutationAnswer) -> None:
    attempt = WriteAttempt(1, answer, NOW)
    assert step_after_failed_read(attempt, 99, NOW + EFFECT_WINDOW / 2, EFFECT_WINDOW) == ReadAgain(is_in_doubt=True)


@pytest.mark.parametrize("answer", [MutationAnswer.REFUSED, MutationAnswer.FAILED])
def test_failed_reads_after_an_attempt_that_did_not_land_open_a_task_at_once(answer: MutationAnswer) -> None:
    attempt = WriteAttempt(1, answer, NOW)
    assert step_after_failed_read(attempt, MAX_FAILED_READS, NOW, EFFECT_WINDOW) == OpenTask(WriteReason.UNREADABLE)


def test_a_mutation_lands_before_its_time_is_over_or_not_at_all() -> None:
    attempt, over = WriteAttempt(1, MutationAnswer.UNANSWERED, NOW), NOW + EFFECT_WINDOW
    just_before = over - timedelta(microseconds=1)
    assert next_step([judged(CLEAR)], attempt, just_before, EFFECT_WINDOW) == ReadAgain(is_in_doubt=True)
    assert isinstance(next_step([judged(CLEAR)], attempt, over, EFFECT_WINDOW), SendMutations)


@pytest.mark.parametrize(
    ("others", "scope"),
    [
        ("", FailedReads.UNKNOWN),
        ("m- m- a-", FailedReads.ALL),
        ("m- m- a+", FailedReads.OPERATION),
        ("m- m+ a-", FailedReads.RECORD),
        ("a+", FailedReads.RECORD),
    ],
)
def test_the_records_of_other_writes_show_what_cannot_be_read(others: str, scope: FailedReads) -> None:
    operations = {"m": WriteOperation.APPLY_METADATA, "a": WriteOperation.CREATE_ACQUISITION}
    asked = [(operations[one[0]], one[1] == "+") for one in others.split()]
    assert failed_reads_of(WriteOperation.APPLY_METADATA, asked) is scope

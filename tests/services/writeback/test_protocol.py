"""What comes next for a write, after every look at Consonance."""

from datetime import timedelta

import pytest

from services.writeback.changes import changes_of
from services.writeback.judgement import Judgement, Reason, Standing
from services.writeback.protocol import (
    MAX_ATTEMPTS,
    MOST_FAILED_READS,
    Answer,
    Attempt,
    ByHand,
    Judged,
    LookAgain,
    Next,
    Settle,
    WriteNow,
    after_failed_read,
    next_step,
)
from shared.contracts.writes import Outcome, RequestWrite
from tests.services.writeback.samples import NOW, TENANT, metadata, request

MAY_LAND = timedelta(seconds=60)
APPLIED, CLEAR = Judgement(Standing.APPLIED, detail="so"), Judgement(Standing.CLEAR)
CONFLICT = Judgement(Standing.CONFLICT, reason=Reason.CHANGED_MEANWHILE)


def judged(judgement: Judgement, *, possible: bool = True) -> Judged:
    write = request(metadata()).data
    assert isinstance(write, RequestWrite)
    return Judged(changes_of(TENANT, write)[0], judgement, possible)


def after(answer: Answer, *judgements: Judgement, number: int = 1, seconds: float = 0) -> Next:
    attempt = Attempt(number, answer, NOW)
    return next_step([judged(j) for j in judgements], attempt, NOW + timedelta(seconds=seconds), MAY_LAND)


def first(*each: Judged) -> Next:
    return next_step(each, None, NOW, MAY_LAND)


def test_what_stands_before_the_first_attempt_was_applied_already() -> None:
    assert first(judged(APPLIED)) == Settle(Outcome.ALREADY_APPLIED, detail="so")


def test_one_conflict_and_nothing_is_written() -> None:
    assert first(judged(CLEAR), judged(CONFLICT)) == Settle(Outcome.CONFLICT, detail=Reason.CHANGED_MEANWHILE)


def test_only_what_does_not_stand_yet_is_written() -> None:
    assert first(judged(APPLIED), judged(CLEAR)) == WriteNow((judged(CLEAR),))


def test_one_change_that_cannot_be_written_and_a_person_gets_the_whole() -> None:
    assert first(judged(CLEAR), judged(CLEAR, possible=False)) == ByHand(Reason.UNSUPPORTED)


@pytest.mark.parametrize("answer", Answer)
def test_what_stands_after_an_attempt_is_verified_whatever_was_answered(answer: Answer) -> None:
    assert after(answer, APPLIED) == Settle(Outcome.VERIFIED, detail="so")


@pytest.mark.parametrize("answer", [Answer.UNANSWERED, Answer.ACCEPTED])
@pytest.mark.parametrize("shown", [CLEAR, CONFLICT])
def test_what_may_still_land_is_only_looked_at(answer: Answer, shown: Judgement) -> None:
    assert after(answer, shown, seconds=59) == LookAgain(unknown=True)


@pytest.mark.parametrize("answer", [Answer.UNANSWERED, Answer.ACCEPTED])
def test_what_can_no_longer_land_is_written_again(answer: Answer) -> None:
    assert isinstance(after(answer, CLEAR, seconds=61), WriteNow)


def test_an_attempt_that_failed_is_repeated_after_a_pause() -> None:
    assert after(Answer.FAILED, CLEAR, seconds=0.5) == LookAgain(unknown=False)
    assert isinstance(after(Answer.FAILED, CLEAR, seconds=1), WriteNow)
    assert after(Answer.FAILED, CLEAR, number=2, seconds=1) == LookAgain(unknown=False)


def test_a_refusal_is_final() -> None:
    assert after(Answer.REFUSED, CLEAR) == ByHand(Reason.REFUSED)


def test_another_value_after_ours_is_for_a_person() -> None:
    assert after(Answer.ACCEPTED, APPLIED, CONFLICT, seconds=61) == ByHand(Reason.READ_BACK_DIFFERS)


def test_attempts_come_to_an_end() -> None:
    assert after(Answer.FAILED, CLEAR, number=MAX_ATTEMPTS, seconds=300) == ByHand(Reason.NOT_TAKEN)


@pytest.mark.parametrize("answer", [None, *Answer])
def test_a_failed_read_is_repeated_until_there_were_too_many_in_a_row(answer: Answer | None) -> None:
    attempt = Attempt(1, answer, NOW) if answer is not None else None
    late = NOW + MAY_LAND
    assert isinstance(after_failed_read(attempt, MOST_FAILED_READS - 1, late, MAY_LAND), LookAgain)
    assert after_failed_read(attempt, MOST_FAILED_READS, late, MAY_LAND) == ByHand(Reason.UNREADABLE)


@pytest.mark.parametrize("answer", [Answer.UNANSWERED, Answer.ACCEPTED])
def test_what_may_have_landed_goes_to_no_person_while_it_could_still_take_effect(answer: Answer) -> None:
    attempt = Attempt(1, answer, NOW)
    assert after_failed_read(attempt, 99, NOW + MAY_LAND / 2, MAY_LAND) == LookAgain(unknown=True)

"""One final decision per request, on the terms that were shown; what must be signed is never recorded as approved."""

from typing import Any

import pytest

from services.writeback.compare_rights import judge_decision, judge_stage, to_record
from services.writeback.judgement import Judgement, Known, Reason, Standing
from services.writeback.ways import Seen
from shared.contracts.writes import Decision
from tests.services.writeback.samples import advance, decision

SUBJECT = Decision.APPROVED_SUBJECT_TO_SIGNATURE
OPEN = frozenset({"pending", "more_information_requested", "expired"})


def seen(**values: Any) -> Seen:
    return Seen(found=True, values={"decision": None, "status": "pending", "terms_hash": "t" * 64, **values})


def judged(decided: Decision, **values: Any) -> Judgement:
    return judge_decision(decision(decided), seen(**values), Known(), OPEN)


@pytest.mark.parametrize(
    "values", [{"requires_signature": True}, {"exclusivity": "exclusive"}, {"right_type": "assignment"}]
)
def test_the_record_itself_may_ask_for_a_signature(values: dict[str, Any]) -> None:
    verdict = judged(Decision.APPROVED, **values)
    assert (verdict.standing, verdict.value, verdict.detail) == (Standing.CLEAR, SUBJECT, SUBJECT)


def test_the_request_may_ask_for_a_signature() -> None:
    assert to_record(decision(needs_signature=True), None) is SUBJECT
    assert to_record(decision(Decision.DECLINED, needs_signature=True), None) is Decision.DECLINED


@pytest.mark.parametrize(
    ("recorded", "asked", "standing"),
    [
        (None, Decision.APPROVED, Standing.CLEAR),
        ("question", Decision.APPROVED, Standing.CLEAR),
        ("expired", Decision.APPROVED, Standing.CLEAR),
        ("approved", Decision.APPROVED, Standing.APPLIED),
        ("declined", Decision.APPROVED, Standing.CONFLICT),
        ("approved", Decision.EXPIRED, Standing.CONFLICT),
        ("approved", Decision.QUESTION, Standing.CONFLICT),
    ],
)
def test_one_final_decision_stands(recorded: str | None, asked: Decision, standing: Standing) -> None:
    assert judged(asked, decision=recorded).standing is standing


def test_other_terms_are_another_question() -> None:
    assert judged(Decision.APPROVED, terms_hash="other").reason is Reason.TERMS_CHANGED


def test_a_closed_request_takes_no_decision() -> None:
    assert judged(Decision.APPROVED, status="closed").reason is Reason.STATE_NOT_EXPECTED


def test_where_nothing_can_be_read_the_ledger_remembers_what_was_done_by_hand() -> None:
    by_hand = Known(by_hand="approved")
    assert judge_decision(decision(), None, by_hand, OPEN).standing is Standing.APPLIED
    assert judge_decision(decision(Decision.DECLINED), None, by_hand, OPEN).reason is Reason.DECIDED_OTHERWISE


@pytest.mark.parametrize(
    ("stage", "decided", "reason"),
    [
        ("pending", "approved", None),
        ("pending", None, Reason.DECISION_MISSING),
        ("pending", "question", Reason.DECISION_MISSING),
        ("pending", SUBJECT, Reason.AWAITS_SIGNATURE),
        ("closed", "approved", Reason.STATE_NOT_EXPECTED),
    ],
)
def test_a_card_moves_only_after_its_decision(stage: str, decided: str | None, reason: Reason | None) -> None:
    look = Seen(found=True, values={"stage": stage})
    verdict = judge_stage(advance(), look, Known(decision=decided), OPEN)
    assert verdict.reason is reason
    assert verdict.standing is (Standing.CLEAR if reason is None else Standing.CONFLICT)


def test_a_card_that_stands_there_is_applied() -> None:
    look = Seen(found=True, values={"stage": "licensed"})
    assert judge_stage(advance(), look, Known(), OPEN).standing is Standing.APPLIED


def test_a_record_that_is_gone_is_a_conflict() -> None:
    gone = Seen(found=False, values={})
    assert judge_decision(decision(), gone, Known(), OPEN).reason is Reason.RECORD_MISSING
    assert judge_stage(advance(), gone, Known(), OPEN).reason is Reason.RECORD_MISSING

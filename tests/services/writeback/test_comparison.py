"""Compare-and-set, case by case: what is applied, what may be written, what is in conflict, and why."""

from datetime import date
from typing import Any

import pytest

from services.writeback.changes import WriteChange, split_write
from services.writeback.comparison import (
    ChangeComparison,
    ComparisonStatus,
    EarlierWrites,
    WriteReason,
    compare_change,
    compare_decision,
    compare_stage,
    decision_to_record,
)
from services.writeback.operation_mapping import ReadResult
from shared.contracts.consonance import MetadataField
from shared.contracts.writes import AcknowledgementKind, Decision, Input, RecordAcknowledgement, RequestWrite
from tests.services.writeback.samples import (
    NEW_SUBTITLE,
    NOW,
    SUBTITLE,
    TENANT,
    advance,
    decision,
    follow_up,
    item,
    metadata,
    milestone,
    pitch,
    request,
)

APPLIED, CLEAR, CONFLICT = ComparisonStatus
NOTHING = EarlierWrites()


def change_of(asked: Input) -> WriteChange:
    write = request(asked).data
    assert isinstance(write, RequestWrite)
    return split_write(TENANT, write)[0]


def compared(
    asked: Input, seen: dict[str, Any] | None, known: EarlierWrites = NOTHING, *, found: bool = True
) -> ChangeComparison:
    look = None if seen is None else ReadResult(found=found, values=seen)
    return compare_change(change_of(asked), look, known, frozenset())


@pytest.mark.parametrize(
    ("current", "standing"),
    [
        (SUBTITLE, CLEAR),
        (f"  {SUBTITLE}\r\n", CLEAR),
        (NEW_SUBTITLE, APPLIED),
        (f"{NEW_SUBTITLE} ", APPLIED),
        ("Somebody else’s", CONFLICT),
        (None, CONFLICT),
    ],
)
def test_a_subtitle_is_written_only_over_what_was_shown(current: str | None, standing: ComparisonStatus) -> None:
    assert compared(metadata(), {"current": current}).status is standing


def test_an_absent_baseline_is_an_empty_one() -> None:
    assert compared(metadata(item(old=None)), {"current": ""}).status is CLEAR


def test_what_the_person_was_shown_is_a_baseline_whatever_the_sender_hashed() -> None:
    odd = item().replace(baseline_hash="of another kind")
    assert compared(metadata(odd), {"current": SUBTITLE}).status is CLEAR


def test_a_record_that_is_gone_is_a_conflict() -> None:
    assert compared(metadata(), {"current": None}, found=False).reason is WriteReason.RECORD_MISSING


COPY = item(new="New copy", old="Old copy", field=MetadataField.COVER_COPY)


@pytest.mark.parametrize(
    ("texts", "standing", "stale", "create"),
    [
        (["<p>Old  copy</p>"], CLEAR, (1,), True),
        (["<p>New copy</p>"], APPLIED, (), True),
        (["<p>Old copy</p>", "<p>New copy</p>"], CLEAR, (1,), False),
        (["<p>Other copy</p>", "<p>New copy</p>"], CONFLICT, (), True),
        (["<p>Old copy</p>", "<p>Other</p>"], CONFLICT, (), True),
        ([], CONFLICT, (), True),
    ],
)
def test_a_text_is_replaced_and_never_doubled(
    texts: list[str], standing: ComparisonStatus, stale: tuple[int, ...], *, create: bool
) -> None:
    comparison = compared(metadata(COPY), {"current": texts, "ids": list(range(1, len(texts) + 1))})
    assert (comparison.status, comparison.stale, comparison.create) == (standing, stale, create)


def test_the_markdown_a_text_was_written_in_counts_as_the_text() -> None:
    bold = item(new="**New** copy", old="Old copy", field=MetadataField.COVER_COPY)
    seen = {"current": ["<p><strong>New</strong> copy</p>"], "source": ["**New** copy"], "ids": [3]}
    assert compared(metadata(bold), seen).status is APPLIED


@pytest.mark.parametrize(
    ("current", "asked", "standing"),
    [
        (None, AcknowledgementKind.DELIVERED, CLEAR),
        ("delivered", AcknowledgementKind.READ, CLEAR),
        ("read", AcknowledgementKind.ACKNOWLEDGED, CLEAR),
        ("acknowledged", AcknowledgementKind.READ, APPLIED),
        ("acknowledged", AcknowledgementKind.ACKNOWLEDGED, APPLIED),
        ("acknowledged", AcknowledgementKind.DISPUTED, CLEAR),
        ("disputed", AcknowledgementKind.ACKNOWLEDGED, CONFLICT),
        ("disputed", AcknowledgementKind.READ, APPLIED),
        ("disputed", AcknowledgementKind.DISPUTED, APPLIED),
    ],
)
def test_an_acknowledgement_only_rises(
    current: str | None, asked: AcknowledgementKind, standing: ComparisonStatus
) -> None:
    write = RecordAcknowledgement(document_id="S-1", acknowledgement=asked, at=NOW)
    assert compared(write, {"kind": current}, found=current is not None).status is standing


def test_a_pitch_is_created_once_per_dedupe_key() -> None:
    assert compared(pitch(), {"reference": None}, found=False).status is CLEAR
    known = compared(pitch(), {"reference": "PITCH-3"})
    assert (known.status, known.reference) == (APPLIED, "PITCH-3")
    assert compared(pitch(), None, EarlierWrites(value_by_hand="PITCH-3")).reference == "PITCH-3"


def test_a_message_is_appended_once() -> None:
    assert compared(follow_up(), {"message_ids": ["wamid.1"]}).status is CLEAR
    assert compared(follow_up(), {"message_ids": ["wamid.1", "wamid.2"]}).status is APPLIED
    assert compared(follow_up(), {"message_ids": None}, found=False).reason is WriteReason.RECORD_MISSING


def test_a_milestone_that_is_done_stays_done_on_its_day() -> None:
    assert compared(milestone(), {"done_on": None}).value == "2027-03-02"
    assert compared(milestone(), {"done_on": "2027-03-02"}).detail is None
    other = compared(milestone(date(2027, 3, 3)), {"done_on": "2027-03-02"})
    assert (other.status, other.detail) == (APPLIED, "2027-03-02")


# ------------------------------------------------------------------ rights

SUBJECT = Decision.APPROVED_SUBJECT_TO_SIGNATURE
OPEN = frozenset({"pending", "more_information_requested", "expired"})


def read_request(**values: Any) -> ReadResult:
    return ReadResult(found=True, values={"decision": None, "status": "pending", "terms_hash": "t" * 64, **values})


def compared_decision(decided: Decision, **values: Any) -> ChangeComparison:
    return compare_decision(decision(decided), read_request(**values), EarlierWrites(), OPEN)


@pytest.mark.parametrize(
    "values", [{"requires_signature": True}, {"exclusivity": "exclusive"}, {"right_type": "assignment"}]
)
def test_the_record_itself_may_ask_for_a_signature(values: dict[str, Any]) -> None:
    comparison = compared_decision(Decision.APPROVED, **values)
    assert (comparison.status, comparison.value, comparison.detail) == (ComparisonStatus.CLEAR, SUBJECT, SUBJECT)


def test_the_request_may_ask_for_a_signature() -> None:
    assert decision_to_record(decision(needs_signature=True), None) is SUBJECT
    assert decision_to_record(decision(Decision.DECLINED, needs_signature=True), None) is Decision.DECLINED


@pytest.mark.parametrize(
    ("recorded", "asked", "standing"),
    [
        (None, Decision.APPROVED, ComparisonStatus.CLEAR),
        ("question", Decision.APPROVED, ComparisonStatus.CLEAR),
        ("expired", Decision.APPROVED, ComparisonStatus.CLEAR),
        ("approved", Decision.APPROVED, ComparisonStatus.APPLIED),
        ("declined", Decision.APPROVED, ComparisonStatus.CONFLICT),
        ("approved", Decision.EXPIRED, ComparisonStatus.CONFLICT),
        ("approved", Decision.QUESTION, ComparisonStatus.CONFLICT),
    ],
)
def test_one_final_decision_stands(recorded: str | None, asked: Decision, standing: ComparisonStatus) -> None:
    assert compared_decision(asked, decision=recorded).status is standing


def test_other_terms_are_another_question() -> None:
    assert compared_decision(Decision.APPROVED, terms_hash="other").reason is WriteReason.TERMS_CHANGED


def test_a_closed_request_takes_no_decision() -> None:
    assert compared_decision(Decision.APPROVED, status="closed").reason is WriteReason.STATE_NOT_EXPECTED


def test_where_nothing_can_be_read_the_ledger_remembers_what_was_done_by_hand() -> None:
    by_hand = EarlierWrites(value_by_hand="approved")
    assert compare_decision(decision(), None, by_hand, OPEN).status is ComparisonStatus.APPLIED
    assert compare_decision(decision(Decision.DECLINED), None, by_hand, OPEN).reason is WriteReason.DECIDED_OTHERWISE


@pytest.mark.parametrize(
    ("stage", "decided", "reason"),
    [
        ("pending", "approved", None),
        ("pending", None, WriteReason.DECISION_MISSING),
        ("pending", "question", WriteReason.DECISION_MISSING),
        ("pending", SUBJECT, WriteReason.AWAITS_SIGNATURE),
        ("closed", "approved", WriteReason.STATE_NOT_EXPECTED),
    ],
)
def test_a_card_moves_only_after_its_decision(stage: str, decided: str | None, reason: WriteReason | None) -> None:
    look = ReadResult(found=True, values={"stage": stage})
    comparison = compare_stage(advance(), look, EarlierWrites(decision=decided), OPEN)
    assert comparison.reason is reason
    assert comparison.status is (ComparisonStatus.CLEAR if reason is None else ComparisonStatus.CONFLICT)


def test_a_card_that_stands_there_is_applied() -> None:
    look = ReadResult(found=True, values={"stage": "licensed"})
    assert compare_stage(advance(), look, EarlierWrites(), OPEN).status is ComparisonStatus.APPLIED


def test_a_missing_rights_record_is_a_conflict() -> None:
    gone = ReadResult(found=False, values={})
    assert compare_decision(decision(), gone, EarlierWrites(), OPEN).reason is WriteReason.RECORD_MISSING
    assert compare_stage(advance(), gone, EarlierWrites(), OPEN).reason is WriteReason.RECORD_MISSING

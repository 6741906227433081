"""Compare-and-set, case by case: applied, clear to write, or in conflict, and the reason."""

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
from shared.contracts.writes import AcknowledgementKind, RecordAcknowledgement, RequestWrite, RightsDecision, WriteInput
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


def change_of(requested: WriteInput) -> WriteChange:
    write = request(requested).data
    assert isinstance(write, RequestWrite)
    return split_write(TENANT, write)[0]


def compared(
    requested: WriteInput, values: dict[str, Any] | None, earlier: EarlierWrites = NOTHING, *, found: bool = True
) -> ChangeComparison:
    read = None if values is None else ReadResult(found=found, values=values)
    return compare_change(change_of(requested), read, earlier, frozenset())


@pytest.mark.parametrize(
    ("current", "status"),
    [
        (SUBTITLE, CLEAR),
        (f"  {SUBTITLE}\r\n", CLEAR),
        (NEW_SUBTITLE, APPLIED),
        (f"{NEW_SUBTITLE} ", APPLIED),
        ("Somebody else’s", CONFLICT),
        (None, CONFLICT),
    ],
)
def test_a_subtitle_is_written_only_over_the_value_that_was_shown(
    current: str | None, status: ComparisonStatus
) -> None:
    assert compared(metadata(), {"current": current}).status is status


def test_an_absent_baseline_equals_an_empty_value() -> None:
    assert compared(metadata(item(old=None)), {"current": ""}).status is CLEAR


def test_the_old_value_is_a_baseline_whatever_hash_the_sender_gave() -> None:
    odd = item().replace(baseline_hash="of another kind")
    assert compared(metadata(odd), {"current": SUBTITLE}).status is CLEAR


def test_a_value_that_was_emptied_is_no_baseline_where_only_a_hash_of_it_was_given() -> None:
    unseen = item().replace(old_value=None)
    assert compared(metadata(unseen), {"current": SUBTITLE}).status is CLEAR
    assert compared(metadata(unseen), {"current": ""}).status is CONFLICT


def test_a_missing_record_is_a_conflict() -> None:
    assert compared(metadata(), {"current": None}, found=False).reason is WriteReason.RECORD_MISSING
    assert compared(milestone(), {"done_on": None}, found=False).reason is WriteReason.RECORD_MISSING
    assert compared(follow_up(), {"message_ids": None}, found=False).reason is WriteReason.RECORD_MISSING


@pytest.mark.parametrize(
    ("requested", "value", "current"),
    [
        (metadata(), NEW_SUBTITLE, SUBTITLE),
        (milestone(), "2027-03-02", None),
        (follow_up(), "wamid.2", None),
        (pitch(), "PITCH-7", None),
        (RecordAcknowledgement(document_id="S-1", acknowledgement=AcknowledgementKind.READ, at=NOW), "read", None),
    ],
)
def test_a_field_that_cannot_be_read_is_clear_with_the_value_to_enter(
    requested: WriteInput, value: str, current: str | None
) -> None:
    comparison = compared(requested, None)
    assert (comparison.status, comparison.value, comparison.current) == (CLEAR, value, current)


def test_an_acquisition_is_known_by_its_own_reference_else_by_the_requested_one() -> None:
    assert compared(pitch(), {"reference": "ACQ-1"}).reference == "ACQ-1"
    assert compared(pitch(), {"reference": None}).reference == "PITCH-7"


def test_an_entry_without_messages_is_no_repetition() -> None:
    assert compared(follow_up(), {"message_ids": None}).status is CLEAR
    assert compared(follow_up(), {"message_ids": ["wamid.1", "wamid.2"]}).status is APPLIED


def test_a_document_without_an_acknowledgement_is_clear() -> None:
    write = RecordAcknowledgement(document_id="S-1", acknowledgement=AcknowledgementKind.READ, at=NOW)
    assert compared(write, {"kind": "acknowledged"}, found=False).status is CLEAR


COPY = item(new="New copy", old="Old copy", field=MetadataField.COVER_COPY)


@pytest.mark.parametrize(
    ("texts", "status", "stale", "create"),
    [
        (["<p>Old  copy</p>"], CLEAR, (1,), True),
        (["<p>New copy</p>"], APPLIED, (), True),
        (["<p>Old copy</p>", "<p>New copy</p>"], CLEAR, (1,), False),
        (["<p>Other copy</p>", "<p>New copy</p>"], CONFLICT, (), True),
        (["<p>Old copy</p>", "<p>Other</p>"], CONFLICT, (), True),
        ([], CONFLICT, (), True),
    ],
)
def test_a_text_is_replaced_and_never_duplicated(
    texts: list[str], status: ComparisonStatus, stale: tuple[int, ...], *, create: bool
) -> None:
    comparison = compared(metadata(COPY), {"current": texts, "ids": list(range(1, len(texts) + 1))})
    assert (comparison.status, comparison.stale, comparison.create) == (status, stale, create)


def test_a_text_whose_id_is_not_read_has_to_be_removed_all_the_same() -> None:
    """A way that cannot remove it is not taken, or two texts would be live."""
    comparison = compared(metadata(COPY), {"current": ["<p>Old copy</p>"]})
    assert (comparison.status, comparison.stale) == (CLEAR, (None,))
    assert compared(metadata(item()), {"current": SUBTITLE}).stale == ()


def test_the_source_of_a_text_is_a_baseline_too() -> None:
    bold = item(new="New copy", old="**Old** copy", field=MetadataField.COVER_COPY).replace(old_value=None)
    seen = {"current": ["<p><strong>Old</strong> copy</p>"], "source": ["**Old** copy"], "ids": [3]}
    assert compared(metadata(bold), seen).status is CLEAR


def test_the_markdown_source_of_a_text_counts_as_the_text() -> None:
    bold = item(new="**New** copy", old="Old copy", field=MetadataField.COVER_COPY)
    seen = {"current": ["<p><strong>New</strong> copy</p>"], "source": ["**New** copy"], "ids": [3]}
    assert compared(metadata(bold), seen).status is APPLIED


@pytest.mark.parametrize(
    ("current", "requested", "status"),
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
        ("READ", AcknowledgementKind.DISPUTED, CONFLICT),
        ("under review", AcknowledgementKind.DELIVERED, CONFLICT),
    ],
)
def test_an_acknowledgement_only_becomes_stronger(
    current: str | None, requested: AcknowledgementKind, status: ComparisonStatus
) -> None:
    write = RecordAcknowledgement(document_id="S-1", acknowledgement=requested, at=NOW)
    assert compared(write, {"kind": current}, found=current is not None).status is status


def test_a_pitch_is_created_once_per_dedupe_key() -> None:
    assert compared(pitch(), {"reference": None}, found=False).status is CLEAR
    assert compared(pitch(), {"reference": ["PITCH-3"]}).reference == "PITCH-3"
    known = compared(pitch(), {"reference": "PITCH-3"})
    assert (known.status, known.reference) == (APPLIED, "PITCH-3")
    assert compared(pitch(), None, EarlierWrites(value_by_hand="PITCH-3")).reference == "PITCH-3"


def test_a_message_is_appended_once() -> None:
    assert compared(follow_up(), {"message_ids": ["wamid.1"]}).status is CLEAR
    assert compared(follow_up(), {"message_ids": ["wamid.1", "wamid.2"]}).status is APPLIED
    assert compared(follow_up(), {"message_ids": None}, found=False).reason is WriteReason.RECORD_MISSING


def test_a_done_milestone_keeps_its_day() -> None:
    assert compared(milestone(), {"done_on": None}).value == "2027-03-02"
    assert compared(milestone(), {"done_on": ""}).status is CLEAR
    assert compared(milestone(), {"done_on": "2027-03-02"}).detail is None
    other = compared(milestone(date(2027, 3, 3)), {"done_on": "2027-03-02"})
    assert (other.status, other.detail) == (APPLIED, "2027-03-02")


@pytest.mark.parametrize(
    ("requested", "values"),
    [
        (milestone(), {"done_on": {"day": "2027-03-02"}}),
        (milestone(), {"done_on": ["2027-03-02", "2027-03-03"]}),
        (milestone(), {"done_on": True}),
        (follow_up(), {"message_ids": "wamid.1, wamid.22"}),
        (follow_up(), {"message_ids": {"wamid.2": 1}}),
        (pitch(), {"reference": []}),
        (pitch(), {"reference": {"text": "PITCH-3"}}),
    ],
)
def test_a_value_in_another_shape_is_never_taken_for_written(requested: WriteInput, values: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        compared(requested, values)


# ------------------------------------------------------------------ rights

SUBJECT = RightsDecision.APPROVED_SUBJECT_TO_SIGNATURE
OPEN = frozenset({"pending", "more_information_requested", "expired"})


def read_request(**values: Any) -> ReadResult:
    return ReadResult(found=True, values={"decision": None, "status": "pending", "terms_hash": "t" * 64, **values})


def compared_decision(decided: RightsDecision, **values: Any) -> ChangeComparison:
    return compare_decision(decision(decided), read_request(**values), EarlierWrites(), OPEN)


@pytest.mark.parametrize(
    "values",
    [
        {"requires_signature": True},
        {"exclusivity": "exclusive"},
        {"exclusivity": "EXCLUSIVE"},
        {"right_type": "assignment"},
        {"right_type": "Assignment"},
    ],
)
def test_the_record_can_require_a_signature(values: dict[str, Any]) -> None:
    comparison = compared_decision(RightsDecision.APPROVED, **values)
    assert (comparison.status, comparison.value, comparison.detail) == (ComparisonStatus.CLEAR, SUBJECT, SUBJECT)


def test_the_request_can_require_a_signature() -> None:
    assert decision_to_record(decision(needs_signature=True), None) is SUBJECT
    assert decision_to_record(decision(RightsDecision.DECLINED, needs_signature=True), None) is RightsDecision.DECLINED


@pytest.mark.parametrize(
    ("recorded", "requested", "status"),
    [
        (None, RightsDecision.APPROVED, ComparisonStatus.CLEAR),
        ("question", RightsDecision.APPROVED, ComparisonStatus.CLEAR),
        ("expired", RightsDecision.APPROVED, ComparisonStatus.CLEAR),
        ("approved", RightsDecision.APPROVED, ComparisonStatus.APPLIED),
        ("declined", RightsDecision.APPROVED, ComparisonStatus.CONFLICT),
        ("approved", RightsDecision.EXPIRED, ComparisonStatus.CONFLICT),
        ("approved", RightsDecision.QUESTION, ComparisonStatus.CONFLICT),
        ("DECLINED", RightsDecision.APPROVED, ComparisonStatus.CONFLICT),
        ("withdrawn", RightsDecision.APPROVED, ComparisonStatus.CONFLICT),
        ("pending", RightsDecision.APPROVED, ComparisonStatus.CLEAR),
    ],
)
def test_a_request_has_one_final_decision(
    recorded: str | None, requested: RightsDecision, status: ComparisonStatus
) -> None:
    assert compared_decision(requested, decision=recorded).status is status


def test_only_another_decision_than_the_requested_one_is_a_detail() -> None:
    assert compared_decision(RightsDecision.APPROVED, decision="approved").detail is None
    assert compared_decision(RightsDecision.APPROVED, exclusivity="exclusive").detail == SUBJECT


def test_without_expected_states_any_is_fine() -> None:
    seen = ReadResult(found=True, values={"decision": None, "status": "closed", "stage": "closed"})
    assert compare_decision(decision(), seen, NOTHING, frozenset()).status is CLEAR
    approved = EarlierWrites(decision="approved")
    assert compare_stage(advance(), seen, approved, frozenset()).status is CLEAR


def test_a_stage_entered_by_hand_counts_where_nothing_can_be_read() -> None:
    assert compare_stage(advance(), None, EarlierWrites(value_by_hand="licensed"), OPEN).status is APPLIED
    assert compare_stage(advance(), None, EarlierWrites(decision="approved"), OPEN).status is CLEAR


def test_changed_terms_are_a_conflict() -> None:
    assert compared_decision(RightsDecision.APPROVED, terms_hash="other").reason is WriteReason.TERMS_CHANGED


def test_a_closed_request_takes_no_decision() -> None:
    assert compared_decision(RightsDecision.APPROVED, status="closed").reason is WriteReason.STATE_NOT_EXPECTED


def test_a_decision_by_hand_counts_where_nothing_can_be_read() -> None:
    by_hand = EarlierWrites(value_by_hand="approved")
    assert compare_decision(decision(), None, by_hand, OPEN).status is ComparisonStatus.APPLIED
    assert (
        compare_decision(decision(RightsDecision.DECLINED), None, by_hand, OPEN).reason is WriteReason.DECIDED_OTHERWISE
    )


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
    read = ReadResult(found=True, values={"stage": stage})
    comparison = compare_stage(advance(), read, EarlierWrites(decision=decided), OPEN)
    assert comparison.reason is reason
    assert comparison.status is (ComparisonStatus.CLEAR if reason is None else ComparisonStatus.CONFLICT)


def test_a_card_that_is_in_the_stage_already_is_applied() -> None:
    read = ReadResult(found=True, values={"stage": "licensed"})
    assert compare_stage(advance(), read, EarlierWrites(), OPEN).status is ComparisonStatus.APPLIED


def test_a_missing_rights_record_is_a_conflict() -> None:
    gone = ReadResult(found=False, values={})
    assert compare_decision(decision(), gone, EarlierWrites(), OPEN).reason is WriteReason.RECORD_MISSING
    assert compare_stage(advance(), gone, EarlierWrites(), OPEN).reason is WriteReason.RECORD_MISSING

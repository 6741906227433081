"""Compares one change with the value in Consonance: applied already, clear to write, or in conflict. Pure.

``read`` is None where this Consonance cannot be read for the change; then only our own earlier writes can show a
conflict.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, assert_never

from services.writeback.changes import WriteChange
from services.writeback.operation_mapping import ReadResult
from shared.contracts.canonical import canonical_hash, canonical_of
from shared.contracts.consonance import licence_needs_signature
from shared.contracts.writes import (
    DROPPED_BY_HAND,
    AcknowledgementKind,
    AdvanceWorkflow,
    AppendAcquisition,
    CompleteMilestone,
    CreateAcquisition,
    MetadataItem,
    RecordAcknowledgement,
    RecordDecision,
    RightsDecision,
)

FINAL_DECISIONS = frozenset(
    {RightsDecision.APPROVED, RightsDecision.APPROVED_SUBJECT_TO_SIGNATURE, RightsDecision.DECLINED}
)
"""A request has at most one of these; a question, a counter-offer and ``expired`` leave it open."""

_OPEN_DECISIONS = frozenset(RightsDecision) - FINAL_DECISIONS

_RANK = {kind.value: rank for rank, kind in enumerate(AcknowledgementKind)}
"""A stronger acknowledgement contains the weaker ones; a dispute stays whatever comes after it."""


class ComparisonStatus(StrEnum):
    APPLIED = "applied"
    CLEAR = "clear"
    CONFLICT = "conflict"


class WriteReason(StrEnum):
    """Why a write is in conflict, or why a person has to do it; ``dropped``: its task was closed without the write."""

    CHANGED_MEANWHILE = "changed_meanwhile"
    RECORD_MISSING = "record_missing"
    TERMS_CHANGED = "terms_changed"
    DECIDED_OTHERWISE = "decided_otherwise"
    DECISION_MISSING = "decision_missing"
    AWAITS_SIGNATURE = "awaits_signature"
    STATE_NOT_EXPECTED = "state_not_expected"
    DISPUTED = "disputed"
    SEVERAL_LIVE = "several_live"
    UNSUPPORTED = "unsupported"
    REFUSED = "refused"
    NOT_TAKEN = "not_taken"
    READ_BACK_DIFFERS = "read_back_differs"
    UNREADABLE = "unreadable"
    DROPPED = DROPPED_BY_HAND


@dataclass(frozen=True, slots=True)
class EarlierWrites:
    """Additions from our own records: a value entered by hand under the same idempotency key, the decision in force."""

    value_by_hand: str | None = None
    decision: str | None = None


@dataclass(frozen=True, slots=True)
class ChangeComparison:
    """``value``: the value to write, or written already; in a conflict, the one that a person may have to enter.

    ``current``: the value in Consonance before. ``detail`` is set where the value is not the requested one;
    ``reference`` is the record's own. Where a text is replaced by a new one, ``stale`` holds the ids to remove, and
    ``create`` is false when the new one exists already.
    """

    status: ComparisonStatus
    value: str | None = None
    current: str | None = None
    reason: WriteReason | None = None
    detail: str | None = None
    reference: str | None = None
    stale: tuple[Any, ...] = ()
    create: bool = True


def compare_change(  # noqa: PLR0911 -- one return per kind of change
    change: WriteChange, read: ReadResult | None, earlier: EarlierWrites, expected_from: AbstractSet[str]
) -> ChangeComparison:
    """``expected_from``: the states in which the record may be; empty means any."""
    match change.request:
        case MetadataItem():
            return compare_metadata(change.request, read)
        case RecordDecision():
            return compare_decision(change.request, read, earlier, expected_from)
        case AdvanceWorkflow():
            return compare_stage(change.request, read, earlier, expected_from)
        case CreateAcquisition():
            return _compare_new_acquisition(change.request, read, earlier)
        case AppendAcquisition():
            return _compare_appended_message(change.request, read)
        case RecordAcknowledgement():
            return _compare_acknowledgement(change.request, read)
        case CompleteMilestone():
            return _compare_milestone(change.request, read)
        case _:
            assert_never(change.request)


# ------------------------------------------------------------------ metadata


@dataclass(frozen=True, slots=True)
class _LiveValue:
    """One value in Consonance: its canonical forms, its text as displayed, and of one text among several the id.

    ``stale`` has that id, by which the text is removed once a new one replaces it; None where the mapping reads none.
    """

    forms: frozenset[str]
    text: str | None
    stale: tuple[Any, ...] = ()


def compare_metadata(item: MetadataItem, read: ReadResult | None) -> ChangeComparison:
    """Consonance must still hold the value that the person was shown.

    A title is one value. A cover copy may be several marketing texts, each as HTML and as the Markdown it was written
    in. To replace one means to create the new text and then to remove the old one, so both may exist halfway.
    """
    if read is None:
        return ChangeComparison(ComparisonStatus.CLEAR, value=item.new_value, current=item.old_value)
    if not read.found:
        return _conflict(WriteReason.RECORD_MISSING)
    live = _live_values(item, read)
    stale = [each for each in live if canonical_of(item.field, item.new_value) not in each.forms]
    is_created = len(stale) < len(live)
    if is_created and not stale:
        return ChangeComparison(ComparisonStatus.APPLIED, value=item.new_value, current=live[0].text)
    if len(stale) > 1:
        return _conflict(WriteReason.SEVERAL_LIVE, "\n".join(each.text or "" for each in stale))
    return _compare_with_baseline(item, stale[0] if stale else _LiveValue(frozenset({""}), None), is_created=is_created)


def _compare_with_baseline(item: MetadataItem, live: _LiveValue, *, is_created: bool) -> ChangeComparison:
    """The old value shown to the person is a baseline too, should the sender have hashed in another way."""
    equals_shown_value = item.old_value is not None and canonical_of(item.field, item.old_value) in live.forms
    equals_hash = any(canonical_hash(item.field, form) == item.baseline_hash for form in live.forms)
    if not equals_shown_value and not equals_hash:
        return _conflict(WriteReason.CHANGED_MEANWHILE, live.text)
    return ChangeComparison(
        ComparisonStatus.CLEAR, value=item.new_value, current=live.text, stale=live.stale, create=not is_created
    )


def _live_values(item: MetadataItem, read: ReadResult) -> list[_LiveValue]:
    current, sources, ids = (read.values.get(name) for name in ("current", "source", "ids"))
    if not isinstance(current, list):
        return [_LiveValue(frozenset({canonical_of(item.field, current)}), current)]
    sources = sources if isinstance(sources, list) else current
    ids = ids if isinstance(ids, list) else [None] * len(current)
    return [
        _LiveValue(frozenset({canonical_of(item.field, text), canonical_of(item.field, source)}), text, (text_id,))
        for text, source, text_id in zip(current, sources, ids, strict=True)
    ]


# ------------------------------------------------------------------ rights


def compare_decision(
    request: RecordDecision, read: ReadResult | None, earlier: EarlierWrites, expected_from: AbstractSet[str]
) -> ChangeComparison:
    """One final decision per request, on the terms that were shown; a word that we do not know may be one."""
    decision = decision_to_record(request, read)
    if read is not None and not read.found:
        return _conflict(WriteReason.RECORD_MISSING, value=decision)
    values = read.values if read is not None else {}
    if values.get("terms_hash") not in {None, request.terms_hash}:
        return _conflict(WriteReason.TERMS_CHANGED, value=decision)
    recorded = values.get("decision") or earlier.value_by_hand
    detail = decision.value if decision is not request.decision else None
    if recorded == decision:
        return ChangeComparison(ComparisonStatus.APPLIED, value=decision, current=recorded, detail=detail)
    if recorded and recorded not in _OPEN_DECISIONS | expected_from:
        return _conflict(WriteReason.DECIDED_OTHERWISE, recorded, value=decision)
    if expected_from and values.get("status") not in {None, *expected_from}:
        return _conflict(WriteReason.STATE_NOT_EXPECTED, values.get("status"), value=decision)
    return ChangeComparison(ComparisonStatus.CLEAR, value=decision, current=recorded, detail=detail)


def decision_to_record(request: RecordDecision, read: ReadResult | None) -> RightsDecision:
    """``approved`` becomes subject to signature where the request, or the record as it now reads, needs one.

    A licence that must be signed is never recorded as approved.
    """
    values = read.values if read is not None else {}
    needs_signature = request.needs_signature or licence_needs_signature(
        requires_signature=bool(values.get("requires_signature")),
        exclusivity=_lower(values.get("exclusivity")),
        right_type=_lower(values.get("right_type")),
    )
    if request.decision is RightsDecision.APPROVED and needs_signature:
        return RightsDecision.APPROVED_SUBJECT_TO_SIGNATURE
    return request.decision


def _lower(value: Any) -> Any:
    """An enum of GraphQL is usually in capitals."""
    return value.lower() if isinstance(value, str) else value


def compare_stage(
    request: AdvanceWorkflow, read: ReadResult | None, earlier: EarlierWrites, expected_from: AbstractSet[str]
) -> ChangeComparison:
    """A card moves only after the final decision about its request."""
    if read is not None and not read.found:
        return _conflict(WriteReason.RECORD_MISSING, value=request.to_stage)
    current = read.values.get("stage") if read is not None else earlier.value_by_hand
    if current == request.to_stage:
        return ChangeComparison(ComparisonStatus.APPLIED, value=request.to_stage, current=current)
    if earlier.decision not in FINAL_DECISIONS:
        return _conflict(WriteReason.DECISION_MISSING, current, value=request.to_stage)
    if earlier.decision == RightsDecision.APPROVED_SUBJECT_TO_SIGNATURE:
        return _conflict(WriteReason.AWAITS_SIGNATURE, current, value=request.to_stage)
    if expected_from and current not in {None, *expected_from}:
        return _conflict(WriteReason.STATE_NOT_EXPECTED, current, value=request.to_stage)
    return ChangeComparison(ComparisonStatus.CLEAR, value=request.to_stage, current=current)


# ------------------------------------------------------------------ acquisitions, statements, milestones


def _compare_new_acquisition(
    request: CreateAcquisition, read: ReadResult | None, earlier: EarlierWrites
) -> ChangeComparison:
    if read is not None and read.found:
        reference = _text_of(read, "reference") or request.reference
        return _applied_acquisition(reference)
    if earlier.value_by_hand is not None:
        return _applied_acquisition(earlier.value_by_hand)
    return ChangeComparison(ComparisonStatus.CLEAR, value=request.reference, reference=request.reference)


def _applied_acquisition(reference: str) -> ChangeComparison:
    return ChangeComparison(ComparisonStatus.APPLIED, value=reference, current=reference, reference=reference)


def _compare_appended_message(request: AppendAcquisition, read: ReadResult | None) -> ChangeComparison:
    if read is not None and not read.found:
        return _conflict(WriteReason.RECORD_MISSING)
    is_appended = read is not None and request.source_message_id in _list_of(read, "message_ids")
    status = ComparisonStatus.APPLIED if is_appended else ComparisonStatus.CLEAR
    return ChangeComparison(status, value=request.source_message_id, reference=request.reference)


def _compare_acknowledgement(request: RecordAcknowledgement, read: ReadResult | None) -> ChangeComparison:
    requested = request.acknowledgement.value
    current = read.values.get("kind") if read is not None and read.found else None
    if not current:
        return ChangeComparison(ComparisonStatus.CLEAR, value=requested)
    if current not in _RANK:
        return _conflict(WriteReason.STATE_NOT_EXPECTED, current, value=requested)
    if current == AcknowledgementKind.DISPUTED and requested == AcknowledgementKind.ACKNOWLEDGED:
        return _conflict(WriteReason.DISPUTED, current, value=requested)
    if _RANK[current] >= _RANK[requested]:
        return _applied_instead(current, requested)
    return ChangeComparison(ComparisonStatus.CLEAR, value=requested, current=current)


def _compare_milestone(request: CompleteMilestone, read: ReadResult | None) -> ChangeComparison:
    requested = request.done_on.isoformat()
    if read is None:
        return ChangeComparison(ComparisonStatus.CLEAR, value=requested)
    if not read.found:
        return _conflict(WriteReason.RECORD_MISSING, value=requested)
    done_on = _text_of(read, "done_on")
    if not done_on:
        return ChangeComparison(ComparisonStatus.CLEAR, value=requested)
    return _applied_instead(done_on, requested)


def _text_of(read: ReadResult, name: str) -> str | None:
    """The text of a text, a number, or a list with one of these. Raises TypeError for any other value."""
    value = read.values.get(name)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, str | int | None):
        raise TypeError(f"{name} is no text")
    return value if value is None else str(value)


def _list_of(read: ReadResult, name: str) -> Sequence[Any]:
    """The list; empty without a value. Raises TypeError for any other value, also for a text."""
    value = read.values.get(name)
    if not isinstance(value, list | None):
        raise TypeError(f"{name} is no list")
    return value or ()


def _applied_instead(current: str, requested: str) -> ChangeComparison:
    """``detail`` names the current value where it is not the requested one."""
    detail = current if current != requested else None
    return ChangeComparison(ComparisonStatus.APPLIED, value=current, current=current, detail=detail)


def _conflict(reason: WriteReason, current: Any = None, *, value: str | None = None) -> ChangeComparison:
    text = None if current is None else str(current)
    return ChangeComparison(ComparisonStatus.CONFLICT, value=value, current=text, reason=reason)

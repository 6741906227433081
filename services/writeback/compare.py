"""Judges one change against what Consonance shows: applied already, clear to write, or in conflict. Pure.

``seen`` is None where this Consonance cannot be read for the change: then only our ledger can speak against it.
"""

from collections.abc import Set as AbstractSet
from typing import assert_never

from services.writeback.changes import Change
from services.writeback.compare_metadata import judge_item
from services.writeback.compare_rights import judge_decision, judge_stage
from services.writeback.judgement import Judgement, Known, Reason, Standing, conflict
from services.writeback.ways import Seen
from shared.contracts.writes import (
    AcknowledgementKind,
    AdvanceWorkflow,
    AppendAcquisition,
    CompleteMilestone,
    CreateAcquisition,
    MetadataItem,
    RecordAcknowledgement,
    RecordDecision,
)

_RANK = {kind.value: rank for rank, kind in enumerate(AcknowledgementKind)}
"""A stronger acknowledgement contains the weaker ones; a dispute stays whatever comes after it."""


def judge(  # noqa: PLR0911 -- one return per kind of change
    change: Change, seen: Seen | None, known: Known, expected: AbstractSet[str]
) -> Judgement:
    match change.part:
        case MetadataItem():
            return judge_item(change.part, seen)
        case RecordDecision():
            return judge_decision(change.part, seen, known, expected)
        case AdvanceWorkflow():
            return judge_stage(change.part, seen, known, expected)
        case CreateAcquisition():
            return _created(change.part, seen, known)
        case AppendAcquisition():
            return _appended(change.part, seen)
        case RecordAcknowledgement():
            return _acknowledged(change.part, seen)
        case CompleteMilestone():
            return _completed(change.part, seen)
        case _:
            assert_never(change.part)


def _created(asked: CreateAcquisition, seen: Seen | None, known: Known) -> Judgement:
    if seen is not None and seen.found:
        reference = str(seen.values.get("reference") or asked.reference)
        return Judgement(Standing.APPLIED, value=reference, current=reference, reference=reference)
    if known.by_hand is not None:
        return Judgement(Standing.APPLIED, value=known.by_hand, current=known.by_hand, reference=known.by_hand)
    return Judgement(Standing.CLEAR, value=asked.reference, reference=asked.reference)


def _appended(asked: AppendAcquisition, seen: Seen | None) -> Judgement:
    if seen is not None and not seen.found:
        return conflict(Reason.RECORD_MISSING)
    standing = seen is not None and asked.source_message_id in (seen.values.get("message_ids") or ())
    return Judgement(
        Standing.APPLIED if standing else Standing.CLEAR, value=asked.source_message_id, reference=asked.reference
    )


def _acknowledged(asked: RecordAcknowledgement, seen: Seen | None) -> Judgement:
    wanted = asked.acknowledgement.value
    current = seen.values.get("kind") if seen is not None and seen.found else None
    if current is None:
        return Judgement(Standing.CLEAR, value=wanted)
    if current == AcknowledgementKind.DISPUTED and wanted == AcknowledgementKind.ACKNOWLEDGED:
        return conflict(Reason.DISPUTED, current)
    if _RANK.get(current, len(_RANK)) >= _RANK[wanted]:
        return Judgement(
            Standing.APPLIED, value=current, current=current, detail=current if current != wanted else None
        )
    return Judgement(Standing.CLEAR, value=wanted, current=current)


def _completed(asked: CompleteMilestone, seen: Seen | None) -> Judgement:
    wanted = asked.done_on.isoformat()
    if seen is None:
        return Judgement(Standing.CLEAR, value=wanted)
    if not seen.found:
        return conflict(Reason.RECORD_MISSING)
    done_on = seen.values.get("done_on")
    if done_on is None:
        return Judgement(Standing.CLEAR, value=wanted)
    return Judgement(Standing.APPLIED, value=done_on, current=done_on, detail=done_on if done_on != wanted else None)

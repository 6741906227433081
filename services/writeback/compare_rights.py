"""Judges the two writes to rights: one final decision per request, on the terms shown, and no card moved before it.

A licence that must be signed (exclusive, or an assignment: CDPA 1988 s.90(3) and s.92) is never recorded as approved,
only as approved subject to signature; nobody but this module says so.
"""

from collections.abc import Set as AbstractSet

from services.writeback.judgement import Judgement, Known, Reason, Standing, conflict
from services.writeback.ways import Seen
from shared.contracts.consonance import Exclusivity, RightType
from shared.contracts.writes import AdvanceWorkflow, Decision, RecordDecision

FINAL = frozenset({Decision.APPROVED, Decision.APPROVED_SUBJECT_TO_SIGNATURE, Decision.DECLINED})
"""One of these per request; a question, a counter-offer and ``expired`` leave it open."""


def judge_decision(asked: RecordDecision, seen: Seen | None, known: Known, expected: AbstractSet[str]) -> Judgement:
    if seen is not None and not seen.found:
        return conflict(Reason.RECORD_MISSING)
    shown = seen.values if seen is not None else {}
    if shown.get("terms_hash") not in {None, asked.terms_hash}:
        return conflict(Reason.TERMS_CHANGED)
    wanted = to_record(asked, seen)
    recorded = shown.get("decision") or known.by_hand
    detail = wanted.value if wanted is not asked.decision else None
    if recorded == wanted:
        return Judgement(Standing.APPLIED, value=wanted, current=recorded, detail=detail)
    if recorded in FINAL:
        return conflict(Reason.DECIDED_OTHERWISE, recorded)
    if expected and shown.get("status") not in {None, *expected}:
        return conflict(Reason.STATE_NOT_EXPECTED, shown.get("status"))
    return Judgement(Standing.CLEAR, value=wanted, current=recorded, detail=detail)


def to_record(asked: RecordDecision, seen: Seen | None) -> Decision:
    """``approved`` becomes subject to signature where the request, or the record as it now reads, needs one."""
    shown = seen.values if seen is not None else {}
    must_be_signed = (
        asked.needs_signature
        or bool(shown.get("requires_signature"))
        or shown.get("exclusivity") == Exclusivity.EXCLUSIVE
        or shown.get("right_type") == RightType.ASSIGNMENT
    )
    if asked.decision is Decision.APPROVED and must_be_signed:
        return Decision.APPROVED_SUBJECT_TO_SIGNATURE
    return asked.decision


def judge_stage(asked: AdvanceWorkflow, seen: Seen | None, known: Known, expected: AbstractSet[str]) -> Judgement:
    if seen is not None and not seen.found:
        return conflict(Reason.RECORD_MISSING)
    current = seen.values.get("stage") if seen is not None else known.by_hand
    if current == asked.to_stage:
        return Judgement(Standing.APPLIED, value=asked.to_stage, current=current)
    if known.decision not in FINAL:
        return conflict(Reason.DECISION_MISSING, current)
    if known.decision == Decision.APPROVED_SUBJECT_TO_SIGNATURE:
        return conflict(Reason.AWAITS_SIGNATURE, current)
    if expected and current not in {None, *expected}:
        return conflict(Reason.STATE_NOT_EXPECTED, current)
    return Judgement(Standing.CLEAR, value=asked.to_stage, current=current)

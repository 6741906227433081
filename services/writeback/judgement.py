"""The words in which a change is judged against what Consonance shows, and the reasons that go with them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Standing(StrEnum):
    APPLIED = "applied"
    CLEAR = "clear"
    CONFLICT = "conflict"


class Reason(StrEnum):
    """Why a write is in conflict, or why a person has to do it."""

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


@dataclass(frozen=True, slots=True)
class Known:
    """What our own ledger adds: what a person recorded under the same once-key, and the decision that stands."""

    by_hand: str | None = None
    decision: str | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """``value``: what is (to be) recorded; ``current``: what stood there before; ``reference``: the record's own.

    ``detail`` names what stands where that is not what was asked. Where a text is replaced by another, ``stale`` are
    the ids of what must go, and ``create`` is false when the new one stands already.
    """

    standing: Standing
    value: str | None = None
    current: str | None = None
    reason: Reason | None = None
    detail: str | None = None
    reference: str | None = None
    stale: tuple[Any, ...] = ()
    create: bool = True


def conflict(reason: Reason, current: Any = None) -> Judgement:
    return Judgement(Standing.CONFLICT, current=spelled(current), reason=reason)


def spelled(value: Any) -> str | None:
    return None if value is None else str(value)

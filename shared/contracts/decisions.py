"""Decisions of rules with their reasons: topic ``decisions``. Every event has exactly one, also without an effect.

``revision`` is the hash of the rule files that decided, ``commit`` the commit they come from, where it is known.
No phone number, BSUID or message text ever stands here.
"""

from enum import StrEnum
from typing import ClassVar

from msgspec import field

from shared.contracts.envelope import EventData, kinds_by_type
from shared.contracts.ids import ChainId, EventId, MessageId, Revision, RuleId, WriteId
from shared.contracts.values import Instant, NonEmptyStr, Value


class VerdictKind(StrEnum):
    """Whether the rule did anything. The values are those that the topic has had from the beginning."""

    ACTED = "spoke"
    NOT_ACTED = "stayed"


class RuleVerdict(Value):
    """The effect of one rule for one event or due step; ``reason`` is from rules' closed set."""

    rule: RuleId | None = None
    chain_id: ChainId | None = None
    step: str | None = None
    verdict: VerdictKind
    reason: NonEmptyStr
    messages: tuple[MessageId, ...] = ()
    withdrawn: tuple[MessageId, ...] = ()
    writes: tuple[WriteId, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)


class DecisionRecorded(EventData):
    kind: ClassVar[str] = "rules.decision.recorded.v1"
    about: NonEmptyStr
    revision: Revision
    commit: NonEmptyStr | None = None
    verdicts: tuple[RuleVerdict, ...]
    decided_at: Instant


class NoEffectRecorded(EventData):
    """The decisions of one batch without an effect: each event in ``events`` was judged, and ``reason`` is why.

    Its kind keeps the word “silence”: kinds never change.
    """

    kind: ClassVar[str] = "rules.silence.recorded.v1"
    events: tuple[EventId, ...]
    revision: Revision
    commit: NonEmptyStr | None = None
    reason: NonEmptyStr
    decided_at: Instant


KINDS = kinds_by_type((DecisionRecorded, NoEffectRecorded))

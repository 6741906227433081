"""The result of a mutation, its refusal in three shapes as in the vendor's examples, and the log of all mutations."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson

from shared.contracts.errors import Refused


class FieldRefused(Refused):
    """One field, and what is wrong with it."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(f"{field} {sentence}")
        self.field = field
        self.sentence = sentence


class RecordMissing(Refused):
    """No such record: a GraphQL error, not one of the payload."""


class RefusalShape(StrEnum):
    FIELD_MESSAGE = "field_message"
    ATTRIBUTE_MESSAGE = "attribute_message"
    FIELD_MESSAGES = "field_messages"


def refusal_as_json(refusal: FieldRefused, shape: RefusalShape) -> list[Mapping[str, object]]:
    match shape:
        case RefusalShape.FIELD_MESSAGE:
            return [{"field": refusal.field, "message": refusal.sentence}]
        case RefusalShape.ATTRIBUTE_MESSAGE:
            return [{"attribute": refusal.field, "message": refusal.sentence}]
        case RefusalShape.FIELD_MESSAGES:
            return [{"field": refusal.field, "messages": [refusal.sentence]}]


@dataclass(frozen=True)
class MutationResult:
    """``changed`` is false where the record had the requested values already; ``more`` are further fields of the
    payload.
    """

    record: object
    changed: bool = True
    more: Mapping[str, object] = field(default_factory=dict)


class MutationOutcome(StrEnum):
    APPLIED = "applied"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


class MutationLog:
    def __init__(self) -> None:
        self._entries: list[dict[str, Any]] = []
        self._applied: Counter[bytes] = Counter()

    def note(self, operation: str, given: Mapping[str, Any], outcome: MutationOutcome, at: datetime) -> None:
        """``count`` says how often the same input was applied by now, whatever its clientMutationId."""
        kept = {name: value for name, value in given.items() if name != "client_mutation_id"}
        same = orjson.dumps([operation, kept], option=orjson.OPT_SORT_KEYS)
        self._applied[same] += outcome is MutationOutcome.APPLIED
        self._entries.append(
            {"operation": operation, "input": kept, "outcome": outcome, "at": at, "count": self._applied[same]}
        )

    def entries(self, operation: str | None = None) -> list[dict[str, Any]]:
        return [entry for entry in self._entries if operation in (None, entry["operation"])]

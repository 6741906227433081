"""How a mutation says no in its payload: three shapes that disagree, as the vendor's own examples do."""

from collections.abc import Mapping
from enum import StrEnum

from shared.contracts.errors import Refused


class Complaint(Refused):
    """One field, and what is wrong with it."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(f"{field} {sentence}")
        self.field = field
        self.sentence = sentence


class Missing(Refused):
    """No such record: a GraphQL error, not one of the payload."""


class Shape(StrEnum):
    FIELD_MESSAGE = "field_message"
    ATTRIBUTE_MESSAGE = "attribute_message"
    FIELD_MESSAGES = "field_messages"


def spell(complaint: Complaint, shape: Shape) -> list[Mapping[str, object]]:
    match shape:
        case Shape.FIELD_MESSAGE:
            return [{"field": complaint.field, "message": complaint.sentence}]
        case Shape.ATTRIBUTE_MESSAGE:
            return [{"attribute": complaint.field, "message": complaint.sentence}]
        case Shape.FIELD_MESSAGES:
            return [{"field": complaint.field, "messages": [complaint.sentence]}]

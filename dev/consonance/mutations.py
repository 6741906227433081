"""The mutations this Consonance offers: what each does, what its payload calls the record, and how it says no."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from dev.consonance import write_documented as documented
from dev.consonance import write_extended as extended_writes
from dev.consonance.complaints import Shape
from dev.consonance.house import House
from dev.consonance.written import Written

Apply = Callable[[House, Mapping[str, Any], date], Written]


@dataclass(frozen=True)
class Mutation:
    """``result`` is the payload's field for the record."""

    name: str
    result: str
    shape: Shape
    apply: Apply


_DOCUMENTED = (
    Mutation("updateWork", "work", Shape.FIELD_MESSAGE, documented.update_work),
    Mutation("updateProduct", "product", Shape.ATTRIBUTE_MESSAGE, documented.update_product),
    Mutation("updateContract", "contract", Shape.FIELD_MESSAGES, documented.update_contract),
    Mutation("createGratisCopy", "gratis_copy", Shape.FIELD_MESSAGE, documented.create_gratis_copy),
    Mutation("updateGratisCopy", "gratis_copy", Shape.ATTRIBUTE_MESSAGE, documented.update_gratis_copy),
    Mutation("createMarketingText", "marketing_text", Shape.FIELD_MESSAGES, documented.create_marketing_text),
)
_EXTENDED = (
    Mutation("recordRightsDecision", "rights_request", Shape.FIELD_MESSAGE, extended_writes.record_rights_decision),
    Mutation(
        "advanceRightsWorkflow", "rights_record", Shape.ATTRIBUTE_MESSAGE, extended_writes.advance_rights_workflow
    ),
    Mutation("createAcquisition", "acquisition", Shape.FIELD_MESSAGES, extended_writes.create_acquisition),
    Mutation("appendToAcquisition", "acquisition", Shape.FIELD_MESSAGE, extended_writes.append_to_acquisition),
    Mutation(
        "recordAcknowledgement", "acknowledgement", Shape.ATTRIBUTE_MESSAGE, extended_writes.record_acknowledgement
    ),
    Mutation("completeMilestone", "milestone", Shape.FIELD_MESSAGES, extended_writes.complete_milestone),
    Mutation("createContactNote", "contact", Shape.FIELD_MESSAGE, extended_writes.create_contact_note),
    Mutation("deleteMarketingText", "marketing_text", Shape.ATTRIBUTE_MESSAGE, extended_writes.delete_marketing_text),
)


def offered(*, extended: bool) -> tuple[Mutation, ...]:
    return _DOCUMENTED + _EXTENDED if extended else _DOCUMENTED

"""The mutations: the documented ones, and those of the extended profile, which is not public."""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, fields
from datetime import date
from typing import Any

from dev.consonance.edits import add_text, contact_of, edit_product, edit_work, product_of, work_of
from dev.consonance.mutation_results import FieldRefused, MutationResult, RecordMissing, RefusalShape
from dev.consonance.publisher import PublisherRecords, line, prose
from dev.consonance.records import Acknowledgement, Acquisition, GratisCopy, RightsRequest

_SUBJECTS = {"themas": "THEMA", "bisacs": "BISAC", "bics": "BIC"}
_WORK = ("title", "subtitle", "acronym", "alternative_titles", "project_stage_id")
_PRODUCT = (
    "isbn",
    "prefix",
    "title",
    "subtitle",
    "publication_date",
    "planned_publication_date",
    "onix_publishing_status_code",
    "price",
)
_TEXT = (
    "external_text_markdown",
    "internal_text_markdown",
    "alternate_external_text_markdown",
    "onix_language_code",
    "onix_content_audience_codes",
    "product_ids",
    "from_date",
    "until_date",
    "date_published",
    "date_released",
)
Input = Mapping[str, Any]


def update_work(publisher: PublisherRecords, given: Input, today: date) -> MutationResult:
    """All or nothing, nested products too. Documented fields of no use here (season, tier ids, …) are dropped."""
    work = work_of(publisher, given["id"])
    fields = {name: given[name] for name in _WORK if name in given}
    subjects = {scheme: given[name] for name, scheme in _SUBJECTS.items() if name in given}
    if subjects:
        fields["subjects"] = {**work.subjects, **subjects}
    nested = given.get("products") or ()
    before = {one["id"]: copy(product_of(publisher, one["id"])) for one in nested}
    try:
        for one in nested:
            update_product(publisher, one, today)
        edit_work(publisher, work.id, fields, today)
    except FieldRefused:
        publisher.products |= before
        raise
    return MutationResult(work)


def update_product(publisher: PublisherRecords, given: Input, today: date) -> MutationResult:
    fields = {name: given[name] for name in _PRODUCT if name in given}
    return MutationResult(edit_product(publisher, given["id"], fields, today))


def update_contract(publisher: PublisherRecords, given: Input, _: date) -> MutationResult:
    contract = publisher.contracts.get(given["id"])
    if contract is None:
        raise RecordMissing(f"Couldn't find Contract with 'id'={given['id']}")
    if "contract_name" in given and not given["contract_name"]:
        raise FieldRefused("contractName", "can't be blank")
    for name, value in given.items():
        if name not in {"id", "client_mutation_id"}:
            setattr(contract, name, value)
    return MutationResult(contract)


def create_gratis_copy(publisher: PublisherRecords, given: Input, _: date) -> MutationResult:
    product_of(publisher, given["product_id"])
    contact_of(publisher, given["contact_id"])
    if given["number_of_copies"] < 1:
        raise FieldRefused("numberOfCopies", "must be greater than 0")
    made = GratisCopy(
        id=publisher.new_id(), **{name: value for name, value in given.items() if name != "client_mutation_id"}
    )
    publisher.gratis_copies[made.id] = made
    return MutationResult(made)


def update_gratis_copy(publisher: PublisherRecords, given: Input, _: date) -> MutationResult:
    known = publisher.gratis_copies.get(given["id"])
    if known is None:
        raise RecordMissing(f"Couldn't find GratisCopy with 'id'={given['id']}")
    for name, value in given.items():
        if name != "client_mutation_id":
            setattr(known, name, value)
    return MutationResult(known)


def create_marketing_text(publisher: PublisherRecords, given: Input, today: date) -> MutationResult:
    if given.get("work_id") is None:
        raise FieldRefused("work", "must exist")
    fields = {name: given[name] for name in _TEXT if given.get(name) is not None}
    variant = given.get("variant") or "SHORT_DESCRIPTION"
    return MutationResult(add_text(publisher, given["work_id"], variant, fields, today))


_STATUS_AFTER = {
    "approved": "approved",
    "approved_subject_to_signature": "approved_subject_to_signature",
    "declined": "declined",
    "question": "more_information_requested",
    "counter_offer": "quotation_issued",
    "expired": "expired",
}
_FINAL = frozenset({"approved", "approved_subject_to_signature", "declined"})
_CLOSED = frozenset({"cancelled", "closed"})
_CARD_STAGES = frozenset(
    {
        *("pending", "more_information_requested", "quotation_issued", "licensed", "declined", "cancelled"),
        *("change_of_ownership", "closed", "request", "submission", "offer", "sold", "rejected", "expired"),
    }
)
_RANK = {"delivered": 0, "read": 1, "acknowledged": 2, "disputed": 3}


def record_rights_decision(publisher: PublisherRecords, given: Input, _: date) -> MutationResult:
    request = _rights_request(publisher, given["request_id"])
    decision = given["decision"]
    _check_decision(request, decision, given["terms_hash"])
    request.decision = decision
    request.status = _STATUS_AFTER[decision]
    for name in ("decided_by", "on_behalf_of", "decided_at", "evidence_id", "note"):
        setattr(request, name, given.get(name))
    return MutationResult(request)


def _rights_request(publisher: PublisherRecords, request_id: str) -> RightsRequest:
    try:
        return publisher.rights_requests[request_id]
    except KeyError:
        raise RecordMissing(f"Couldn't find RightsRequest {request_id}") from None


def _check_decision(request: RightsRequest, decision: str, terms_hash: str) -> None:
    if decision not in _STATUS_AFTER:
        raise FieldRefused("decision", "is not included in the list")
    if request.status in _CLOSED:
        raise FieldRefused("requestId", "is closed")
    if request.decision in _FINAL:
        raise FieldRefused("decision", "has already been made")
    if terms_hash != request.terms_hash:
        raise FieldRefused("termsHash", "is not that of the present terms")
    if decision == "approved" and (request.requires_signature or request.exclusivity == "exclusive"):
        raise FieldRefused("decision", "needs a signature")


def advance_rights_workflow(publisher: PublisherRecords, given: Input, _: date) -> MutationResult:
    card = publisher.rights_records.get(given["rights_record_id"])
    if card is None:
        raise RecordMissing(f"Couldn't find RightsRecord {given['rights_record_id']}")
    if given["to_stage"] not in _CARD_STAGES:
        raise FieldRefused("toStage", "is not included in the list")
    if given.get("expected_from") not in (None, card.workflow_stage):
        raise FieldRefused("expectedFrom", f"does not match: the card stands at {card.workflow_stage}")
    changed = card.workflow_stage != given["to_stage"]
    card.workflow_stage = given["to_stage"]
    return MutationResult(card, changed)


def create_acquisition(publisher: PublisherRecords, given: Input, _: date) -> MutationResult:
    known = next((one for one in publisher.acquisitions.values() if one.dedupe_key == given["dedupe_key"]), None)
    if known is not None:
        return MutationResult(known, changed=False, more={"created": False})
    if given["reference"] in publisher.acquisitions:
        raise FieldRefused("reference", "has already been taken")
    title = line(given["title"])
    if not title:
        raise FieldRefused("title", "can't be blank")
    names = {field.name for field in fields(Acquisition)}
    kept = {name: value for name, value in given.items() if name in names and value is not None}
    kept |= {"title": title, "pitch_text": prose(given["pitch_text"])}
    made = Acquisition(acquisition_id=f"ACQ-{publisher.new_id()}", **kept)
    publisher.acquisitions[made.reference] = made
    return MutationResult(made, more={"created": True})


def append_to_acquisition(publisher: PublisherRecords, given: Input, _: date) -> MutationResult:
    """The same message appended twice stands there twice: a writer that repeats itself is to be seen."""
    acquisition = publisher.acquisitions.get(given["reference"])
    if acquisition is None:
        raise RecordMissing(f"Couldn't find Acquisition {given['reference']}")
    text = prose(given.get("text") or "") or None
    attachments = given.get("attachments") or []
    if text is None and not attachments:
        raise FieldRefused("text", "can't be blank")
    acquisition.entries.append(
        {"text": text, "attachments": attachments, "source_message_id": given["source_message_id"]}
    )
    return MutationResult(acquisition)


def record_acknowledgement(publisher: PublisherRecords, given: Input, _: date) -> MutationResult:
    kind, contact_id = given["kind"], given.get("contact_id")
    if kind not in _RANK:
        raise FieldRefused("kind", "is not included in the list")
    if contact_id is not None and contact_id not in publisher.contacts:
        raise FieldRefused("contactId", "must exist")
    key = f"{given['document_id']}/{contact_id or ''}"
    known = publisher.acknowledgements.get(key)
    if known is not None and _RANK[known.kind] >= _RANK[kind]:
        return MutationResult(known, changed=False)
    made = Acknowledgement(given["document_id"], contact_id, kind, given["at"], given.get("message_id"))
    publisher.acknowledgements[key] = made
    return MutationResult(made)


def complete_milestone(publisher: PublisherRecords, given: Input, _: date) -> MutationResult:
    milestone = publisher.milestones.get(given["milestone_id"])
    if milestone is None:
        raise RecordMissing(f"Couldn't find Milestone {given['milestone_id']}")
    if milestone.done_on not in (None, given["done_on"]):
        raise FieldRefused("doneOn", "has already been set")
    changed = milestone.done_on is None
    milestone.done_on = given["done_on"]
    return MutationResult(milestone, changed)


def create_contact_note(publisher: PublisherRecords, given: Input, _: date) -> MutationResult:
    contact = contact_of(publisher, given["contact_id"])
    text = prose(given["note_text"])
    if not text:
        raise FieldRefused("noteText", "can't be blank")
    contact.notes.append({"note_text": text})
    return MutationResult(contact)


def delete_marketing_text(publisher: PublisherRecords, given: Input, today: date) -> MutationResult:
    text = publisher.marketing_texts.pop(given["id"], None)
    if text is None:
        raise RecordMissing(f"Couldn't find MarketingText with 'id'={given['id']}")
    publisher.works[text.work_id].changed_on = today
    return MutationResult(text)


Apply = Callable[[PublisherRecords, Mapping[str, Any], date], MutationResult]


@dataclass(frozen=True)
class Mutation:
    """``result`` is the payload's field for the record."""

    name: str
    result: str
    shape: RefusalShape
    apply: Apply


_DOCUMENTED = (
    Mutation("updateWork", "work", RefusalShape.FIELD_MESSAGE, update_work),
    Mutation("updateProduct", "product", RefusalShape.ATTRIBUTE_MESSAGE, update_product),
    Mutation("updateContract", "contract", RefusalShape.FIELD_MESSAGES, update_contract),
    Mutation("createGratisCopy", "gratis_copy", RefusalShape.FIELD_MESSAGE, create_gratis_copy),
    Mutation("updateGratisCopy", "gratis_copy", RefusalShape.ATTRIBUTE_MESSAGE, update_gratis_copy),
    Mutation("createMarketingText", "marketing_text", RefusalShape.FIELD_MESSAGES, create_marketing_text),
)
_EXTENDED = (
    Mutation("recordRightsDecision", "rights_request", RefusalShape.FIELD_MESSAGE, record_rights_decision),
    Mutation("advanceRightsWorkflow", "rights_record", RefusalShape.ATTRIBUTE_MESSAGE, advance_rights_workflow),
    Mutation("createAcquisition", "acquisition", RefusalShape.FIELD_MESSAGES, create_acquisition),
    Mutation("appendToAcquisition", "acquisition", RefusalShape.FIELD_MESSAGE, append_to_acquisition),
    Mutation("recordAcknowledgement", "acknowledgement", RefusalShape.ATTRIBUTE_MESSAGE, record_acknowledgement),
    Mutation("completeMilestone", "milestone", RefusalShape.FIELD_MESSAGES, complete_milestone),
    Mutation("createContactNote", "contact", RefusalShape.FIELD_MESSAGE, create_contact_note),
    Mutation("deleteMarketingText", "marketing_text", RefusalShape.ATTRIBUTE_MESSAGE, delete_marketing_text),
)


def offered(*, extended: bool) -> tuple[Mutation, ...]:
    return _DOCUMENTED + _EXTENDED if extended else _DOCUMENTED

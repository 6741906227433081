"""The mutations of the extended profile: nothing like them is public. Each guards what a careful back end would."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import date
from typing import Any

from dev.consonance import edits
from dev.consonance.complaints import Complaint, Missing
from dev.consonance.house import House
from dev.consonance.normalise import line, prose
from dev.consonance.records import Acknowledgement, Acquisition, RightsRequest
from dev.consonance.written import Written

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
Input = Mapping[str, Any]


def record_rights_decision(house: House, given: Input, _: date) -> Written:
    request = _rights_request(house, given["request_id"])
    decision = given["decision"]
    _check_decision(request, decision, given["terms_hash"])
    request.decision = decision
    request.status = _STATUS_AFTER[decision]
    for name in ("decided_by", "on_behalf_of", "decided_at", "evidence_id", "note"):
        setattr(request, name, given.get(name))
    return Written(request)


def _rights_request(house: House, request_id: str) -> RightsRequest:
    try:
        return house.rights_requests[request_id]
    except KeyError:
        raise Missing(f"Couldn't find RightsRequest {request_id}") from None


def _check_decision(request: RightsRequest, decision: str, terms_hash: str) -> None:
    if decision not in _STATUS_AFTER:
        raise Complaint("decision", "is not included in the list")
    if request.status in _CLOSED:
        raise Complaint("requestId", "is closed")
    if request.decision in _FINAL:
        raise Complaint("decision", "has already been made")
    if terms_hash != request.terms_hash:
        raise Complaint("termsHash", "is not that of the present terms")
    if decision == "approved" and (request.requires_signature or request.exclusivity == "exclusive"):
        raise Complaint("decision", "needs a signature")


def advance_rights_workflow(house: House, given: Input, _: date) -> Written:
    card = house.rights_records.get(given["rights_record_id"])
    if card is None:
        raise Missing(f"Couldn't find RightsRecord {given['rights_record_id']}")
    if given["to_stage"] not in _CARD_STAGES:
        raise Complaint("toStage", "is not included in the list")
    if given.get("expected_from") not in (None, card.workflow_stage):
        raise Complaint("expectedFrom", f"does not match: the card stands at {card.workflow_stage}")
    changed = card.workflow_stage != given["to_stage"]
    card.workflow_stage = given["to_stage"]
    return Written(card, changed)


def create_acquisition(house: House, given: Input, _: date) -> Written:
    known = next((one for one in house.acquisitions.values() if one.dedupe_key == given["dedupe_key"]), None)
    if known is not None:
        return Written(known, changed=False, more={"created": False})
    if given["reference"] in house.acquisitions:
        raise Complaint("reference", "has already been taken")
    title = line(given["title"])
    if not title:
        raise Complaint("title", "can't be blank")
    names = {field.name for field in fields(Acquisition)}
    kept = {name: value for name, value in given.items() if name in names and value is not None}
    kept |= {"title": title, "pitch_text": prose(given["pitch_text"])}
    made = Acquisition(acquisition_id=f"ACQ-{house.new_id()}", **kept)
    house.acquisitions[made.reference] = made
    return Written(made, more={"created": True})


def append_to_acquisition(house: House, given: Input, _: date) -> Written:
    """The same message appended twice stands there twice: a writer that repeats itself is to be seen."""
    acquisition = house.acquisitions.get(given["reference"])
    if acquisition is None:
        raise Missing(f"Couldn't find Acquisition {given['reference']}")
    text = prose(given.get("text") or "") or None
    attachments = given.get("attachments") or []
    if text is None and not attachments:
        raise Complaint("text", "can't be blank")
    acquisition.entries.append(
        {"text": text, "attachments": attachments, "source_message_id": given["source_message_id"]}
    )
    return Written(acquisition)


def record_acknowledgement(house: House, given: Input, _: date) -> Written:
    kind, contact_id = given["kind"], given.get("contact_id")
    if kind not in _RANK:
        raise Complaint("kind", "is not included in the list")
    if contact_id is not None and contact_id not in house.contacts:
        raise Complaint("contactId", "must exist")
    key = f"{given['document_id']}/{contact_id or ''}"
    known = house.acknowledgements.get(key)
    if known is not None and _RANK[known.kind] >= _RANK[kind]:
        return Written(known, changed=False)
    made = Acknowledgement(given["document_id"], contact_id, kind, given["at"], given.get("message_id"))
    house.acknowledgements[key] = made
    return Written(made)


def complete_milestone(house: House, given: Input, _: date) -> Written:
    milestone = house.milestones.get(given["milestone_id"])
    if milestone is None:
        raise Missing(f"Couldn't find Milestone {given['milestone_id']}")
    if milestone.done_on not in (None, given["done_on"]):
        raise Complaint("doneOn", "has already been set")
    changed = milestone.done_on is None
    milestone.done_on = given["done_on"]
    return Written(milestone, changed)


def create_contact_note(house: House, given: Input, _: date) -> Written:
    contact = edits.contact_of(house, given["contact_id"])
    text = prose(given["note_text"])
    if not text:
        raise Complaint("noteText", "can't be blank")
    contact.notes.append({"note_text": text})
    return Written(contact)


def delete_marketing_text(house: House, given: Input, today: date) -> Written:
    text = house.marketing_texts.pop(given["id"], None)
    if text is None:
        raise Missing(f"Couldn't find MarketingText with 'id'={given['id']}")
    house.works[text.work_id].changed_on = today
    return Written(text)

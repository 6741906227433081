"""Actions of the publisher's staff that no documented API shows: launch components, rights requests, milestones.

Each pushes its event to the webhook, as an integration platform would.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from typing import Any

from msgspec import to_builtins

from dev.consonance.control_inputs import (
    MilestoneChange,
    MilestoneInput,
    RightsRequestChange,
    RightsRequestInput,
    terms_hash,
)
from dev.consonance.edits import contact_of, work_of
from dev.consonance.mutation_results import RecordMissing
from dev.consonance.publisher import PublisherRecords
from dev.consonance.records import MarketingText, Milestone, RightsRecordRow, RightsRequest, SupportingResource
from dev.consonance.simulator import ConsonanceSimulator
from dev.consonance.trade import PICTURE
from shared.contracts.consonance import Component, ComponentState

_STATUS = {
    ComponentState.DRAFT: "draft",
    ComponentState.IN_REVIEW: "in_review",
    ComponentState.FINAL: "approved",
    ComponentState.REJECTED: "rejected",
}
_STATE = {status: state for state, status in _STATUS.items()}
COVER_COPY = "COVER_COPY"


def set_components(
    publisher: PublisherRecords, work_id: int, states: Mapping[Component, ComponentState], today: date
) -> None:
    work = work_of(publisher, work_id)
    for component, state in states.items():
        match component:
            case Component.METADATA:
                work.metadata_status = _STATUS.get(state, "draft")
            case Component.JACKET_COPY:
                _set_copy(publisher, work_id, state)
            case _:
                _set_resource(publisher, work_id, component, state)
    work.changed_on = today


def components(publisher: PublisherRecords, work_id: int) -> dict[Component, ComponentState]:
    work = work_of(publisher, work_id)
    held = {Component(one.variant): _STATE[one.status] for one in publisher.resources_of(work_id)}
    copy = [_STATE[text.approval_status] for text in publisher.texts_of(work_id) if text.variant == COVER_COPY]
    held |= {Component.JACKET_COPY: copy[-1]} if copy else {}
    return held | {Component.METADATA: _STATE[work.metadata_status]}


def _set_copy(publisher: PublisherRecords, work_id: int, state: ComponentState) -> None:
    texts = [text for text in publisher.texts_of(work_id) if text.variant == COVER_COPY]
    if state is ComponentState.MISSING:
        for text in texts:
            del publisher.marketing_texts[text.id]
        return
    if not texts:
        texts = [MarketingText(publisher.new_id(), work_id, COVER_COPY, publisher.works[work_id].title)]
        publisher.marketing_texts[texts[0].id] = texts[0]
    texts[-1].approval_status = _STATUS[state]


def _set_resource(publisher: PublisherRecords, work_id: int, component: Component, state: ComponentState) -> None:
    held = next((one for one in publisher.resources_of(work_id) if one.variant == component), None)
    if state is ComponentState.MISSING:
        if held is not None:
            del publisher.supporting_resources[held.id]
        return
    if held is None:
        id_ = publisher.new_id()
        caption = component.replace("_", " ").capitalize()
        held = SupportingResource(id_, work_id, str(component), "draft", caption, PICTURE.format(id_))
        publisher.supporting_resources[id_] = held
    held.status = _STATUS[state]


def ask_for_rights(simulator: ConsonanceSimulator, given: RightsRequestInput) -> RightsRequest:
    publisher = simulator.publisher
    number = publisher.new_id()
    contact_of(publisher, given.rights_holder)
    request = RightsRequest(
        request_id=given.request_id or f"R-{number}",
        rights_record_id=f"RR-{number}",
        work_id=work_of(publisher, given.work_id).id,
        kind=given.kind,
        right_type=given.right_type,
        terms_hash=terms_hash(given.terms),
        terms_summary=given.terms.summary,
        exclusivity=given.terms.exclusivity,
        requires_signature=given.requires_signature,
        rights_holder_id=given.rights_holder,
        respond_by=given.respond_by,
    )
    publisher.rights_requests[request.request_id] = request
    publisher.rights_records[request.rights_record_id] = RightsRecordRow(request.rights_record_id, request.work_id)
    if given.push:
        simulator.push("rights.approval_requested", f"rights/{request.request_id}", _request_data(request, given))
    return request


def _request_data(request: RightsRequest, given: RightsRequestInput) -> dict[str, Any]:
    holder: dict[str, Any] = {"contact_id": given.rights_holder, "role": "rights_holder"}
    if given.via_agent_contact_id is not None:
        holder["via_agent_contact_id"] = given.via_agent_contact_id
    return {
        "work": request.work_id,
        "request_id": request.request_id,
        "kind": request.kind,
        "rights_record_id": request.rights_record_id,
        "right_type": request.right_type,
        "asset": to_builtins(given.asset),
        "terms": to_builtins(given.terms),
        "terms_hash": request.terms_hash,
        "rights_holder": holder,
        "requested_by": {"type": "user", "id": str(given.requested_by)},
        "respond_by": request.respond_by.isoformat(),
        "allowed_decisions": ["approve", "decline", "question"],
        "requires_signature": request.requires_signature,
    }


def change_rights_request(simulator: ConsonanceSimulator, request_id: str, given: RightsRequestChange) -> RightsRequest:
    request = simulator.publisher.rights_requests.get(request_id)
    if request is None:
        raise RecordMissing(f"no rights request {request_id}")
    data: dict[str, Any] = {"work": request.work_id, "request_id": request_id, "reason": given.status or "superseded"}
    if given.terms is not None:
        request.terms_hash = data["new_terms_hash"] = terms_hash(given.terms)
        request.terms_summary, request.exclusivity = given.terms.summary, given.terms.exclusivity
    if given.status is not None:
        request.status = given.status
    if given.push:
        name = "rights.request_withdrawn" if given.status else "rights.request_changed"
        simulator.push(name, f"rights/{request_id}", data)
    return request


def set_milestone(simulator: ConsonanceSimulator, given: MilestoneInput) -> Milestone:
    publisher = simulator.publisher
    milestone = Milestone(
        milestone_id=given.milestone_id or f"M-{publisher.new_id()}",
        work_id=work_of(publisher, given.work_id).id,
        name=given.name,
        milestone_key=given.milestone_key,
        due_on=given.due_on,
        affected=[party.model_dump(mode="json") for party in given.affected],
        basis=given.basis,
    )
    publisher.milestones[milestone.milestone_id] = milestone
    if given.push and given.due_on is not None:
        _push_event(simulator, "schedule.date_set", milestone, **_dates(milestone))
    return milestone


def change_milestone(simulator: ConsonanceSimulator, milestone_id: str, given: MilestoneChange) -> Milestone:
    """A date moved, a milestone done, or taken back; one event for each that really changed."""
    milestone = simulator.publisher.milestones.get(milestone_id)
    if milestone is None:
        raise RecordMissing(f"no milestone {milestone_id}")
    before = asdict(milestone)
    for name in given.model_fields_set & {"due_on", "done_on"}:
        setattr(milestone, name, getattr(given, name))
    if given.push:
        _push_changes(simulator, milestone, before, given.reason)
    return milestone


def _push_changes(
    simulator: ConsonanceSimulator, milestone: Milestone, before: dict[str, Any], reason: str | None
) -> None:
    if milestone.due_on != before["due_on"]:
        name = "schedule.date_set" if before["due_on"] is None else "schedule.date_changed"
        more = {"old_due": before["due_on"], "reason": reason}
        _push_event(simulator, name, milestone, **_dates(milestone), **more)
    if milestone.done_on == before["done_on"]:
        return
    if milestone.done_on is None:
        _push_event(simulator, "milestone.reopened", milestone, due_on=milestone.due_on)
    else:
        late = 0 if milestone.due_on is None else max((milestone.done_on - milestone.due_on).days, 0)
        _push_event(
            simulator,
            "milestone.completed",
            milestone,
            due_on=milestone.due_on,
            done_on=milestone.done_on,
            days_late=late,
        )


def _dates(milestone: Milestone) -> dict[str, Any]:
    return {"new_due": milestone.due_on, "basis": milestone.basis, "affected": milestone.affected}


def _push_event(simulator: ConsonanceSimulator, name: str, milestone: Milestone, **more: Any) -> None:
    data = {
        "work": milestone.work_id,
        "milestone_id": milestone.milestone_id,
        "name": milestone.name,
        "milestone_key": milestone.milestone_key,
    }
    given = {field: value for field, value in more.items() if value is not None}
    simulator.push(name, f"works/{milestone.work_id}", data | given)

"""What people at the publisher do that no documented API shows: rights requests and milestones, each told to the
webhook as an integration platform would tell it.
"""

from dataclasses import asdict
from typing import Any

from msgspec import to_builtins

from dev.consonance.asked import MilestoneChange, MilestoneGiven, RightsRequestChange, RightsRequestGiven, terms_hash
from dev.consonance.complaints import Missing
from dev.consonance.edits import contact_of, work_of
from dev.consonance.records import Milestone, RightsRecord, RightsRequest
from dev.consonance.simulator import Simulator


def ask_for_rights(simulator: Simulator, given: RightsRequestGiven) -> RightsRequest:
    house = simulator.house
    number = house.new_id()
    contact_of(house, given.rights_holder)
    request = RightsRequest(
        request_id=given.request_id or f"R-{number}",
        rights_record_id=f"RR-{number}",
        work_id=work_of(house, given.work_id).id,
        kind=given.kind,
        right_type=given.right_type,
        terms_hash=terms_hash(given.terms),
        terms_summary=given.terms.summary,
        exclusivity=given.terms.exclusivity,
        requires_signature=given.requires_signature,
        rights_holder_id=given.rights_holder,
        respond_by=given.respond_by,
    )
    house.rights_requests[request.request_id] = request
    house.rights_records[request.rights_record_id] = RightsRecord(request.rights_record_id, request.work_id)
    if given.push:
        simulator.push("rights.approval_requested", f"rights/{request.request_id}", _request_said(request, given))
    return request


def _request_said(request: RightsRequest, given: RightsRequestGiven) -> dict[str, Any]:
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


def change_rights_request(simulator: Simulator, request_id: str, given: RightsRequestChange) -> RightsRequest:
    request = simulator.house.rights_requests.get(request_id)
    if request is None:
        raise Missing(f"no rights request {request_id}")
    said: dict[str, Any] = {"work": request.work_id, "request_id": request_id, "reason": given.status or "superseded"}
    if given.terms is not None:
        request.terms_hash = said["new_terms_hash"] = terms_hash(given.terms)
        request.terms_summary, request.exclusivity = given.terms.summary, given.terms.exclusivity
    if given.status is not None:
        request.status = given.status
    if given.push:
        name = "rights.request_withdrawn" if given.status else "rights.request_changed"
        simulator.push(name, f"rights/{request_id}", said)
    return request


def set_milestone(simulator: Simulator, given: MilestoneGiven) -> Milestone:
    house = simulator.house
    milestone = Milestone(
        milestone_id=given.milestone_id or f"M-{house.new_id()}",
        work_id=work_of(house, given.work_id).id,
        name=given.name,
        milestone_key=given.milestone_key,
        due_on=given.due_on,
        affected=[party.model_dump(mode="json") for party in given.affected],
        basis=given.basis,
    )
    house.milestones[milestone.milestone_id] = milestone
    if given.push and given.due_on is not None:
        _tell(simulator, "schedule.date_set", milestone, **_dates(milestone))
    return milestone


def change_milestone(simulator: Simulator, milestone_id: str, given: MilestoneChange) -> Milestone:
    """A date moved, a milestone done, or taken back; one event for each that really changed."""
    milestone = simulator.house.milestones.get(milestone_id)
    if milestone is None:
        raise Missing(f"no milestone {milestone_id}")
    before = asdict(milestone)
    for name in given.model_fields_set & {"due_on", "done_on"}:
        setattr(milestone, name, getattr(given, name))
    if given.push:
        _tell_changes(simulator, milestone, before, given.reason)
    return milestone


def _tell_changes(simulator: Simulator, milestone: Milestone, before: dict[str, Any], reason: str | None) -> None:
    if milestone.due_on != before["due_on"]:
        name = "schedule.date_set" if before["due_on"] is None else "schedule.date_changed"
        more = {"old_due": before["due_on"], "reason": reason}
        _tell(simulator, name, milestone, **_dates(milestone), **more)
    if milestone.done_on == before["done_on"]:
        return
    if milestone.done_on is None:
        _tell(simulator, "milestone.reopened", milestone, due_on=milestone.due_on)
    else:
        late = 0 if milestone.due_on is None else max((milestone.done_on - milestone.due_on).days, 0)
        _tell(
            simulator,
            "milestone.completed",
            milestone,
            due_on=milestone.due_on,
            done_on=milestone.done_on,
            days_late=late,
        )


def _dates(milestone: Milestone) -> dict[str, Any]:
    return {"new_due": milestone.due_on, "basis": milestone.basis, "affected": milestone.affected}


def _tell(simulator: Simulator, name: str, milestone: Milestone, **more: Any) -> None:
    said = {
        "work": milestone.work_id,
        "milestone_id": milestone.milestone_id,
        "name": milestone.name,
        "milestone_key": milestone.milestone_key,
    }
    given = {field: value for field, value in more.items() if value is not None}
    simulator.push(name, f"works/{milestone.work_id}", said | given)

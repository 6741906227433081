"""Brings the facts about works, rights records and submissions up to date with the events of Consonance."""

from collections.abc import Callable, Mapping
from typing import Any

from services.rules.conversation.fact_values import RightsFacts, WorkFacts
from services.rules.conversation.facts import Facts
from shared.contracts import consonance
from shared.contracts.consonance import AcquisitionStatus, RightsStatus
from shared.contracts.envelope import Event, EventData


def apply_event(facts: Facts, event: Event) -> None:
    """Bring the facts up to date with an event, before rules are matched against it."""
    apply = _APPLIERS.get(type(event.data))
    if apply is not None:
        apply(facts, event.data)


def updates_facts(data: EventData) -> bool:
    """Whether an event changes facts, or may report one of our own writes."""
    return type(data) in _APPLIERS or isinstance(data, consonance.MetadataChanged)


def _apply_work(facts: Facts, data: consonance.WorkObserved) -> None:
    """An older state that comes late changes nothing, as one that an operator replays."""
    known = facts.works.get(data.work.work_id)
    if known is None or not 0 < _number_of(data) < _number_of(known.state):
        facts.set_work(WorkFacts(state=data, blocks=known.blocks if known else ()))


def _number_of(state: consonance.WorkObserved) -> int:
    return state.version.number if state.version else 0


def _apply_status(facts: Facts, data: consonance.RightsStatusChanged) -> None:
    record = facts.records.get(data.rights_record_id, RightsFacts())
    still_open = record.open_requests if data.to in _OPEN_STATUSES else ()
    facts.set_rights_record(data.rights_record_id, record.replace(status=data.to, open_requests=still_open))


_OPEN_STATUSES = frozenset(
    {
        RightsStatus.PENDING,
        RightsStatus.MORE_INFORMATION_REQUESTED,
        RightsStatus.QUOTATION_ISSUED,
        RightsStatus.REQUEST,
        RightsStatus.SUBMISSION,
        RightsStatus.OFFER,
    }
)
"""In any other a request on the record has been decided, or is not decided any more."""


def close_request(facts: Facts, record_id: str, request: str) -> None:
    """The decision on a request for approval is recorded in Consonance."""
    record = facts.records.get(record_id, RightsFacts())
    if request in record.open_requests:
        facts.set_rights_record(record_id, _without_request(record, request))


def _apply_acquisition(facts: Facts, data: consonance.AcquisitionStatusChanged) -> None:
    """The submitter's open submission ends, unless the event names an earlier one of theirs by its reference.

    Neither is given back by an undone merge.
    """
    submitter = facts.current_id(data.submitter.person_id)
    known = facts.acquisitions.get(submitter)
    is_another = None not in {known, data.reference} and known != data.reference
    if data.to not in _CLOSED_ACQUISITION:
        return
    if (closed := data.reference or known) is not None:
        facts.forget_brought(submitter, closed)
    if not is_another:
        facts.set_acquisition(submitter, None)


_CLOSED_ACQUISITION = frozenset({AcquisitionStatus.REJECTED, AcquisitionStatus.WITHDRAWN, AcquisitionStatus.CONTRACTED})


def _apply_block(facts: Facts, data: consonance.WorkBlocked | consonance.WorkUnblocked) -> None:
    work = facts.works.get(data.work.work_id)
    if work is None:
        return
    others = tuple(block for block in work.blocks if block != data.block_id)
    blocks = (*others, data.block_id) if isinstance(data, consonance.WorkBlocked) else others
    facts.set_work(work.replace(blocks=blocks))


def _apply_request(facts: Facts, data: consonance.ApprovalRequested) -> None:
    record = _without_request(facts.records.get(data.rights_record_id, RightsFacts()), data.request_id)
    signed = data.needs_signature
    opened = (*record.open_requests, data.request_id)
    facts.set_rights_record(data.rights_record_id, record.replace(open_requests=opened, needs_signature=signed))


def _apply_withdrawal(facts: Facts, data: consonance.RequestWithdrawn) -> None:
    for record_id, record in list(facts.records.items()):
        if data.request_id in record.open_requests:
            facts.set_rights_record(record_id, _without_request(record, data.request_id))


def _without_request(record: RightsFacts, request: str) -> RightsFacts:
    others = tuple(r for r in record.open_requests if r != request)
    return record.replace(open_requests=others)


_APPLIERS: Mapping[type[EventData], Callable[[Facts, Any], None]] = {
    consonance.WorkObserved: _apply_work,
    consonance.WorkBlocked: _apply_block,
    consonance.WorkUnblocked: _apply_block,
    consonance.ApprovalRequested: _apply_request,
    consonance.RequestWithdrawn: _apply_withdrawal,
    consonance.RightsStatusChanged: _apply_status,
    consonance.AcquisitionStatusChanged: _apply_acquisition,
}

"""Brings the facts about works, rights records and submissions up to date with the events of Consonance.

An event that comes late, as a parked record that an operator replays, changes nothing that a newer one has said.
"""

from collections.abc import Callable, Mapping
from typing import Any

from services.rules.conversation.fact_values import RightsFacts, SeenEvent, WorkFacts
from services.rules.conversation.facts import Facts
from shared.contracts import consonance
from shared.contracts.consonance import AcquisitionStatus, RightsStatus
from shared.contracts.envelope import Event, EventData


def apply_event(facts: Facts, event: Event) -> bool:
    """Bring the facts up to date with an event, before rules are matched against it; False where it is outdated.

    A newer event has then said of the same block or rights record what holds now.
    """
    if _is_outdated(facts, event):
        return False
    apply = _APPLIERS.get(type(event.data))
    if apply is not None:
        apply(facts, event.data, event)
    return True


def _is_outdated(facts: Facts, event: Event) -> bool:
    data = event.data
    newest: SeenEvent | None = None
    if isinstance(data, consonance.WorkBlocked | consonance.WorkUnblocked):
        known = facts.works.get(data.work.work_id)
        newest = next((one for one in known.block_events if one.name == data.block_id), None) if known else None
    elif isinstance(data, consonance.RightsStatusChanged):
        newest = facts.records.get(data.rights_record_id, RightsFacts()).status_event
    elif isinstance(data, consonance.ApprovalRequested):
        if _is_withdrawn(facts, data, event):
            return True
        record = facts.records.get(data.rights_record_id, RightsFacts())
        newest = record.status_event if record.status not in _OPEN_STATUSES else None
    return newest is not None and newest.is_newer_than(event)


def _is_withdrawn(facts: Facts, data: consonance.ApprovalRequested, event: Event) -> bool:
    """Whether the request was withdrawn after it was made: the two events may come in any order.

    The instants of Consonance alone count, since Stet has seen the withdrawal first.
    """
    work = facts.works.get(data.work.work_id)
    withdrawals = work.withdrawals if work is not None else ()
    return any(one.name == data.request_id and event.time < one.at for one in withdrawals)


def updates_facts(data: EventData) -> bool:
    """Whether an event changes facts, or may report one of our own writes."""
    return type(data) in _APPLIERS or isinstance(data, consonance.MetadataChanged)


def _apply_work(facts: Facts, data: consonance.WorkObserved, _: Event) -> None:
    """A state older than the known one changes nothing; an operator may have replayed it."""
    known = facts.works.get(data.work.work_id)
    if known is None or not 0 < _number_of(data) < _number_of(known.state):
        facts.set_work(known.replace(state=data) if known else WorkFacts(state=data))


def _number_of(state: consonance.WorkObserved) -> int:
    return state.version.number if state.version else 0


def _apply_status(facts: Facts, data: consonance.RightsStatusChanged, event: Event) -> None:
    record = facts.records.get(data.rights_record_id, RightsFacts())
    still_open = record.open_requests if data.to in _OPEN_STATUSES else ()
    changed = record.replace(status=data.to, open_requests=still_open, status_event=SeenEvent.of(event))
    facts.set_rights_record(data.rights_record_id, changed)


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


def _apply_acquisition(facts: Facts, data: consonance.AcquisitionStatusChanged, _: Event) -> None:
    """The submitter's open submission ends, unless the event names an earlier one of theirs by its reference.

    Neither is given back by an undone merge.
    """
    submitter = facts.current_id(data.submitter.person_id)
    known = facts.acquisitions.get(submitter)
    is_another = None not in {known, data.reference} and known != data.reference
    if data.to not in _CLOSED_ACQUISITION:
        return
    if (closed := data.reference or known) is not None:
        facts.forget_moved_submission(submitter, closed)
    if not is_another:
        facts.set_acquisition(submitter, None)


_CLOSED_ACQUISITION = frozenset({AcquisitionStatus.REJECTED, AcquisitionStatus.WITHDRAWN, AcquisitionStatus.CONTRACTED})


def _apply_block(facts: Facts, data: consonance.WorkBlocked | consonance.WorkUnblocked, event: Event) -> None:
    """Of blocks that have ended, the newest are remembered."""
    work = facts.works.get(data.work.work_id)
    if work is None:
        return
    others = tuple(block for block in work.blocks if block != data.block_id)
    blocks = (*others, data.block_id) if isinstance(data, consonance.WorkBlocked) else others
    known = [one for one in work.block_events if one.name != data.block_id]
    ended = [one for one in known if one.name not in others]
    kept = [one for one in known if one.name in others or one in ended[-_ENDED_BLOCKS_KEPT:]]
    facts.set_work(work.replace(blocks=blocks, block_events=(*kept, SeenEvent.of(event, data.block_id))))


_ENDED_BLOCKS_KEPT = 20
_WITHDRAWALS_KEPT = 20


def _apply_request(facts: Facts, data: consonance.ApprovalRequested, _: Event) -> None:
    record = _without_request(facts.records.get(data.rights_record_id, RightsFacts()), data.request_id)
    signed = data.needs_signature
    opened = (*record.open_requests, data.request_id)
    facts.set_rights_record(data.rights_record_id, record.replace(open_requests=opened, needs_signature=signed))


def _apply_withdrawal(facts: Facts, data: consonance.RequestWithdrawn, event: Event) -> None:
    """It names no rights record. It is kept with the work, for a request that comes after it."""
    work = facts.works.get(data.work.work_id)
    if work is not None:
        others = [one for one in work.withdrawals if one.name != data.request_id][1 - _WITHDRAWALS_KEPT :]
        facts.set_work(work.replace(withdrawals=(*others, SeenEvent.of(event, data.request_id))))
    for record_id, record in list(facts.records.items()):
        if data.request_id in record.open_requests:
            facts.set_rights_record(record_id, _without_request(record, data.request_id))


def _without_request(record: RightsFacts, request: str) -> RightsFacts:
    others = tuple(r for r in record.open_requests if r != request)
    return record.replace(open_requests=others)


_APPLIERS: Mapping[type[EventData], Callable[[Facts, Any, Event], None]] = {
    consonance.WorkObserved: _apply_work,
    consonance.WorkBlocked: _apply_block,
    consonance.WorkUnblocked: _apply_block,
    consonance.ApprovalRequested: _apply_request,
    consonance.RequestWithdrawn: _apply_withdrawal,
    consonance.RightsStatusChanged: _apply_status,
    consonance.AcquisitionStatusChanged: _apply_acquisition,
}

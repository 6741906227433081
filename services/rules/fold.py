"""What events teach: the facts beside an event that later ones are judged by."""

from collections.abc import Callable, Mapping
from typing import Any

from services.rules.facts import needs_signature
from services.rules.world import RightsRecord, Work, World
from shared.contracts import consonance
from shared.contracts.consonance import AcquisitionStatus
from shared.contracts.envelope import Event, EventData


def fold_facts(world: World, event: Event) -> None:
    """What an event teaches, before anything is judged by it."""
    fold = _FOLDS.get(type(event.data))
    if fold is not None:
        fold(world, event.data)


def teaches(data: EventData) -> bool:
    """Whether an event changes what is known, or may tell of a write of our own."""
    return type(data) in _FOLDS or isinstance(data, consonance.MetadataChanged)


def _fold_work(world: World, data: consonance.WorkObserved) -> None:
    blocks = known.blocks if (known := world.works.get(data.work.work_id)) else ()
    world.keep_work(Work(state=data, blocks=blocks))


def _fold_status(world: World, data: consonance.RightsStatusChanged) -> None:
    record = world.records.get(data.rights_record_id, RightsRecord())
    world.keep_record(data.rights_record_id, record.replace(status=data.to))


def _fold_acquisition(world: World, data: consonance.AcquisitionStatusChanged) -> None:
    if data.to in _CLOSED_ACQUISITION:
        world.keep_acquisition(data.submitter.person_id, None)


_CLOSED_ACQUISITION = frozenset({AcquisitionStatus.REJECTED, AcquisitionStatus.WITHDRAWN, AcquisitionStatus.CONTRACTED})


def _fold_block(world: World, data: consonance.WorkBlocked | consonance.WorkUnblocked) -> None:
    work = world.works.get(data.work.work_id)
    if work is None:
        return
    others = tuple(block for block in work.blocks if block != data.block_id)
    blocks = (*others, data.block_id) if isinstance(data, consonance.WorkBlocked) else others
    world.keep_work(work.replace(blocks=blocks))


def _fold_request(world: World, data: consonance.ApprovalRequested) -> None:
    record = _without_request(world.records.get(data.rights_record_id, RightsRecord()), data.request_id)
    signed = needs_signature(data)
    opened = (*record.open_requests, data.request_id)
    world.keep_record(data.rights_record_id, record.replace(open_requests=opened, needs_signature=signed))


def _fold_withdrawal(world: World, data: consonance.RequestWithdrawn) -> None:
    for record_id, record in list(world.records.items()):
        if data.request_id in record.open_requests:
            world.keep_record(record_id, _without_request(record, data.request_id))


def _without_request(record: RightsRecord, request: str) -> RightsRecord:
    others = tuple(r for r in record.open_requests if r != request)
    return record.replace(open_requests=others)


_FOLDS: Mapping[type[EventData], Callable[[World, Any], None]] = {
    consonance.WorkObserved: _fold_work,
    consonance.WorkBlocked: _fold_block,
    consonance.WorkUnblocked: _fold_block,
    consonance.ApprovalRequested: _fold_request,
    consonance.RequestWithdrawn: _fold_withdrawal,
    consonance.RightsStatusChanged: _fold_status,
    consonance.AcquisitionStatusChanged: _fold_acquisition,
}

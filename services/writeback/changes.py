"""Splits a requested write into single changes, each with the inputs that its GraphQL variables are filled from.

Metadata is one change per item and target; every other operation is one change.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from shared.contracts.ids import TenantId
from shared.contracts.values import Value, to_builtins
from shared.contracts.writes import (
    AdvanceWorkflow,
    AppendAcquisition,
    ApplyMetadata,
    CompleteMilestone,
    CreateAcquisition,
    MetadataItem,
    RecordAcknowledgement,
    RecordDecision,
    RequestWrite,
    WriteInput,
    WriteOperation,
)

ChangeRequest = (
    RecordDecision
    | AdvanceWorkflow
    | MetadataItem
    | CreateAcquisition
    | AppendAcquisition
    | RecordAcknowledgement
    | CompleteMilestone
)

_REQUEST_TYPES: Mapping[WriteOperation, type[Value]] = {
    WriteOperation.RECORD_DECISION: RecordDecision,
    WriteOperation.ADVANCE_WORKFLOW: AdvanceWorkflow,
    WriteOperation.APPLY_METADATA: MetadataItem,
    WriteOperation.CREATE_ACQUISITION: CreateAcquisition,
    WriteOperation.APPEND_ACQUISITION: AppendAcquisition,
    WriteOperation.RECORD_ACKNOWLEDGEMENT: RecordAcknowledgement,
    WriteOperation.COMPLETE_MILESTONE: CompleteMilestone,
}
_COMMON_INPUTS = frozenset({"tenant", "write_id", "record", "work_id", "value", "current"})
"""``value``: the value to write, after the comparison; ``current``: the value that Consonance held before."""
_METADATA_INPUTS = frozenset({"request_id", "target_id", "stale_id"})


@dataclass(frozen=True, slots=True)
class WriteChange:
    """``key`` is unique within its write and the same in every attempt."""

    key: str
    operation: WriteOperation
    request: ChangeRequest
    inputs: Mapping[str, Any]


def input_names(operation: WriteOperation) -> frozenset[str]:
    """The inputs that a mapping file may use for the variables of this operation."""
    own = frozenset(_REQUEST_TYPES[operation].__struct_fields__)
    return own | _COMMON_INPUTS | (_METADATA_INPUTS if operation is WriteOperation.APPLY_METADATA else frozenset())


def split_write(tenant: TenantId, write: RequestWrite) -> tuple[WriteChange, ...]:
    common = {"tenant": tenant, "write_id": write.write_id, "record": write.record, "work_id": write.work_id}
    request = write.input
    if isinstance(request, ApplyMetadata):
        return tuple(
            WriteChange(
                key=metadata_key(item, target),
                operation=request.operation,
                request=item,
                inputs={**common, "request_id": request.request_id, "target_id": target, **to_builtins(item)},
            )
            for item in request.items
            for target in item.target_ids
        )
    inputs = {**common, **to_builtins(request)}
    if isinstance(request, CreateAcquisition):
        inputs["pitch_text"] = _text_with_further_answers(request)
    return (WriteChange(key=request.operation.value, operation=request.operation, request=request, inputs=inputs),)


def metadata_key(item: MetadataItem, target: int) -> str:
    return f"{item.item_id}/{target}"


def _text_with_further_answers(request: CreateAcquisition) -> str:
    """A record has no field for the answers that only one form asks for: each is a line below the pitch."""
    lines = (f"{name}: {answer}" for name, answer in request.further.items())
    return "\n".join(part for part in (request.pitch_text, *lines) if part)


def idempotency_key(request: WriteInput) -> str | None:
    """Writes with the same key have one effect together: one decision per request, one record per acquisition."""
    match request:
        case RecordDecision():
            return decision_key(request.request_id)
        case AdvanceWorkflow():
            return f"stage/{request.request_id}"
        case CreateAcquisition():
            return f"acquisition/{request.dedupe_key}"
        case ApplyMetadata() | AppendAcquisition() | RecordAcknowledgement() | CompleteMilestone():
            return None
        case _:
            assert_never(request)


def decision_key(request_id: str) -> str:
    """The idempotency key of the decision about a rights request."""
    return f"decision/{request_id}"

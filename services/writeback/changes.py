"""A requested write as the single changes it consists of, and the facts their documents are filled from.

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
    Operation,
    RecordAcknowledgement,
    RecordDecision,
    RequestWrite,
)
from shared.contracts.writes import Input as Asked

Part = (
    RecordDecision
    | AdvanceWorkflow
    | MetadataItem
    | CreateAcquisition
    | AppendAcquisition
    | RecordAcknowledgement
    | CompleteMilestone
)

_PARTS: Mapping[Operation, type[Value]] = {
    Operation.RECORD_DECISION: RecordDecision,
    Operation.ADVANCE_WORKFLOW: AdvanceWorkflow,
    Operation.APPLY_METADATA: MetadataItem,
    Operation.CREATE_ACQUISITION: CreateAcquisition,
    Operation.APPEND_ACQUISITION: AppendAcquisition,
    Operation.RECORD_ACKNOWLEDGEMENT: RecordAcknowledgement,
    Operation.COMPLETE_MILESTONE: CompleteMilestone,
}
_ALWAYS = frozenset({"tenant", "write_id", "record", "work_id", "value", "current"})
"""``value``: what is to be written, as judged; ``current``: what Consonance showed just before."""
_METADATA = frozenset({"request_id", "target_id", "stale_id"})


@dataclass(frozen=True, slots=True)
class Change:
    """``key`` is unique within its write and stays the same when the write is carried out again."""

    key: str
    operation: Operation
    part: Part
    facts: Mapping[str, Any]


def facts_of(operation: Operation) -> frozenset[str]:
    """The names a mapping file may fill variables of this operation from."""
    own = frozenset(_PARTS[operation].__struct_fields__)
    return own | _ALWAYS | (_METADATA if operation is Operation.APPLY_METADATA else frozenset())


def changes_of(tenant: TenantId, write: RequestWrite) -> tuple[Change, ...]:
    around = {"tenant": tenant, "write_id": write.write_id, "record": write.record, "work_id": write.work_id}
    asked = write.input
    if isinstance(asked, ApplyMetadata):
        return tuple(
            Change(
                key=f"{item.item_id}/{target}",
                operation=asked.operation,
                part=item,
                facts={**around, "request_id": asked.request_id, "target_id": target, **to_builtins(item)},
            )
            for item in asked.items
            for target in item.target_ids
        )
    facts = {**around, **to_builtins(asked)}
    if isinstance(asked, CreateAcquisition):
        facts["pitch_text"] = _with_further(asked)
    return (Change(key=asked.operation.value, operation=asked.operation, part=asked, facts=facts),)


def _with_further(asked: CreateAcquisition) -> str:
    """A record has no field for what only one form asks: it stands below the pitch, a line each."""
    further = (f"{name}: {said}" for name, said in asked.further.items())
    return "\n".join(part for part in (asked.pitch_text, *further) if part)


def once_key(asked: Asked) -> str | None:
    """What may be settled only once, whichever write asks: a request's decision, an acquisition's creation."""
    match asked:
        case RecordDecision():
            return f"decision/{asked.request_id}"
        case AdvanceWorkflow():
            return f"stage/{asked.request_id}"
        case CreateAcquisition():
            return f"acquisition/{asked.dedupe_key}"
        case ApplyMetadata() | AppendAcquisition() | RecordAcknowledgement() | CompleteMilestone():
            return None
        case _:
            assert_never(asked)

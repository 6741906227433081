"""What became of a message of ours, by WhatsApp's word."""

from typing import Any

from services.ingest.records import Record, WebhookFrame, instant_of
from services.ingest.updates import LONGEST_NAME, Update, phone_number_id
from shared.contracts.envelope import trace_headers
from shared.contracts.ids import Wamid
from shared.contracts.topics import WHATSAPP_STATUSES
from shared.contracts.whatsapp import Status, StatusReported

_LARGEST_CODE = 2**31 - 1
_STATUSES = {status.value: status for status in Status}


def status_record(update: Update, frame: WebhookFrame) -> Record:
    """Raises ValueError naming the field where it is no status."""
    item = update.item
    wamid, said = item.get("id"), item.get("status")
    if not isinstance(wamid, str) or not wamid:
        raise ValueError("statuses.id: a status names its message")
    if not isinstance(said, str) or not said:
        raise ValueError("statuses.status: a status says one")
    if len(wamid) + len(said) >= LONGEST_NAME:
        raise ValueError(f"statuses.id, statuses.status: longer than {LONGEST_NAME} characters")
    at = instant_of(item.get("timestamp"))
    data = StatusReported(
        wamid=Wamid(wamid), status=_STATUSES.get(said, Status.OTHER), at=at, **_particulars(update, frame)
    )
    message = frame.pseudonyms.for_wamid(wamid)
    event = frame.event(data, id=f"{message}/{said}", key=message, at=at)
    return Record(WHATSAPP_STATUSES, message.encode(), event.to_bytes(), "status", trace_headers(frame.traceparent))


def _particulars(update: Update, frame: WebhookFrame) -> dict[str, Any]:
    """What a status may carry; a value of the wrong type is left out, the status itself still counts."""
    item = update.item
    found: dict[str, Any] = {}
    line = frame.lines.get(phone_number_id(update.value) or "")
    if line is not None:
        found["line"] = line
    callback = item.get("biz_opaque_callback_data")
    if isinstance(callback, str):
        found["callback"] = callback
    pricing = item.get("pricing")
    if isinstance(pricing, dict) and isinstance(pricing.get("category"), str):
        found["pricing_category"] = pricing["category"]
    code = _first_code(item.get("errors")) or (_first_code(update.errors) if item.get("status") == "failed" else None)
    if code is not None:
        found["code"] = code
    return found


def _first_code(errors: Any) -> int | None:
    if not isinstance(errors, list | tuple) or not errors or not isinstance(errors[0], dict):
        return None
    code = errors[0].get("code")
    return code if isinstance(code, int) and not isinstance(code, bool) and abs(code) <= _LARGEST_CODE else None

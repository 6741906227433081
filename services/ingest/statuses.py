"""A status made into its record without building an ``Event``: at a hundred statuses a body the models would cost most.

A test holds that each record reads back as exactly the event the models would have written.
"""

from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson

from services.ingest.records import SOURCE, Frame, Record, instant_of
from services.ingest.updates import Update
from shared.events.envelope import spell_instant, trace_headers
from shared.events.whatsapp import Status, StatusReported
from shared.topics import WHATSAPP_STATUSES

_MANY = 1024  # statuses of one body share a few seconds
_RANKED = {status.value: status.value for status in Status}
_OTHER = Status.OTHER.value


def status_record(update: Update, frame: Frame) -> Record:
    """Raises ValueError naming the field where it is no status."""
    item = update.item
    wamid, said = item.get("id"), item.get("status")
    if not isinstance(wamid, str) or not wamid:
        raise ValueError("statuses.id: a status names its message")
    if not isinstance(said, str) or not said:
        raise ValueError("statuses.status: a status says one")
    timestamp = item.get("timestamp")
    at = _spell(timestamp) if isinstance(timestamp, str) else spell_instant(instant_of(timestamp))
    data = _particulars(update, frame)
    data["wamid"], data["status"], data["at"] = wamid, _RANKED.get(said, _OTHER), at
    envelope = {
        "specversion": "1.0",
        "id": f"{wamid}/{said}",
        "source": SOURCE,
        "type": StatusReported.kind,
        "time": at,
        "recordedtime": _recorded(frame.now),
        "datacontenttype": "application/json",
        "tenantid": frame.tenant,
        "partitionkey": wamid,
        "data": data,
    }
    if frame.traceparent is not None:
        envelope["traceparent"] = frame.traceparent
    value = orjson.dumps(envelope)
    return Record(WHATSAPP_STATUSES, wamid.encode(), value, "status", trace_headers(frame.traceparent))


@lru_cache(_MANY)
def _spell(timestamp: str) -> str:
    return spell_instant(instant_of(timestamp))


@lru_cache(1)
def _recorded(now: datetime) -> str:
    return spell_instant(now)


def _particulars(update: Update, frame: Frame) -> dict[str, Any]:
    """What a status may carry; a value of the wrong type is left out, the status itself still counts."""
    item = update.item
    found: dict[str, Any] = {}
    metadata = update.value.get("metadata")
    number = metadata.get("phone_number_id") if isinstance(metadata, dict) else None
    if isinstance(number, str) and number:
        found["line"] = frame.lines.get(number, number)
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
    return code if isinstance(code, int) and not isinstance(code, bool) else None

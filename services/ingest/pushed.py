"""A CloudEvent somebody pushed, made ours: the tenant's, with its people known to us, on the key of its subject.

The sender's id and source stay, so a repetition is a duplicate. https://github.com/cloudevents/spec/blob/v1.0.2
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import holidays
from msgspec import ValidationError

from services.ingest.records import MAX_VALUE, Frame
from shared.errors import Malformed, Unfit
from shared.events import consonance
from shared.events.envelope import Data, Event, addressed
from shared.events.values import first_fault, in_utc, made_of
from shared.events.vocabulary import PartyRef, WorkRef
from shared.ids import ContactId, TenantId, key_of, person_of_contact

_ATTRIBUTES = ("id", "source", "type", "subject", "time", "correlationid", "causationid", "expirytime", "traceparent")
_PARTY = frozenset({"contact_id", "role"})
_ANSWERABLE = frozenset(
    {consonance.ApprovalRequested.kind, consonance.ConfirmationRequested.kind, consonance.PaymentIssue.kind}
)


@dataclass(frozen=True, slots=True)
class House:
    """What the tenant declared: which kinds are polled, and how long people have where a sender does not say."""

    polled: frozenset[str]
    respond_within: int
    zone: ZoneInfo
    country: str | None


def accept(document: Any, frame: Frame, house: House) -> Event:
    """Raises Malformed naming the field, or Unfit for a kind that this tenant's poll tells."""
    if not isinstance(document, dict):
        raise Malformed("event: it is not a JSON object")
    model = _model(document, house)
    if document.get("tenantid", frame.tenant) != frame.tenant:
        raise Malformed("tenantid: this is not the tenant served here")
    data = _data(document, model, frame, house)
    offered = {name: document[name] for name in _ATTRIBUTES if document.get(name) is not None}
    given = {"time": frame.now, "traceparent": frame.traceparent} | offered
    own = {"tenantid": frame.tenant, "recordedtime": frame.now, "partitionkey": subject_key(frame.tenant, data)}
    event = addressed({**given, **own}, data)
    if len(event.to_bytes()) > MAX_VALUE:
        raise Malformed(f"data: it is larger than {MAX_VALUE} bytes")
    return event


def subject_key(tenant: TenantId, data: Data) -> str:
    """The work's key; without a work the person's it is about; without either its source's."""
    work = getattr(data, "work", None)
    if isinstance(work, WorkRef):
        return key_of(tenant, "works", work.work_id)
    if isinstance(data, consonance.ErasureRequested):
        return key_of(tenant, "persons", person_of_contact(tenant, data.contact_id))
    for name in ("payee", "submitter"):
        party = getattr(data, name, None)
        if isinstance(party, PartyRef):
            return key_of(tenant, "persons", party.person_id)
    return key_of(tenant, "sources", getattr(data, "adapter", "consonance"))


def working_days_after(start: date, days: int, country: str | None) -> date:
    """Saturdays, Sundays and the country's public holidays do not count."""
    years = (start.year, start.year + 1)
    closed = holidays.country_holidays(country, years=years) if country else {}
    day = start
    while days:
        day += timedelta(days=1)
        days -= day.weekday() < 5 and day not in closed
    return day


def _model(document: dict[str, Any], house: House) -> type[Data]:
    if document.get("specversion") != "1.0":
        raise Malformed("specversion: only 1.0 is understood")
    kind = document.get("type")
    model = consonance.KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise Malformed("type: it is not one this service knows")
    if consonance.short_name(model.kind) in house.polled:
        raise Unfit("type: this tenant's poll tells it (STET_CONSONANCE_POLLED)", reason="told_by_poll")
    return model


def _data(document: dict[str, Any], model: type[Data], frame: Frame, house: House) -> Data:
    offered = document.get("data")
    if not isinstance(offered, dict):
        raise Malformed("data: it is not a JSON object")
    known = _with_people(offered, frame.tenant)
    if model.kind in _ANSWERABLE and known.get("respond_by") is None:
        known["respond_by"] = _respond_by(document, frame, house)
    try:
        return in_utc(made_of(model, known))
    except ValidationError as fault:
        raise Malformed(first_fault(fault, model, "data")) from None


def _with_people(value: Any, tenant: TenantId) -> Any:
    """Every party a sender names by its contact gets the person that contact stands for."""
    if isinstance(value, list):
        return [_with_people(item, tenant) for item in value]
    if not isinstance(value, Mapping):
        return value
    known = {key: _with_people(item, tenant) for key, item in value.items()}
    contact = known.get("contact_id")
    if known.keys() >= _PARTY and isinstance(contact, int) and not isinstance(contact, bool):
        known["person_id"] = person_of_contact(tenant, ContactId(contact))
    return known


def _respond_by(document: dict[str, Any], frame: Frame, house: House) -> date:
    """Counted from the event's own time, so that a repetition says the same."""
    try:
        asked = datetime.fromisoformat(str(document.get("time")))
    except ValueError:
        asked = frame.now
    local = (asked if asked.tzinfo else frame.now).astimezone(house.zone)
    return working_days_after(local.date(), house.respond_within, house.country)

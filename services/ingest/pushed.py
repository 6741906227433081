"""A CloudEvent somebody pushed, made ours: the tenant's, with its people known to us, on the key of its subject.

The sender's id and source stay, so a repetition is a duplicate. https://github.com/cloudevents/spec/blob/v1.0.2
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import ValidationError

from services.ingest.bounds import check_bounds, without_unreadable_days
from services.ingest.notes import Notes
from services.ingest.records import MAX_VALUE, Frame
from services.ingest.updates import LONGEST_NAME, spell
from services.ingest.values import day_of
from shared.clients.working_calendar import country_calendar
from shared.contracts import consonance
from shared.contracts.envelope import Event, EventData, build_event
from shared.contracts.errors import Malformed, Unprocessable
from shared.contracts.ids import ContactId, TenantId, partition_key, person_id_of_contact
from shared.contracts.values import convert, describe_error, is_plausible_instant, to_utc
from shared.contracts.vocabulary import PartyRef, WorkRef

TOLD_BY_POLL = "told_by_poll"
_ATTRIBUTES = ("id", "source", "type", "subject", "time", "correlationid", "causationid", "expirytime", "traceparent")
_PARTY = frozenset({"contact_id", "role"})
_NAMES = ("id", "source", "subject", "correlationid", "causationid")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
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


@dataclass(frozen=True, slots=True)
class Accepted:
    """``notes``: what of the event could not be read, and counts as absent."""

    event: Event
    notes: Notes

    @property
    def record(self) -> str:
        """How it is called in notes."""
        event = self.event
        return f"{consonance.short_name(event.type)} {event.id} of {event.partitionkey}"


def accept(document: Any, frame: Frame, house: House) -> Event:
    """The event alone. Raises as ``judge`` does."""
    return judge(document, frame, house).event


def judge(document: Any, frame: Frame, house: House) -> Accepted:
    """Raises Malformed naming the field, or Unprocessable for a kind that this tenant's poll tells.

    A date that cannot be read and may be absent is absent: refusing the change would leave the old date in force.
    """
    if not isinstance(document, dict):
        raise Malformed("event: it is not a JSON object")
    model = _model(document, house)
    if document.get("tenantid", frame.tenant) != frame.tenant:
        raise Malformed("tenantid: this is not the tenant served here")
    _check_size(document)
    notes = Notes()
    data = _data(document, model, frame, house, notes)
    given = {"time": frame.now, "traceparent": frame.traceparent} | _offered(document)
    own = {"tenantid": frame.tenant, "recordedtime": frame.now, "partitionkey": subject_key(frame.tenant, data)}
    event = build_event({**given, **own}, data)
    if len(event.to_bytes()) > MAX_VALUE:
        raise Malformed(f"data: it is larger than {MAX_VALUE} bytes")
    return Accepted(event, notes)


def _check_size(document: dict[str, Any]) -> None:
    try:
        size = len(spell(document))
    except ValueError:
        raise Malformed("event: it is nested too deeply, or holds what JSON has no word for") from None
    if size > MAX_VALUE:
        raise Malformed(f"data: it is larger than {MAX_VALUE} bytes")


def _offered(document: dict[str, Any]) -> dict[str, Any]:
    """The sender's attributes; a trace that is none is left out. Raises Malformed for what no index takes."""
    offered = {name: document[name] for name in _ATTRIBUTES if document.get(name) is not None}
    for name in _NAMES:
        value = offered.get(name, "")
        if isinstance(value, str) and (len(value) > LONGEST_NAME or not value.isprintable()):
            raise Malformed(f"{name}: longer than {LONGEST_NAME} characters, or with characters that cannot be shown")
    trace = offered.get("traceparent", "")
    if not isinstance(trace, str) or _TRACEPARENT.fullmatch(trace) is None:
        offered.pop("traceparent", None)
    return offered


def subject_key(tenant: TenantId, data: EventData) -> str:
    """The work's key; without a work the person's it is about; without either its source's."""
    work = getattr(data, "work", None)
    if isinstance(work, WorkRef):
        return partition_key(tenant, "works", work.work_id)
    if isinstance(data, consonance.ErasureRequested):
        return partition_key(tenant, "persons", person_id_of_contact(tenant, data.contact_id))
    for name in ("payee", "submitter"):
        party = getattr(data, name, None)
        if isinstance(party, PartyRef):
            return partition_key(tenant, "persons", party.person_id)
    return partition_key(tenant, "sources", getattr(data, "adapter", "consonance"))


def _model(document: dict[str, Any], house: House) -> type[EventData]:
    if document.get("specversion") != "1.0":
        raise Malformed("specversion: only 1.0 is understood")
    kind = document.get("type")
    model = consonance.KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise Malformed("type: it is not one this service knows")
    if consonance.short_name(model.kind) in house.polled:
        raise Unprocessable("type: this tenant's poll tells it (STET_CONSONANCE_POLLED)", reason=TOLD_BY_POLL)
    return model


def _data(document: dict[str, Any], model: type[EventData], frame: Frame, house: House, notes: Notes) -> EventData:
    offered = document.get("data")
    if not isinstance(offered, dict):
        raise Malformed("data: it is not a JSON object")
    known = without_unreadable_days(model, _with_people(offered, frame.tenant), notes.within("data"))
    if model.kind in _ANSWERABLE and _says_no_day(known.get("respond_by")):
        known["respond_by"] = _respond_by(document, frame, house)
    if model is consonance.MilestoneCompleted and not _is_day(known.get("done_on")):
        notes.add("data.done_on", "it is no date: the event's own day counts", known.get("done_on"))
        known["done_on"] = _local_time(document, frame, house).date()
    try:
        data = convert(model, known)
    except ValidationError as fault:
        raise Malformed(describe_error(fault, model, "data")) from None
    check_bounds(data, "data")
    return to_utc(data)


def _says_no_day(value: Any) -> bool:
    """Absent, or a date that means that none is known."""
    try:
        return day_of(value) is None
    except ValueError:
        return False


def _is_day(value: Any) -> bool:
    try:
        return day_of(value) is not None
    except ValueError:
        return False


def _with_people(value: Any, tenant: TenantId) -> Any:
    """Every party a sender names by its contact gets the person that contact stands for."""
    if isinstance(value, list):
        return [_with_people(item, tenant) for item in value]
    if not isinstance(value, Mapping):
        return value
    known = {key: _with_people(item, tenant) for key, item in value.items()}
    contact = known.get("contact_id")
    if known.keys() >= _PARTY and isinstance(contact, int) and not isinstance(contact, bool):
        known["person_id"] = person_id_of_contact(tenant, ContactId(contact))
    return known


def _respond_by(document: dict[str, Any], frame: Frame, house: House) -> date:
    """Counted from the event's own time, so that a repetition says the same."""
    asked = _local_time(document, frame, house)
    calendar = country_calendar(house.country, house.zone.key)
    return calendar.working_day_after(asked.date(), house.respond_within)


def _local_time(document: dict[str, Any], frame: Frame, house: House) -> datetime:
    """The event's own, else now."""
    try:
        told = datetime.fromisoformat(str(document.get("time")))
    except ValueError:
        told = frame.now
    return (told if told.tzinfo and is_plausible_instant(told) else frame.now).astimezone(house.zone)

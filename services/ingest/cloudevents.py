"""Decodes and validates pushed CloudEvents, and gives them our envelope: our tenant, known people, their subject's key.

The sender's id and source stay, so a repetition is a duplicate. Structured and batched mode are accepted. Binary mode
is rejected: its attributes are in ``ce-`` headers, which a signature over the body does not cover, so one signed body
could be sent again under any id. Standard Webhooks sign id, time and body.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin
from zoneinfo import ZoneInfo

from msgspec import ValidationError
from msgspec.structs import fields

from services.ingest.fields import FieldReader, parse_day
from services.ingest.records import MAX_NAME_LENGTH, MAX_RECORD_BYTES, EventContext, to_json
from shared.clients.json_reader import parse_json
from shared.clients.working_calendar import country_calendar
from shared.contracts import consonance
from shared.contracts.envelope import Event, EventData, build_event
from shared.contracts.errors import Malformed, Unprocessable
from shared.contracts.ids import ContactId, TenantId, partition_key, person_id_of_contact
from shared.contracts.values import Value, convert, describe_error, is_plausible_date, is_plausible_instant, to_utc
from shared.contracts.vocabulary import PartyRef, WorkRef

MAX_EVENTS = 1_000
"""In one batch."""

POLLED_KIND = "polled_kind"
"""The reason for an event of a kind that this tenant's poll publishes."""

_BATCH_MEDIA_TYPE = b"application/cloudevents-batch+json"
_ATTRIBUTE_HEADER = b"ce-"
_ATTRIBUTES = ("id", "source", "type", "subject", "time", "correlationid", "causationid", "expirytime", "traceparent")
_INDEXED_ATTRIBUTES = ("id", "source", "subject", "correlationid", "causationid")
_PARTY_KEYS = frozenset({"contact_id", "role"})
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
KINDS_WITH_DEADLINE = frozenset(
    {consonance.ApprovalRequested.kind, consonance.ConfirmationRequested.kind, consonance.PaymentIssue.kind}
)
"""Without ``respond_by`` they get STET_RESPOND_WITHIN."""

_MAX_TEXT_LENGTH = 20_000
_MAX_ITEMS = 1_000
_MAX_INTEGER = 2**53
"""All readers of JSON agree on integers up to this: https://www.rfc-editor.org/rfc/rfc8259#section-6"""

_MAX_EXPONENT, _MAX_DIGITS = 15, 20
_INDEXED_SUFFIXES = ("_id", "_hash", "reference", "token", "sha256")
"""Ends of the names of fields that are used in keys and indexes."""


# ------------------------------------------------------------------ from an HTTP request to documents


@dataclass(frozen=True, slots=True)
class PushedDocuments:
    """The documents of one request. In a batch, faults are named with the event's position."""

    documents: tuple[Any, ...]
    is_batch: bool


def decode_request(body: bytes, headers: Mapping[bytes, bytes]) -> PushedDocuments:
    """``headers`` in lower case. Raises Malformed."""
    if any(name.startswith(_ATTRIBUTE_HEADER) for name in headers):
        raise Malformed("headers: ce-… are not signed; send structured mode, application/cloudevents+json")
    try:
        document = parse_json(body)
    except ValueError:
        raise Malformed("body: it is not JSON") from None
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type == _BATCH_MEDIA_TYPE or isinstance(document, list):
        if not isinstance(document, list):
            raise Malformed("body: a batch is a JSON array")
        if len(document) > MAX_EVENTS:
            raise Malformed(f"body: more than {MAX_EVENTS:,} events in one batch")
        return PushedDocuments(tuple(document), is_batch=True)
    return PushedDocuments((document,), is_batch=False)


# ------------------------------------------------------------------ from a document to an event


@dataclass(frozen=True, slots=True)
class PushSettings:
    """A tenant's settings for pushed events.

    ``polled`` are the kinds that the poll publishes; ``respond_within`` is the number of working days that people have
    where a sender sets no date, by the calendar of ``country`` in ``zone``.
    """

    polled: frozenset[str]
    respond_within: int
    zone: ZoneInfo
    country: str | None


@dataclass(frozen=True, slots=True)
class ValidatedEvent:
    """``fields`` has the fields of the event that cannot be read and count as absent."""

    event: Event
    fields: FieldReader

    @property
    def label(self) -> str:
        """The name of the event in sentences."""
        event = self.event
        return f"{consonance.short_name(event.type)} {event.id} of {event.partitionkey}"


def validate_event(document: Any, context: EventContext, settings: PushSettings) -> ValidatedEvent:
    """Raises Malformed naming the field, or Unprocessable for a kind that this tenant's poll publishes.

    An optional date that cannot be read counts as absent: if the change were rejected, the old date would stay valid.
    """
    if not isinstance(document, dict):
        raise Malformed("event: it is not a JSON object")
    model = _model(document, settings)
    if document.get("tenantid", context.tenant) != context.tenant:
        raise Malformed("tenantid: this is not the tenant served here")
    _check_size(document)
    reader = FieldReader()
    data = _data(document, model, context, settings, reader)
    attributes = {"time": context.now, "traceparent": context.traceparent} | _sender_attributes(document)
    key = subject_key(context.tenant, data)
    own = {"tenantid": context.tenant, "recordedtime": context.now, "partitionkey": key}
    event = build_event({**attributes, **own}, data)
    if len(event.to_bytes()) > MAX_RECORD_BYTES:
        raise Malformed(f"data: it is larger than {MAX_RECORD_BYTES} bytes")
    return ValidatedEvent(event, reader)


def subject_key(tenant: TenantId, data: EventData) -> str:
    """The key of the work; without a work, of the person the event is about; without either, of the source."""
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


def _model(document: dict[str, Any], settings: PushSettings) -> type[EventData]:
    if document.get("specversion") != "1.0":
        raise Malformed("specversion: only 1.0 is supported")
    kind = document.get("type")
    model = consonance.KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise Malformed("type: this service does not know it")
    if consonance.short_name(model.kind) in settings.polled:
        raise Unprocessable("type: this tenant's poll publishes it (STET_CONSONANCE_POLLED)", reason=POLLED_KIND)
    return model


def _check_size(document: dict[str, Any]) -> None:
    try:
        size = len(to_json(document))
    except ValueError:
        raise Malformed("event: it is nested too deeply, or holds a value that JSON cannot express") from None
    if size > MAX_RECORD_BYTES:
        raise Malformed(f"data: it is larger than {MAX_RECORD_BYTES} bytes")


def _sender_attributes(document: dict[str, Any]) -> dict[str, Any]:
    """An invalid traceparent is left out. Raises Malformed for an attribute that is too long for an index."""
    attributes = {name: document[name] for name in _ATTRIBUTES if document.get(name) is not None}
    for name in _INDEXED_ATTRIBUTES:
        value = attributes.get(name, "")
        if isinstance(value, str) and (len(value) > MAX_NAME_LENGTH or not value.isprintable()):
            raise Malformed(f"{name}: longer than {MAX_NAME_LENGTH} characters, or with unprintable characters")
    trace = attributes.get("traceparent", "")
    if not isinstance(trace, str) or _TRACEPARENT.fullmatch(trace) is None:
        attributes.pop("traceparent", None)
    return attributes


def _data(
    document: dict[str, Any], model: type[EventData], context: EventContext, settings: PushSettings, reader: FieldReader
) -> EventData:
    pushed = document.get("data")
    if not isinstance(pushed, dict):
        raise Malformed("data: it is not a JSON object")
    known = without_unreadable_days(model, _with_person_ids(pushed, context.tenant), reader.within("data"))
    if model.kind in KINDS_WITH_DEADLINE and _has_no_day(known.get("respond_by")):
        known["respond_by"] = _respond_by(document, context, settings)
    if model is consonance.MilestoneCompleted and not _has_day(known.get("done_on")):
        reader.report("data.done_on", "it is no date: the event's own day counts", known.get("done_on"))
        known["done_on"] = _local_time(document, context, settings).date()
    try:
        data = convert(model, known)
    except ValidationError as fault:
        raise Malformed(describe_error(fault, model, "data")) from None
    check_bounds(data, "data")
    return to_utc(data)


def _has_no_day(value: Any) -> bool:
    """Absent, or a date that means that none is known."""
    try:
        return parse_day(value) is None
    except ValueError:
        return False


def _has_day(value: Any) -> bool:
    try:
        return parse_day(value) is not None
    except ValueError:
        return False


def _with_person_ids(value: Any, tenant: TenantId) -> Any:
    """Each party that a sender names by its contact id gets the person id of that contact."""
    if isinstance(value, list):
        return [_with_person_ids(item, tenant) for item in value]
    if not isinstance(value, Mapping):
        return value
    known = {key: _with_person_ids(item, tenant) for key, item in value.items()}
    contact = known.get("contact_id")
    if known.keys() >= _PARTY_KEYS and isinstance(contact, int) and not isinstance(contact, bool):
        known["person_id"] = person_id_of_contact(tenant, ContactId(contact))
    return known


def _respond_by(document: dict[str, Any], context: EventContext, settings: PushSettings) -> date:
    """Counted from the event's own time, so that a repetition has the same date."""
    start = _local_time(document, context, settings)
    calendar = country_calendar(settings.country, settings.zone.key)
    return calendar.working_day_after(start.date(), settings.respond_within)


def _local_time(document: dict[str, Any], context: EventContext, settings: PushSettings) -> datetime:
    """The event's own time, else now."""
    try:
        sent_at = datetime.fromisoformat(str(document.get("time")))
    except ValueError:
        sent_at = context.now
    return (sent_at if sent_at.tzinfo and is_plausible_instant(sent_at) else context.now).astimezone(settings.zone)


# ------------------------------------------------------------------ dates that cannot be read


def without_unreadable_days(model: type[Value], document: dict[str, Any], reader: FieldReader) -> dict[str, Any]:
    """A copy in which each optional date that cannot be read is absent, and reported."""
    known = dict(document)
    for field in _optional_days(model):
        value = known.get(field.name)
        if field.model is None:
            known |= _readable_day(field.name, value, reader) if value is not None else {}
        elif isinstance(value, dict):
            known[field.name] = without_unreadable_days(field.model, value, reader.within(field.name))
        elif isinstance(value, list):
            known[field.name] = [
                without_unreadable_days(field.model, item, reader.within(f"{field.name}.{position}"))
                if isinstance(item, dict)
                else item
                for position, item in enumerate(value)
            ]
    return known


def _readable_day(name: str, value: Any, reader: FieldReader) -> dict[str, Any]:
    try:
        return {name: parse_day(value)}
    except ValueError as fault:
        reader.report(name, str(fault), value)
        return {name: None}


class _Field(NamedTuple):
    """``model`` None: an optional date; else an object that holds optional dates."""

    name: str
    model: type[Value] | None


@cache
def _optional_days(model: type[Value]) -> tuple[_Field, ...]:
    found = []
    for field in fields(model):
        types = list(_plain_types(field.type))
        if date in types and NoneType in types:
            found.append(_Field(field.encode_name, None))
        inner = next((each for each in types if isinstance(each, type) and issubclass(each, Value)), None)
        if inner is not None and _optional_days(inner):
            found.append(_Field(field.encode_name, inner))
    return tuple(found)


def _plain_types(annotation: Any) -> Iterator[Any]:
    """The plain types of an annotation, including those of a list's items."""
    origin = get_origin(annotation)
    if origin in (Union, UnionType, tuple):
        for inner in get_args(annotation):
            yield from _plain_types(inner)
    elif origin is Annotated:
        yield from _plain_types(get_args(annotation)[0])
    else:
        yield annotation


# ------------------------------------------------------------------ bounds of values


def check_bounds(value: Value, path: str) -> None:
    """Check lengths, numbers, instants and days. Raises Malformed naming the field.

    The contracts check the type of a field. A value out of these bounds would fail later, in an index, a column, a
    calendar or the memory of a consumer, when the event is already published.
    """
    for part_path, part in _parts(value, path):
        fault = _bounds_fault(part_path, part)
        if fault is not None:
            raise Malformed(f"{part_path}: {fault}")


def _parts(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Each value within, with its path; contracts are nested a few levels deep."""
    yield path, value
    if isinstance(value, Value):
        names = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
        for name, attribute in names:
            yield from _parts(getattr(value, attribute), f"{path}.{name}")
    elif isinstance(value, tuple) and len(value) <= _MAX_ITEMS:
        for position, item in enumerate(value):
            yield from _parts(item, f"{path}.{position}")
    elif isinstance(value, Mapping) and len(value) <= _MAX_ITEMS:
        for key, item in value.items():
            yield from _parts(item, f"{path}.{key}")


def _bounds_fault(path: str, value: Any) -> str | None:  # noqa: PLR0911 -- one line for each kind of value
    match value:
        case bool():
            return None
        case str():
            limit = MAX_NAME_LENGTH if path.endswith(_INDEXED_SUFFIXES) else _MAX_TEXT_LENGTH
            return f"longer than {limit:,} characters" if len(value) > limit else None
        case int():
            return "a number that no column holds" if abs(value) > _MAX_INTEGER else None
        case Decimal():
            return None if _is_amount(value) else "no amount of money"
        case datetime():
            return None if is_plausible_instant(value) else "it lies centuries away"
        case date():
            return None if is_plausible_date(value) else "it is a placeholder, not a date"
        case tuple() | dict():
            return f"more than {_MAX_ITEMS:,} items" if len(value) > _MAX_ITEMS else None
        case _:
            return None


def _is_amount(value: Decimal) -> bool:
    return value.is_finite() and abs(value.adjusted()) <= _MAX_EXPONENT and len(value.as_tuple().digits) <= _MAX_DIGITS

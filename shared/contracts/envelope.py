"""The CloudEvents 1.0 envelope every record of every topic travels in, and how one is read and written.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from shared.contracts.errors import Malformed, NewerKind
from shared.contracts.ids import EventId, TenantId
from shared.contracts.values import (
    DECODE_ERRORS,
    Instant,
    NonEmptyStr,
    Value,
    convert,
    decode,
    describe_error,
    encode,
    is_plausible_instant,
    to_utc,
)


class EventData(Value):
    """The data of an event; ``kind`` is its CloudEvents type."""

    kind: ClassVar[str]


class Attributes(Value, tag_field="specversion", tag="1.0"):
    """``time`` is when it happened, ``recordedtime`` when Stet saw it; both are business time."""

    id: Annotated[EventId, msgspec.Meta(min_length=1)]
    source: NonEmptyStr
    type: NonEmptyStr
    subject: str | None = None
    time: Instant
    recordedtime: Instant
    datacontenttype: Literal["application/json"] = "application/json"
    tenantid: Annotated[TenantId, msgspec.Meta(min_length=1)]
    partitionkey: NonEmptyStr
    correlationid: str | None = None
    causationid: str | None = None
    expirytime: Instant | None = None
    traceparent: str | None = None


class Event(Attributes):
    """One event."""

    data: EventData

    def to_bytes(self) -> bytes:
        """The event as JSON. Raises Malformed for data that breaks its contract, so that no reader ever gets it."""
        try:
            decode(type(self.data), encode(self.data))
        except DECODE_ERRORS as error:
            raise Malformed(describe_error(error, type(self.data), "data")) from None
        return encode(self)


class _UndecodedEvent(Attributes):
    """An event whose data is still JSON: only its type tells how to read it."""

    data: msgspec.Raw


def trace_headers(traceparent: str | None) -> list[tuple[str, bytes]]:
    """The headers of an event's Kafka record: its trace, for readers that do not parse the value."""
    return [("traceparent", traceparent.encode())] if traceparent else []


Kinds = Mapping[str, type[EventData]]


def kinds_by_type(models: Iterable[type[EventData]]) -> Kinds:
    """The closed union of a topic, by CloudEvents type."""
    return {model.kind: model for model in models}


def parse_event(raw: bytes, known: Kinds) -> Event:
    """Read one record's value. Raises Malformed naming the field, or NewerKind for a type not in ``known``."""
    try:
        read = decode(_UndecodedEvent, raw)
    except DECODE_ERRORS as error:
        raise Malformed(describe_error(error, _UndecodedEvent)) from None
    model = known.get(read.type)
    if model is None:
        raise NewerKind(f"type: {read.type!r} is not known here")
    try:
        data = decode(model, read.data)
    except DECODE_ERRORS as error:
        raise Malformed(describe_error(error, model, "data")) from None
    return _assemble(read, data)


def build_event(attributes: Mapping[str, Any], data: EventData) -> Event:
    """An event with attributes from outside. Raises Malformed naming the invalid one."""
    try:
        given = convert(Attributes, attributes)
    except msgspec.ValidationError as error:
        raise Malformed(describe_error(error, Attributes)) from None
    for name in ("time", "recordedtime", "expirytime"):
        instant = getattr(given, name)
        if instant is not None and not is_plausible_instant(instant):
            raise Malformed(f"{name}: it lies centuries away")
    return _assemble(to_utc(given), data)


def _assemble(read: Attributes, data: EventData) -> Event:
    return Event(
        id=read.id, source=read.source, type=read.type, subject=read.subject, time=read.time,
        recordedtime=read.recordedtime, tenantid=read.tenantid, partitionkey=read.partitionkey,
        correlationid=read.correlationid, causationid=read.causationid, expirytime=read.expirytime,
        traceparent=read.traceparent, data=data,
    )  # fmt: skip

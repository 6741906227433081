"""The CloudEvents 1.0 envelope every record of every topic travels in, and how one is read and written.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

import orjson
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    SerializeAsAny,
    ValidationError,
)

from shared.errors import Malformed, NewerKind
from shared.ids import EventId, TenantId


@lru_cache(maxsize=4096)
def spell_instant(instant: datetime) -> str:
    """RFC 3339 in UTC, with Z. What happens in one batch happens at a few instants."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


Instant = Annotated[AwareDatetime, PlainSerializer(spell_instant, return_type=str, when_used="json")]
"""A moment: any offset is read, UTC is written."""

Text = Annotated[str, Field(min_length=1)]
"""Text that says something."""


class Frozen(BaseModel):
    """A value. Unknown fields are dropped on reading and so never written."""

    model_config = ConfigDict(frozen=True, extra="ignore", serialize_by_alias=True, validate_by_name=True)


class Data(Frozen):
    """What an event says; ``kind`` is its CloudEvents type."""

    kind: ClassVar[str]


class Event(Frozen):
    """One event. ``time`` is when it happened, ``recordedtime`` when Stet saw it; both are business time, in UTC."""

    specversion: Literal["1.0"] = "1.0"
    id: Annotated[EventId, Field(min_length=1)]
    source: Text
    type: Text
    subject: str | None = None
    time: Instant
    recordedtime: Instant
    datacontenttype: Literal["application/json"] = "application/json"
    tenantid: Annotated[TenantId, Field(min_length=1)]
    partitionkey: Text
    correlationid: str | None = None
    causationid: str | None = None
    expirytime: Instant | None = None
    traceparent: str | None = None
    data: SerializeAsAny[InstanceOf[Data]]

    def to_bytes(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()


def trace_headers(traceparent: str | None) -> list[tuple[str, bytes]]:
    """The headers of an event's Kafka record: its trace, for whoever does not read the value."""
    return [("traceparent", traceparent.encode())] if traceparent else []


Kinds = Mapping[str, type[Data]]


def kinds(models: Iterable[type[Data]]) -> Kinds:
    """The closed union of a topic, by CloudEvents type."""
    return {model.kind: model for model in models}


def parse(raw: bytes, known: Kinds) -> Event:
    """Read one record's value. Raises Malformed naming the field, or NewerKind for a type not in ``known``."""
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"not JSON: {error.msg}") from error
    if not isinstance(document, dict):
        raise Malformed("not a JSON object")
    return parse_document(document, known)


def parse_document(document: dict[str, Any], known: Kinds) -> Event:
    """Like ``parse``, from a JSON object already read."""
    kind = document.get("type")
    if not isinstance(kind, str):
        raise Malformed("type: a CloudEvent has one")
    model = known.get(kind)
    if model is None:
        raise NewerKind(f"type: {kind!r} is not known here")
    try:
        data = model.model_validate(document.get("data"))
    except ValidationError as error:
        raise Malformed(first_fault(error, "data")) from None
    try:
        return Event.model_validate({**document, "data": data})
    except ValidationError as error:
        raise Malformed(first_fault(error)) from None


def first_fault(error: ValidationError, *within: str) -> str:
    """The first fault as ``field: sentence``; never the value, which may be personal."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(map(str, (*within, *fault['loc'])))}: {fault['msg']}"

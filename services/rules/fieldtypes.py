"""An event's model as a flat list of typed paths."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from msgspec.structs import FieldInfo, fields

from shared.contracts.values import Value
from shared.contracts.vocabulary import PartyRef


class FieldType(StrEnum):
    TEXT = "text"
    NUMBER = "number"
    FLAG = "flag"
    DATE = "date"
    INSTANT = "instant"
    LIST = "list"
    PARTY = "party"
    RECORD = "record"


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """``values`` is the closed set of a text, or of a list's items; ``item`` is the type of a list's items."""

    path: str
    type: FieldType
    optional: bool = False
    values: tuple[str, ...] = ()
    item: FieldType | None = None
    sentence: str = ""


_PLAIN: tuple[tuple[type, FieldType], ...] = (
    (bool, FieldType.FLAG),
    (int, FieldType.NUMBER),
    (float, FieldType.NUMBER),
    (Decimal, FieldType.NUMBER),
    (datetime, FieldType.INSTANT),
    (date, FieldType.DATE),
    (PartyRef, FieldType.PARTY),
    (Value, FieldType.RECORD),
)


def fields_of(model: type[Value]) -> tuple[FieldSpec, ...]:
    """Every path of ``model``: its fields as the contract spells them, the fields of those, and so on."""
    return tuple(_walk(model, "", within_list=False, optional=False))


def _walk(model: type[Value], prefix: str, *, within_list: bool, optional: bool) -> Iterator[FieldSpec]:
    for info in fields(model):
        path = f"{prefix}{info.encode_name}"
        spec, inner = _spec(path, info)
        spec = _as_list(spec, optional=optional) if within_list else replace(spec, optional=spec.optional or optional)
        yield spec
        if inner is not None:
            listed = within_list or spec.type is FieldType.LIST
            yield from _walk(inner, f"{path}.", within_list=listed, optional=spec.optional)


def _spec(path: str, info: FieldInfo) -> tuple[FieldSpec, type[Value] | None]:
    choices = _unwrapped(info.type)
    optional = NoneType in choices
    found = [choice for choice in choices if choice is not NoneType]
    listed = next((choice for choice in found if get_origin(choice) is tuple), None)
    if listed is not None:
        item = _unwrapped(get_args(listed)[0])[0]
        spec = FieldSpec(path, FieldType.LIST, optional or not info.required, _values(item), _type(item))
        return spec, _model(item)
    first = found[0]
    return FieldSpec(path, _type(first), optional, _values(first)), _model(first)


def _unwrapped(annotation: Any) -> list[Any]:
    """The types of a union, without their annotations."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _unwrapped(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [each for choice in get_args(annotation) for each in _unwrapped(choice)]
    return _unwrapped(annotation.__supertype__) if hasattr(annotation, "__supertype__") else [annotation]


def _type(plain: Any) -> FieldType:
    if isinstance(plain, type):
        for kind, field_type in _PLAIN:
            if issubclass(plain, kind):
                return field_type
    return FieldType.RECORD if get_origin(plain) is dict else FieldType.TEXT


def _values(plain: Any) -> tuple[str, ...]:
    return tuple(str(each.value) for each in plain) if isinstance(plain, type) and issubclass(plain, Enum) else ()


def _model(plain: Any) -> type[Value] | None:
    return plain if isinstance(plain, type) and issubclass(plain, Value) else None


def _as_list(spec: FieldSpec, *, optional: bool) -> FieldSpec:
    """A field of the objects of a list is the list of that field in each, and is there when the list is."""
    if spec.type is FieldType.LIST:
        return replace(spec, optional=optional)
    return replace(spec, type=FieldType.LIST, item=spec.type, optional=optional)

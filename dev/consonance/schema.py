"""Reads the schema files into an executable schema; product types first get the fields of their interface."""

from collections.abc import Callable, Mapping
from datetime import date
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from ariadne import EnumType, InterfaceType, ObjectType, ScalarType, make_executable_schema
from graphql import GraphQLSchema, parse, print_ast
from graphql.language import DocumentNode, InterfaceTypeDefinitionNode, ObjectTypeDefinitionNode

from dev.consonance import contact_fields, mutations, product_fields, queries, work_fields
from dev.consonance.records import Contact, ContactKind
from dev.consonance.trade import STATUS_CODES

_FOLDER = Path(__file__).parent
_CODED = {
    "ONIXPublishingStatusCode": STATUS_CODES,
    "ONIXContentAudienceCode": tuple(f"{code:02d}" for code in range(9)),
    "ONIXPriceTypeCode": ("01", "02"),
    "ONIXPriceTypeQualifierCode": ("05",),
}


class Profile(StrEnum):
    DOCUMENTED = "documented"
    EXTENDED = "extended"


@cache
def executable(profile: Profile) -> GraphQLSchema:
    """The executable schema of a profile. It holds no records, so simulators of one process share it."""
    extended = profile is Profile.EXTENDED
    sources = [_completed((_FOLDER / "schema.graphql").read_text("utf-8"))]
    reads = [work_fields.FIELDS, product_fields.FIELDS, contact_fields.FIELDS, queries.FIELDS]
    if extended:
        sources.append((_FOLDER / "extended.graphql").read_text("utf-8"))
        reads.append(queries.EXTENDED)
    bound = [*_readers(reads), *_interfaces(), _date(), *(_code(name, codes) for name, codes in _CODED.items())]
    return make_executable_schema(sources, *bound, _writers(extended=extended), convert_names_case=True)


def _completed(source: str) -> str:
    """``type X implements Product`` need not repeat the interface's fields in the file."""
    document = parse(source, no_location=True)
    product = next(
        node
        for node in document.definitions
        if isinstance(node, InterfaceTypeDefinitionNode) and node.name.value == "Product"
    )
    return print_ast(DocumentNode(definitions=tuple(_complete(node, product) for node in document.definitions)))


def _complete(node: Any, interface: InterfaceTypeDefinitionNode) -> Any:
    if not isinstance(node, ObjectTypeDefinitionNode):
        return node
    if interface.name.value not in {one.name.value for one in node.interfaces or ()}:
        return node
    return ObjectTypeDefinitionNode(
        description=node.description,
        name=node.name,
        directives=node.directives,
        interfaces=node.interfaces,
        fields=(*(interface.fields or ()), *(node.fields or ())),
    )


def _readers(tables: list[Mapping[str, Mapping[str, Any]]]) -> list[ObjectType | InterfaceType]:
    found: dict[str, ObjectType | InterfaceType] = {}
    for table in tables:
        for type_name, fields in table.items():
            kind = InterfaceType if type_name in {"Product", "Contact"} else ObjectType
            bound = found.setdefault(type_name, kind(type_name))
            for field_name, read in fields.items():
                bound.set_field(field_name, _reader(read))
    return list(found.values())


def _reader(read: Callable[..., object]) -> Callable[..., object]:
    return lambda record, info, **arguments: read(info.context.publisher, record, **arguments)


def _writers(*, extended: bool) -> ObjectType:
    mutation = ObjectType("Mutation")
    for one in mutations.offered(extended=extended):
        mutation.set_field(one.name, _writer(one))
    return mutation


def _writer(one: mutations.Mutation) -> Callable[..., object]:
    return lambda _, info, **arguments: info.context.mutate(one, arguments.get("input"))


def _interfaces() -> list[InterfaceType]:
    return [
        InterfaceType("Product", lambda record, *_: record.typename),
        InterfaceType("Contact", _contact_type),
        InterfaceType("SubjectCode", lambda record, *_: record["scheme"]),
        InterfaceType("Prizeable", lambda *_: "Work"),
    ]


def _contact_type(contact: Contact, *_: object) -> str:
    return "Organisation" if contact.kind is ContactKind.ORGANISATION else "Person"


def _date() -> ScalarType:
    return ScalarType("ISO8601Date", serializer=date.isoformat, value_parser=date.fromisoformat)


def _code(name: str, codes: tuple[str, ...]) -> EnumType:
    """Records hold bare codes; GraphQL spells them with an underscore."""
    return EnumType(name, {f"_{code}": code for code in codes})

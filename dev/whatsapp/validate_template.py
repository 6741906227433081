"""A template send against its registered definition. Pure; refusals carry Meta's codes (132000 to 132018)."""

import re
from collections.abc import Mapping
from typing import Protocol

from dev.whatsapp.errors import GraphError
from dev.whatsapp.fields import Node
from dev.whatsapp.outbound import Choice, Content, Kind, Tap
from dev.whatsapp.templates import ButtonKind, Template, TemplateButton

_BODY = 1024
_PAYLOAD = 128  # Meta documents no limit; longer ones are not known to work
_UNPRINTABLE = re.compile(r"[\n\r\t]| {5,}")


class KnownTemplates(Protocol):
    def find(self, name: str, language: str) -> Template:
        """Raises GraphError where there is none, or none that may be sent."""


def template(message: Node, known: KnownTemplates) -> Content:
    said = message.child("template")
    name = said.text("name", 512)
    language = said.child("language").text("code", 20)
    definition = known.find(name, language)
    components = said.children("components", 20) if said.value.get("components") else []
    values = _body_values(definition, [part for part in components if part.one_of("type", _PARTS) == "body"])
    if any(part.value["type"] == "header" for part in components):
        raise GraphError(132012, f"template {name} has no header")
    text = definition.render(values)
    if len(text) > _BODY:
        raise GraphError(132005, f"the body of {name} has {len(text)} characters once filled, at most {_BODY}")
    choices = _choices(definition, [part for part in components if part.value["type"] == "button"])
    return Content(
        kind=Kind.TEMPLATE,
        text=text,
        choices=choices,
        tap=Tap.QUICK_REPLY,
        template=name,
        language=language,
        parameters=values,
        category=definition.category,
    )


_PARTS = ("header", "body", "button")


def _body_values(definition: Template, bodies: list[Node]) -> Mapping[str, str]:
    given = [item for body in bodies for item in (body.children("parameters", 100) if _has(body) else [])]
    if not definition.open and len(given) != len(definition.parameters):
        expected = len(definition.parameters)
        raise GraphError(132000, f"body: {len(given)} parameters given, {definition.name} has {expected}")
    values = {_name_of(item, place, definition): _value_of(item) for place, item in enumerate(given, 1)}
    if not definition.open and set(values) != set(definition.parameters):
        raise GraphError(132012, f"body: the names given are not those of {definition.name}")
    return values


def _has(body: Node) -> bool:
    return bool(body.value.get("parameters"))


def _name_of(item: Node, place: int, definition: Template) -> str:
    if definition.open:
        return str(item.value.get("parameter_name", place))
    if definition.positional:
        return str(place)
    if not item.value.get("parameter_name"):
        raise GraphError(132012, f"{item.path}.parameter_name is missing; {definition.name} has named parameters")
    return item.text("parameter_name", 512)


def _value_of(item: Node) -> str:
    if item.required("type") != "text":
        raise GraphError(132012, f"{item.path}.type must be text")
    value = item.text("text", 32768)
    if _UNPRINTABLE.search(value):
        raise GraphError(132018, f"{item.path}.text has a newline, a tab or more than four spaces in a row")
    return value


def _choices(definition: Template, given: list[Node]) -> tuple[Choice, ...]:
    payloads = dict(_button(definition, part) for part in given)
    if definition.open:
        return tuple(Choice(id=payload, title=payload) for _, payload in sorted(payloads.items()))
    _all_urls_filled(definition, payloads)
    quick = ((place, it) for place, it in enumerate(definition.buttons) if it.type is ButtonKind.QUICK_REPLY)
    return tuple(Choice(id=payloads.get(place, it.text), title=it.text) for place, it in quick)


def _button(definition: Template, part: Node) -> tuple[int, str]:
    kind = part.one_of("sub_type", ("quick_reply", "url"))
    place = _index(part)
    if not definition.open and _kind_at(definition.buttons, place) != kind:
        raise GraphError(131009, f"{part.path}: {definition.name} has no {kind} button at index {place}")
    parameter = part.children("parameters", 1)[0]
    if kind == ButtonKind.QUICK_REPLY:
        parameter.one_of("type", ("payload",))
        return place, parameter.text("payload", _PAYLOAD)
    parameter.one_of("type", ("text",))
    return place, parameter.text("text", 2000)


def _index(part: Node) -> int:
    found = str(part.required("index"))
    if not found.isdecimal():
        raise GraphError(131009, f"{part.path}.index must be a number from 0")
    return int(found)


def _kind_at(buttons: tuple[TemplateButton, ...], place: int) -> ButtonKind | None:
    return buttons[place].type if place < len(buttons) else None


def _all_urls_filled(definition: Template, given: Mapping[int, str]) -> None:
    for place, button in enumerate(definition.buttons):
        if button.url and "{{" in button.url and place not in given:
            raise GraphError(131008, f"the url button at index {place} of {definition.name} needs its parameter")

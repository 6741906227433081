"""Registered templates, what a send makes of one, and Meta's rules for parameters."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from dev.whatsapp.graph_errors import GraphError

_PLACE = re.compile(r"\{\{?\s*(\w+)\s*\}?\}")


class TemplateStatus(StrEnum):
    APPROVED = "APPROVED"
    PENDING = "PENDING"
    REJECTED = "REJECTED"
    PAUSED = "PAUSED"
    DISABLED = "DISABLED"


class ButtonKind(StrEnum):
    QUICK_REPLY = "quick_reply"
    URL = "url"
    PHONE_NUMBER = "phone_number"


class TemplateButton(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    type: ButtonKind = ButtonKind.QUICK_REPLY
    text: str
    url: str | None = None


def _spelled_out(button: object) -> object:
    return {"text": button} if isinstance(button, str) else button


class RegisteredTemplate(BaseModel):
    """A template in one language; ``parameters`` are its names, or "1", "2", … for a positional one."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    language: str
    body: str | None = None
    parameters: tuple[str, ...] = ()
    buttons: tuple[Annotated[TemplateButton, BeforeValidator(_spelled_out)], ...] = ()
    status: TemplateStatus = TemplateStatus.APPROVED
    category: str = "utility"
    header: str | None = None  # the kind of file above the body: "document"
    open: bool = False  # its definition is unknown: any parameters and buttons will do

    @model_validator(mode="before")
    @classmethod
    def _read_from_body(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("body") and "parameters" not in values:
            return {**values, "parameters": tuple(dict.fromkeys(_PLACE.findall(values["body"])))}
        return values

    @property
    def positional(self) -> bool:
        return all(name.isdecimal() for name in self.parameters)

    def render(self, values: Mapping[str, str]) -> str:
        if self.body is None:
            return " · ".join([self.name, *values.values()])
        return _PLACE.sub(lambda place: values.get(place[1], place[0]), self.body)


class TemplateRegistry:
    """The registered templates, by name and language; no other language stands in for a missing one."""

    def __init__(self, *, accept_any: bool) -> None:
        self.accept_any = accept_any
        self._known: dict[tuple[str, str], RegisteredTemplate] = {}

    def add(self, template: RegisteredTemplate) -> None:
        self._known[template.name, template.language] = template

    def remove(self, template: RegisteredTemplate) -> None:
        self._known.pop((template.name, template.language), None)

    def get(self, name: str, language: str) -> RegisteredTemplate | None:
        """The template in any status; None where it is not registered."""
        return self._known.get((name, language))

    def all(self) -> list[RegisteredTemplate]:
        """All templates, by name and language."""
        return [self._known[key] for key in sorted(self._known)]

    def find(self, name: str, language: str) -> RegisteredTemplate:
        template = self._known.get((name, language))
        if template is None and self.accept_any:
            return RegisteredTemplate(name=name, language=language, open=True)
        if template is None or template.status in {TemplateStatus.PENDING, TemplateStatus.REJECTED}:
            raise GraphError(132001, f"no approved template {name} in {language}")
        if template.status is TemplateStatus.PAUSED:
            raise GraphError(132015, f"template {name} is paused for low quality")
        if template.status is TemplateStatus.DISABLED:
            raise GraphError(132016, f"template {name} is disabled for low quality")
        return template

"""People with a plan: when such a message arrives, do this, so much later. Pure, but scripts are used up."""

import re
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dev.whatsapp.ledger import Message


class Act(StrEnum):
    TAP = "tap"
    TYPE = "type"
    READ = "read"
    IGNORE = "ignore"
    STOP = "stop"
    REACT = "react"
    DOCUMENT = "document"


class Trigger(BaseModel):
    """Every condition given must hold; ``any`` stands for none."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    any: bool = False
    template: str | None = None
    contains: str | None = None
    button: str | None = None
    line: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "Trigger":
        if not (self.any or self.template or self.contains or self.button or self.line):
            raise ValueError("say template, contains, button, line or any: true")
        return self

    def fits(self, message: Message, line_name: str) -> bool:
        content = message.content
        return (
            (self.template is None or same_template(self.template, content.template))
            and (self.contains is None or self.contains in content.text)
            and (self.button is None or content.choice(self.button) is not None)
            and (self.line is None or self.line in {line_name, message.line})
        )


class Script(BaseModel):
    """``after`` is in seconds of business time; ``times`` None means always."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    person: str
    on: Trigger
    do: Act
    value: str | None = None
    after: float = Field(default=0.0, ge=0)
    times: int | None = Field(default=1, ge=1)


def same_template(wanted: str, sent: str | None) -> bool:
    return sent is not None and re.fullmatch(re.escape(wanted) + r"(_v\d+)?", sent) is not None


@dataclass(slots=True)
class _Standing:
    script: Script
    left: int | None


class Scripts:
    """Each person's scripts in the order they were given."""

    def __init__(self) -> None:
        self._by_person: dict[str, list[_Standing]] = {}

    def add(self, person_id: str, script: Script) -> None:
        self._by_person.setdefault(person_id, []).append(_Standing(script, script.times))

    def take(self, message: Message, line_name: str) -> Script | None:
        """The first script that fits, one use of it spent."""
        for standing in self._by_person.get(message.person.id, ()):
            if standing.left != 0 and standing.script.on.fits(message, line_name):
                if standing.left is not None:
                    standing.left -= 1
                return standing.script
        return None

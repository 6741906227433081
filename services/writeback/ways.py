"""What a mapping file says: ways to read and to write one kind of change through a tenant's GraphQL.

A way names no mutation it needs besides those in its documents: validating a document against the introspected schema
tells whether this Consonance can do it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.writes import Operation

Spelled = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    """As a mapping file spells it: an unknown key is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)


class Each(Strict):
    """A list variable: every element of the fact ``source``, its parts renamed (GraphQL name → fact's part)."""

    source: Annotated[Spelled, Field(alias="each")]
    parts: Annotated[dict[str, Spelled], Field(alias="as")]


Filling = Spelled | Each
"""What fills a variable: the name of a fact, or a list of renamed parts."""


class Call(Strict):
    """A document, and the fact each of its variables is filled from."""

    document: Spelled
    variables: dict[str, Filling]

    def filled(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        return {name: _fill(filling, facts) for name, filling in self.variables.items()}


class Read(Call):
    """``found``: the path that is null where the record does not exist; ``values``: what a judgement looks at."""

    found: Spelled
    values: dict[str, Spelled]


class Write(Call):
    """``errors``: the field of the payload that carries refusals; asked for only where introspection shows it."""

    errors: Spelled = "errors"


class Way(Strict):
    """``when`` narrows it to changes with these facts; ``remove`` clears what a created text replaces.

    ``expected_from``: the states a record may be in for the write to make sense; empty means any.
    """

    operation: Operation
    when: dict[str, Spelled] = Field(default_factory=dict)
    expected_from: frozenset[str] = frozenset()
    read: Read
    write: Write
    remove: Write | None = None

    def fits(self, operation: Operation, facts: Mapping[str, Any]) -> bool:
        return operation is self.operation and all(facts.get(name) == value for name, value in self.when.items())


Ways = Mapping[str, Way]
"""By name, in the order in which they are tried."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one read showed."""

    found: bool
    values: Mapping[str, Any]


def answers(read: Read, data: Mapping[str, Any]) -> bool:
    """Whether the answer holds what was asked for, be it null: one of another shape says nothing of the record."""
    first, *further = read.found.split(".")
    if first not in data:
        return False
    value = data[first]
    for part in further:
        if not isinstance(value, Mapping):
            return value is None
        value = value.get(part)
    return True


def seen_in(read: Read, data: Mapping[str, Any]) -> Seen:
    values = {name: pluck(data, path) for name, path in read.values.items()}
    return Seen(found=pluck(data, read.found) is not None, values=values)


def pluck(data: Any, path: str) -> Any:
    """The value at a dotted path; through a list, the list of the values in its elements."""
    for index, part in enumerate(parts := path.split(".")):
        if isinstance(data, list):
            return [pluck(element, ".".join(parts[index:])) for element in data]
        if not isinstance(data, Mapping):
            return None
        data = data.get(part)
    return data


def _fill(filling: Filling, facts: Mapping[str, Any]) -> Any:
    if isinstance(filling, str):
        return facts.get(filling)
    elements = facts.get(filling.source) or ()
    return [{name: element.get(part) for name, part in filling.parts.items()} for element in elements]

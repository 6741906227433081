"""docs/reference/events.md lists exactly the events and write operations of the contracts, with their fields."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from msgspec.structs import fields

from shared.contracts import consonance, writes
from shared.contracts.values import Value

PAGE = Path("docs/reference/events.md")
IN_EVERY_EVENT = {"work", "actor", "version"}
FIELD = re.compile(r"`(\w+)`(\?)?")


def rows() -> Iterator[tuple[str, list[str]]]:
    """The name in the first column of each table row, and the other columns."""
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith("| `"):
            name, *columns = (cell.strip() for cell in line.strip("|").split("|"))
            yield name.strip("`"), columns


def field_names(column: str) -> dict[str, bool]:
    """Each field of a column, and whether it is required."""
    return {name: not optional for name, optional in FIELD.findall(column)}


def declared(model: type[Value]) -> dict[str, bool]:
    return {field.encode_name: field.required for field in fields(model) if field.encode_name not in IN_EVERY_EVENT}


EVENTS = {consonance.short_name(kind): model for kind, model in consonance.KINDS.items()}
OPERATIONS = {model.operation.value: model for model in get_args(writes.WriteInput)}
WORK_COLUMN = {None: "no", False: "may", True: "yes"}


def test_the_page_lists_every_event_and_every_operation_once() -> None:
    assert sorted(name for name, _ in rows()) == sorted([*EVENTS, *OPERATIONS])


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_is_listed_with_its_fields(name: str) -> None:
    work, listed, *_ = dict(rows())[name]

    assert field_names(listed) == declared(EVENTS[name])
    has_work = {field.encode_name: field.required for field in fields(EVENTS[name])}.get("work")
    assert work == WORK_COLUMN[has_work]


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_listed_with_its_input(name: str) -> None:
    listed, *_ = dict(rows())[name]

    assert field_names(listed) == declared(OPERATIONS[name])

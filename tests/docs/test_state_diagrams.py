"""The state diagrams of docs/architecture.md are those of the code's own tables, arrow by arrow."""

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

import pytest

from services.dispatcher import message_state
from services.rules.conversation import chain
from services.writeback import write_state
from tests.docs.pages import ROOT

PAGE = ROOT / "docs/architecture.md"
BLOCK = re.compile(r"^### (.+?)$.*?^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)

Arrow = tuple[str, str, str]
"""From a state, by a transition, to a state."""


def message_arrows() -> list[Arrow]:
    return [
        (source.value, name.value, target.value)
        for source in message_state.MessageState
        for name, (sources, target) in message_state.TRANSITIONS.items()
        if source in sources
    ]


S = TypeVar("S", bound=StrEnum)
T = TypeVar("T", bound=StrEnum)


def table_arrows(table: Mapping[tuple[S, T], S]) -> list[Arrow]:
    return [(source.value, name.value, target.value) for (source, name), target in table.items()]


MACHINES = {
    "A message in the dispatcher": (message_state.INITIAL.value, message_arrows()),
    "A chain in rules": (chain.INITIAL_STATE.value, table_arrows(chain.TRANSITIONS)),
    "A step of a chain": (chain.StepStatus.PENDING.value, table_arrows(chain.STEP_TRANSITIONS)),
    "A write in writeback": (write_state.WriteState.QUEUED.value, table_arrows(write_state.TRANSITIONS)),
}


def diagram(initial: str, arrows: Sequence[Arrow]) -> str:
    """The Mermaid text of a state machine, in the order of its table; a state that no arrow leaves is an end."""
    ends = sorted({target for _, _, target in arrows} - {source for source, _, _ in arrows})
    lines = [
        "stateDiagram-v2",
        f"    [*] --> {initial}",
        *(f"    {source} --> {target}: {name}" for source, name, target in arrows),
        *(f"    {end} --> [*]" for end in ends),
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("title", MACHINES)
def test_a_state_diagram_is_that_of_the_code(title: str) -> None:
    drawn = dict(BLOCK.findall(PAGE.read_text("utf-8")))

    assert drawn.get(title) == diagram(*MACHINES[title]), f"docs/architecture.md, “{title}”"

"""What was written in Consonance, by the simulator's log; each entry has to be expected by a story, and once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dev.demo.outside import Outside

_APPLIED = "applied"


@dataclass
class Ledger:
    outside: Outside
    _expected: set[int] = field(default_factory=set)

    async def take(self, operation: str, wanted: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The one unexpected write of ``operation`` that says what is ``wanted``; None where there is none, or more."""
        found = [
            (number, entry)
            for number, entry in await self._unexpected()
            if entry["operation"] == operation and entry["fate"] == _APPLIED and _says(entry["input"], wanted)
        ]
        if len(found) != 1:
            return None
        self._expected.add(found[0][0])
        return found[0][1]

    async def unexpected(self) -> list[Mapping[str, Any]]:
        return [entry for _, entry in await self._unexpected()]

    async def _unexpected(self) -> list[tuple[int, Mapping[str, Any]]]:
        entries = enumerate(await self.outside.in_consonance("log"))
        return [(number, entry) for number, entry in entries if number not in self._expected]


def _says(given: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(given.get(name) == value for name, value in wanted.items())

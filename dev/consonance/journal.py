"""Every mutation that came in and what became of it: the proof that nothing was written twice."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson


class Fate(StrEnum):
    APPLIED = "applied"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


class Journal:
    def __init__(self) -> None:
        self._entries: list[dict[str, Any]] = []
        self._applied: Counter[bytes] = Counter()

    def note(self, operation: str, given: Mapping[str, Any], fate: Fate, at: datetime) -> None:
        """``count`` says how often the same input was applied by now, whatever its clientMutationId."""
        kept = {name: value for name, value in given.items() if name != "client_mutation_id"}
        same = orjson.dumps([operation, kept], option=orjson.OPT_SORT_KEYS)
        self._applied[same] += fate is Fate.APPLIED
        self._entries.append(
            {"operation": operation, "input": kept, "fate": fate, "at": at, "count": self._applied[same]}
        )

    def entries(self, operation: str | None = None) -> list[dict[str, Any]]:
        return [entry for entry in self._entries if operation in (None, entry["operation"])]

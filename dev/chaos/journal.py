"""What the run itself did, one JSON line each with its instant: pushes, strikes, recoveries, faults."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson


@dataclass
class Journal:
    file: Path
    counts: dict[str, int] = field(default_factory=dict)

    def note(self, kind: str, **more: Any) -> None:
        """``at`` is seconds since 1970."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        with self.file.open("ab") as out:
            out.write(orjson.dumps({"at": time.time(), "kind": kind, **more}) + b"\n")

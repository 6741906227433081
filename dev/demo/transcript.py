"""What a story has to tell: who did what, who heard what, what was written, each at its business time."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Kind(StrEnum):
    DID = "did"
    HEARD = "heard"
    SAID = "said"
    WROTE = "wrote"
    READ = "read"
    NOTED = "noted"


@dataclass(frozen=True)
class Line:
    at: datetime
    kind: Kind
    who: str
    text: str


@dataclass
class Transcript:
    lines: list[Line] = field(default_factory=list)

    def add(self, at: datetime, kind: Kind, who: str, text: str) -> None:
        self.lines.append(Line(at, kind, who, text))

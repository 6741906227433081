"""A story of the demo: its title, its people and how it is played; and the transcript of one run."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from dev.demo.people import DemoPerson

if TYPE_CHECKING:
    from dev.demo.story_run import StoryRun

STARTS_AT = datetime(2027, 4, 12, 8, tzinfo=UTC)
"""A Monday, 09:00 in London; no fair and only one holiday follow within the stories."""

ENDS_AT = datetime(2027, 5, 28, 16, tzinfo=UTC)
"""The last chain has ended by now. A story that ended before must have sent no more messages."""

LONDON = ZoneInfo("Europe/London")


def london(month: int, day: int, hour: int, minute: int = 0) -> datetime:
    """An instant of 2027 in London time."""
    return datetime(2027, month, day, hour, minute, tzinfo=LONDON)


@dataclass(frozen=True, eq=False)
class DemoStory:
    """``roles`` are the recipients of the story's messages, by contact id, with their role. ``about`` are words that
    only this story's messages contain, unlike a story that writes to the same person. ``guests`` are people
    whom Consonance does not know.
    """

    title: str
    roles: Mapping[int, str]
    play: "Callable[[StoryRun], Awaitable[None]]"
    about: tuple[str, ...] = field(default=())
    guests: Mapping[DemoPerson, str] = field(default_factory=dict)

    def role_of(self, person: DemoPerson) -> str:
        roles = {str(contact): role for contact, role in self.roles.items()}
        roles |= {guest.handle: role for guest, role in self.guests.items()}
        return roles.get(person.handle, "")


class LineKind(StrEnum):
    CHANGED = "changed in Consonance"
    SENT = "sent"
    REPLIED = "replied"
    WRITTEN = "written"
    READ_BACK = "read back"
    CHECKED = "checked"


@dataclass(frozen=True)
class TranscriptLine:
    at: datetime
    kind: LineKind
    who: str
    text: str


@dataclass
class Transcript:
    """The events of one run of a story, each line at its business time."""

    lines: list[TranscriptLine] = field(default_factory=list)

    def add(self, at: datetime, kind: LineKind, who: str, text: str) -> None:
        self.lines.append(TranscriptLine(at, kind, who, text))

"""What a story is: a title, who and what it is about, and how it is played."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from dev.demo.cast import Player

if TYPE_CHECKING:
    from dev.demo.stage import Stage

BEGINS = datetime(2027, 4, 12, 8, tzinfo=UTC)
"""A Monday, 09:00 in London; no fair and but one holiday ahead."""

CURTAIN = datetime(2027, 5, 28, 16, tzinfo=UTC)
"""By now the last chain has given up; until then whoever is silent has to stay silent."""

_HOUSE = ZoneInfo("Europe/London")


def london(month: int, day: int, hour: int, minute: int = 0) -> datetime:
    """An instant of 2027 in house time."""
    return datetime(2027, month, day, hour, minute, tzinfo=_HOUSE)


@dataclass(frozen=True, eq=False)
class Story:
    """``roles``: whom the story's messages go to, by contact id, and as what. ``about``: words that only its messages
    have, which tell them from another story's where both write to the same person. ``guests`` are not in Consonance.
    """

    title: str
    roles: Mapping[int, str]
    play: "Callable[[Stage], Awaitable[None]]"
    about: tuple[str, ...] = field(default=())
    guests: Mapping[Player, str] = field(default_factory=dict)

    def role_of(self, player: Player) -> str:
        roles = {str(contact): role for contact, role in self.roles.items()}
        roles |= {guest.handle: role for guest, role in self.guests.items()}
        return roles.get(player.handle, "")

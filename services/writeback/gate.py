"""Whether Consonance is talked to at all: shut while it is down, asks for a pause, or refuses the key.

While shut nothing is claimed, so memory stays flat and the queue keeps its order. After a pause a single write goes
first; the gate opens fully when that got an answer. All of it is machine time.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from shared.clients.consonance_graphql import KeyRefused
from shared.contracts.errors import Throttled, Unavailable

_FIRST_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(seconds=30)


class Pause(StrEnum):
    DOWN = "down"
    THROTTLED = "throttled"
    KEY_REFUSED = "key_refused"


class Gate:
    """Width 0 while shut, 1 while trying, else as wide as it was made."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._failures = 0
        self._opens_at: datetime | None = None
        self.pause: Pause | None = None

    def width(self, machine_now: datetime) -> int:
        if self._opens_at is None:
            return self._width
        return 0 if machine_now < self._opens_at else 1

    def shut(self, error: Unavailable, machine_now: datetime) -> datetime:
        """Returns when it will be tried again. A second failure of the same moment does not double the pause."""
        if self._opens_at is None or machine_now >= self._opens_at:
            self._failures += 1
            wait = (
                error.wait
                if isinstance(error, Throttled)
                else min(_FIRST_PAUSE * 2 ** (self._failures - 1), _LONGEST_PAUSE)
            )
            self._opens_at = machine_now + wait
        self.pause = _pause_of(error)
        return self._opens_at

    def answered(self) -> None:
        """Consonance answered: it is there, and it knows the key."""
        self._failures = 0
        self._opens_at = None
        self.pause = None


def _pause_of(error: Unavailable) -> Pause:
    if isinstance(error, KeyRefused):
        return Pause.KEY_REFUSED
    return Pause.THROTTLED if isinstance(error, Throttled) else Pause.DOWN

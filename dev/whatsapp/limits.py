"""Meta's rates: how fast one number may send, and how fast one person may be written to. Pure; time is an argument.

Source: docs/reference/whatsapp.md, 3.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from dev.whatsapp.graph_errors import GraphError

PAIR_EVERY = timedelta(seconds=6)
PAIR_BURST = 45
WINDOW = timedelta(hours=24)


@dataclass(slots=True)
class Bucket:
    """``burst`` may be spent at once; one comes back every ``every``. Remembers only when it will be full again."""

    every: timedelta
    burst: int
    full_at: datetime | None = None

    def has_room(self, now: datetime) -> bool:
        return self._debt(now) + self.every <= self.every * self.burst

    def take(self, now: datetime) -> None:
        """Never overdraws: taking from an empty bucket leaves it empty."""
        self.full_at = now + min(self._debt(now) + self.every, self.every * self.burst)

    def _debt(self, now: datetime) -> timedelta:
        return max(self.full_at - now, timedelta(0)) if self.full_at else timedelta(0)


class ProviderLimits:
    """The buckets of every number and pair, and every pair's customer service window; business time throughout."""

    def __init__(self, *, per_second: int, lifted: bool) -> None:
        self._per_second = per_second
        self._lifted = lifted
        self._numbers: dict[str, Bucket] = {}
        self._pairs: dict[tuple[str, str], Bucket] = {}
        self._received_at: dict[tuple[str, str], datetime] = {}

    def sent(self, line: str, person: str, now: datetime) -> None:
        """Count one message out; raises GraphError where Meta would throttle, and then counts nothing."""
        if self._lifted:
            return
        number = self._number(line)
        pair = self._pairs.setdefault((line, person), Bucket(PAIR_EVERY, PAIR_BURST))
        if not number.has_room(now):
            raise GraphError(130429, "the throughput of this phone number has been reached")
        if not pair.has_room(now):
            raise GraphError(131056, "too many messages from this number to this person in a short time")
        number.take(now)
        pair.take(now)

    def received(self, line: str, person: str, now: datetime) -> None:
        """A person wrote: their window opens, and the number's throughput counts it too."""
        self._received_at[line, person] = now
        self._number(line).take(now)

    def window_is_open(self, line: str, person: str, now: datetime) -> bool:
        received_at = self._received_at.get((line, person))
        return self._lifted or (received_at is not None and now - received_at < WINDOW)

    def _number(self, line: str) -> Bucket:
        return self._numbers.setdefault(line, Bucket(timedelta(seconds=1) / self._per_second, self._per_second))

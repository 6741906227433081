"""The provider's rates as a table of sentences, and the small arithmetic that says when the next send may go.

Business time throughout. A rate judges the instants already spent; whoever owns the numbers keeps those in memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Rate:
    """``count`` per ``per``; with a ``burst``, that many may go at once and their time is then paid back in full."""

    count: int
    per: timedelta
    burst: int = 0

    @property
    def remembers(self) -> int:
        """How many of the newest instants are enough to judge the next one."""
        return max(self.count, self.burst)

    @property
    def horizon(self) -> timedelta:
        """Instants older than this no longer matter."""
        return self.per * max(1, self.burst)

    def free_at(self, spent: Sequence[datetime], now: datetime) -> datetime:
        """The first instant, not before ``now``, at which one more may go; ``spent`` is oldest first."""
        return self._after_burst(spent, now) if self.burst else self._after_window(spent, now)

    def room(self, spent: Sequence[datetime], now: datetime) -> int:
        """How many more may go at ``now``; for a rate without a burst."""
        return self.count - sum(instant > now - self.per for instant in spent)

    def _after_window(self, spent: Sequence[datetime], now: datetime) -> datetime:
        return now if len(spent) < self.count else max(now, spent[-self.count] + self.per)

    def _after_burst(self, spent: Sequence[datetime], now: datetime) -> datetime:
        if not spent:
            return now
        began = paid_at = spent[0]
        count = 0
        for instant in spent:
            if instant >= paid_at:
                began, paid_at, count = instant, instant, 0
            paid_at += self.per
            count += 1
        if now >= paid_at or (count < self.burst and now < began + self.per):
            return now
        return paid_at


# Meta, "Throughput": 80 messages a second and number, in and out together (1,000 after an upgrade, 20 in coexistence).
NUMBER = Rate(80, per=timedelta(seconds=1))
# Meta, "About the platform": one message in six seconds to one person; up to 45 at once, then their time is waited out.
PAIR = Rate(1, per=timedelta(seconds=6), burst=45)


@dataclass(frozen=True, slots=True)
class Limits:
    """What ``plan`` obeys. ``lifted`` takes the rates away (benches only); windows and templates still count.

    ``numbers`` are the lines whose rate differs from Meta's usual one.
    """

    numbers: Mapping[str, Rate] = field(default_factory=dict)
    pair: Rate = PAIR
    window: timedelta = timedelta(hours=24)
    window_margin: timedelta = timedelta(minutes=2)
    patience: timedelta = timedelta(minutes=10)
    """How long a message waits for a person nobody has told us of yet."""
    lifted: bool = False

    def number(self, line: str) -> Rate:
        return self.numbers.get(line, NUMBER)

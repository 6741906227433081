"""The instants already spent, per number and per pair: kept by the owner of the numbers, rebuilt at a take-over.

WhatsApp counts a request when it arrives, not when it was claimed. So what is claimed and not written yet counts as if
it were written now, and gets its instant when it is.
"""

from collections import Counter, deque
from collections.abc import Sequence
from datetime import datetime

from services.dispatcher.limits import Limits

_SWEEP_EVERY = 10_000  # sends between two looks for pairs that no longer matter


class Rates:
    """Business time; ``claim`` before a request, then ``wrote`` or ``gave_up``. ``spend`` is for what is over."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._numbers: dict[str, deque[datetime]] = {}
        self._pairs: dict[tuple[str, str], deque[datetime]] = {}
        self._since_sweep = 0
        self._claimed: Counter[str] = Counter()  # per line, and not written

    def claim(self, line: str, person_id: str, at: datetime) -> None:
        if self._limits.lifted:
            return
        self._claimed[line] += 1
        self._spend_pair(line, person_id, at)

    def wrote(self, line: str, person_id: str, at: datetime) -> None:
        if self._limits.lifted:
            return
        self.gave_up(line)
        self._spend_number(line, at)
        spent = self._pairs.get((line, person_id))
        if spent:
            spent[-1] = max(spent[-1], at)  # a person has one request in flight at most

    def gave_up(self, line: str) -> None:
        """It was claimed, and never written."""
        self._claimed[line] = max(0, self._claimed[line] - 1)

    def spend(self, line: str, person_id: str, at: datetime) -> None:
        if self._limits.lifted:
            return
        self._spend_number(line, at)
        self._spend_pair(line, person_id, at)

    def _spend_number(self, line: str, at: datetime) -> None:
        if line not in self._numbers:
            self._numbers[line] = deque(maxlen=self._limits.number(line).remembers)
        self._numbers[line].append(at)

    def _spend_pair(self, line: str, person_id: str, at: datetime) -> None:
        pair = (line, person_id)
        if pair not in self._pairs:
            self._pairs[pair] = deque(maxlen=self._limits.pair.remembers)
        self._pairs[pair].append(at)
        self._sweep(at)

    def number(self, line: str, now: datetime) -> Sequence[datetime]:
        """What is claimed and not written yet counts as written now."""
        written, claimed = self._numbers.get(line, ()), self._claimed[line]
        return [*written, *[now] * claimed] if claimed else written

    def pair(self, line: str, person_id: str) -> Sequence[datetime]:
        return self._pairs.get((line, person_id), ())

    def room(self, line: str, now: datetime, at_most: int) -> int:
        """How many messages of a line are worth fetching."""
        if self._limits.lifted:
            return at_most
        return min(at_most, self._limits.number(line).room(self.number(line, now), now))

    def next_room(self, line: str, now: datetime) -> datetime:
        return now if self._limits.lifted else self._limits.number(line).free_at(self.number(line, now), now)

    def _sweep(self, now: datetime) -> None:
        self._since_sweep += 1
        if self._since_sweep < _SWEEP_EVERY:
            return
        self._since_sweep = 0
        oldest = now - self._limits.pair.horizon
        self._pairs = {pair: spent for pair, spent in self._pairs.items() if spent[-1] > oldest}

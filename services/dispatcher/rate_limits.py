"""WhatsApp's rate limits, the arithmetic that finds the next free instant, and the usage that the leader remembers.

Business time throughout.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice

from shared.contracts.messages import Lane

_MOST_PROMISED = 200_000
_PRUNE_EVERY = 10_000  # sends between two removals of pairs that no longer matter


@dataclass(frozen=True, slots=True)
class RateLimit:
    """``count`` per ``per``. With a ``burst``, that many may go at once, and their time is then waited out in full."""

    count: int
    per: timedelta
    burst: int = 0

    @property
    def history_length(self) -> int:
        """How many of the newest sends are enough to judge the next one."""
        return max(self.count, self.burst)

    @property
    def horizon(self) -> timedelta:
        """Sends older than this no longer matter."""
        return self.per * max(1, self.burst)

    def free_at(self, sends: Sequence[datetime], now: datetime) -> datetime:
        """The first instant, not before ``now``, at which one more may go; ``sends`` is oldest first."""
        return self._after_burst(sends, now) if self.burst else self._after_window(sends, now)

    def capacity(self, sends: Sequence[datetime], now: datetime) -> int:
        """How many more may go at ``now``; for a limit without a burst."""
        return self.count - sum(instant > now - self.per for instant in sends)

    def _after_window(self, sends: Sequence[datetime], now: datetime) -> datetime:
        return now if len(sends) < self.count else max(now, sends[-self.count] + self.per)

    def _after_burst(self, sends: Sequence[datetime], now: datetime) -> datetime:
        if not sends:
            return now
        began = free_again = sends[0]
        count = 0
        for instant in sends:
            if instant >= free_again:
                began, free_again, count = instant, instant, 0
            free_again += self.per
            count += 1
        if now >= free_again or (count < self.burst and now < began + self.per):
            return now
        return free_again


# Meta, "Throughput": 80 messages a second and number, in and out together (1,000 after an upgrade, 20 in coexistence).
# https://developers.facebook.com/documentation/business-messaging/whatsapp/throughput
NUMBER_RATE_LIMIT = RateLimit(80, per=timedelta(seconds=1))
URGENT_SHARE = 40
"""One in so many sends of a number's rate is kept from the bulk lane: 2 of 80 a second, 25 of 1,000, none of 20."""

# Meta, "About the platform": one message in six seconds to one person; up to 45 at once, then their time is waited out.
PAIR_RATE_LIMIT = RateLimit(1, per=timedelta(seconds=6), burst=45)


# Meta, "Messaging limits": unique people outside a window in a moving day, over the portfolio. Meta counts a message
# when it arrives, so each counts here for a little longer.
PORTFOLIO_PERIOD = timedelta(hours=24, minutes=1)


@dataclass(frozen=True, slots=True)
class SendLimits:
    """``lifted`` removes the rate limits (benches only); windows and templates still count.

    ``numbers`` are the lines whose limit differs from Meta's usual one.
    """

    numbers: Mapping[str, RateLimit] = field(default_factory=dict)
    pair: RateLimit = PAIR_RATE_LIMIT
    window: timedelta = timedelta(hours=24)
    window_margin: timedelta = timedelta(minutes=2)
    unknown_person_wait: timedelta = timedelta(minutes=10)
    """How long a message waits for a person of whom no contact event has come yet."""
    lifted: bool = False

    def number(self, line: str) -> RateLimit:
        return self.numbers.get(line, NUMBER_RATE_LIMIT)

    def number_of_lane(self, line: str, lane: Lane) -> RateLimit:
        """The part of the number's rate that a lane may use: bulk messages leave the others a share."""
        rate = self.number(line)
        return replace(rate, count=rate.count - rate.count // URGENT_SHARE) if lane is Lane.BULK else rate


class PortfolioUsage:
    """The people to whom a template went in the last 24 hours, over all numbers. Meta limits how many they may be.

    A person who is among them may get more. Each of the others gets the instant at which a place of their own is free.
    If all waited for the first free place, a large send would be planned again as a whole for each place.
    """

    def __init__(self) -> None:
        self.limit: int | None = None
        self._written_at: dict[str, datetime] = {}  # the longest ago first
        self._promised: deque[datetime] = deque(maxlen=_MOST_PROMISED)  # instants given to people who wait
        self._reserved: set[str] = set()  # who have no other template of the day than one without an outcome
        self._has_freed = False

    def reserve(self, person_id: str, at: datetime) -> None:
        """Count a template to this person as on its way; the caller calls ``settle`` afterwards."""
        if person_id not in self._written_at:
            self._reserved.add(person_id)
        self.record(person_id, at)

    def settle(self, person_id: str, *, counts: bool) -> None:
        """End a reservation. ``counts``: WhatsApp may have taken the template; otherwise the place is free again."""
        if person_id not in self._reserved:
            return
        self._reserved.remove(person_id)
        if not counts and self._written_at.pop(person_id, None) is not None:
            self._has_freed = True

    def take_freed(self) -> bool:
        """Whether, since the last call, a place was given back that a waiting person could have."""
        has_freed, self._has_freed = self._has_freed and bool(self._promised), False
        return has_freed

    def record(self, person_id: str, at: datetime) -> None:
        self._written_at.pop(person_id, None)
        self._written_at[person_id] = at

    def set_back(self, now: datetime) -> None:
        """Templates that a clock noted before it was set back count as sent now."""
        self._written_at = {person_id: min(at, now) for person_id, at in self._written_at.items()}
        self.forget_promises()

    def forget_promises(self) -> None:
        """Forget the promised instants, as all waiting people are judged again."""
        self._promised.clear()

    def free_at(self, person_id: str, lane: Lane, now: datetime) -> datetime:
        """The instant, not before ``now``, at which a template may go to this person."""
        if self.limit is None:
            return now
        self._forget(now)
        allowed = self.limit - self.limit // URGENT_SHARE if lane is Lane.BULK else self.limit
        if person_id in self._written_at or len(self._written_at) < allowed:
            return now
        place = len(self._written_at) - allowed + len(self._promised)
        rounds, place = divmod(place, len(self._written_at))
        free_at = next(islice(self._written_at.values(), place, None)) + (rounds + 1) * PORTFOLIO_PERIOD
        self._promised.append(free_at)
        return free_at

    def _forget(self, now: datetime) -> None:
        while self._written_at:
            person_id, at = next(iter(self._written_at.items()))
            if at + PORTFOLIO_PERIOD > now:
                break
            del self._written_at[person_id]
        while self._promised and self._promised[0] <= now:
            self._promised.popleft()


class RateUsage:
    """The newest sends of each number and each pair (line, person); rebuilt from the database by a new leader.

    WhatsApp counts a request when it arrives. A send that is reserved and not written yet therefore counts as written
    now, and gets its instant when it is written: ``reserve`` before the request, then ``confirm`` or ``release``.
    """

    def __init__(self, limits: SendLimits) -> None:
        self.portfolio = PortfolioUsage()
        self._limits = limits
        self._numbers: dict[str, deque[datetime]] = {}
        self._pairs: dict[tuple[str, str], deque[datetime]] = {}
        self._since_pruning = 0
        self._latest: datetime | None = None
        self._reserved: Counter[str] = Counter()  # per line, not written yet

    @property
    def limits(self) -> SendLimits:
        return self._limits

    def set_rate(self, line: str, rate: RateLimit) -> None:
        """Change the rate; sends recorded before still count."""
        self._limits = replace(self._limits, numbers={**self._limits.numbers, line: rate})
        if line in self._numbers:
            self._numbers[line] = deque(self._numbers[line], maxlen=rate.history_length)

    def reserve(self, line: str, person_id: str, at: datetime) -> None:
        if self._limits.lifted:
            return
        self._reserved[line] += 1
        self._add_to_pair(line, person_id, at)

    def confirm(self, line: str, person_id: str, at: datetime) -> None:
        """Count a reserved request as sent at ``at`` (business time), since it was written."""
        if self._limits.lifted:
            return
        self.release(line)
        self._add_to_number(line, at)
        sends = self._pairs.get((line, person_id))
        if sends:
            sends[-1] = max(sends[-1], at)  # a person has one request in flight at most

    def release(self, line: str) -> None:
        """Give a reserved request of the line's rate free again, since it was never written."""
        self._reserved[line] = max(0, self._reserved[line] - 1)

    def record(self, line: str, person_id: str, at: datetime) -> None:
        """Count a send of an earlier leader, made at ``at`` (business time)."""
        if self._limits.lifted:
            return
        self._add_to_number(line, at)
        self._add_to_pair(line, person_id, at)

    def number(self, line: str, now: datetime) -> Sequence[datetime]:
        """The line's newest sends (business time), oldest first; reserved requests count as sent ``now``."""
        written, reserved = self._numbers.get(line, ()), self._reserved[line]
        return [*written, *[now] * reserved] if reserved else written

    def pair(self, line: str, person_id: str) -> Sequence[datetime]:
        return self._pairs.get((line, person_id), ())

    def capacity(self, line: str, now: datetime, at_most: int, lane: Lane = Lane.CRITICAL) -> int:
        """How many messages of a lane, and of those more urgent, are worth fetching."""
        if self._limits.lifted:
            return at_most
        self._follow_clock(now)
        return min(at_most, self._limits.number_of_lane(line, lane).capacity(self.number(line, now), now))

    def free_at(self, line: str, now: datetime, lane: Lane = Lane.CRITICAL) -> datetime:
        if self._limits.lifted:
            return now
        return self._limits.number_of_lane(line, lane).free_at(self.number(line, now), now)

    def _follow_clock(self, now: datetime) -> None:
        """Sends that a clock noted before it was set back count as made now: the line would stop for the whole step."""
        latest, self._latest = self._latest, now
        if latest is not None and now < latest:
            for sends in (*self._numbers.values(), *self._pairs.values()):
                for place, instant in enumerate(sends):
                    sends[place] = min(instant, now)
            self.portfolio.set_back(now)

    def _add_to_number(self, line: str, at: datetime) -> None:
        if line not in self._numbers:
            self._numbers[line] = deque(maxlen=self._limits.number(line).history_length)
        self._numbers[line].append(at)

    def _add_to_pair(self, line: str, person_id: str, at: datetime) -> None:
        pair = (line, person_id)
        if pair not in self._pairs:
            self._pairs[pair] = deque(maxlen=self._limits.pair.history_length)
        self._pairs[pair].append(at)
        self._prune(at)

    def _prune(self, now: datetime) -> None:
        self._since_pruning += 1
        if self._since_pruning < _PRUNE_EVERY:
            return
        self._since_pruning = 0
        oldest = now - self._limits.pair.horizon
        self._pairs = {pair: sends for pair, sends in self._pairs.items() if sends[-1] > oldest}

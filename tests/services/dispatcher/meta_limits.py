"""Meta's limits as an independent model: it is told what reached WhatsApp, and says what WhatsApp would have refused.

It shares no code and no arithmetic with the dispatcher. Throughput and portfolio are counted over a log of what was
sent, a pair is a bucket that refills (docs/reference/whatsapp.md, 3).
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

_DAY = 24 * 3600.0


@dataclass
class _Bucket:
    size: float
    per_second: float
    level: float = 0.0
    at: float = 0.0

    def overflows(self, now: float) -> bool:
        """Add one; whether that was too much."""
        self.level = max(0.0, self.level - (now - self.at) * self.per_second) + 1
        self.at = now
        return self.level > self.size + 1e-6


@dataclass
class MetaLimits:
    """``throughput`` is messages a second of each number; ``people`` the portfolio's limit, None for unlimited."""

    throughput: dict[str, int]
    people: int | None = None
    violations: list[str] = field(default_factory=list)
    sent: int = 0
    _numbers: dict[str, deque[float]] = field(default_factory=dict)
    _pairs: dict[tuple[str, str], _Bucket] = field(default_factory=dict)
    _outside: deque[tuple[float, str]] = field(default_factory=deque)
    _reached: dict[str, int] = field(default_factory=dict)

    def receive(self, line: str, person: str, at: datetime, *, outside_window: bool) -> None:
        now = at.timestamp()
        self.sent += 1
        self._count_throughput(line, now)
        if self._pairs.setdefault((line, person), _Bucket(45, 1 / 6, at=now)).overflows(now):
            self.violations.append(f"pair {line} {person} at {at}")
        if outside_window:
            self._count_person(person, now, at)

    def _count_throughput(self, line: str, now: float) -> None:
        """In any second; the sends of one instant are in one second."""
        sends = self._numbers.setdefault(line, deque())
        while sends and sends[0] <= now - 1.0 + 1e-6:
            sends.popleft()
        sends.append(now)
        if len(sends) > self.throughput[line]:
            self.violations.append(f"throughput {line} at {now}")

    def _count_person(self, person: str, now: float, at: datetime) -> None:
        while self._outside and self._outside[0][0] <= now - _DAY:
            _, gone = self._outside.popleft()
            self._reached[gone] -= 1
            if not self._reached[gone]:
                del self._reached[gone]
        self._outside.append((now, person))
        self._reached[person] = self._reached.get(person, 0) + 1
        if self.people is not None and len(self._reached) > self.people:
            self.violations.append(f"portfolio at {at}: {len(self._reached)}")

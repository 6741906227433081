"""A circuit breaker: pauses all requests while Consonance is down, asks for a pause, or refuses the key.

While it is open nothing is claimed, so memory stays flat and the queue keeps its order. After a pause one write is
tried (half-open); an answer closes the breaker. All times are seconds of a monotonic clock, which is never set back.
"""

from enum import StrEnum

from shared.clients.consonance_graphql import KeyRefused
from shared.contracts.errors import Throttled, Unavailable
from shared.runtime.retry import Backoff

_BACKOFF = Backoff(first=1.0, longest=30.0)


class RecordsUnreadable(Unavailable):
    """Consonance answers, but shows none of the records that were asked for."""


class PauseReason(StrEnum):
    """``unreadable``: Consonance describes its schema and shows no record."""

    DOWN = "down"
    UNREADABLE = "unreadable"
    THROTTLED = "throttled"
    KEY_REFUSED = "key_refused"


class CircuitBreaker:
    """``max_concurrency``: how many writes may be in flight while the breaker is closed."""

    def __init__(self, max_concurrency: int) -> None:
        self._max_concurrency = max_concurrency
        self._failures = 0
        self._retry_at: float | None = None
        self._asked_until: float | None = None
        self.pause_reason: PauseReason | None = None

    def allowed_concurrency(self, now: float) -> int:
        """0 while open, 1 while half-open, else ``max_concurrency``."""
        if self._retry_at is None:
            return self._max_concurrency
        return 0 if now < self._retry_at else 1

    def record_failure(self, error: Unavailable, now: float) -> float:
        """Returns the time of the next try. Of further failures during a pause only a request to wait lengthens it."""
        if self._retry_at is None or now >= self._retry_at:
            self._failures += 1
            self._retry_at = now + self._pause(error)
        elif isinstance(error, Throttled):
            self._retry_at = max(self._retry_at, now + error.wait.total_seconds())
        if isinstance(error, Throttled):
            self._asked_until = self._retry_at
        self.pause_reason = _pause_reason(error)
        return self._retry_at

    def record_success(self, now: float) -> None:
        """Consonance answered and accepts the key: close.

        A pause that it asked for goes on, as the answer may be to a request that was on its way before.
        """
        if self._asked_until is not None and now < self._asked_until:
            return
        self._failures = 0
        self._retry_at = self._asked_until = None
        self.pause_reason = None

    def _pause(self, error: Unavailable) -> float:
        if isinstance(error, Throttled):
            return error.wait.total_seconds()
        return _BACKOFF.longest_wait(self._failures)


def _pause_reason(error: Unavailable) -> PauseReason:
    match error:
        case KeyRefused():
            return PauseReason.KEY_REFUSED
        case Throttled():
            return PauseReason.THROTTLED
        case RecordsUnreadable():
            return PauseReason.UNREADABLE
        case _:
            return PauseReason.DOWN

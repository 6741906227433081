"""Log lines that anybody on the internet can cause, said seldom: at once, and then no more than once a minute."""

from typing import Any

from shared.runtime.telemetry import get_logger

EVERY_SECONDS = 60.0
_MOST_KINDS = 64

_log = get_logger()


class SeldomLog:
    """``times`` in a line counts what happened since the line before it. ``now`` is monotonic.

    Each ``about`` is counted for itself; beyond 64 of them within a minute they share one line.
    """

    def __init__(self, event: str) -> None:
        self._event = event
        self._said: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def report(self, now: float, about: str = "", times: int = 1, **fields: Any) -> None:
        if about not in self._said and len(self._said) >= _MOST_KINDS:
            self._forget(now)
            about = about if len(self._said) < _MOST_KINDS else ""
        times += self._unsaid.pop(about, 0)
        if now - self._said.get(about, -EVERY_SECONDS) < EVERY_SECONDS:
            self._unsaid[about] = times
            return
        self._said[about] = now
        _log.warning(self._event, times=times, **fields)

    def _forget(self, now: float) -> None:
        """What was last said long ago and has not happened since."""
        for about in [about for about, said in self._said.items() if now - said >= EVERY_SECONDS]:
            if about not in self._unsaid:
                del self._said[about]

"""Waits between attempts: stamina where a call is repeated until it succeeds, ``Backoff`` where the wait is our own.

stamina sleeps by itself, so it serves a call that may sleep undisturbed. A consumer must wake up for a rebalance, and
a supervised task counts its failures over hours: both take their next wait from a ``Backoff``.
"""

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import stamina

from shared.runtime.telemetry import get_logger

log = get_logger()
T = TypeVar("T")

_WAIT_SECONDS = 1.0
_MAX_DOUBLINGS = 30


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double with each failure in a row, from ``first`` up to ``longest`` seconds.

    ``jitter`` is the share of a wait that is random: 1 for any wait from zero on ("full jitter"), 0 for none.
    """

    first: float
    longest: float
    jitter: float = 1.0

    def longest_wait(self, failures: int) -> float:
        """Seconds to wait at most after this many failures in a row, which is one or more."""
        return min(self.longest, self.first * 2.0 ** min(failures - 1, _MAX_DOUBLINGS))

    def wait(self, failures: int) -> float:
        """Seconds to wait after this many failures in a row, with jitter."""
        return self.longest_wait(failures) * random.uniform(1 - self.jitter, 1)


async def until_available(
    dependency: str,
    setting: str,
    attempt: Callable[[], Awaitable[T]],
    *,
    errors: tuple[type[Exception], ...],
    fields: Callable[[Exception], Mapping[str, object]] = lambda _: {},
) -> T:
    """Call ``attempt`` each second until it succeeds; ``setting`` names the dependency's address.

    An error is logged (``dependency.awaited``) where it differs from the one before; ``fields`` adds to that line.
    Raises every error that is none of ``errors``.
    """
    logged: Mapping[str, object] = {}

    def is_awaited(error: Exception) -> bool:
        nonlocal logged
        if not isinstance(error, errors):
            return False
        line = {"error": type(error).__name__, **fields(error)}
        if line != logged:
            logged = line
            log.warning("dependency.awaited", dependency=dependency, setting=setting, **line)
        return True

    async for one in stamina.retry_context(
        is_awaited, attempts=None, timeout=None, wait_initial=_WAIT_SECONDS, wait_max=_WAIT_SECONDS, wait_jitter=0
    ):
        with one:
            return await attempt()
    raise AssertionError("without a limit the attempts do not end")

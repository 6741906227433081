"""Tasks that run as long as their process: one that fails is started again, after a while, and says so.

Only what a restart cannot mend ends the process: a wrong setting, lost fencing, records lost or refused one after the
other. What a task is given (a row, an answer, a record) it sets aside itself; a restart is for what nobody foresaw.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from shared.contracts.errors import Misconfigured
from shared.runtime.batch import ConsumerHalted
from shared.runtime.caught_up import OffsetOutOfRange
from shared.runtime.error_location import error_location
from shared.runtime.progress import Fenced
from shared.runtime.telemetry import counter, get_logger

ENDS = (Misconfigured, Fenced, ConsumerHalted, OffsetOutOfRange)
"""Errors that end a process."""

_SHORTEST_SECONDS = 0.5
_LONGEST_SECONDS = 30.0
_HEALTHY_SECONDS = 60.0  # after so long a run the next failure is a first one again

log = get_logger()

Work = Callable[[], Awaitable[None]]


async def supervise(name: str, work: Work) -> None:
    """Run ``work``, which must be fit to be called again, for ever. Raises only what ends the process."""
    restarts = counter("task_restarts_total", "Tasks that failed and were started again, by name", "task").labels(name)
    failures = 0
    while True:
        began = time.monotonic()
        error = await _failure_of(name, work)
        if time.monotonic() - began > _HEALTHY_SECONDS:
            failures = 0
        wait = random.uniform(0.5, 1) * min(_LONGEST_SECONDS, _SHORTEST_SECONDS * 2**failures)
        failures += 1
        restarts.inc()
        log.error(
            "task.restarts", task=name, error=type(error).__name__, where=error_location(error), seconds=round(wait, 1),
            failures=failures,
        )  # fmt: skip
        await asyncio.sleep(wait)


async def _failure_of(name: str, work: Work) -> Exception:
    try:
        await work()
    except ENDS:
        raise
    except ExceptionGroup as group:
        if (ends := _ending(group)) is not None:
            raise ends from group
        return group
    except Exception as error:  # noqa: BLE001 -- the boundary of one task: its surprise must not end the others
        return error
    return RuntimeError(f"the task {name} ended by itself")


def _ending(group: ExceptionGroup[Exception]) -> Exception | None:
    for error in group.exceptions:
        found = _ending(error) if isinstance(error, ExceptionGroup) else error if isinstance(error, ENDS) else None
        if found is not None:
            return found
    return None

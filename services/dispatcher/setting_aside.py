"""What a loop cannot handle is found by halves, set aside with a reason and counted; the rest goes on.

A message set aside keeps its row and its state, and no loop looks at it again until ``set_aside`` is emptied.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from services.dispatcher import metrics
from shared.runtime.bisect import bisect
from shared.runtime.failures import describe_failure, parking_reason
from shared.runtime.postgres import Connection, load_queries
from shared.runtime.telemetry import get_logger

log = get_logger()
_sql = load_queries(__file__, "setting_aside.sql")


async def each(
    loop: str,
    pool: Connection,
    tenant: str,
    message_ids: Sequence[str],
    attempt: Callable[[Sequence[str]], Awaitable[None]],
) -> None:
    """Attempt all of these messages at once; those that cannot be handled are set aside."""
    await bisect(message_ids, attempt, partial(set_aside, loop, pool, tenant))


async def set_aside(loop: str, pool: Connection, tenant: str, message_id: str, error: Exception) -> None:
    await pool.execute(_sql.set_aside, tenant, message_id, parking_reason(error))
    metrics.SET_ASIDE.labels(loop, parking_reason(error)).inc()
    log.error("message.set_aside", loop=loop, message_id=message_id, sentence=describe_failure(error))


def surprised(loop: str, error: BaseException) -> None:
    """A loop met an error that no row of its own explains, and goes on. The text of an error may quote data."""
    metrics.LOOP_ERRORS.labels(loop).inc()
    log.error("loop.failed", loop=loop, sentence=describe_failure(error))

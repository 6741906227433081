"""The door to PostgreSQL: whatever says that it is away, going, or in somebody else's hands is ``Unavailable``."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

from shared.contracts.errors import Unavailable
from shared.runtime.batch import TRANSIENT_ERRORS
from shared.runtime.clock import Clock
from shared.runtime.postgres import SERIALIZATION_FAILURES, Pool
from shared.runtime.transaction import Transaction, transaction

_AWAY = (*TRANSIENT_ERRORS, *SERIALIZATION_FAILURES)


@contextmanager
def reachable() -> Iterator[None]:
    try:
        yield
    except _AWAY as error:
        raise Unavailable(f"PostgreSQL: {type(error).__name__}") from error


@asynccontextmanager
async def writing(pool: Pool, clock: Clock, locks: Iterable[str] = ()) -> AsyncIterator[Transaction]:
    """A transaction with its outbox, in ingest's schema."""
    with reachable():
        async with transaction(pool, clock, "ingest", locks=locks) as tx:
            yield tx

"""Whose fault an error is: a record's, the world's, or nobody's. It decides whether to park, to wait, or to repeat.

What nobody foresaw is the record's fault: it is then found by halving, parked with the place it failed at, and the rest
goes on; when everything fails so, the consumer halts.
"""

from enum import StrEnum

import asyncpg

from shared.contracts.errors import Misconfigured, Unavailable, Unfit
from shared.runtime.error_location import where
from shared.runtime.postgres import CONNECTION_LOST
from shared.runtime.transaction import Crowded

AWAY = (
    Unavailable,
    *CONNECTION_LOST,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
    TimeoutError,
)
"""Errors of the world, not of a record."""

_REPEAT = (asyncpg.TransactionRollbackError, asyncpg.LockNotAvailableError, Crowded)


class Blame(StrEnum):
    RECORD = "record"
    WORLD = "world"
    NOBODY = "nobody"
    US = "us"


def blame(error: BaseException) -> Blame:
    if isinstance(error, Misconfigured):
        return Blame.US
    if isinstance(error, _REPEAT):
        return Blame.NOBODY
    if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
        return Blame.RECORD  # a value asyncpg cannot encode for its column, not a lost connection
    return Blame.WORLD if isinstance(error, AWAY) else Blame.RECORD


def reason_of(error: BaseException) -> str:
    """A closed word for labels and lists."""
    if isinstance(error, Unfit):
        return error.reason
    return "database_refused" if isinstance(error, (asyncpg.PostgresError, asyncpg.InterfaceError)) else "unexpected"


def sentence_of(error: BaseException) -> str:
    """What happened and where, without a value: errors of libraries quote the data they failed on."""
    if isinstance(error, Unfit):
        return str(error)
    names = [type(error).__name__, getattr(error, "sqlstate", None), getattr(error, "constraint_name", None)]
    return f"{' '.join(name for name in names if name)} at {where(error)}"

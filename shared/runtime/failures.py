"""Whose fault an error is: a record's, the world's, or nobody's. It decides whether to park, to wait, or to repeat.

What nobody foresaw is the record's fault: it is then found by halving, parked with the place it failed at, and the rest
goes on; when everything fails so, the consumer halts.
"""

from enum import StrEnum

import asyncpg

from shared.contracts.errors import Misconfigured, Unavailable, Unprocessable
from shared.runtime.error_location import error_location
from shared.runtime.postgres import CONNECTION_LOST
from shared.runtime.transaction import LocksBusy

TRANSIENT_ERRORS = (
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

_RETRYABLE_ERRORS = (asyncpg.TransactionRollbackError, asyncpg.LockNotAvailableError, LocksBusy)


class FailureKind(StrEnum):
    RECORD = "record"
    TRANSIENT = "transient"
    RETRYABLE = "retryable"
    CONFIGURATION = "configuration"


def classify_failure(error: BaseException) -> FailureKind:
    if isinstance(error, Misconfigured):
        return FailureKind.CONFIGURATION
    if isinstance(error, _RETRYABLE_ERRORS):
        return FailureKind.RETRYABLE
    if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
        return FailureKind.RECORD  # a value asyncpg cannot encode for its column, not a lost connection
    return FailureKind.TRANSIENT if isinstance(error, TRANSIENT_ERRORS) else FailureKind.RECORD


def parking_reason(error: BaseException) -> str:
    """A closed word for labels and lists."""
    if isinstance(error, Unprocessable):
        return error.reason
    return "database_refused" if isinstance(error, (asyncpg.PostgresError, asyncpg.InterfaceError)) else "unexpected"


def describe_failure(error: BaseException) -> str:
    """What happened and where, without a value: errors of libraries quote the data they failed on."""
    if isinstance(error, Unprocessable):
        return str(error)
    names = [type(error).__name__, getattr(error, "sqlstate", None), getattr(error, "constraint_name", None)]
    return f"{' '.join(name for name in names if name)} at {error_location(error)}"

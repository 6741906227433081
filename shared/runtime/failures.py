"""Classifies errors: whether to park the record, wait for a dependency, repeat the transaction, or stop the process.

An unforeseen error counts as the record's: bisection finds that record and parks it with the place of the error, and
the rest goes on. Where every record fails like this, the consumer halts.
"""

import asyncio
import math
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import asyncpg

from shared.contracts.errors import Misconfigured, Unavailable, Unprocessable
from shared.contracts.topics import SERVICES
from shared.runtime.metrics import Metrics, label
from shared.runtime.telemetry import error_location, get_logger

log = get_logger()
_LOOP_ERRORS = Metrics.of(*SERVICES).counter(
    "stet_loop_errors_total",
    "Errors that a loop met and went on after.",
    label("loop", description="the name of a loop in the code"),
)


class LocksBusy(Unavailable):
    """Another transaction holds one of the locks ``names``. Roll back, wait for them first, and repeat."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__("another transaction holds one of these locks")
        self.names = frozenset(names)


CONNECTION_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # raised where the server is killed between two messages of one query
    asyncpg.CannotConnectNowError,
    OSError,
)
"""PostgreSQL is away or shutting down: the same work may succeed later."""

SERIALIZATION_FAILURES = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""Two transactions collided: repeat the transaction."""

_SCHEMA_INCOMPLETE = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.InvalidSchemaNameError,
)

ACCESS_REFUSED = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    *_SCHEMA_INCOMPLETE,
)
"""PostgreSQL refuses the login, or a right, a table or a column is missing, as after a restore. No record can cause it,
since the texts of all queries are fixed: an operator mends it, and the same work succeeds.
"""

TRANSIENT_ERRORS = (
    Unavailable,
    *ACCESS_REFUSED,
    *CONNECTION_LOST,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,  # its disk could not be read or written
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
    TimeoutError,
)
"""Errors of a dependency, not of a record."""

_RETRYABLE_ERRORS = (
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.InvalidCachedStatementError,  # a migration changed the columns of a prepared query; it is prepared again
    LocksBusy,
)

_LONGEST_SILENCE_SECONDS = 60.0


class FailureKind(StrEnum):
    """``record``: park it · ``transient``: wait, repeat · ``retryable``: repeat at once · ``configuration``: stop."""

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
        return FailureKind.RECORD  # a value that asyncpg cannot encode for its column, not a lost connection
    return FailureKind.TRANSIENT if isinstance(error, TRANSIENT_ERRORS) else FailureKind.RECORD


def remedy_of(error: BaseException) -> str:
    """How an operator ends an error of the database, with the setting; empty where it ends by itself."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"PostgreSQL's certificate is not trusted ({error.verify_message}): renew it, or correct sslrootcert"
    return next((remedy for refused, remedy in _REMEDIES.items() if isinstance(error, refused)), "")


_REMEDIES: Mapping[type[Exception] | tuple[type[Exception], ...], str] = {
    asyncpg.InvalidPasswordError: "is STET_POSTGRES_PASSWORD, or the one in STET_POSTGRES_DSN, that of this login?",
    asyncpg.InvalidAuthorizationSpecificationError: "let pg_hba.conf take the login of STET_POSTGRES_DSN from here",
    asyncpg.InvalidCatalogNameError: "the database that STET_POSTGRES_DSN names does not exist",
    asyncpg.InsufficientPrivilegeError: "the role of the service lacks a right: stet doctor names it",
    _SCHEMA_INCOMPLETE: "the schema lacks a part that this version needs: run: stet migrate",
    asyncpg.DiskFullError: "the disk of PostgreSQL is full: give it room",
    asyncpg.TooManyConnectionsError: "raise max_connections or the limit of the login, or lower STET_POSTGRES_POOL",
    asyncpg.ReadOnlySQLTransactionError: "the server takes no writes: wait for the failover, or promote a standby",
}


class FailureLog:
    """Logs the failures of one loop, which may come twice a second for hours, as the same ``event``.

    The first of each type of error is logged at once, the next ones after silences that double up to a minute, with
    ``repeated``: how many were left out since the last line. ``hint`` says how an operator ends the failure, and
    ``database.refused`` is logged once for it. After a minute without a failure ``failures.ended`` is logged.
    """

    def __init__(self, event: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._event = event
        self._clock = clock
        self._silences: dict[str, _Silence] = {}
        self._failures = 0
        self._began_at = self._failed_at = 0.0
        self._end: asyncio.TimerHandle | None = None

    def warn(self, error: Exception, **fields: object) -> None:
        """Call it in the event loop of the failure, which later logs the end."""
        now, name, remedy = self._clock(), type(error).__name__, remedy_of(error)
        self._count(now)
        silence = self._silences.get(name)
        if silence is None:
            silence = self._silences[name] = _Silence()
            if remedy:
                log.warning("database.refused", error=name, setting="STET_POSTGRES_DSN", hint=remedy)
        if now < silence.until:
            silence.left_out += 1
            return
        repeated = {"repeated": silence.left_out} if silence.left_out else {}
        log.warning(self._event, error=name, **fields, **({"hint": remedy} if remedy else {}), **repeated)
        silence.begin(now)

    def _count(self, now: float) -> None:
        self._failures += 1
        self._began_at = self._began_at if self._end else now
        self._failed_at = now
        if self._end:
            self._end.cancel()
        self._end = asyncio.get_running_loop().call_later(_LONGEST_SILENCE_SECONDS, self._log_end)

    def _log_end(self) -> None:
        seconds = round(self._failed_at - self._began_at, 1)
        log.info("failures.ended", event_name=self._event, failures=self._failures, seconds=seconds)
        self._silences.clear()
        self._failures, self._end = 0, None


@dataclass(slots=True)
class _Silence:
    """After a line about one type of error: until when the next ones are left out, and how many were."""

    until: float = -math.inf
    seconds: float = 0.0
    left_out: int = 0

    def begin(self, now: float) -> None:
        self.seconds = min(max(1.0, self.seconds * 2), _LONGEST_SILENCE_SECONDS)
        self.until, self.left_out = now + self.seconds, 0


def parking_reason(error: BaseException) -> str:
    """The word, from a closed set, under which a record with this error is parked and counted."""
    if isinstance(error, Unprocessable):
        return error.reason
    return "database_refused" if isinstance(error, (asyncpg.PostgresError, asyncpg.InterfaceError)) else "unexpected"


def record_loop_error(loop: str, error: BaseException) -> None:
    """Count and log an error that no single row explains. The error's own text is left out: it may quote data."""
    _LOOP_ERRORS.labels(loop).inc()
    log.error("loop.failed", loop=loop, sentence=describe_failure(error))


async def repeat(loop: str, step: Callable[[], Awaitable[None]], every: float) -> None:
    """Run ``step`` until the task is cancelled, ``every`` seconds after its end; an error ends that round only."""
    while True:
        try:
            await step()
        except TRANSIENT_ERRORS as error:
            log.info("loop.delayed", loop=loop, error=type(error).__name__)
        except Exception as error:  # noqa: BLE001 -- the boundary of a loop: no input may end it
            record_loop_error(loop, error)
        await asyncio.sleep(every)


def describe_failure(error: BaseException) -> str:
    """The error and its place, without any value: the texts of library errors quote the data they failed on."""
    if isinstance(error, Unprocessable):
        return str(error)
    names = [type(error).__name__, getattr(error, "sqlstate", None), getattr(error, "constraint_name", None)]
    return f"{' '.join(name for name in names if name)} at {error_location(error)}"

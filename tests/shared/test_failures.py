"""Which errors are a record's; a loop goes on after the error of one round."""

import asyncio

import asyncpg
import pytest
from structlog.testing import capture_logs

from shared.runtime.failures import FailureKind, classify_failure, remedy_of, repeat

RECORD, TRANSIENT, RETRYABLE = FailureKind.RECORD, FailureKind.TRANSIENT, FailureKind.RETRYABLE


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (asyncpg.UniqueViolationError, RECORD),
        (asyncpg.CharacterNotInRepertoireError, RECORD),
        (asyncpg.ProgramLimitExceededError, RECORD),
        (asyncpg.QueryCanceledError, TRANSIENT),
        (asyncpg.AdminShutdownError, TRANSIENT),
        (asyncpg.IdleSessionTimeoutError, TRANSIENT),
        (asyncpg.DiskFullError, TRANSIENT),
        (asyncpg.TooManyConnectionsError, TRANSIENT),
        (asyncpg.PostgresIOError, TRANSIENT),
        (asyncpg.UndefinedFileError, TRANSIENT),
        (asyncpg.InvalidPasswordError, TRANSIENT),
        (asyncpg.InvalidCatalogNameError, TRANSIENT),
        (asyncpg.InsufficientPrivilegeError, TRANSIENT),
        (asyncpg.UndefinedTableError, TRANSIENT),
        (asyncpg.UndefinedColumnError, TRANSIENT),
        (asyncpg.LockNotAvailableError, RETRYABLE),
        (asyncpg.DeadlockDetectedError, RETRYABLE),
        (asyncpg.InvalidCachedStatementError, RETRYABLE),
    ],
)
def test_only_an_error_by_what_a_record_holds_is_the_record_s(error: type[Exception], kind: FailureKind) -> None:
    assert classify_failure(error("x")) is kind


@pytest.mark.parametrize(
    ("error", "event"),
    [(ConnectionRefusedError("the database is away"), "loop.delayed"), (ValueError(), "loop.failed")],
)
async def test_a_loop_logs_the_error_of_a_round_and_goes_on(error: Exception, event: str) -> None:
    rounds = 0
    gone_on = asyncio.Event()

    async def step() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise error
        gone_on.set()

    with capture_logs() as logs:
        running = asyncio.create_task(repeat("gauges", step, 0))
        await gone_on.wait()
        running.cancel()

    assert [(each["event"], each["loop"]) for each in logs] == [(event, "gauges")]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (asyncpg.InvalidPasswordError("x"), "STET_POSTGRES_PASSWORD"),
        (asyncpg.InvalidAuthorizationSpecificationError("x"), "pg_hba.conf"),
        (asyncpg.InsufficientPrivilegeError("x"), "stet doctor"),
        (asyncpg.UndefinedColumnError("x"), "stet migrate"),
        (asyncpg.DiskFullError("x"), "disk"),
        (ConnectionRefusedError(), ""),
    ],
)
def test_an_error_that_an_operator_ends_says_how(error: Exception, said: str) -> None:
    assert bool(remedy_of(error)) == bool(said)
    assert said in remedy_of(error)

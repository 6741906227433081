"""A session whose process stands still is ended, whatever it stood still in, and others get its locks."""

import pytest

from shared.runtime.postgres import connect, session_settings
from tests.shared.promise.testbed import until

pytestmark = pytest.mark.integration
SOONER = {"idle_in_transaction_session_timeout": "1s", "transaction_timeout": "2s"}
LOCK = "select pg_advisory_lock(7)"
TRY = "select pg_try_advisory_lock(7)"


def test_every_session_has_these_timeouts() -> None:
    assert session_settings("rules").keys() >= SOONER.keys()


@pytest.mark.parametrize("standing_still_in", ["begin", "prepare"])
async def test_a_frozen_session_loses_its_lock_soon(postgres_database: str, standing_still_in: str) -> None:
    """Between the preparation and the execution of a statement the server thinks that it is at work: it is not idle."""
    frozen = await connect(postgres_database, "rules", **SOONER)
    other = await connect(postgres_database, "rules")
    try:
        await frozen.execute(LOCK)
        await (frozen.execute("begin") if standing_still_in == "begin" else frozen.prepare("select 1"))
        assert not await other.fetchval(TRY)
        await until(lambda: other.fetchval(TRY))
    finally:
        frozen.terminate()
        await other.close()

"""A loop goes on after the error of one round."""

import asyncio

import pytest
from structlog.testing import capture_logs

from shared.runtime.failures import repeat


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

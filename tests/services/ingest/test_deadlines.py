"""Deadlines that share a timer, and detached work."""

import asyncio
import time

import pytest

from services.ingest.deadlines import Deadlines, run_detachable


async def test_work_that_takes_too_long_raises_timeout() -> None:
    deadlines, began = Deadlines(0.2), time.monotonic()
    with pytest.raises(TimeoutError), deadlines.enforce():
        await asyncio.sleep(10)
    assert 0.2 <= time.monotonic() - began < 5


async def test_work_in_time_is_left_alone_and_the_next_has_its_own_deadline() -> None:
    deadlines = Deadlines(3)
    for _ in range(3):
        with deadlines.enforce():
            await asyncio.sleep(1.1)


async def test_each_of_many_deadlines_counts_from_its_own_start() -> None:
    deadlines = Deadlines(1.0)

    async def wait(seconds: float) -> bool:
        try:
            with deadlines.enforce():
                await asyncio.sleep(seconds)
        except TimeoutError:
            return False
        return True

    assert await asyncio.gather(*map(wait, (0.1, 5, 0.2, 5, 0))) == [True, False, True, False, True]


async def test_an_error_and_a_cancellation_from_outside_pass_through() -> None:
    deadlines = Deadlines(5)
    with pytest.raises(KeyError), deadlines.enforce():
        raise KeyError

    async def wait() -> None:
        with deadlines.enforce():
            await asyncio.sleep(10)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_that_resists_cancellation_is_detached_and_ends_in_its_own_time() -> None:
    may_end, ended = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await may_end.wait()
            ended.set()
            raise

    with pytest.raises(TimeoutError), Deadlines(0.1).enforce():
        await run_detachable(stubborn())
    assert not ended.is_set()
    may_end.set()
    await asyncio.wait_for(ended.wait(), 10)


async def test_finished_work_returns_its_result_or_raises_its_error() -> None:
    async def fails() -> None:
        raise KeyError

    assert await run_detachable(asyncio.sleep(0, "done")) == "done"
    with pytest.raises(KeyError):
        await run_detachable(fails())

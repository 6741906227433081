"""Deadlines that share a timer, and work that is left behind."""

import asyncio
import time

import pytest

from services.ingest.patience import Patience, leavable


async def test_what_takes_too_long_is_ended_in_time() -> None:
    patience, began = Patience(0.2), time.monotonic()
    with pytest.raises(TimeoutError), patience.limit():
        await asyncio.sleep(10)
    assert 0.2 <= time.monotonic() - began < 1


async def test_what_is_in_time_is_left_alone_and_the_next_has_its_own() -> None:
    patience = Patience(0.2)
    for _ in range(3):
        with patience.limit():
            await asyncio.sleep(0.15)


async def test_each_of_many_is_judged_by_its_own_beginning() -> None:
    patience = Patience(0.3)

    async def stay(seconds: float) -> bool:
        try:
            with patience.limit():
                await asyncio.sleep(seconds)
        except TimeoutError:
            return False
        return True

    assert await asyncio.gather(*map(stay, (0.1, 5, 0.2, 5, 0))) == [True, False, True, False, True]


async def test_an_error_of_its_own_and_a_cancellation_from_outside_pass_through() -> None:
    patience = Patience(5)
    with pytest.raises(KeyError), patience.limit():
        raise KeyError

    async def stay() -> None:
        with patience.limit():
            await asyncio.sleep(10)

    task = asyncio.create_task(stay())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_that_resists_cancellation_is_left_behind_and_ends_on_its_own() -> None:
    ended = asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await asyncio.sleep(0.3)
            ended.set()
            raise

    began = time.monotonic()
    with pytest.raises(TimeoutError), Patience(0.1).limit():
        await leavable(stubborn())
    assert time.monotonic() - began < 0.3
    await asyncio.wait_for(ended.wait(), 2)


async def test_finished_work_gives_its_result_or_its_error() -> None:
    async def fails() -> None:
        raise KeyError

    assert await leavable(asyncio.sleep(0, "done")) == "done"
    with pytest.raises(KeyError):
        await leavable(fails())

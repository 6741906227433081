"""One performance for all tests of a module: a stack is too dear to start for each test."""

import asyncio
from collections.abc import Sequence

import pytest

from dev.demo.performance import POLLED_BY_HAND, Performance, perform
from dev.demo.story import BEGINS, Story
from dev.stack import Options, Stack


def performed(name: str, stories: Sequence[Story], options: Options = POLLED_BY_HAND) -> Performance:
    """Start a stack of the name, play on it, end it."""
    return asyncio.run(perform_on(name, stories, options))


async def perform_on(name: str, stories: Sequence[Story], options: Options) -> Performance:
    async with Stack.open(name, BEGINS, options) as stack:
        return await perform(stack, stories)


def check(performance: Performance, title: str) -> None:
    outcome = next(outcome for outcome in performance.outcomes if outcome.story.title == title)
    if outcome.fault is not None:
        pytest.fail(outcome.fault, pytrace=False)

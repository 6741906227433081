"""Plays stories once for all tests of a module: a stack takes too long to start for each test."""

import asyncio
from collections.abc import Sequence

import pytest

from dev.demo.runner import POLLED_ON_REQUEST, DemoResult, play_stories
from dev.demo.story import STARTS_AT, DemoStory
from dev.stack import Stack, StackOptions


def play_on_new_stack(name: str, stories: Sequence[DemoStory], options: StackOptions = POLLED_ON_REQUEST) -> DemoResult:
    """Start a stack of this name, play the stories on it, and end it."""
    return asyncio.run(_play(name, stories, options))


async def _play(name: str, stories: Sequence[DemoStory], options: StackOptions) -> DemoResult:
    async with Stack.open(name, STARTS_AT, options) as stack:
        return await play_stories(stack, stories)


def assert_passed(result: DemoResult, title: str) -> None:
    story = next(one for one in result.stories if one.story.title == title)
    if story.fault is not None:
        pytest.fail(story.fault, pytrace=False)

"""A tenant whose Consonance offers only the documented mutations: what it cannot take becomes a task for a person."""

import pytest

from dev.demo.runner import POLLED_ON_REQUEST, DemoResult
from dev.demo.stories import metadata, stage_change
from dev.stack import StackOptions
from tests.flow.played_stories import assert_passed, play_on_new_stack
from tests.flow.stories import by_hand

pytestmark = [pytest.mark.flow, pytest.mark.timeout(180)]

_STORIES = (by_hand.STORY, stage_change.STORY, metadata.STORY)
_DOCUMENTED = StackOptions(settings=POLLED_ON_REQUEST.settings, arguments={"consonance": ("--profile", "documented")})


@pytest.fixture(scope="module")
def result() -> DemoResult:
    return play_on_new_stack("flow-by-hand", _STORIES, _DOCUMENTED)


@pytest.mark.parametrize("title", [story.title for story in _STORIES])
def test_a_story_ends_as_expected(result: DemoResult, title: str) -> None:
    assert_passed(result, title)


def test_nothing_is_lost_sent_twice_or_left_over(result: DemoResult) -> None:
    assert result.faults == []

"""The eight stories of the demo, and what else may happen in a chat, side by side through one stack."""

import pytest

from dev.demo.performance import Performance
from dev.demo.stories import STORIES
from tests.flow.performed import check, performed
from tests.flow.stories import closed_question, stop, two_questions

pytestmark = [pytest.mark.flow, pytest.mark.timeout(180)]

_TOLD = (*STORIES, stop.STORY, two_questions.STORY, closed_question.STORY)


@pytest.fixture(scope="module")
def performance() -> Performance:
    return performed("flow-stories", _TOLD)


@pytest.mark.parametrize("title", [story.title for story in _TOLD])
def test_a_story_ends_as_it_should(performance: Performance, title: str) -> None:
    check(performance, title)


def test_nothing_is_lost_doubled_or_left_behind(performance: Performance) -> None:
    assert performance.faults == []

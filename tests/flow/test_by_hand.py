"""A tenant whose Consonance offers only the documented mutations: what it cannot take becomes a task for a person."""

import pytest

from dev.demo.performance import POLLED_BY_HAND, Performance
from dev.demo.stories import metadata, stage_change
from dev.stack import Options
from tests.flow.performed import check, performed
from tests.flow.stories import by_hand

pytestmark = [pytest.mark.flow, pytest.mark.timeout(180)]

_TOLD = (by_hand.STORY, stage_change.STORY, metadata.STORY)
_DOCUMENTED = Options(settings=POLLED_BY_HAND.settings, arguments={"consonance": ("--profile", "documented")})


@pytest.fixture(scope="module")
def performance() -> Performance:
    return performed("flow-by-hand", _TOLD, _DOCUMENTED)


@pytest.mark.parametrize("title", [story.title for story in _TOLD])
def test_a_story_ends_as_it_should(performance: Performance, title: str) -> None:
    check(performance, title)


def test_nothing_is_lost_doubled_or_left_behind(performance: Performance) -> None:
    assert performance.faults == []

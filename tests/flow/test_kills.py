"""``kill -9`` in the middle of the stories: of each service at three moments, of Kafka and PostgreSQL once each.

Started again, they end every story as expected: each message at the simulator once, each write in Consonance once.
"""

import asyncio

import pytest

from dev.demo.runner import POLLED_ON_REQUEST, DemoResult, play_stories
from dev.demo.stories import STORIES
from dev.demo.story import STARTS_AT, london
from dev.stack import Stack, StackOptions
from tests.flow.killer import PlannedKill, ProcessKiller
from tests.flow.played_stories import assert_passed

pytestmark = [pytest.mark.flow, pytest.mark.timeout(300)]

_KILLS = (
    PlannedKill("ingest", london(4, 12, 10, 5)),  # a changed stage is on its way
    PlannedKill("rules", london(4, 12, 10, 10)),  # a permission is asked
    PlannedKill("writeback", london(4, 12, 10, 10)),  # and given
    PlannedKill("dispatcher", london(4, 12, 14)),  # a pitch begins
    PlannedKill("ingest", london(4, 12, 14, 2)),  # a form is filled
    PlannedKill("rules", london(4, 12, 14, 10)),
    PlannedKill("kafka", london(4, 13, 10)),  # a confirmation is asked
    PlannedKill("writeback", london(4, 13, 10, 40)),  # and its subtitle written
    PlannedKill("postgres", london(4, 13, 11)),  # a licence is asked
    PlannedKill("rules", london(4, 14, 14)),  # two hundred statements come in
    PlannedKill("dispatcher", london(4, 14, 14), sends=60, swallowed=3),  # they go out, and forty answers come in
    PlannedKill("writeback", london(4, 15, 10)),  # a dispute, or a second confirmation
    PlannedKill("ingest", london(4, 15, 14)),  # a payment issue
    PlannedKill("dispatcher", london(4, 19, 11, 20)),  # a block is handed on
)
_SHORT_TIMEOUTS = {
    "dispatcher": {"STET_SEND_TIMEOUT_SECONDS": "2"},  # a dead sender's leases end sooner
    "writeback": {"STET_CONSONANCE_TIMEOUT": "2", "STET_CONSONANCE_EFFECT_SECONDS": "1"},
}


@pytest.fixture(scope="module")
def result() -> DemoResult:
    return asyncio.run(_play())


async def _play() -> DemoResult:
    options = StackOptions(settings={**POLLED_ON_REQUEST.settings, **_SHORT_TIMEOUTS})
    async with Stack.open("flow-kills", STARTS_AT, options) as stack:
        killer = ProcessKiller(stack, _KILLS)
        result = await play_stories(stack, STORIES, driver=killer)
        assert killer.killed == list(_KILLS)
        assert killer.uncertain >= 3, "a request without an answer is never sent again by itself"
        return result


@pytest.mark.parametrize("title", [story.title for story in STORIES])
def test_a_story_ends_as_expected(result: DemoResult, title: str) -> None:
    assert_passed(result, title)


def test_nothing_is_lost_sent_twice_or_left_over(result: DemoResult) -> None:
    assert result.faults == []

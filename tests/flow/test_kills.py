"""``kill -9`` in the middle of the stories: of each service at three moments, of Kafka and PostgreSQL once each.

Started again, they end every story as it should: each message at the simulator once, each write in Consonance once.
"""

import asyncio

import pytest

from dev.demo.performance import POLLED_BY_HAND, Performance, perform
from dev.demo.stories import STORIES
from dev.demo.story import BEGINS, london
from dev.stack import Options, Stack
from tests.flow.performed import check
from tests.flow.saboteur import Saboteur, Strike

pytestmark = [pytest.mark.flow, pytest.mark.timeout(300)]

_STRIKES = (
    Strike("ingest", london(4, 12, 10, 5)),  # a changed stage is on its way
    Strike("rules", london(4, 12, 10, 10)),  # a permission is asked
    Strike("writeback", london(4, 12, 10, 10)),  # and given
    Strike("dispatcher", london(4, 12, 14)),  # a pitch begins
    Strike("ingest", london(4, 12, 14, 2)),  # a form is filled
    Strike("rules", london(4, 12, 14, 10)),
    Strike("kafka", london(4, 13, 10)),  # a confirmation is asked
    Strike("writeback", london(4, 13, 10, 40)),  # and its subtitle written
    Strike("postgres", london(4, 13, 11)),  # a licence is asked
    Strike("dispatcher", london(4, 14, 14), sends=60, swallowed=3),  # two hundred statements go out
    Strike("rules", london(4, 14, 14), sends=10),  # forty acknowledgements come in
    Strike("writeback", london(4, 15, 10)),  # a dispute, or a second confirmation
    Strike("ingest", london(4, 15, 14)),  # a payment issue
    Strike("dispatcher", london(4, 19, 11, 20)),  # a block is handed on
)
_QUICK_TO_DOUBT = {
    "dispatcher": {"STET_SEND_TIMEOUT_SECONDS": "2"},  # a dead sender's leases end sooner
    "writeback": {"STET_CONSONANCE_TIMEOUT": "2", "STET_CONSONANCE_MAY_LAND": "1"},
}


@pytest.fixture(scope="module")
def performance() -> Performance:
    return asyncio.run(_play())


async def _play() -> Performance:
    options = Options(settings={**POLLED_BY_HAND.settings, **_QUICK_TO_DOUBT})
    async with Stack.open("flow-kills", BEGINS, options) as stack:
        saboteur = Saboteur(stack, _STRIKES)
        performance = await perform(stack, STORIES, pace=saboteur)
        assert saboteur.struck == list(_STRIKES)
        assert saboteur.doubts >= 3, "what was swallowed is never sent again unasked"
        return performance


@pytest.mark.parametrize("title", [story.title for story in STORIES])
def test_a_story_ends_as_it_should(performance: Performance, title: str) -> None:
    check(performance, title)


def test_nothing_is_lost_doubled_or_left_behind(performance: Performance) -> None:
    assert performance.faults == []

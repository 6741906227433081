"""``stet rules why-not``: which chains are looked at where a time is named."""

from datetime import UTC, datetime, timedelta

import pytest

from ops.rules.why_not import ran_near
from services.rules.conversation.chain import Ending
from services.rules.scenario.player import StoryPlayer
from tests.services.rules.stories import own_rulebook, story

START = datetime(2027, 3, 3, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("days", "ended_after", "is_looked_at"),
    [
        (0, None, True),
        (-1, None, True),
        (-2, None, False),  # before it began
        (9, None, True),  # it runs, and should have reminded
        (9, 8, True),
        (9, 7, False),  # it had ended
    ],
)
def test_a_chain_that_began_earlier_is_looked_at_while_it_ran(
    days: int, ended_after: int | None, *, is_looked_at: bool
) -> None:
    asked = story("812: {roles: [rights_holder], country: GB}", "event: rights.approval_requested")
    player = StoryPlayer.of(asked, own_rulebook())
    player.play(asked.steps[0])
    (chain,) = player.simulation.facts.chains.values()
    changed_at = START if ended_after is None else START + timedelta(days=ended_after)
    chain = chain if ended_after is None else chain.replace(ended=Ending.ANSWERED)
    assert ran_near(chain, changed_at, START + timedelta(days=days)) is is_looked_at
    assert ran_near(chain, changed_at, None)

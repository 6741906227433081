"""The lane of a message follows from the severity of its rule, and from whether a person waits for it."""

import pytest

from services.rules.conversation.context import Effect, RequestedMessage
from shared.contracts.messages import Lane
from tests.services.rules.delayed_dispatcher import DelayedStory

_PAYEE = "801: {roles: [author], country: GB}\n61: {roles: [finance], country: GB}"
_STATEMENT = ("{event: royalty.statement_ready, with: {payee: 801}}", "wait: 2 minutes")
_BLOCKED = "801: {roles: [author], country: GB}\n12: {roles: [editor], country: GB}"


def _lanes(effects: list[Effect]) -> list[Lane]:
    return [effect.send.lane for effect in effects if isinstance(effect, RequestedMessage)]


def test_a_royalty_statement_goes_in_bulk_and_what_its_reader_asks_does_not() -> None:
    story = DelayedStory(_PAYEE, rule="royalty-statement")
    assert _lanes(story.effects_of(_STATEMENT)) == [Lane.BULK]
    story.simulation.report_all()
    replies = _lanes(story.effects_of(["reply: {from: 801, button: question}"]))
    assert replies
    assert set(replies) == {Lane.NORMAL}


@pytest.mark.parametrize(("severity", "lane"), [("critical", Lane.CRITICAL), ("warning", Lane.NORMAL)])
def test_the_severity_of_a_rule_gives_the_lane(severity: str, lane: Lane) -> None:
    story = DelayedStory(_BLOCKED, rule="blocked-title")
    blocked = f"{{event: work.blocked, with: {{block_id: B-1, severity: {severity}, owner: 12}}}}"
    assert _lanes(story.effects_of([blocked])) == [lane]

"""Where a person of the house closes the task of a write without it, the answerer hears that, and of no conflict."""

from dataclasses import replace

import pytest

from services.rules.conversation.context import RequestedMessage
from services.rules.rulebook.built_in import NOT_WANTED
from shared.contracts.writes import DROPPED_BY_HAND, WriteConflicted
from tests.services.rules.delayed_dispatcher import DelayedStory
from tests.services.rules.stories import own_rulebook

_HOLDER = "812: {roles: [rights_holder], country: GB}\n40: {roles: [rights_manager], country: GB}"


@pytest.mark.parametrize(
    ("detail", "has_template", "said"),
    [
        pytest.param(DROPPED_BY_HAND, True, "not_wanted", id="dropped"),
        pytest.param(DROPPED_BY_HAND, False, "not_written", id="dropped, in a house without the template"),
        pytest.param("changed_meanwhile", True, "not_written", id="in conflict"),
    ],
)
def test_the_person_who_answered_is_told_why_nothing_was_written(detail: str, said: str, *, has_template: bool) -> None:
    book = own_rulebook()
    if not has_template:
        book = replace(book, templates={name: one for name, one in book.templates.items() if name != NOT_WANTED})
    story = DelayedStory(_HOLDER, book=book)
    story.play("{event: rights.approval_requested, with: {respond_by: 2027-03-19}}")
    story.simulation.report_all()
    story.play(
        "reply: {from: 812, button: approve, to: rights_request}",
        "written: {record: rights.record_decision, as: manual}",
    )
    (write,) = story.simulation.writes
    before = len(story.simulation.effects)
    dropped = WriteConflicted(
        write_id=write.write_id, operation=write.input.operation, record=write.record, at=story.simulation.now,
        detail=detail,
    )  # fmt: skip
    story.simulation.publish(dropped, write.record)
    sent = [effect.send for effect in story.simulation.effects[before:] if isinstance(effect, RequestedMessage)]
    assert {one.say for one in sent} == {said}
    assert story.person(812) in {one.person_id for one in sent}

"""A person is erased for whom another stands in: the other speaks for the rest only, or for no other person."""

import pytest

from services.rules.scenario.player import StoryPlayer
from services.rules.scenario.story_file import ExpectStep
from shared.contracts.contacts import PersonObserved
from shared.contracts.ids import ContactId, partition_key
from tests.services.rules.stories import checked_rule, rule_head, template_text

TEMPLATES = {
    "ex_ask": template_text("ex_ask", "Rights of {on_behalf_of} in “{title}” are asked for.", "yes: Agreed, two: Both"),
    "ex_for": template_text("ex_for", "It is settled for {on_behalf_of} with “{title}” now."),
    "ex_take": template_text("ex_take", "Please see to “{title}” soon.", "take: Take it, not_me: Not me"),
}
HEAD = rule_head("extra-approval", "rights.approval_requested", "request_id")
ASK = """\
  - ask: author
    say: ex_ask
    answers:
      yes: {quorum: all, tell: author, say: ex_for}
      two: {quorum: 2, tell: rights_manager, say: ex_for}
  - {after: 2 weeks, give_up: no answer}
"""
TELL = "  - {tell: author, say: ex_for}\n"
TAKE = "  - {hand_over: rights_manager, say: ex_take}\n"
AUTHORS = "812: {roles: [author], country: GB}\n813: {roles: [author], country: GB}\n"
MANAGER = "40: {roles: [rights_manager], team: rights, country: GB}\n"
OF_BOTH = "900: {country: GB, stands_in_for: [812, 813]}\n"
OF_ONE = "900: {country: GB, stands_in_for: 812}\n"
EVENT, ERASED = "event: rights.approval_requested", "{left_out: {812: erased}}"
NIGHT, MORNING = "wait until: 2027-03-03T22:00:00Z", "wait until: 2027-03-04T10:00:00Z"
LEFT = "{tell: 40, say: left_with_owner}, {end: left_with_owner}"
ERASE = "wait: 1 second"
"""The move before which person 812 is erased."""


def faults(steps: str, people: str, *moves: str, limits: str = "", erased: int = 812) -> list[str]:
    """The faults of the first ``expect`` that has some; at ``ERASE`` a person is erased."""
    checked = checked_rule(HEAD + steps, TEMPLATES, people, *moves, limits=limits)
    (story,) = checked.stories
    player = StoryPlayer.of(story, checked.rulebook)
    for move, step in zip(moves, story.steps, strict=True):
        if move == ERASE:
            erase(player, ContactId(erased))
        found = player.play(step)
        if isinstance(step, ExpectStep) and found:
            return [fault.sentence for fault in found]
    return []


def erase(player: StoryPlayer, contact: ContactId) -> None:
    simulation = player.simulation
    known = player.people.people[contact]
    seen = PersonObserved(
        person_id=known.person_id,
        contact_id=contact,
        erased=True,
        observed_at=simulation.now,
        version=known.version + 1,
    )
    simulation.publish(seen, partition_key(simulation.facts.tenant, "persons", known.person_id))


@pytest.mark.parametrize("before", [True, False])
def test_an_agent_is_asked_for_the_holders_that_are_not_erased(*, before: bool) -> None:
    asked = [EVENT, "expect: [{ask: 900, for: [812, 813]}]", ERASE, "expect: nothing"]
    if before:
        asked = [ERASE, EVENT, f"expect: [{ERASED}, {{ask: 900, for: 813, text: Rights of Person 813 in}}]"]
    told = "{tell: 900, say: noted}, {tell: 900, for: 813, text: for Person 813 with}, {end: answered}"
    moves = (*asked, "reply: {from: 900, button: 'yes'}", f"expect: [{ERASED}, {told}]")
    assert faults(ASK, AUTHORS + MANAGER + OF_BOTH, *moves) == []


def test_an_answer_of_an_agent_counts_for_no_erased_holder() -> None:
    moves = (
        EVENT, "expect: [{ask: 900, for: [812, 813]}]", ERASE, "reply: {from: 900, button: two}",
        f"expect: [{{tell: 900, say: noted}}, {LEFT}]",
    )  # fmt: skip
    assert faults(ASK, AUTHORS + MANAGER + OF_BOTH, *moves) == []


def test_the_question_to_an_agent_of_an_erased_holder_alone_is_closed_and_the_others_are_enough() -> None:
    told = f"{{tell: 813, say: noted}}, {ERASED}, {{tell: 813, say: ex_for}}, {{end: answered}}"
    moves = (
        EVENT, "expect: [{ask: 900, for: 812}, {ask: 813}]", ERASE, f"expect: [{ERASED}]",
        "reply: {from: 813, button: 'yes'}", f"expect: [{told}]",
    )  # fmt: skip
    assert faults(ASK, AUTHORS + MANAGER + OF_ONE, *moves) == []


def test_the_others_have_been_enough_where_the_holder_whose_agent_was_asked_is_erased() -> None:
    moves = (
        EVENT, "reply: {from: 813, button: 'yes'}", "expect: [{ask: 900}, {ask: 813}, {tell: 813, say: noted}]",
        ERASE, f"expect: [{ERASED}, {{tell: 813, say: ex_for}}, {{end: answered}}]",
    )  # fmt: skip
    assert faults(ASK, AUTHORS + MANAGER + OF_ONE, *moves) == []


def test_a_held_question_to_an_agent_of_an_erased_holder_is_withdrawn_and_the_owner_team_is_told() -> None:
    alone = "812: {roles: [author], country: GB}\n" + MANAGER + OF_ONE
    moves = (NIGHT, EVENT, ERASE, f"expect: [{ERASED}]", MORNING, f"expect: [{LEFT}]")
    assert faults(ASK, alone, *moves) == []


def test_a_message_held_for_an_agent_does_not_name_an_erased_holder() -> None:
    moves = (NIGHT, EVENT, ERASE, MORNING, "expect: [{tell: 900, for: 813, text: for Person 813 with}, {end: done}]")
    assert faults(TELL, AUTHORS + OF_BOTH, *moves) == []


def test_a_colleague_who_covers_for_one_who_is_erased_keeps_what_was_offered() -> None:
    cover = "44: {roles: [sales], country: GB, stands_in_for: 40, from: 2027-03-01}\n"
    moves = (
        EVENT, "expect: [{left_out: {40: absent}}, {hand_over: 44, for: 40}]", ERASE, "expect: nothing",
        "reply: {from: 44, button: take}", "reply: {from: 44, button: done}",
        "expect: [{tell: 44, say: taken}, {tell: 44, say: noted}, {end: handled}]",
    )  # fmt: skip
    assert faults(TAKE, MANAGER + cover, *moves, erased=40) == []

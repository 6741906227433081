"""Members of staff who are away: what moves to the colleague who covers, and what stays with them."""

import dataclasses

from services.rules.conversation.chain_messages import awaited_people
from services.rules.rulebook.built_in import TO_COVER
from services.rules.scenario.player import StoryPlayer, play_story
from tests.services.rules.stories import checked_rule, faults_of_rule, own_rulebook, rule_head, story, template_text

HEAD = rule_head("expiring", "rights.expiring", "rights_record_id")
TEMPLATES = {
    "expiring_ask": template_text("expiring_ask", "Rights in “{title}” run out soon.", "yes: We do, other: Ask others"),
    "expiring_take": template_text("expiring_take", "Rights in “{title}” run out.", "take: Take it, not_me: Not me"),
    "expiring_told": template_text("expiring_told", "Rights in “{title}” have run out."),
}
ASK = """\
  - ask: sales
    say: expiring_ask
    answers: {yes: {quorum: all, tell: rights_manager, say: expiring_told}, other: {hand_over: sales}}
"""
TAKE = "  - {hand_over: sales, say: expiring_take}\n"
TELL = "  - {tell: sales, say: expiring_told}\n"
REMIND = "  - {after: 1 working day, remind: unanswered, say: expiring_ask}\n"
LATER = "  - {after: 9 working days, give_up: too late}\n"
LATER_TAKE = "  - {after: 9 working days, hand_over: rights_manager, say: expiring_take}\n"
MANAGER = "40: {name: Rosa Achebe, roles: [rights_manager], country: GB}"
ANN = "53: {name: Ann Bold, roles: [sales], country: GB}"
BEN = "54: {name: Ben Cole, roles: [sales], country: GB}"
CLEO = "61: {name: Cleo Dunn, roles: [finance], country: GB}"
HAPPENS = "event: rights.expiring"
AWAY = "reply: {from: 53, text: 'Away till Monday, Cleo covers'}"
NOTED = "{tell: 53, say: absence_noted}, {tell: 61, say: to_cover}"


def faults(steps: str, people: list[str], *moves: str) -> list[str]:
    return faults_of_rule(HEAD + steps, TEMPLATES, "\n".join(people), *moves)


def again(number: int) -> str:
    return f"{{event: rights.expiring, with: {{rights_record_id: RR-{number}}}}}"


def test_a_person_does_not_cover_for_themselves() -> None:
    away = "reply: {from: 53, text: 'Away till Monday, Ann covers'}"
    moves = (away, HAPPENS, "expect: [{tell: 53, say: absence_unclear}, {ask: 53}]")
    assert faults(ASK + LATER, [ANN, CLEO, MANAGER], *moves) == []


def test_the_newest_of_two_leaves_that_meet_counts() -> None:
    moves = (
        "reply: {from: 53, text: 'Away till 12 March 2027, Cleo covers'}",
        "reply: {from: 53, text: 'Away till 4 March 2027, Cleo covers'}",
        f"expect: [{NOTED}, {NOTED}]",
        "wait until: 2027-03-05T10:00:00Z",
        HAPPENS,
        "expect: [{ask: 53}]",
        "reply: {from: 53, text: 'Away from 22 March 2027 till 24 March 2027, Cleo covers'}",
        "reply: {from: 53, text: 'Away from 24 March 2027 till 25 March 2027, Cleo covers'}",
        "wait until: 2027-03-22T10:00:00Z",
        again(2),
        f"expect: [{NOTED}, {NOTED}, {{end: gave_up}}, {{ask: 53}}]",
        "reply: {from: 53, text: 'Away from 22 March 2027 till 24 March 2027, Cleo covers'}",
        f"expect: [{NOTED}, {{left_out: {{53: absent}}}}, {{ask: 61, for: 53}}]",
    )
    assert faults(ASK + LATER, [ANN, CLEO, MANAGER], *moves) == []


def test_a_machine_that_says_no_last_day_is_asked_once() -> None:
    away = "reply: {from: 53, text: I am on leave}"
    assert faults(ASK + LATER, [ANN, MANAGER], away, away, away, "expect: [{tell: 53, say: absence_unclear}]") == []


def test_a_question_that_was_reminded_of_moves_once() -> None:
    moves = (
        HAPPENS, "wait: 1 working day", "expect: [{ask: 53}, {remind: 53}]",
        AWAY, f"expect: [{{left_out: {{53: absent}}}}, {{ask: 61, for: 53}}, {NOTED}]",
        "reply: {from: 61, button: 'yes'}",
        "expect: [{tell: 61, say: noted}, {tell: 40, say: expiring_told}, {end: answered}]",
    )  # fmt: skip
    assert faults(ASK + REMIND + LATER, [ANN, CLEO, MANAGER], *moves) == []


def test_an_offer_that_moved_is_declined_by_the_colleague_who_covers() -> None:
    moves = (
        HAPPENS, "expect: [{hand_over: 53}, {hand_over: 54}]",
        "reply: {from: 54, button: not_me}",
        AWAY, f"expect: [{{tell: 54, say: noted}}, {{left_out: {{53: absent}}}}, {{hand_over: 61, for: 53}}, {NOTED}]",
        "reply: {from: 61, button: not_me}", "expect: [{tell: 61, say: noted}, {hand_over: 40, say: expiring_take}]",
    )  # fmt: skip
    assert faults(TAKE + LATER_TAKE, [ANN, BEN, CLEO, MANAGER], *moves) == []


def test_an_offer_to_one_who_is_away_without_cover_counts_as_declined_and_the_others_have_theirs() -> None:
    moves = (
        HAPPENS, "expect: [{hand_over: 53}, {hand_over: 54}]",
        "reply: {from: 53, text: away till Monday}",
        "expect: [{tell: 53, say: absence_uncovered}, {left_out: {53: absent}}]",
        "reply: {from: 54, button: not_me}", "expect: [{tell: 54, say: noted}, {hand_over: 40, say: expiring_take}]",
    )  # fmt: skip
    assert faults(TAKE + LATER_TAKE, [ANN, BEN, CLEO, MANAGER], *moves) == []


def test_held_messages_of_an_absent_person_go_to_the_cover_and_those_of_others_to_them() -> None:
    people = [one.replace("GB", "JP, zone: Asia/Tokyo") for one in (ANN, BEN, CLEO)]
    moves = (
        HAPPENS, AWAY, "expect: [{tell: 53, say: absence_noted}, {left_out: {53: absent}}]",
        "wait until: 2027-03-04T05:00:00Z",
        "expect: [{tell: 54}, {tell: 61, for: 53, say: expiring_told}, {ask: 54}, {ask: 61, for: 53}, {tell: 61}]",
    )  # fmt: skip
    assert faults(TELL + ASK + LATER, [*people, MANAGER], *moves) == []


def test_a_taken_hand_over_moves_to_the_cover_and_others_keep_their_offers() -> None:
    moves = (
        HAPPENS, "reply: {from: 53, button: take}", "expect: [{hand_over: 53}, {hand_over: 54}, {tell: 53}]",
        AWAY, f"expect: [{{left_out: {{53: absent}}}}, {{hand_over: 61, for: 53}}, {NOTED}]",
        "reply: {from: 61, button: not_me}", "expect: [{tell: 61, say: noted}, {hand_over: 40, say: expiring_take}]",
        "reply: {from: 54, button: take, to: expiring_take}", "expect: [{tell: 54, say: taken}]",
    )  # fmt: skip
    assert faults(TAKE + LATER_TAKE, [ANN, BEN, CLEO, MANAGER], *moves) == []


def test_a_matter_that_is_declined_answered_or_taken_by_another_does_not_move() -> None:
    noted = f"expect: [{NOTED}]"
    answered = (HAPPENS, "reply: {from: 53, button: 'yes'}", "expect: [{ask: 53}, {ask: 54}, {tell: 53}]", AWAY, noted)
    declined = (HAPPENS, "reply: {from: 53, button: not_me}", "expect: [{hand_over: 53}, {hand_over: 54}, {tell: 53}]")
    taken = (HAPPENS, "reply: {from: 54, button: take}", "expect: [{hand_over: 53}, {hand_over: 54}, {tell: 54}]")
    people = [ANN, BEN, CLEO, MANAGER]
    assert faults(ASK + LATER, people, *answered) == []
    assert faults(TAKE + LATER_TAKE, people, *declined, AWAY, noted) == []
    assert faults(TAKE + LATER_TAKE, people, *taken, AWAY, noted) == []


def test_a_cover_who_may_not_be_written_to_is_left_out_and_the_next_step_runs() -> None:
    opted_out = CLEO.replace("country", "opted_out: true, country")
    moves = (
        HAPPENS, AWAY,
        "expect: [{ask: 53}, {tell: 53}, {left_out: {53: absent}}, {left_out: {61: opted_out}}, {hand_over: 40}]",
    )  # fmt: skip
    assert faults(ASK + LATER_TAKE, [ANN, opted_out, MANAGER], *moves) == []


def test_the_unless_of_a_step_is_judged_of_the_cover() -> None:
    asked = ASK.replace("    say: expiring_ask", "    say: expiring_ask\n    unless: {recipient.country: US}")
    in_america = CLEO.replace("GB", "US")
    left_out = "{left_out: {53: absent}}, {left_out: {61: unless}}, {tell: 40, say: left_with_owner}"
    moves = (HAPPENS, AWAY, f"expect: [{{ask: 53}}, {{tell: 53}}, {left_out}, {{end: left_with_owner}}]")
    assert faults(asked + LATER, [ANN, in_america, MANAGER], *moves) == []


def test_a_team_is_told_who_covers_and_the_one_who_does_is_told_that_it_is_they() -> None:
    """The one who is away has written it, and is told nothing but that it is noted."""
    fay = "62: {name: Fay Holt, roles: [finance], country: GB}"
    dora = "63: {name: Dora Ives, roles: [finance], country: GB}"
    noted = "{tell: 62, say: absence_noted}, {left_out: {62: absent}}"
    moves = (
        "reply: {from: 62, text: 'Away till Monday, Cleo covers'}",
        f"expect: [{noted}, {{tell: 63, say: cover_announced}}, {{tell: 61, say: to_cover, text: You cover}}]",
    )
    assert faults(ASK + LATER, [fay, dora, CLEO, MANAGER], *moves) == []


def test_the_cover_gets_the_general_template_where_the_house_has_no_special_one() -> None:
    book = own_rulebook()
    book = dataclasses.replace(book, templates={name: t for name, t in book.templates.items() if name != TO_COVER})
    people = f"62: {{name: Fay Holt, roles: [finance], country: GB}}\n{CLEO}"
    moves = (
        "reply: {from: 62, text: 'Away till Monday, Cleo covers'}",
        "expect: [{tell: 62, say: absence_noted}, {left_out: {62: absent}}, {tell: 61, say: cover_announced}]",
    )
    assert play_story(story(people, *moves), book) == []


def test_a_person_whose_matter_moved_to_the_cover_is_no_longer_awaited() -> None:
    """A list of what waits for each person has it for who covers, and not for the one who is away."""
    moves = (HAPPENS, "reply: {from: 53, button: take}", AWAY)
    checked = checked_rule(HEAD + TAKE + LATER, TEMPLATES, f"{ANN}\n{BEN}\n{CLEO}", *moves)
    player = StoryPlayer.of(checked.stories[0], checked.rulebook)
    for step in checked.stories[0].steps:
        player.play(step)
    chain = next(one for one in player.simulation.facts.chains.values() if one.rule == "expiring")
    awaited = {player.people.name_of(person) for person in awaited_people(chain)}
    assert awaited == {54, 61}


def test_naming_an_absent_colleague_as_cover_is_answered_with_the_person_who_gets_it() -> None:
    """Where the two name each other, neither covers; the message goes to the one whom the other has named."""
    cleo = "reply: {from: 61, text: 'Away till Monday, Ann covers'}"
    each_other = (
        AWAY,
        f"expect: [{NOTED}]",
        cleo,
        "expect: [{tell: 61, say: absence_uncovered}, {left_out: {53: absent}}]",
    )
    assert faults(ASK + LATER, [ANN, CLEO, MANAGER], *each_other) == []
    cleo, told = "reply: {from: 61, text: 'Away till Monday, Rosa covers'}", "{tell: 53, text: goes to Rosa Achebe}"
    in_turn = (
        cleo,
        "expect: [{tell: 61}, {tell: 40, say: to_cover}]",
        AWAY,
        f"expect: [{told}, {{tell: 40, say: cover_announced}}, {{left_out: {{61: absent}}}}]",
    )
    assert faults(ASK + LATER, [ANN, CLEO, MANAGER], *in_turn) == []


def test_a_message_of_return_on_the_first_working_day_ends_the_absence() -> None:
    back = "reply: {from: 53, text: I am back}"
    over = (AWAY, f"expect: [{NOTED}]", "wait until: 2027-03-09T10:00:00Z", back)
    assert faults(ASK + LATER, [ANN, CLEO, MANAGER], *over, "expect: [{tell: 53, say: absence_over}]") == []
    later = (AWAY, f"expect: [{NOTED}]", "wait until: 2027-03-19T10:00:00Z", back)
    assert faults(ASK + LATER, [ANN, CLEO, MANAGER], *later, "expect: [{tell: 53, say: passed_on}]") == []

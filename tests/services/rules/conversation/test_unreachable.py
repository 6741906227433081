"""Where there is no person to ask or to hand over to, the owner team is told and the chain is left with it."""

import pytest

from services.rules.scenario.player import play_story
from tests.services.rules.stories import faults_of_rule, own_rulebook, rule_head, story, story_faults, template_text

HEAD = rule_head("expiring", "rights.expiring", "rights_record_id")
TEMPLATES = {
    "expiring_take": "take: Take it, not_me: Not me",
    "expiring_ask": "yes: We do, other: Ask somebody",
    "expiring_second": "fine: All right",
    "expiring_done": "done: It is done, help: I need help",
    "expiring_given": "take: We take it, not_me: Ask others",
    "expiring_told": None,
}
TAKE = "  - {hand_over: rights_manager, say: expiring_take}\n"
TO_FINANCE = "  - {hand_over: finance, say: expiring_take}\n"
LATER_TAKE = "  - {after: 2 working days, hand_over: rights_manager, say: expiring_take}\n"
LATER = "  - {after: 2 working days, give_up: too late}\n"
LATER_TOLD = "  - {after: 2 working days, give_up: too late, tell: {team: rights}, say: expiring_told}\n"
ASK = """\
  - ask: sales
    say: expiring_ask
    answers: {yes: {tell: rights_manager, say: expiring_told}, other: {hand_over: finance}}
"""
ASK_ON = """\
  - ask: sales
    say: expiring_ask
    answers:
      yes: {tell: rights_manager, say: expiring_told}
      other: {ask: finance, say: expiring_second, answers: {fine: {tell: rights_manager, say: expiring_told}}}
"""
REMIND = "  - {after: 2 working days, remind: unanswered, say: expiring_ask}\n"
NOBODY = "{left_out: {finance: unknown_role}}"
MANAGER = "40: {roles: [rights_manager], country: GB}"
SELLER = "53: {roles: [sales], country: GB}"
ACCOUNTANT = "61: {roles: [finance], country: GB}"
HAPPENS = "event: rights.expiring"


def told(steps: str, people: list[str], *moves: str) -> list[str]:
    texts = {name: template_text(name, "Rights in “{title}” run out soon.", of) for name, of in TEMPLATES.items()}
    return faults_of_rule(HEAD + steps, texts, "\n".join(people), *moves)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (TO_FINANCE, f"[{NOBODY}, {{tell: 40, say: left_with_owner}}, {{end: left_with_owner}}]"),
        (TO_FINANCE + LATER, f"[{NOBODY}, {{tell: 40, say: left_with_owner}}, {{end: left_with_owner}}]"),
        (TO_FINANCE + TAKE, f"[{NOBODY}, {{hand_over: 40, say: expiring_take}}]"),
        (TO_FINANCE + LATER_TOLD, f"[{NOBODY}, {{tell: 40, say: expiring_told}}, {{end: gave_up}}]"),
        (ASK + LATER, "[{left_out: {sales: unknown_role}}, {tell: 40, say: left_with_owner}, {end: left_with_owner}]"),
        (
            ASK + REMIND + LATER,
            "[{left_out: {sales: unknown_role}}, {tell: 40, say: left_with_owner}, {end: left_with_owner}]",
        ),
        (ASK + TAKE, "[{left_out: {sales: unknown_role}}, {hand_over: 40, say: expiring_take}]"),
    ],
)
def test_the_owner_is_told_when_a_role_has_no_person(steps: str, expected: str) -> None:
    assert told(steps, [MANAGER], HAPPENS, f"expect: {expected}") == []


@pytest.mark.parametrize(
    ("gone", "observed"),
    [
        ("failed: {to: 53, code: 131026}", "{left_out: {53: unreachable}}"),
        ("reply: {from: 53, text: STOP}", "{tell: 53, say: stopped}"),
    ],
)
@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (LATER, "{tell: 40, say: left_with_owner}, {end: left_with_owner}"),
        (LATER_TOLD, "{tell: 40, say: expiring_told}, {end: gave_up}"),
        (LATER_TAKE, "{hand_over: 40, say: expiring_take}"),
    ],
)
def test_the_owner_is_told_when_the_only_person_who_was_asked_falls_out(
    gone: str, observed: str, later: str, expected: str
) -> None:
    moves = (HAPPENS, "expect: [{ask: 53}]", gone, f"expect: [{observed}, {expected}]")
    assert told(ASK + later, [MANAGER, SELLER], *moves) == []


@pytest.mark.parametrize(
    ("gone", "observed"),
    [
        ("failed: {to: 61, code: 131026}", "{left_out: {61: unreachable}}"),
        ("reply: {from: 61, text: STOP}", "{tell: 61, say: stopped}"),
    ],
)
def test_the_owner_is_told_when_the_person_whom_an_answer_asks_falls_out(gone: str, observed: str) -> None:
    moves = (
        HAPPENS,
        "reply: {from: 53, button: other}",
        "expect: [{ask: 53}, {ask: 61, say: expiring_second}, {tell: 53, say: noted}]",
        gone,
        f"expect: [{observed}, {{tell: 40, say: left_with_owner}}]",
        "reply: {from: 53, button: 'yes'}",  # the first question is open still
        "expect: [{tell: 53, say: noted}, {tell: 40, say: expiring_told}, {end: answered}]",
    )
    assert told(ASK_ON + LATER, [MANAGER, SELLER, ACCOUNTANT], *moves) == []


def test_a_matter_left_with_the_owner_is_named() -> None:
    expected = "[NOBODY, {tell: 40, say: left_with_owner, text: A Grammar of Tides}, {end: left_with_owner}]".replace(
        "NOBODY", NOBODY
    )
    assert told(TO_FINANCE, [MANAGER], HAPPENS, f"expect: {expected}") == []


def test_the_inbox_team_is_told_when_the_owner_team_cannot_be_reached() -> None:
    unreachable = "40: {roles: [rights_manager], country: GB, reachable: false}"
    editor = "11: {roles: [editor], team: editorial, country: GB}"
    expected = "[{left_out: {40: no_address}}, {tell: 11, say: left_with_owner}, {end: left_with_owner}]"
    assert told(TAKE, [unreachable, editor], HAPPENS, f"expect: {expected}") == []


def test_a_reply_is_offered_to_the_owner_when_no_other_person_can_take_it() -> None:
    moves = (
        "reply: {from: 53, button: other}",
        "expect: [{left_out: {finance: unknown_role}}, {hand_over: 40}, {tell: 53}]",
    )
    assert told(ASK + LATER, [MANAGER, SELLER], HAPPENS, "expect: [{ask: 53}]", *moves) == []


@pytest.mark.parametrize("decline", ["not_me", "take"])
def test_the_owner_is_told_when_all_decline_or_the_last_gives_back(decline: str) -> None:
    moves = [HAPPENS, "expect: [{hand_over: 61}]", f"reply: {{from: 61, button: {decline}}}"]
    if decline == "take":
        moves += ["expect: [{tell: 61, say: taken}]", "reply: {from: 61, button: give_back}"]
    moves += ["expect: [{tell: 61, say: noted}, {tell: 40, say: left_with_owner}, {end: left_with_owner}]"]
    assert told(TO_FINANCE, [MANAGER, ACCOUNTANT], *moves) == []


def test_the_owner_is_told_at_once_when_all_decline_and_the_rule_would_give_up() -> None:
    moves = [HAPPENS, "expect: [{hand_over: 61}]", "reply: {from: 61, button: not_me}"]
    moves += ["expect: [{tell: 61, say: noted}, {tell: 40, say: left_with_owner}, {end: left_with_owner}]"]
    assert told(TO_FINANCE + LATER, [MANAGER, ACCOUNTANT], *moves) == []


def test_a_deadline_is_left_with_the_owner_when_its_escalation_has_no_person() -> None:
    people = (
        "830: {roles: [designer], country: GB}\n22: {roles: [production_coordinator], team: production, country: GB}"
    )
    moves = (
        "event: schedule.date_set\n      with: {new_due: 2027-03-12, affected: [830]}",
        "wait until: 2027-03-16T10:00:00Z",
        "expect: [{tell: 830}, {tell: 22}, {ask: 830}, {tell: 830}, {tell: 22}]",
        "wait until: 2027-03-17T10:00:00Z",
        "expect: [{left_out: {escalation_1: unknown_role}}, {tell: 22, say: left_with_owner}]",
        "wait: 10 days",
        "expect: [{end: left_with_owner}]",
    )
    assert story_faults(people, *moves) == []


def test_a_reminder_of_a_hand_over_is_no_question_that_waits_for_an_answer() -> None:
    people = "801: {roles: [author], country: GB}\n61: {roles: [finance], country: GB}"
    played = story(
        people,
        "event: royalty.document_available",
        "wait: 1 hour",
        "expect: [{ask: 801}]",
        "reply: {from: 801, button: question}",
        "expect: [{hand_over: 61}, {tell: 801, say: handed_over}]",
        "reply: {from: 61, button: take}",
        "expect: [{tell: 61, say: taken}]",
        "wait: 5 working days",
        "expect: [{remind: 61, say: taken}]",
        "reply: {from: 61, button: give_back}",
        "expect: [{tell: 61, say: noted}]",
        "wait: 5 working days",
        "expect: [{remind: 801, say: royalty_document_reminder}]",  # and not 61, who has no such buttons
        rule="royalty-document",
    )
    assert play_story(played, own_rulebook()) == []


def test_a_person_who_has_declined_an_offer_is_not_reminded_of_it() -> None:
    moves = (
        HAPPENS,
        "reply: {from: 40, button: not_me}",
        "expect: [{hand_over: 40}, {hand_over: 41}, {tell: 40, say: noted}]",
        "wait: 8 working days",
        "expect: [{remind: 41, say: expiring_take}]",
    )
    assert told(TAKE, [MANAGER, MANAGER.replace("40", "41")], *moves) == []


ASK_MANAGER = """\
  - {ask: rights_manager, say: expiring_second, answers: {fine: {tell: sender, say: expiring_told}}}
  - {after: 2 working days, remind: unanswered, say: expiring_second}
"""


def test_a_person_who_gave_a_matter_back_is_reminded_of_their_question_and_not_of_the_matter() -> None:
    moves = (
        HAPPENS,
        "reply: {from: 40, text: What is this about?}",
        "reply: {from: 40, button: take}",
        "expect: [{ask: 40}, {hand_over: 40}, {tell: 40, say: handed_over}, {tell: 40, say: taken}]",
        "wait: 8 working days",
        "expect: [{remind: 40, say: taken}]",
        "reply: {from: 40, button: give_back}",
        "wait: 2 working days",
        "expect: [{tell: 40, say: noted}, {remind: 40, say: expiring_second}]",
    )
    assert told(ASK_MANAGER + LATER, [MANAGER], *moves) == []


def test_not_me_in_words_to_the_reminder_of_an_offer_means_the_offer_alone() -> None:
    moves = (
        HAPPENS,
        "wait: 8 working days",
        "expect: [{hand_over: 40, say: expiring_take}, {remind: 40, say: expiring_take}]",
        "reply: {from: 40, text: Not me}",
        "expect: [{hand_over: 40, say: to_take}, {tell: 40, say: handed_over}]",
        "{event: rights.expiring, with: {rights_record_id: RR-2}}",
        "expect: [{hand_over: 40, say: expiring_take}]",
    )
    assert told(TAKE, [MANAGER], *moves) == []


def test_a_step_waits_for_all_before_it_also_where_one_between_has_gone() -> None:
    """The question is held over the weekend, and the notice after it has gone on Friday."""
    later = (REMIND + LATER_TAKE).replace("2 working days", "1 day")
    steps = ASK + "  - {tell: finance, say: expiring_told}\n" + later
    in_new_york = ACCOUNTANT.replace("GB", "US, zone: America/New_York")
    moves = (
        "wait until: 2027-03-05T20:00:00Z",
        HAPPENS,
        "expect: [{tell: 61, say: expiring_told}]",
        "wait until: 2027-03-08T11:00:00Z",
        "expect: [{ask: 53}]",
        "wait: 1 day",
        "expect: [{remind: 53}]",
        "wait until: 2027-03-12T11:00:00Z",  # after the fair
        "expect: [{hand_over: 40}]",
    )
    assert told(steps, [MANAGER, SELLER, in_new_york], *moves) == []


def test_a_second_tap_on_an_answer_that_hands_over_or_asks_makes_no_second_offer_or_question() -> None:
    moves = (
        HAPPENS,
        "reply: {from: 53, button: other}",
        "expect: [{ask: 53}, {hand_over: 61, say: to_take}, {tell: 53, say: handed_over}]",
        "reply: {from: 53, button: other}",
        "expect: [{tell: 53, say: handed_over}]",
        "wait: 2 hours",
        "reply: {from: 53, button: other}",
        "expect: [{hand_over: 61, say: to_take}, {tell: 53, say: handed_over}]",
    )
    assert told(ASK + LATER, [MANAGER, SELLER, ACCOUNTANT], *moves) == []


ASK_ALL = """\
  - ask: sales
    say: expiring_ask
    answers: {yes: {quorum: all, tell: rights_manager, say: expiring_told}, other: {hand_over: sales}}
"""


def test_an_offer_to_a_person_who_has_answered_can_be_taken_however_much_they_wrote() -> None:
    written = [f"reply: {{from: 53, text: '{text}'}}" for text in "abcdef"]
    moves = (
        HAPPENS,
        "reply: {from: 53, button: 'yes'}",
        "reply: {from: 54, button: other}",
        "expect: [{ask: 53}, {ask: 54}, {tell: 53, say: noted}, {hand_over: 53}, {hand_over: 54}, {tell: 54}]",
        *written,
        f"expect: [{'{hand_over: 40}, {tell: 53, say: handed_over}, ' * 5}{{tell: 40, say: answers_paused}}]",
        "reply: {from: 53, button: take, to: to_take}",
        "expect: [{tell: 53, say: taken}]",
    )
    assert told(ASK_ALL + LATER, [MANAGER, SELLER, SELLER.replace("53", "54")], *moves) == []


def test_a_person_whose_number_is_another_s_is_told_nothing_more_that_others_are_told() -> None:
    steps = ASK + "  - {after: 2 working days, tell: told, say: expiring_told}\n"
    moves = (
        HAPPENS,
        "reply: {from: 53, text: wrong number}",
        "expect: [{ask: 53}, {ask: 54}, {tell: 53}, {tell: 40, say: address_disputed}, {left_out: {53: wrong_person}}]",
        "wait: 2 working days",
        "expect: [{left_out: {53: wrong_person}}, {tell: 54, say: expiring_told}, {end: done}]",
    )
    assert told(steps, [MANAGER, SELLER, SELLER.replace("53", "54")], *moves) == []


def test_a_person_is_left_out_whose_lasting_stand_in_is_on_leave() -> None:
    cover = "54: {name: Ann Bold, roles: [editor], stands_in_for: 53, country: GB}"
    moves = (
        "reply: {from: 54, text: away till Monday}",
        HAPPENS,
        "expect: [{tell: 54, say: absence_uncovered}, {left_out: {53: absent}}, {hand_over: 40, say: expiring_take}]",
    )
    assert told(ASK + LATER_TAKE, [MANAGER, SELLER, cover], *moves) == []


ASK_DONE = """\
  - ask: sales
    say: expiring_done
    answers: {done: {tell: rights_manager, say: expiring_told}, help: {hand_over: finance}}
"""


def test_a_matter_that_is_given_back_takes_no_question_with_it_whose_answer_is_named_done() -> None:
    in_tokyo = "54: {roles: [sales], country: JP, zone: Asia/Tokyo}"
    moves = (
        HAPPENS,
        "reply: {from: 53, button: help}",
        "reply: {from: 61, button: take}",
        "reply: {from: 61, button: give_back}",
        "expect: [{ask: 53}, {hand_over: 61}, {tell: 53}, {tell: 61, say: taken}, {tell: 61}, {tell: 40}]",
        "wait until: 2027-03-04T08:00:00Z",
        "expect: [{ask: 54, say: expiring_done}]",
    )
    assert told(ASK_DONE + LATER, [MANAGER, SELLER, in_tokyo, ACCOUNTANT], *moves) == []


def test_a_question_whose_answers_are_named_like_those_of_an_offer_is_answered() -> None:
    steps = ASK_DONE.replace("expiring_done", "expiring_given").replace("done:", "take:").replace("help:", "not_me:")
    moves = (
        HAPPENS,
        "wait: 2 working days",
        "expect: [{ask: 53}, {remind: 53}]",
        "reply: {from: 53, button: take}",
        "expect: [{tell: 53, say: noted}, {tell: 40, say: expiring_told}, {end: answered}]",
    )
    reminded = REMIND.replace("expiring_ask", "expiring_given")
    assert told(steps + reminded + LATER, [MANAGER, SELLER, ACCOUNTANT], *moves) == []


def test_the_owner_is_told_when_an_answer_asks_a_role_without_people() -> None:
    moves = (
        HAPPENS,
        "reply: {from: 53, button: other}",
        "expect: [{ask: 53}, {left_out: {finance: unknown_role}}, {tell: 40, say: left_with_owner}, {tell: 53}]",
    )
    assert told(ASK_ON + LATER, [MANAGER, SELLER], *moves) == []

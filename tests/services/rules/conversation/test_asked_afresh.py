"""A question that shows other values by now is asked afresh, of all who were asked."""

from tests.services.rules.stories import faults_of_rule, rule_head, template_text

FEE = "title: work.title, fee: {field: terms.fee.amount, default: {en: none}}"
TEMPLATES = {
    "ex_ask": template_text("ex_ask", "Rights in “{title}” for a fee of {fee} in all.", "yes: Agreed, other: Ask", FEE),
    "ex_plain": template_text("ex_plain", "Rights in “{title}” are asked for.", "yes: Agreed, other: Ask"),
    "ex_second": template_text("ex_second", "A second look at “{title}” for {fee} in all.", "fine: All right", FEE),
    "ex_take": template_text("ex_take", "Please take “{title}” for {fee} now.", "take: Take it, not_me: Not me", FEE),
    "ex_told": template_text("ex_told", "Rights in “{title}” are settled."),
}
HEAD = rule_head("extra-approval", "rights.approval_requested", "request_id")
ASK = """\
  - ask: author
    say: ex_ask
    answers: {yes: {tell: rights_manager, say: ex_told}, other: {hand_over: rights_manager}}
"""
ASK_ON = """\
  - ask: author
    say: ex_plain
    answers:
      yes: {tell: rights_manager, say: ex_told}
      other:
        ask: rights_manager
        say: ex_second
        answers: {fine: {record: rights.record_decision, with: {decision: approved}}}
"""
REMIND = "  - {after: 2 working days, remind: unanswered, say: ex_plain}\n"
TOLD = "  - {tell: rights_manager, say: ex_told}\n"
END = "  - {at: respond_by, give_up: no answer in time}\n"
AUTHOR = "812: {roles: [author], country: GB}"
IN_TOKYO = "813: {roles: [author], country: JP, zone: Asia/Tokyo}"
MANAGER = "40: {roles: [rights_manager], country: GB}"
EVENT = "{event: rights.approval_requested, with: {respond_by: 2027-04-30}}"
CHANGED = "{event: rights.approval_requested, with: {respond_by: 2027-04-30, terms.fee: null}}"


def faults(steps: str, people: list[str], *moves: str) -> list[str]:
    return faults_of_rule(HEAD + steps, TEMPLATES, "\n".join(people), *moves)


def test_a_question_that_still_waits_for_the_morning_of_one_is_asked_afresh_of_all() -> None:
    moves = (
        EVENT, "expect: [{ask: 812}]",
        CHANGED, "expect: [{ask: 812, text: a fee of none}]",
        "wait until: 2027-03-04T12:00:00Z", "expect: [{ask: 813, text: a fee of none}]",
    )  # fmt: skip
    assert faults(ASK + END, [AUTHOR, IN_TOKYO, MANAGER], *moves) == []


def test_a_question_is_asked_afresh_also_where_its_reminder_does_not_show_what_changed() -> None:
    moves = (
        EVENT, "wait: 2 working days", "expect: [{ask: 812}, {remind: 812, say: ex_plain}]",
        CHANGED, "expect: [{ask: 812, text: a fee of none}]",
    )  # fmt: skip
    assert faults(ASK + REMIND + END, [AUTHOR, MANAGER], *moves) == []


def test_a_yes_to_the_question_that_an_answer_has_led_to_is_none_to_other_values() -> None:
    moves = (
        EVENT, "reply: {from: 812, button: other}",
        "expect: [{ask: 812}, {ask: 40, say: ex_second}, {tell: 812, say: noted}]",
        CHANGED, "expect: [{ask: 812, say: ex_plain}]",
        "reply: {from: 40, button: fine}",
        "expect: [{tell: 40, say: closed_question}, {tell: 40, say: late_answer}]",
        "reply: {from: 812, button: other}",
        "expect: [{ask: 40, say: ex_second, text: for none in all}, {tell: 812, say: noted}]",
    )  # fmt: skip
    assert faults(ASK_ON + END, [AUTHOR, MANAGER], *moves) == []


def test_a_question_whose_day_is_past_is_asked_afresh_at_once() -> None:
    asked = ASK.replace("  - ask", "  - at: 39 working days before respond_by\n    ask")
    moves = (
        EVENT, "wait until: 2027-03-04T12:00:00Z", "expect: [{ask: 812}]",
        CHANGED, "expect: [{ask: 812, text: a fee of none}]",
        "reply: {from: 812, button: 'yes'}",
        "expect: [{tell: 812, say: noted}, {tell: 40, say: ex_told}, {end: answered}]",
    )  # fmt: skip
    assert faults(asked + END, [AUTHOR, MANAGER], *moves) == []


def test_a_question_whose_day_was_past_when_the_chain_began_is_not_asked_with_another_one() -> None:
    asked = ASK.replace("  - ask", "  - at: 60 working days before respond_by\n    ask") + ASK
    moves = (EVENT, "expect: [{ask: 812}]", CHANGED, "expect: [{ask: 812}]")
    assert faults(asked + END, [AUTHOR, MANAGER], *moves) == []


def test_words_written_at_night_are_handed_over_though_the_question_is_asked_again() -> None:
    in_tokyo = MANAGER.replace("GB", "JP, zone: Asia/Tokyo")
    moves = (
        EVENT, "reply: {from: 812, text: Please call me about the fee}",
        "expect: [{ask: 812}, {tell: 812, say: handed_over}]",
        CHANGED, "expect: [{ask: 812, text: a fee of none}]",
        "wait until: 2027-03-04T12:00:00Z",
        "expect: [{tell: 40, say: ex_told}, {hand_over: 40, say: to_take, text: call me about the fee}]",
        "wait: 9 working days", "expect: [{remind: 40, say: to_take}]",
    )  # fmt: skip
    assert faults(ASK + TOLD, [AUTHOR, in_tokyo], *moves) == []


def test_a_yes_to_the_reminder_of_a_question_that_was_asked_afresh_comes_too_late() -> None:
    moves = (
        EVENT,
        "wait: 2 working days",
        "expect: [{ask: 812}, {remind: 812, say: ex_plain}]",
        CHANGED,
        "expect: [{ask: 812, text: a fee of none}]",
        "reply: {from: 812, button: 'yes', to: ex_plain}",
        "expect: [{tell: 812, say: closed_question}, {tell: 40, say: late_answer}]",
    )
    assert faults(ASK + REMIND + END, [AUTHOR, MANAGER], *moves) == []


def test_an_offer_that_shows_other_values_by_now_makes_no_question_be_asked_afresh() -> None:
    asked = ASK.replace("ex_ask", "ex_plain")
    offered = "  - {hand_over: rights_manager, say: ex_take}\n"
    moves = (EVENT, "expect: [{ask: 812}, {hand_over: 40, say: ex_take}]", CHANGED, "expect: nothing")
    assert faults(asked + offered + END, [AUTHOR, MANAGER], *moves) == []

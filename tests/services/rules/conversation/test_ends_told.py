"""A chain ends while a person is busy with it: they hear so once, in the message of that end or in one of the house."""

from services.rules.conversation.context import RequestedMessage
from services.rules.rulebook.built_in import MATTER_CLOSED
from services.rules.rulebook.model import OnChange
from tests.services.rules.conversation.test_rule_changes import RULE, changed, started, with_rule, without_reminder
from tests.services.rules.stories import FORMS, WORDS_OF_FORM, faults_of_rule, rule_head, story, template_text

TEMPLATES = {
    "ex_ask": template_text("ex_ask", "Rights in “{title}” are asked for.", "yes: Agreed, other: Ask, fill: Details"),
    "ex_told": template_text("ex_told", "Rights in “{title}” are settled."),
    "ex_void": template_text("ex_void", "The request about “{title}” was withdrawn."),
    **WORDS_OF_FORM,
}
HEAD = rule_head("extra-approval", "rights.approval_requested", "request_id")
UNTIL = HEAD.replace("steps:", "until: {on: rights.request_withdrawn}\nsteps:")
TOLD = HEAD.replace("steps:", "until: {on: rights.request_withdrawn, tell: author, say: ex_void}\nsteps:")
STEPS = """\
  - ask: author
    say: ex_ask
    answers:
      yes: {tell: author, say: ex_told}
      other: {hand_over: rights_manager}
      fill: {collect: sender, form: details}
  - {after: 2 weeks, give_up: no answer}
"""
RECORDED = STEPS.replace("yes: {tell", "yes: {record: rights.record_decision, with: {decision: approved}, tell")
PEOPLE = """\
812: {roles: [author], country: GB}
813: {roles: [author], country: GB}
40: {roles: [rights_manager], team: rights, country: GB}
"""
EVENT, WITHDRAWN = "event: rights.approval_requested", "event: rights.request_withdrawn"
ASKED = "expect: [{ask: 812}, {ask: 813}]"
FILLS = (
    EVENT, ASKED, "reply: {from: 812, button: fill}", "reply: {from: 812, text: Sea Glass}",
    "expect: [{collect: 812}, {collect: 812}, {collect: 812}]",
)  # fmt: skip
TAKES = (
    EVENT, ASKED, "reply: {from: 812, button: other}", "reply: {from: 40, button: take}",
    "expect: [{hand_over: 40}, {tell: 812}, {tell: 40, say: taken}]",
)  # fmt: skip
AGREES = "reply: {from: 813, button: 'yes'}"


def faults(head: str, *moves: str, steps: str = STEPS) -> list[str]:
    return faults_of_rule(head + steps, TEMPLATES, PEOPLE, *moves, forms=FORMS)


def closed(person: int) -> str:
    return f"{{tell: {person}, say: matter_closed, text: Nothing more is needed from you}}"


def test_a_person_filling_a_form_is_told_that_an_event_ended_the_chain() -> None:
    assert faults(UNTIL, *FILLS, WITHDRAWN, f"expect: [{closed(812)}, {{end: until}}]") == []


def test_the_holder_of_a_matter_is_not_told_of_an_ending_event() -> None:
    assert faults(UNTIL, *TAKES, WITHDRAWN, "expect: [{end: until}]") == []


def test_a_person_whom_the_rule_tells_of_the_end_is_not_told_twice() -> None:
    told = "{tell: 812, say: ex_void}, {tell: 813, say: ex_void}, {end: until}"
    assert faults(TOLD, *FILLS, WITHDRAWN, f"expect: [{told}]") == []


def test_an_ending_answer_is_told_to_people_who_fill_a_form_or_hold_the_matter() -> None:
    told = "{tell: 813, say: noted}, {tell: 812, say: ex_told}, {tell: 813, say: ex_told}, {end: answered}"
    assert faults(UNTIL, *FILLS, AGREES, f"expect: [{told}]") == []
    assert faults(UNTIL, *TAKES, AGREES, f"expect: [{told}, {closed(40)}]") == []


def test_a_person_told_after_the_write_is_not_told_of_the_end_before_it() -> None:
    written = "written: {record: rights.record_decision, as: verified}"
    asked, noted = "{record: rights.record_decision}", "{tell: 813, say: noted}"
    told = "expect: [{tell: 812, say: ex_told}, {tell: 813, say: ex_told}, {end: answered}]"
    assert faults(UNTIL, *FILLS, AGREES, f"expect: [{asked}, {noted}]", written, told, steps=RECORDED) == []
    both = f"expect: [{asked}, {noted}, {closed(40)}]"
    assert faults(UNTIL, *TAKES, AGREES, both, written, told, steps=RECORDED) == []


def test_a_person_filling_a_form_is_told_that_a_colleague_settled_the_matter() -> None:
    moves = (
        *FILLS, "reply: {from: 813, button: other}", "reply: {from: 40, button: take}",
        "expect: [{hand_over: 40}, {tell: 813}, {tell: 40}]",
        "reply: {from: 40, button: done}", f"expect: [{{tell: 40, say: noted}}, {closed(812)}, {{end: handled}}]",
    )  # fmt: skip
    assert faults(UNTIL, *moves) == []


def test_an_end_at_night_is_told_to_a_person_filling_a_form_in_the_morning() -> None:
    moves = (
        *FILLS, "wait until: 2027-03-03T22:00:00Z", WITHDRAWN, "expect: nothing",
        "wait until: 2027-03-04T10:00:00Z", f"expect: [{closed(812)}, {{end: until}}]",
    )  # fmt: skip
    assert faults(UNTIL, *moves) == []


def test_a_form_that_was_left_for_days_is_given_up_without_a_word() -> None:
    assert faults(UNTIL, *FILLS, "wait: 3 weeks", "expect: [{end: gave_up}]") == []


def test_a_person_filling_a_form_is_told_that_the_chain_gave_up() -> None:
    steps = STEPS.replace("after: 2 weeks", "at: respond_by")
    asked = EVENT.replace(
        "event: rights.approval_requested", "{event: rights.approval_requested, with: {respond_by: 2027-03-04}}"
    )
    moves = (
        asked, "wait until: 2027-03-04T17:30:00Z", ASKED, *FILLS[2:],
        "wait: 1 hour", f"expect: [{closed(812)}, {{end: gave_up}}]",
    )  # fmt: skip
    assert faults(UNTIL, *moves, steps=steps) == []


def test_the_holder_of_a_matter_is_told_that_a_changed_rule_cancels_it() -> None:
    player, old, _ = started(OnChange.CANCEL)
    for step in story(
        "812: {roles: [author]}", "reply: {from: 812, button: question}", "reply: {from: 40, button: take}"
    ).steps:
        assert player.play(step) == []
    (chain,) = player.simulation.facts.chains.values()
    decision, _ = changed(player, old, with_rule(old, without_reminder(old.rules[RULE])), chain)
    assert [effect.send.say for effect in decision.effects if isinstance(effect, RequestedMessage)] == [MATTER_CLOSED]

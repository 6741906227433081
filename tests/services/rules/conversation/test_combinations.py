"""Stories in which two features of the rule language meet, each of which has its own tests elsewhere."""

from tests.services.rules.stories import faults_of_rule, rule_head, template_text

TEMPLATES = {
    "ex_ask": template_text("ex_ask", "Rights in “{title}” are asked for.", "yes: Agreed, other: Ask"),
    "ex_second": template_text("ex_second", "A second look at “{title}” please.", "fine: All right"),
    "ex_told": template_text("ex_told", "Rights in “{title}” are settled."),
}
HEAD = rule_head("extra-approval", "rights.approval_requested", "request_id")
END = "  - {after: 2 weeks, give_up: no answer}\n"
AUTHORS = "812: {roles: [author], country: GB}\n813: {roles: [author], country: GB}"
MANAGER = "40: {roles: [rights_manager], country: GB}"
COORDINATOR = "41: {roles: [production_coordinator], country: GB}"
EVENT = "event: rights.approval_requested"
NIGHT, MORNING = "wait until: 2027-03-03T22:00:00Z", "wait until: 2027-03-04T12:00:00Z"
WORDS = "reply: {from: 812, text: I must ask my agent first}"
OFFERED = "{hand_over: 40, text: ask my agent}"


def faults(steps: str, people: list[str], *moves: str) -> list[str]:
    return faults_of_rule(HEAD + steps, TEMPLATES, "\n".join(people), *moves)


# ------------------------------------------------------------------ quorums and hand-overs


def test_a_veto_takes_no_offer_away_that_waits_for_the_morning_of_a_colleague() -> None:
    steps = """\
  - ask: author
    say: ex_ask
    answers:
      yes: {quorum: all, tell: rights_manager, say: ex_told}
      other:
        veto: true
        ask: production_coordinator
        say: ex_second
        answers: {fine: {tell: rights_manager, say: ex_told}}
"""
    moves = (
        EVENT, "expect: [{ask: 812}, {ask: 813}]",
        NIGHT, WORDS, "reply: {from: 813, button: other}",
        "expect: [{tell: 812, say: handed_over}, {tell: 813, say: noted}]",
        MORNING, f"expect: [{OFFERED}, {{ask: 41, say: ex_second}}]",
    )  # fmt: skip
    assert faults(steps + END, [AUTHORS, MANAGER, COORDINATOR], *moves) == []


def test_who_answers_a_question_keeps_the_offer_that_waits_for_their_morning() -> None:
    steps = """\
  - ask: [author, rights_manager]
    say: ex_ask
    answers: {yes: {quorum: 3, tell: rights_manager, say: ex_told}, other: {hand_over: rights_manager}}
"""
    moves = (
        EVENT, "expect: [{ask: 812}, {ask: 813}, {ask: 40}]",
        NIGHT, WORDS, "reply: {from: 40, button: yes}",
        "expect: [{tell: 812, say: handed_over}, {tell: 40, say: noted}]",
        MORNING, f"expect: [{OFFERED}]",
    )  # fmt: skip
    assert faults(steps + END, [AUTHORS, MANAGER], *moves) == []

"""Stories in which two features of the rule language meet, each of which has its own tests elsewhere."""

import pytest

from tests.services.rules.stories import FORMS, WORDS_OF_FORM, faults_of_rule, rule_head, template_text

TEMPLATES = {
    "ex_ask": template_text("ex_ask", "Rights in “{title}” are asked for.", "yes: Agreed, other: Ask"),
    "ex_second": template_text("ex_second", "A second look at “{title}” please.", "fine: All right"),
    "ex_for": template_text("ex_for", "It is settled for {on_behalf_of} with “{title}” now."),
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


def faults(steps: str, people: list[str], *moves: str, head: str = HEAD, limits: str = "") -> list[str]:
    return faults_of_rule(head + steps, TEMPLATES, "\n".join(people), *moves, limits=limits)


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


def test_answering_a_question_keeps_the_offer_held_for_the_morning() -> None:
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


ASK = """\
  - ask: author
    say: ex_ask
    answers: {yes: {tell: rights_manager, say: ex_told}, other: {hand_over: rights_manager}}
"""
AUTHOR = "812: {roles: [author], country: GB}"


def test_an_offer_that_is_made_again_says_what_the_person_wrote() -> None:
    """It was taken back from a colleague for whom it was night, and the one who took it gives it back."""
    in_tokyo = "41: {roles: [rights_manager], country: JP, zone: Asia/Tokyo}"
    moves = (
        EVENT, WORDS, f"expect: [{{ask: 812}}, {OFFERED}, {{tell: 812}}]",
        "reply: {from: 40, button: take}", "reply: {from: 40, button: give_back}",
        "wait: 1 day", "expect: [{tell: 40}, {tell: 40}, {hand_over: 41, text: ask my agent}]",
    )  # fmt: skip
    assert faults(ASK + END, [AUTHOR, MANAGER, in_tokyo], *moves) == []


def test_the_reminder_of_an_offer_says_what_the_person_wrote() -> None:
    told = "  - {after: 1 hour, tell: author, say: ex_told}\n"
    moves = (
        EVENT, WORDS, "wait: 1 hour", f"expect: [{{ask: 812}}, {OFFERED}, {{tell: 812}}, {{tell: 812, say: ex_told}}]",
        "wait: 14 working days", "expect: [{remind: 40, text: ask my agent}, {tell: 40}, {end: left_with_owner}]",
    )  # fmt: skip
    assert faults(ASK + told, [AUTHOR, MANAGER], *moves) == []


# ------------------------------------------------------------------ digests


def test_an_item_of_a_digest_is_shown_in_the_name_of_all_for_whom_it_was_sent() -> None:
    agent = "900: {country: GB, stands_in_for: [812, 813]}"
    info = HEAD.replace("severity: warning", "severity: info")
    moves = (
        NIGHT, "{event: rights.approval_requested, with: {request_id: R-1}}",
        "{event: rights.approval_requested, with: {request_id: R-2}}",
        MORNING, "expect: [{tell: 900, say: digest}, {end: done}, {end: done}]",
        "reply: {from: 900, button: show}", f"expect: [{IN_BOTH_NAMES}, {IN_BOTH_NAMES}]",
    )  # fmt: skip
    steps = "  - {tell: author, say: ex_for}\n"
    assert faults(steps, [AUTHORS, agent], *moves, head=info, limits="digest: info\n") == []


IN_BOTH_NAMES = "{tell: 900, for: [812, 813], text: Person 812 and Person 813}"


# ------------------------------------------------------------------ several offers to one colleague

TEAM = "40: {roles: [rights_manager], team: rights, country: GB}"
SECOND = "41: {roles: [rights_manager], team: rights, country: GB}"
COVER = "42: {roles: [production_coordinator], team: production, country: GB, stands_in_for: 40, from: 2027-03-04}"
AT_SEA = "reply: {from: 813, text: I shall be at sea}"
NOT_ME = "reply: {from: 40, button: not_me}"
LATER, ABSENT = "wait: 1 minute", "{left_out: {40: absent}}"
ASKED = "{ask: 812}, {ask: 813}"


def test_an_offer_moves_to_who_covers_though_its_person_has_declined_an_earlier_one() -> None:
    offers = "{hand_over: 40}, {hand_over: 41}"
    moves = (
        EVENT, WORDS, LATER, NOT_ME, LATER, AT_SEA,
        f"expect: [{ASKED}, {offers}, {{tell: 812}}, {{tell: 40}}, {offers}, {{tell: 813}}]",
        "wait: 1 day", f"expect: [{{hand_over: 42, for: 40, text: at sea}}, {ABSENT}]",
    )  # fmt: skip
    assert faults(ASK + END, [AUTHORS, TEAM, SECOND, COVER], *moves) == []


def test_each_of_several_offers_moves_to_who_covers() -> None:
    moves = (
        EVENT, WORDS, LATER, AT_SEA, f"expect: [{ASKED}, {OFFERED}, {{tell: 812}}, {{hand_over: 40}}, {{tell: 813}}]",
        "wait: 1 day",
        f"expect: [{{hand_over: 42, text: ask my agent}}, {{hand_over: 42, text: at sea}}, {ABSENT}]",
    )  # fmt: skip
    assert faults(ASK + END, [AUTHORS, TEAM, COVER], *moves) == []


def test_a_question_moves_to_who_covers_though_its_person_has_declined_an_offer() -> None:
    steps = """\
  - ask: [author, rights_manager]
    say: ex_ask
    answers: {yes: {quorum: all, tell: author, say: ex_told}, other: {hand_over: rights_manager}}
"""
    moves = (
        EVENT, WORDS, LATER, NOT_ME,
        f"expect: [{ASKED}, {{ask: 40}}, {{ask: 41}}, {OFFERED}, {{hand_over: 41}}, {{tell: 812}}, {{tell: 40}}]",
        "wait: 1 day", f"expect: [{{ask: 42, for: 40}}, {ABSENT}]",
    )  # fmt: skip
    assert faults(steps + END, [AUTHORS, TEAM, SECOND, COVER], *moves) == []


def test_every_offer_of_the_night_is_made_again_where_a_colleague_elsewhere_gives_the_matter_back() -> None:
    """Also one to a person who has declined an offer of the day before."""
    in_tokyo = "41: {roles: [rights_manager], team: rights, country: JP, zone: Asia/Tokyo}"
    third = "814: {roles: [author], country: GB}"
    moves = (
        EVENT, "reply: {from: 814, text: Which rights}", LATER, NOT_ME,
        f"expect: [{ASKED}, {{ask: 814}}, {{hand_over: 40}}, {{tell: 814}}, {{tell: 40}}]",
        "wait until: 2027-03-04T01:00:00Z", WORDS, LATER, AT_SEA,
        "expect: [{hand_over: 41, text: Which}, {hand_over: 41}, {tell: 812}, {hand_over: 41}, {tell: 813}]",
        "reply: {from: 41, button: take}", "reply: {from: 41, button: give_back}", "expect: [{tell: 41}, {tell: 41}]",
        MORNING, f"expect: [{OFFERED}, {{hand_over: 40, text: at sea}}]",
    )  # fmt: skip
    assert faults(ASK + END, [AUTHORS, third, TEAM, in_tokyo], *moves) == []


# ------------------------------------------------------------------ a matter that another has, and that is free again

OTHER = "reply: {from: 812, button: other}"
TAKEN = ("reply: {from: 40, button: take}", "expect: [{tell: 40, say: taken}]")
OFFERED_TO_BOTH = "expect: [{ask: 812}, {hand_over: 40}, {hand_over: 41}, {tell: 812}]"
IN_VAIN = ("reply: {from: 41, button: take}", "expect: [{tell: 41, say: already_taken, text: Person 40}]")
GIVEN_BACK = "reply: {from: 40, button: give_back}"


def test_taking_a_taken_matter_names_its_holder_and_it_is_offered_again_when_free() -> None:
    moves = (
        EVENT, OTHER, OFFERED_TO_BOTH, *TAKEN, *IN_VAIN, "reply: {from: 41, button: take}", "expect: [{tell: 41}]",
        GIVEN_BACK, "expect: [{tell: 40, say: noted}, {hand_over: 41}]",
        "reply: {from: 41, button: take}", "expect: [{tell: 41, say: taken}]",
        "reply: {from: 40, button: done}", "expect: [{tell: 40, say: already_taken, text: Person 41}]",
    )  # fmt: skip
    assert faults(ASK + END, [AUTHOR, TEAM, SECOND], *moves) == []


def test_an_older_offer_is_made_once_more_when_the_matter_is_given_back_and_a_new_one_is_not() -> None:
    """Either offer takes it."""
    begun, newer = (
        (EVENT, OTHER, OFFERED_TO_BOTH, *TAKEN),
        ("reply: {from: 41, button: take}", "expect: [{tell: 41, say: taken}]"),
    )
    at_once = (GIVEN_BACK, "expect: [{tell: 40, say: noted}]", *newer)
    assert faults(ASK + END, [AUTHOR, TEAM, SECOND], *begun, *at_once) == []
    later = ("wait: 2 hours", GIVEN_BACK, "expect: [{tell: 40, say: noted}, {hand_over: 41}]", *newer)
    assert faults(ASK + END, [AUTHOR, TEAM, SECOND], *begun, *later) == []


def test_a_declined_matter_is_not_offered_again_when_it_is_given_back() -> None:
    moves = (
        EVENT, OTHER, OFFERED_TO_BOTH, "reply: {from: 41, button: not_me}", "expect: [{tell: 41, say: noted}]",
        *TAKEN, GIVEN_BACK, "expect: [{tell: 40, say: noted}, {tell: 42, say: left_with_owner}]",
    )  # fmt: skip
    owner = "42: {roles: [rights_manager], team: rights, country: GB}"
    offered_to = ASK.replace("hand_over: rights_manager", "hand_over: production_coordinator")
    people = [COORDINATOR.replace("41", "40"), COORDINATOR, owner]
    assert faults(offered_to + END, [AUTHOR, *people], *moves) == []


def test_an_escalation_goes_on_though_those_before_it_have_an_offer_unless_they_want_it_by_now() -> None:
    steps = """\
  - {hand_over: rights_manager, say: ex_take}
  - {after: 1 day, hand_over: production_coordinator, say: ex_take_too}
  - {after: 1 day, hand_over: finance, say: ex_take_last}
"""
    names, buttons = ("ex_take", "ex_take_too", "ex_take_last"), "take: Take, not_me: No"
    templates = TEMPLATES | {name: template_text(name, "Take “{title}” please.", buttons) for name in names}
    people = f"{MANAGER}\n{COORDINATOR}\n61: {{roles: [finance], country: GB}}"
    taken = (
        EVENT, "wait: 1 day", "expect: [{hand_over: 40}, {hand_over: 41}]",
        "reply: {from: 41, button: take}", "expect: [{tell: 41, say: taken}]",
    )  # fmt: skip
    back = "reply: {from: 41, button: give_back}"
    on = (back, "expect: [{tell: 41, say: noted}]", "wait: 1 day", "expect: [{hand_over: 61}]")
    assert faults_of_rule(HEAD + steps, templates, people, *taken, *on) == []
    wanted = ("reply: {from: 40, button: take}", "expect: [{tell: 40, say: already_taken}]")
    again = (back, "expect: [{tell: 41, say: noted}, {hand_over: 40, say: ex_take}]", *on[2:])
    assert faults_of_rule(HEAD + steps, templates, people, *taken, *wanted, *again) == []


# ------------------------------------------------------------------ words of the night and the end of the chain


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("reply: {from: 813, button: yes}", "{tell: 813, say: noted}, {tell: 40, say: ex_told}, {end: answered}"),
        ("event: rights.request_withdrawn", "{end: until}"),
    ],
)
def test_words_of_the_night_are_read_though_the_chain_has_ended_before_the_morning(end: str, told: str) -> None:
    """Their person was told that a colleague has them; there is no matter to take any more."""
    head = HEAD.replace("steps:", "until: {on: rights.request_withdrawn}\nsteps:")
    read = "{tell: 40, say: to_read, text: 'from Person 812: “I must ask my agent first”'}"
    moves = (EVENT, NIGHT, WORDS, LATER, end, MORNING, f"expect: [{ASKED}, {{tell: 812}}, {told}, {read}]")
    assert faults(ASK + END, [AUTHORS, TEAM], *moves, head=head) == []


def test_words_that_one_colleague_has_had_are_not_told_to_another_at_the_end() -> None:
    in_tokyo = "41: {roles: [rights_manager], team: rights, country: JP, zone: Asia/Tokyo}"
    moves = (
        EVENT, WORDS, LATER, "reply: {from: 813, button: yes}",
        f"expect: [{ASKED}, {OFFERED}, {{tell: 812}}, {{tell: 813}}, {{tell: 40, say: ex_told}}]",
        "wait: 1 day", "expect: [{tell: 41, say: ex_told}, {end: answered}]",
    )  # fmt: skip
    assert faults(ASK + END, [AUTHORS, TEAM, in_tokyo], *moves) == []


def test_a_message_held_at_the_end_of_a_chain_goes_to_the_cover_in_the_morning() -> None:
    moves = (
        EVENT, NIGHT, WORDS, LATER, "reply: {from: 813, button: yes}",
        f"expect: [{ASKED}, {{tell: 812}}, {{tell: 813}}]", MORNING,
        f"expect: [{{tell: 42, text: my agent}}, {{tell: 42, say: ex_told}}, {{end: answered}}, {ABSENT}]",
    )  # fmt: skip
    assert faults(ASK + END, [AUTHORS, TEAM, COVER], *moves) == []


# ------------------------------------------------------------------ a matter that no colleague takes, beside questions

LETTERS = "  - {after: 2 working days, remind: unanswered, say: ex_ask}\n"
DECLINED = (
    EVENT, "reply: {from: 812, button: other}", "expect: [{ask: 812}, {ask: 813}, {hand_over: 40}, {tell: 812}]",
    "reply: {from: 40, button: not_me}",
)  # fmt: skip


def test_people_who_are_asked_are_not_reminded_early_because_a_colleague_declines() -> None:
    moves = (
        *DECLINED, "wait: 1 hour", "expect: [{tell: 40, say: noted}]",
        "wait: 3 days", "expect: [{remind: 812}, {remind: 813}]",
    )  # fmt: skip
    assert faults(ASK + LETTERS + END, [AUTHORS, MANAGER], *moves) == []


def test_a_step_that_reaches_staff_does_not_wait_where_a_colleague_declines() -> None:
    later = "  - {after: 5 working days, hand_over: production_coordinator, say: ex_take}\n"
    moves = (*DECLINED, "expect: [{tell: 40, say: noted}, {hand_over: 41, say: ex_take}]")
    templates = TEMPLATES | {
        "ex_take": template_text("ex_take", "Take “{title}” please.", "take: Take, not_me: Not me")
    }
    people = f"{AUTHORS}\n{MANAGER}\n{COORDINATOR}"
    assert faults_of_rule(HEAD + ASK + later + END, templates, people, *moves) == []


def test_a_question_that_waits_for_its_morning_is_not_reminded_of_because_a_colleague_declines() -> None:
    in_tokyo = "41: {roles: [production_coordinator], country: JP, zone: Asia/Tokyo}"
    asks = ASK.replace(
        "answers: {yes",
        "answers: {second: {ask: production_coordinator, say: ex_second, answers: {fine: "
        "{tell: rights_manager, say: ex_told}}}, yes",
    )
    templates = TEMPLATES | {
        "ex_ask": template_text("ex_ask", "Rights in “{title}” are asked for.", "second: B, yes: A, other: C")
    }
    moves = (
        EVENT, "reply: {from: 812, button: other}", "reply: {from: 812, button: second}",
        "expect: [{ask: 812}, {hand_over: 40}, {tell: 812, say: handed_over}, {tell: 812, say: noted}]",
        "reply: {from: 40, button: not_me}", "wait: 1 hour", "expect: [{tell: 40, say: noted}]",
        "wait: 1 day", "expect: [{ask: 41, say: ex_second}]",
    )  # fmt: skip
    last = "  - {after: 2 weeks, give_up: no answer, tell: author, say: ex_told}\n"
    assert faults_of_rule(HEAD + asks + LETTERS + last, templates, f"{AUTHOR}\n{MANAGER}\n{in_tokyo}", *moves) == []


LEADS_ON = """\
  - ask: author
    say: ex_ask
    answers:
      yes: {tell: sender, say: ex_told, continue: true}
      other: {ask: production_coordinator, say: ex_second, answers: {fine: {tell: author, say: ex_told}}}
"""
A_DAY = "  - {after: 1 day, remind: unanswered, say: ex_ask}\n"


def test_a_question_that_an_answer_has_just_asked_is_not_reminded_of_with_the_earlier_one() -> None:
    """Nor is the person reminded whose answer has asked it."""
    moves = (
        EVENT, "wait: 23 hours", "reply: {from: 812, button: other}",
        "expect: [{ask: 812}, {ask: 813}, {ask: 41, say: ex_second}, {tell: 812}]",
        "wait: 2 hours", "expect: [{remind: 813}]",
        "wait: 22 hours", "expect: [{remind: 41, say: ex_second}]",
    )  # fmt: skip
    assert faults(LEADS_ON + A_DAY + END, [AUTHORS, COORDINATOR], *moves) == []


def test_two_reminders_of_a_question_that_an_answer_has_asked_do_not_go_in_one_morning() -> None:
    """It was asked on a Friday: both would wait for the Monday."""
    moves = (
        "wait: 1 day", EVENT, "wait: 23 hours", "reply: {from: 812, button: other}",
        "expect: [{ask: 812}, {ask: 41, say: ex_second}, {tell: 812}]",
        "wait until: 2027-03-08T09:00:00Z", "expect: [{remind: 41, say: ex_second}]",
        "wait until: 2027-03-09T08:00:00Z", "expect: nothing",
        "wait until: 2027-03-09T09:00:00Z", "expect: [{remind: 41, say: ex_second}]",
    )  # fmt: skip
    assert faults(LEADS_ON + A_DAY + A_DAY + END, [AUTHOR, COORDINATOR], *moves) == []


def test_a_person_with_a_following_question_is_reminded_of_that_one_only() -> None:
    asks_on = LEADS_ON.replace("production_coordinator", "sender")
    moves = (
        EVENT, "reply: {from: 812, button: other}",
        "expect: [{ask: 812}, {ask: 812, say: ex_second}, {tell: 812}]",
        "wait: 2 days", "expect: [{remind: 812, say: ex_second}]",
        "reply: {from: 812, button: fine}", "expect: [{tell: 812}, {tell: 812, say: ex_told}, {end: answered}]",
    )  # fmt: skip
    assert faults(asks_on + A_DAY + END, [AUTHOR], *moves) == []


def test_a_reminder_that_waits_for_the_morning_does_not_go_where_its_person_has_answered_in_the_night() -> None:
    in_tokyo = "812: {roles: [author], country: JP, zone: Asia/Tokyo}"
    moves = (
        "wait until: 2027-03-04T02:00:00Z", EVENT, "expect: [{ask: 812}]", "wait until: 2027-03-05T11:00:00Z",
        "reply: {from: 812, button: other}", "expect: [{ask: 41, say: ex_second}, {tell: 812, say: noted}]",
        "wait until: 2027-03-08T08:00:00Z", "expect: nothing",
    )  # fmt: skip
    later = A_DAY.replace("1 day", "32 hours")
    assert faults(LEADS_ON + later + END, [in_tokyo, COORDINATOR], *moves) == []


def test_an_answer_that_continues_counts_as_answered_and_may_still_be_changed() -> None:
    end = "  - {after: 2 weeks, give_up: no answer, tell: unanswered, say: ex_late}\n"
    asked = (EVENT, "reply: {from: 812, button: other}", "expect: [{ask: 812}, {ask: 41, say: ex_second}, {tell: 812}]")
    templates = TEMPLATES | {"ex_late": template_text("ex_late", "It is too late for “{title}” now.")}
    given_up = ("wait: 15 days", "expect: [{tell: 41, say: ex_late}, {end: gave_up}]")
    people = f"{AUTHOR}\n{COORDINATOR}"
    assert faults_of_rule(HEAD + LEADS_ON + end, templates, people, *asked, *given_up) == []
    decides = LEADS_ON.replace(", continue: true", "")
    otherwise = ("reply: {from: 812, button: yes}", "expect: [{tell: 812, say: noted}, {tell: 812}, {end: answered}]")
    assert faults_of_rule(HEAD + decides + end, templates, people, *asked, *otherwise) == []


def test_a_question_that_was_answered_on_does_not_move_to_who_covers() -> None:
    """The answer may ask the one who covers; the question before it is not theirs."""
    asks = LEADS_ON.replace("ask: author", "ask: rights_manager", 1).replace("tell: author", "tell: rights_manager")
    cover = "42: {roles: [finance], team: finance, country: GB, stands_in_for: 40, from: 2027-03-04}"
    moves = (
        EVENT, "reply: {from: 40, button: other}", "expect: [{ask: 40}, {ask: 41, say: ex_second}, {tell: 40}]",
        "wait: 1 day", "expect: nothing",
    )  # fmt: skip
    assert faults(asks + END, [TEAM, COORDINATOR, cover], *moves) == []


# ------------------------------------------------------------------ people who are left out, and questions that wait

ASK_ALL = """\
  - ask: author
    say: ex_ask
    answers: {yes: {quorum: all, tell: rights_manager, say: ex_told}, other: {hand_over: rights_manager}}
  - {after: 5 working days, tell: author, say: ex_told}
"""


def test_an_opt_out_at_night_leaves_the_question_to_people_with_a_held_one() -> None:
    """The owner team is not told that no person can be asked, and the next step keeps its time."""
    moves = (
        NIGHT, EVENT, "reply: {from: 812, text: STOP}", "expect: [{tell: 812, say: stopped}]",
        MORNING, "expect: [{ask: 813}]", "wait: 1 working day", "expect: nothing",
        "reply: {from: 813, button: 'yes'}",
        "expect: [{tell: 813, say: noted}, {tell: 40, say: ex_told}, {end: answered}]",
    )  # fmt: skip
    assert faults(ASK_ALL + END, [AUTHORS, MANAGER], *moves) == []


def test_an_opt_out_leaves_the_question_to_people_for_whom_a_cap_holds_it() -> None:
    asked = "{event: rights.approval_requested, with: {request_id: R-2}}"
    waiting = "{left_out: {812: waiting, 813: waiting}}"
    moves = (
        EVENT, asked, f"expect: [{ASKED}, {waiting}]", "reply: {from: 812, text: STOP}",
        "expect: [{tell: 812, say: stopped}]", MORNING, "expect: [{ask: 813}]",
    )  # fmt: skip
    caps = "per_person: [{count: 1, per: day}]\n"
    assert faults(ASK_ALL + END, [AUTHORS, MANAGER], *moves, limits=caps) == []


# ------------------------------------------------------------------ forms of an answer

OF_FORMS = {
    **TEMPLATES,
    "ex_form": template_text("ex_form", "Rights in “{title}” are asked for.", "yes: Agreed, fill: Give details"),
    **WORDS_OF_FORM,
}
ASK_FORM = """\
  - after: 1 minute
    ask: author
    say: ex_form
    answers: {yes: {quorum: all, tell: rights_manager, say: ex_told}, fill: {collect: sender, form: details}}
"""
FILLED = (
    "reply: {from: 812, button: fill}", "reply: {from: 812, text: Sea Glass}", "reply: {from: 812, text: Tides}",
    "expect: [{collect: 812}, {collect: 812}, {collect: 812}, {collect: 812, say: ex_summary}]",
)  # fmt: skip


def form_faults(people: list[str], *moves: str, head: str = HEAD) -> list[str]:
    return faults_of_rule(head + ASK_FORM + END, OF_FORMS, "\n".join(people), *moves, forms=FORMS)


def test_cancelling_the_form_of_an_answer_keeps_the_question_open_for_all() -> None:
    agrees = "{tell: 812, say: noted}, {tell: 40, say: ex_told}, {end: answered}"
    moves = (
        EVENT, "wait: 1 minute", f"expect: [{ASKED}]",
        "reply: {from: 813, button: 'yes'}", "expect: [{tell: 813, say: noted}]", *FILLED,
        "reply: {from: 812, button: cancel}", "expect: [{collect: 812, say: form_cancelled}]",
        "reply: {from: 812, button: 'yes'}", f"expect: [{agrees}]",
    )  # fmt: skip
    assert form_faults([AUTHORS, MANAGER], *moves) == []


def test_cancelling_the_form_of_the_only_recipient_ends_the_chain() -> None:
    moves = (
        EVENT, "wait: 1 minute", "expect: [{ask: 812}]", *FILLED,
        "reply: {from: 812, button: cancel}", "expect: [{collect: 812, say: form_cancelled}, {end: answered}]",
    )  # fmt: skip
    assert form_faults([AUTHOR, MANAGER], *moves) == []


def test_a_form_is_recorded_once_however_many_events_its_chain_gathers() -> None:
    head = HEAD.replace("about: request_id", "about: work.work_id\non_repeat: join")
    second = "{event: rights.approval_requested, with: {request_id: R-2}}"
    moves = (
        EVENT, second, "wait: 1 minute", "expect: [{ask: 812}]", *FILLED, "reply: {from: 812, button: send}",
        "expect: [{record: acquisition.create, with: {title: Sea Glass}}, {collect: 812, say: noted}]",
    )  # fmt: skip
    assert form_faults([AUTHOR, MANAGER], *moves, head=head) == []


TWO_FORMS = FORMS | {"more": FORMS["details"].replace("form: details", "form: more")}
CHOICE = """\
  - ask: author
    say: ex_ask
    answers: {yes: {collect: sender, form: details}, other: {collect: sender, form: more}}
"""
BEGUN = (
    EVENT, "reply: {from: 812, button: yes}", "reply: {from: 812, text: Sea Glass}",
    "expect: [{ask: 812}, {collect: 812}, {collect: 812}, {collect: 812, say: details.pitch}]",
)  # fmt: skip


def of_two_forms(*moves: str) -> list[str]:
    templates = TEMPLATES | WORDS_OF_FORM
    return faults_of_rule(HEAD + CHOICE + END, templates, f"{AUTHOR}\n{MANAGER}", *moves, forms=TWO_FORMS)


def sends(form: str, title: str, pitch: str) -> tuple[str, ...]:
    return (
        f"reply: {{from: 812, text: {title}}}", f"reply: {{from: 812, text: {pitch}}}",
        f"expect: [{{collect: 812, say: {form}.pitch}}, {{collect: 812, say: ex_summary, text: {title} and {pitch}}}]",
        "reply: {from: 812, button: send}",
        f"expect: [{{record: acquisition.create, with: {{title: {title}}}}}, {{collect: 812, say: noted}}]",
    )  # fmt: skip


def test_another_form_of_the_same_question_takes_the_place_of_the_one_that_is_filled() -> None:
    other = (
        "reply: {from: 812, button: other}",
        "expect: [{collect: 812, say: ex_welcome}, {collect: 812, say: more.title}]",
    )
    assert of_two_forms(*BEGUN, *other, *sends("more", "Night Ferry", "A crossing")) == []


def test_the_first_form_begins_anew_where_its_person_comes_back_to_it() -> None:
    back = (
        "reply: {from: 812, button: other}", "reply: {from: 812, text: Night Ferry}", "reply: {from: 812, button: yes}",
        "expect: [{collect: 812}, {collect: 812}, {collect: 812}, {collect: 812}, {collect: 812, say: details.title}]",
    )  # fmt: skip
    assert of_two_forms(*BEGUN, *back, *sends("details", "Sea Salt", "A shore")) == []


def test_words_go_on_with_the_first_of_two_forms_when_the_second_is_sent() -> None:
    """The forms of two requests, which are two chains."""
    second = (
        "wait: 1 minute", "{event: rights.approval_requested, with: {request_id: R-2}}",
        "reply: {from: 812, button: other, to: ex_ask}",
        "expect: [{ask: 812}, {collect: 812, say: ex_welcome}, {collect: 812, say: more.title}]",
        *sends("more", "Night Ferry", "A crossing"),
        "written: {record: acquisition.create, as: verified}", "expect: [{end: answered}]",
    )  # fmt: skip
    first = ("reply: {from: 812, text: Tides}", "expect: [{collect: 812, say: ex_summary, text: Sea Glass and Tides}]")
    assert of_two_forms(*BEGUN, *second, *first) == []


def test_a_correction_that_cannot_be_read_is_asked_for_again_and_does_not_take_the_value_away() -> None:
    form = (
        FORMS["details"]
        .replace("pitch: {required: true}", "price: {type: number}")
        .replace("pitch: What", "price: What")
    )
    texts = {**OF_FORMS, "ex_summary": OF_FORMS["ex_summary"].replace("{pitch}", "{price}")}
    steps, people, asked = ASK_FORM + END, f"{AUTHOR}\n{MANAGER}", "{collect: 812}, {collect: 812}"
    moves = (
        EVENT, "wait: 1 minute", "reply: {from: 812, button: fill}", "reply: {from: 812, text: Sea Glass}",
        "reply: {from: 812, text: rather cheap}", "reply: {from: 812, text: '1250'}",
        f"expect: [{{ask: 812}}, {asked}, {asked}, {{collect: 812, text: '1,250'}}]",
        "reply: {from: 812, button: change}", "reply: {from: 812, text: price}", "reply: {from: 812, text: about 1300}",
        f"expect: [{asked}, {{collect: 812, text: a number in digits}}]",
        "reply: {from: 812, text: '1300'}", "expect: [{collect: 812, text: '1,300'}]",
        "reply: {from: 812, button: change}", "reply: {from: 812, text: price}", "reply: {from: 812, text: none}",
        "reply: {from: 812, text: none at all}",
        f"expect: [{asked}, {{collect: 812}}, {{collect: 812, text: Sea Glass and —}}]",
    )  # fmt: skip
    assert faults_of_rule(HEAD + steps, texts, people, *moves, forms={"details": form}) == []


# ------------------------------------------------------------------ hand-overs of a step, and dates that move


def test_a_matter_taken_by_an_offer_for_an_earlier_date_goes_to_the_owner_team_where_nothing_is_done() -> None:
    """The step lies ahead again, so that it has no offer any more; the one that was sent can be taken still."""
    steps = "  - {at: respond_by, hand_over: rights_manager, say: ex_take}\n"
    texts = {"ex_take": template_text("ex_take", "Please see to “{title}” soon.", "take: Take it, not_me: Not me")}
    asked = "event: rights.approval_requested, with: {{request_id: R-9, respond_by: {}}}"
    first, later = ("{" + asked.format(day) + "}" for day in ("2027-03-04", "2027-05-28"))
    moves = (
        first, "wait until: 2027-03-05T10:00:00Z", "expect: [{hand_over: 40}]",
        later, "reply: {from: 40, button: take}", "expect: [{tell: 40, say: taken}]",
        "wait: 14 working days", "expect: [{remind: 40, say: taken}, {tell: 40}, {end: left_with_owner}]",
    )  # fmt: skip
    assert faults_of_rule(HEAD + steps, texts, MANAGER, *moves) == []


# ------------------------------------------------------------------ forms and quiet hours

OFFER = """\
rule: offer
owner: acquisitions
why: {en: You wrote to us., fr: Vous nous avez écrit.}
on: message.received
if: {line: main, answers_a_question: false, kind: [text, media]}
about: sender.person_id
on_repeat: ignore
steps:
"""
LEFT = "  - {after: 7 days, give_up: left unfinished}\n"
VISITOR = "5001: {visitor: true, name: Maud, country: GB}\n71: {roles: [commissioning_editor], country: GB}"
WRITES = "reply: {from: 5001, line: main, text: I wrote a book}"
BEGINS = "expect: [{collect: 5001, say: ex_welcome}, {collect: 5001, say: details.title}]"
EVENING = "wait until: 2027-03-03T20:00:00Z"


def offer_faults(steps: str, *moves: str, form: str = FORMS["details"]) -> list[str]:
    return faults_of_rule(OFFER + steps + LEFT, OF_FORMS, VISITOR, *moves, forms={"details": form})


@pytest.mark.parametrize(
    "steps",
    [
        "  - {after: 3 hours, collect: sender, form: details}\n",
        "  - {after: 3 hours, tell: sender, say: ex_welcome}\n  - {collect: sender, form: details}\n",
    ],
)
def test_a_form_that_begins_hours_after_the_message_begins_in_the_morning(steps: str) -> None:
    told = BEGINS.replace("[", "[{tell: 5001, say: ex_welcome}, ") if "tell" in steps else BEGINS
    assert offer_faults(steps, EVENING, WRITES, NIGHT, "wait: 4 hours", "expect: nothing", MORNING, told) == []


def test_a_form_that_begins_within_the_hour_of_the_message_begins_at_once() -> None:
    steps = "  - {after: 30 minutes, collect: sender, form: details}\n"
    assert offer_faults(steps, EVENING, WRITES, "wait: 1 hour", BEGINS) == []


WITH_FILE = FORMS["details"].replace("pitch: {required: true}", "pitch: {document: [pdf], required: true}")
SENDS = (
    EVENING, WRITES, BEGINS, "reply: {from: 5001, text: Sea Glass}", "reply: {from: 5001, document: a.pdf}",
    "expect: [{collect: 5001, say: details.pitch}, {collect: 5001, say: ex_summary}]",
)  # fmt: skip
AT_ONCE = "  - {collect: sender, form: details}\n"


def test_a_file_that_is_refused_in_the_night_is_asked_for_again_in_the_morning() -> None:
    refused, form = "file: {from: 5001, refused: too_large}", WITH_FILE.replace("[pdf]", "[pdf], max_mb: 2")
    moves = (*SENDS, "wait: 4 hours", refused, "expect: nothing", MORNING, "expect: [{collect: 5001, text: too large}]")
    assert offer_faults(AT_ONCE, *moves, form=form) == []


def test_a_held_message_of_a_form_is_dropped_when_its_person_writes_before_the_morning() -> None:
    refused, form = "file: {from: 5001, refused: too_large}", WITH_FILE.replace("[pdf]", "[pdf], max_mb: 2")
    moves = (
        *SENDS, "wait: 4 hours", refused, "wait until: 2027-03-04T07:00:00Z", "reply: {from: 5001, document: b.pdf}",
        "expect: [{collect: 5001, say: ex_summary, text: b.pdf}]", MORNING, "expect: nothing",
    )  # fmt: skip
    assert offer_faults(AT_ONCE, *moves, form=form) == []


# ------------------------------------------------------------------ writes of several events

WRITTEN, NOT_WRITTEN = (f"written: {{record: rights.record_decision, as: {each}}}" for each in ("verified", "conflict"))
NOT_ENTERED = "{tell: 812, say: not_written}, {tell: 40, say: not_written}"


@pytest.mark.parametrize(
    ("outcomes", "told"),
    [
        ((WRITTEN, NOT_WRITTEN), f"{{tell: 40, say: ex_told}}, {NOT_ENTERED}"),
        ((NOT_WRITTEN, WRITTEN), f"{{tell: 40, say: ex_told}}, {NOT_ENTERED}"),
        ((NOT_WRITTEN, NOT_WRITTEN), NOT_ENTERED),
        ((WRITTEN, WRITTEN), "{tell: 40, say: ex_told}"),
    ],
)  # fmt: skip
def test_each_outcome_of_the_writes_of_one_answer_is_told_once(outcomes: tuple[str, str], told: str) -> None:
    head = HEAD.replace("about: request_id", "about: work.work_id\non_repeat: join")
    steps = """\
  - after: 1 minute
    ask: author
    say: ex_form
    answers:
      yes: {record: rights.record_decision, with: {decision: approved}, tell: rights_manager, say: ex_told}
      fill: {hand_over: rights_manager}
"""
    both = "{record: rights.record_decision}, {record: rights.record_decision}"
    moves = (
        EVENT, "{event: rights.approval_requested, with: {request_id: R-2}}", "wait: 1 minute", "expect: [{ask: 812}]",
        "reply: {from: 812, button: 'yes'}", f"expect: [{both}, {{tell: 812, say: noted}}]",
        *outcomes, f"expect: [{told}, {{end: answered}}]",
    )  # fmt: skip
    assert faults_of_rule(head + steps + END, OF_FORMS, f"{AUTHOR}\n{MANAGER}", *moves, forms=FORMS) == []


# ------------------------------------------------------------------ forms and absences


def test_a_colleague_who_fills_a_form_announces_an_absence_where_it_answers_no_field() -> None:
    form = (
        FORMS["details"].replace("pitch: {required: true}", "day: {type: date, required: true}").replace("pitch", "day")
    )
    texts = {**OF_FORMS, "ex_summary": OF_FORMS["ex_summary"].replace("{pitch}", "{day}")}
    steps, away = ASK_FORM.replace("ask: author", "ask: rights_manager") + END, "Away till 5 March 2027"
    moves = (
        EVENT, "wait: 1 minute", "reply: {from: 40, button: fill}", "reply: {from: 40, text: Sea Glass}",
        "expect: [{ask: 40}, {collect: 40}, {collect: 40, say: details.title}, {collect: 40, say: details.day}]",
        f"reply: {{from: 40, text: {away}}}", "expect: [{tell: 40, say: absence_uncovered}, {left_out: {40: absent}}]",
        "reply: {from: 40, text: 4 March 2027}", "expect: [{collect: 40, say: ex_summary, text: and 4 March 2027}]",
    )  # fmt: skip
    assert faults_of_rule(HEAD + steps, texts, MANAGER, *moves, forms={"details": form}) == []


# ------------------------------------------------------------------ copies of what waits

COPIED = """\
  - ask: author
    say: ex_ask
    answers:
      yes: {quorum: all, tell: author, say: ex_told}
      other: {veto: true, ask: rights_manager, say: ex_second, answers: {fine: {tell: author, say: ex_told}}}
  - {after: 4 hours, remind: unanswered, say: ex_ask, cc: production_coordinator}
"""
IN_NEW_YORK = "812: {roles: [author], country: US, zone: America/New_York}"
COPY = "{tell: 41, say: copy}"


def test_a_copy_goes_when_the_message_does_that_it_tells_of() -> None:
    steps = "  - {tell: author, say: ex_told, cc: production_coordinator}\n"
    moves = (
        EVENT,
        "wait: 3 hours",
        "expect: nothing",
        "wait: 2 hours",
        f"expect: [{{tell: 812}}, {COPY}, {{end: done}}]",
    )
    assert faults(steps, [IN_NEW_YORK, MANAGER, COORDINATOR], *moves) == []


def test_there_is_no_copy_of_a_reminder_that_a_veto_has_made_needless() -> None:
    moves = (
        "wait until: 2027-03-03T16:00:00Z", EVENT, f"expect: [{ASKED}]", "wait: 5 hours", "expect: nothing",
        "reply: {from: 812, button: other}", "expect: [{tell: 812, say: noted}]",
        MORNING, "expect: [{ask: 40, say: ex_second}]",
    )  # fmt: skip
    assert faults(COPIED + END, [AUTHORS, MANAGER, COORDINATOR], *moves) == []

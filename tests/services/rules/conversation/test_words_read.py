"""Words of a person who was told that a colleague has them reach a colleague, whatever becomes of the matter."""

import json

import pytest

from services.rules.conversation.context import RequestedMessage
from services.rules.scenario.player import StoryPlayer
from shared.contracts.ids import ContactId
from shared.contracts.values import encode
from shared.contracts.whatsapp import Media, MessageKind
from shared.runtime.redaction import PersonWords, redact
from tests.services.rules.conversation.test_combinations import (
    ASK,
    AT_SEA,
    AUTHORS,
    END,
    EVENT,
    HEAD,
    MORNING,
    NIGHT,
    NOT_ME,
    OFFERED,
    SECOND,
    TEAM,
    TEMPLATES,
    WORDS,
    faults,
)
from tests.services.rules.stories import faults_of_rule, own_rulebook, story, story_faults, template_text

LATER = "wait: 1 minute"
TAKE, DONE = "reply: {from: 40, button: take}", "reply: {from: 40, button: done}"
BEGUN = (EVENT, WORDS, "wait: 1 hour", f"expect: [{{ask: 812}}, {{ask: 813}}, {OFFERED}, {{tell: 812}}]")
HANDED_OVER = "{tell: 813, say: handed_over}"
IN_THE_NIGHT = (NIGHT, AT_SEA, f"expect: [{HANDED_OVER}]")
READ = "{tell: 40, say: to_read, text: 'from Person 813: “I shall be at sea”'}"


def test_taking_a_matter_at_night_shows_the_words_held_until_morning() -> None:
    moves = (*BEGUN, *IN_THE_NIGHT, TAKE, f"expect: [{{tell: 40, say: taken}}, {READ}]", DONE)
    ends = ("expect: [{tell: 40, say: noted}, {end: handled}]", MORNING, "expect: nothing")
    assert faults(ASK + END, [AUTHORS, TEAM], *moves, *ends) == []


def test_giving_a_matter_back_offers_the_words_to_the_others() -> None:
    begun = tuple(move.replace(OFFERED, f"{OFFERED}, {{hand_over: 41}}") for move in BEGUN)
    moves = (
        *begun, *IN_THE_NIGHT, TAKE, f"expect: [{{tell: 40, say: taken}}, {READ}]",
        "reply: {from: 40, button: give_back}", "expect: [{tell: 40, say: noted}]",
        MORNING, "expect: [{hand_over: 41, text: at sea}]",
    )  # fmt: skip
    assert faults(ASK + END, [AUTHORS, TEAM, SECOND], *moves) == []


def test_declining_at_night_still_offers_words_of_other_people_in_the_morning() -> None:
    moves = (
        *BEGUN, *IN_THE_NIGHT, NOT_ME, "expect: [{tell: 40, say: noted}]", NOT_ME, "expect: [{tell: 40}]",
        MORNING, "expect: [{hand_over: 40, text: at sea}]",
        "reply: {from: 40, button: not_me}", "expect: [{tell: 40, say: noted}]", "wait: 1 day", "expect: nothing",
    )  # fmt: skip
    assert faults(ASK + END, [AUTHORS, TEAM], *moves) == []


def test_declined_words_are_not_offered_again_in_the_morning() -> None:
    again = "reply: {from: 812, button: other}"
    handed_over = ("expect: [{ask: 812}, {ask: 813}, {hand_over: 40}, {tell: 812}]", NIGHT, again)
    declined = ("expect: [{tell: 812}]", NOT_ME, "expect: [{tell: 40}]", MORNING, "expect: nothing")
    moves = (EVENT, again, *handed_over, *declined)
    assert faults(ASK + END, [AUTHORS, TEAM], *moves) == []


INBOX = "71: {roles: [commissioning_editor], team: editorial, country: GB}"


def test_words_that_wait_for_a_colleague_who_opts_out_go_to_the_inbox_team() -> None:
    moves = (
        EVENT, *IN_THE_NIGHT[:2], f"expect: [{{ask: 812}}, {{ask: 813}}, {HANDED_OVER}]",
        "reply: {from: 40, text: STOP}", "expect: [{tell: 40, say: stopped}, {left_out: {40: opted_out}}]",
        MORNING, f"expect: [{READ.replace('40', '71')}, {{tell: 71, say: left_with_owner}}]",
    )  # fmt: skip
    assert faults(ASK + END, [AUTHORS, TEAM, INBOX], *moves) == []


def test_words_whose_offer_does_not_arrive_go_to_the_inbox_team() -> None:
    read = "{tell: 71, say: to_read, text: ask my agent}, {left_out: {40: unreachable}}"
    moves = (*BEGUN, "failed: {to: 40, code: 131026}", f"expect: [{read}]")
    assert faults(ASK + END, [AUTHORS, TEAM, INBOX], *moves) == []


@pytest.mark.parametrize(("night", "reads_at"), [((), ()), ((NIGHT,), (MORNING,))], ids=["by_day", "at_night"])
def test_words_whose_offer_does_not_arrive_are_read_after_the_end_too(
    night: tuple[str, ...], reads_at: tuple[str, ...]
) -> None:
    ask = ASK.replace("tell: rights_manager", "tell: sender")
    answered = (
        "reply: {from: 813, button: 'yes'}",
        "expect: [{tell: 813}, {tell: 813, say: ex_told}, {end: answered}]",
    )
    read = "expect: [{tell: 71, say: to_read, text: ask my agent}]"
    failed = "failed: {to: 40, code: 131026}"
    moves = (*BEGUN, *answered, *night, failed, *reads_at, read, failed, "wait: 3 days", "expect: nothing")
    assert faults(ask + END, [AUTHORS, TEAM, INBOX], *moves) == []


def test_words_that_were_passed_on_to_a_colleague_who_opts_out_are_read_by_another() -> None:
    """They wait for the colleague's morning, as their matter has ended in the night."""
    ask = ASK.replace("tell: rights_manager", "tell: sender")
    asked = f"expect: [{{ask: 812}}, {{ask: 813}}, {HANDED_OVER}]"
    answered = ("reply: {from: 812, button: 'yes'}", "expect: [{tell: 812, say: noted}, {tell: 812, say: ex_told}]")
    stopped = ("reply: {from: 40, text: STOP}", "expect: [{tell: 40, say: stopped}]")
    read = "expect: [{tell: 71, say: to_read, text: at sea}, {end: answered}]"
    moves = (EVENT, *IN_THE_NIGHT[:2], asked, *answered, *stopped, MORNING, read)
    assert faults(ask + END, [AUTHORS, TEAM, INBOX], *moves) == []


def test_words_of_which_neither_the_offer_nor_the_message_arrives_go_to_the_inbox_team() -> None:
    """The message came with the end of the matter, which took the offer away."""
    ask = ASK.replace("tell: rights_manager", "tell: sender")
    asked = f"expect: [{{ask: 812}}, {{ask: 813}}, {HANDED_OVER}]"
    answered = ("reply: {from: 812, button: 'yes'}", "expect: [{tell: 812, say: noted}, {tell: 812, say: ex_told}]")
    read, failed = "{tell: 40, say: to_read, text: at sea}, {end: answered}", "failed: {to: 40, code: 131026}"
    again = "expect: [{tell: 71, say: to_read, text: at sea}]"
    moves = (
        EVENT,
        *IN_THE_NIGHT[:2],
        asked,
        *answered,
        MORNING,
        f"expect: [{read}]",
        failed,
        again,
        "wait: 2 days",
        "expect: nothing",
    )
    assert faults(ask + END, [AUTHORS, TEAM, INBOX], *moves) == []


def test_the_report_that_no_person_has_a_matter_is_read_after_the_matter_is_given_up() -> None:
    """It waits for the team's morning, and the matter is given up in their night."""
    steps = ASK + "  - {at: respond_by, give_up: no answer}\n"
    in_tokyo = TEAM.replace("country: GB", "country: JP, zone: Asia/Tokyo")
    begun = ("{event: rights.approval_requested, with: {respond_by: 2027-03-03}}", "expect: [{ask: 812}, {ask: 813}]")
    failed = ("wait until: 2027-03-03T12:00:00Z", "failed: {to: 812, code: 131026}", "failed: {to: 813, code: 131026}")
    left_out = "{left_out: {812: unreachable}}, {left_out: {813: unreachable}}"
    read = f"expect: [{left_out}, {{tell: 40, say: left_with_owner}}, {{end: left_with_owner}}]"
    assert faults(steps, [AUTHORS, in_tokyo], *begun, *failed, "wait: 2 days", read) == []


@pytest.mark.parametrize("again", ["reply: {from: 812, text: Not yet}", "reply: {from: 812, button: other}"])
def test_the_same_words_or_button_of_one_night_are_offered_once_in_the_morning(again: str) -> None:
    replies = "{tell: 812, say: handed_over}, {tell: 812, say: handed_over}"
    moves = (
        EVENT, NIGHT, again, "wait: 2 hours", again, f"expect: [{{ask: 812}}, {{ask: 813}}, {replies}]",
        MORNING, "expect: [{hand_over: 40}]",
    )  # fmt: skip
    assert faults(ASK + END, [AUTHORS, TEAM], *moves) == []


# ------------------------------------------------------------------ answers after the end


def test_a_late_answer_that_is_tapped_again_is_told_once() -> None:
    def late(button: str) -> tuple[str, str]:
        return f"reply: {{from: 813, button: {button}}}", LATER

    closed, told = "{tell: 813, say: closed_question}", "{{tell: 40, say: late_answer, text: {}}}"
    moves = (
        EVENT, "reply: {from: 813, button: 'yes'}",
        "expect: [{ask: 812}, {ask: 813}, {tell: 813}, {tell: 40, say: ex_told}, {end: answered}]",
        *late("other"), f"expect: [{closed}, {told.format('Ask')}]",
        *late("other"), f"expect: [{closed}]",
        *late("'yes'"), f"expect: [{closed}]",
        *late("other"), f"expect: [{closed}, {told.format('Ask')}]",
    )  # fmt: skip
    assert faults(ASK + END, [AUTHORS, TEAM], *moves) == []


# ------------------------------------------------------------------ people who have opted out


def test_words_of_a_person_who_opted_out_start_no_form_and_go_to_a_colleague() -> None:
    people = "5001: {visitor: true, name: Maud, country: GB}\n" + INBOX
    moves = (
        "reply: {from: 5001, line: main, text: STOP}", "expect: [{tell: 5001, say: stopped}]",
        "reply: {from: 5001, line: acquisitions, text: I have written a novel}",
        "expect: [{tell: 71, say: to_read, text: a novel}, {left_out: {5001: opted_out}}]",
    )  # fmt: skip
    assert story_faults(people, *moves) == []


# ------------------------------------------------------------------ messages without words

RIGHTS = "812: {roles: [rights_holder], country: FR, language: fr}\n40: {roles: [rights_manager], country: GB}"
WORDLESS = "something without words: a voice message, a picture, a file or a place"


@pytest.mark.parametrize(
    ("kind", "media", "said"),
    [
        (MessageKind.MEDIA, Media(media_id="m", mime="audio/ogg; codecs=opus"), WORDLESS),
        (MessageKind.LOCATION, None, WORDLESS),
        (MessageKind.MEDIA, Media(media_id="m", mime="application/pdf", filename="Contract.pdf"), "Contract.pdf"),
    ],
)
@pytest.mark.parametrize(("steps", "say"), [(["event: rights.approval_requested"], "to_take"), ([], "to_read")])
def test_a_colleague_reads_that_a_message_had_no_words(
    steps: list[str], say: str, kind: MessageKind, media: Media | None, said: str
) -> None:
    asked = story(f"{RIGHTS}\n{INBOX}", *steps, "expect: nothing")
    player = StoryPlayer.of(asked, own_rulebook())
    for step in asked.steps[:-1]:
        assert player.play(step) == []
    player.simulation.effects.clear()
    player.simulation.receive(player.people.people[ContactId(812)].person_id, "main", kind, media=media)
    sent = [each.send for each in player.simulation.effects if isinstance(each, RequestedMessage)]
    (body,) = [send.body for send in sent if send.say == say]
    assert f"“{said if say == 'to_take' else WORDLESS}”" in body


def test_the_words_that_are_passed_on_stay_where_the_template_has_a_default_for_a_message_without_any() -> None:
    assert own_rulebook().templates["to_read"].defaults
    moves = (*BEGUN, *IN_THE_NIGHT, TAKE, f"expect: [{{tell: 40, say: taken}}, {READ}]")
    assert faults(ASK + END, [AUTHORS, TEAM], *moves) == []


# ------------------------------------------------------------------ what a member of the team writes


def test_a_message_of_a_member_of_the_team_is_read_by_the_others() -> None:
    writes, replies = "reply: {from: 71, text: The printer has called}", "{tell: 71, say: passed_on}"
    other = INBOX.replace("71", "72")
    moves = (writes, f"expect: [{replies}, {{tell: 72, say: to_read, text: The printer}}]")
    assert story_faults(f"{INBOX}\n{other}", *moves) == []
    alone = (writes, f"expect: [{replies}, {{tell: 71, say: to_read, text: The printer}}]")
    assert story_faults(INBOX, *alone) == []


# ------------------------------------------------------------------ offers of a matter that is over


def test_a_matter_left_with_the_team_is_not_reminded_in_the_same_moment() -> None:
    last = "  - {after: 10 working days, hand_over: production_coordinator, say: ex_take}\n"
    unknown = "{left_out: {production_coordinator: unknown_role}}"
    take = {"ex_take": template_text("ex_take", "Please see to “{title}” soon.", "take: Take it, not_me: Not me")}
    moves = (
        EVENT, WORDS, "expect: [{ask: 812}, {ask: 813}, {tell: 812}, {hand_over: 71}]",
        "wait: 11 working days",
        f"expect: [{{tell: 71, say: left_with_owner}}, {{end: left_with_owner}}, {unknown}]",
    )  # fmt: skip
    assert faults_of_rule(HEAD + ASK + last, TEMPLATES | take, f"{AUTHORS}\n{INBOX}", *moves) == []


# ------------------------------------------------------------------ people who are erased


def test_words_in_messages_to_colleagues_are_erased_with_their_person() -> None:
    """They are offered, reminded of and passed on in messages that are about a colleague."""
    people = f"812: {{roles: [rights_holder], country: GB}}\n{TEAM}\n{INBOX}"
    said = "I must ask my agent first"
    one = story(people, EVENT, f"reply: {{from: 812, text: {said}}}", "failed: {to: 40, code: 131026}")
    player = StoryPlayer.of(one, own_rulebook())
    for step in one.steps:
        assert player.play(step) == []
    (chain,) = player.simulation.facts.chains.values()
    assert {"to_take", "to_read"} <= {message.say for message in chain.messages}
    writer = player.people.people[ContactId(812)]
    stored = json.loads(encode(chain))
    assert said in str(stored)
    assert said not in str(redact(stored, PersonWords(writer.person_id, ("Person 812",)), in_own_row=True))

"""Replies of people: reactions and thanks, opt-out words, and titles that only look like them."""

import pytest

from tests.services.rules.stories import story_faults

MAUD = "5001: {visitor: true, name: Maud Ferrier, country: GB}\n71: {roles: [commissioning_editor], country: GB}"
AUTHOR = "801: {roles: [author], country: GB}\n12: {roles: [managing_editor], country: GB}"
_ROLES = ("illustrator", "translator", "editor", "production_lead")
UNFILLED = "".join(f", {{left_out: {{{each}: unknown_role}}}}" for each in _ROLES)
TOLD = f"expect: [{{tell: 801, say: stage_changed}}{UNFILLED}, {{end: done}}]"
HOLDER = "812: {roles: [rights_holder], country: GB}\n40: {roles: [rights_manager], team: rights, country: GB}"
STAGE = "{event: work.stage_changed, with: {to_stage_key: final_proof_approved}}"
ASKED = "{event: rights.approval_requested, with: {respond_by: 2027-04-30, rights_holder: 812}}"
BEGUN = (
    "reply: {from: 5001, line: acquisitions, text: A history of tide mills}",
    "expect: [{collect: 5001, say: pitch_welcome}, {collect: 5001, say: pitch.title}]",
)
ACKNOWLEDGEMENTS = ["👍", "❤️", "Thanks!", "ok", "merci", "Thank you so much 🙏", "👏👏"]


@pytest.mark.parametrize(
    "said", [*(f"reaction: {each}" for each in "👍❤😂🙏"), *(f'text: "{e}"' for e in ACKNOWLEDGEMENTS)]
)
@pytest.mark.parametrize("to", [", to: stage_changed", ""])
def test_a_reaction_or_thanks_to_a_notice_causes_nothing(said: str, to: str) -> None:
    moves = (STAGE, TOLD, f"reply: {{from: 801, {said}{to}}}")
    assert story_faults(AUTHOR, *moves, "expect: nothing") == []


@pytest.mark.parametrize("said", ["reaction: 👍", 'text: "👍"', "text: ok", "text: Thank you so much 🙏"])
def test_a_reaction_or_thanks_to_a_question_approves_nothing_and_is_handed_to_a_person(said: str) -> None:
    moves = (ASKED, "expect: [{ask: 812}]", f"reply: {{from: 812, {said}, to: rights_request}}")
    assert story_faults(HOLDER, *moves, "expect: [{hand_over: 40, say: to_take}, {tell: 812, say: handed_over}]") == []


def test_a_reaction_to_a_question_that_is_answered_causes_nothing() -> None:
    moves = (
        ASKED,
        "reply: {from: 812, button: approve}",
        "expect: [{ask: 812}, {record: rights.record_decision}, {tell: 812, say: noted}]",
        "reply: {from: 812, reaction: 🙏, to: rights_request}",
        "reply: {from: 812, reaction: ❤, to: noted}",
        "reply: {from: 812, text: Thanks, to: rights_request}",
        "expect: nothing",
    )
    assert story_faults(HOLDER, *moves) == []


def test_a_reply_to_a_notice_goes_to_its_owner_and_closes_no_question() -> None:
    moves = (
        STAGE,
        TOLD,
        "reply: {from: 801, text: When will it be out?, to: stage_changed}",
        "expect: [{tell: 12, say: to_read, text: When will it be out?}, {tell: 801, say: passed_on}]",
    )
    assert story_faults(AUTHOR, *moves) == []


@pytest.mark.parametrize("said", ["reaction: ❤", 'text: "❤️"', 'text: "👍🏽👍🏽"', "text: Thanks!", "text: merci"])
def test_a_heart_starts_no_pitch(said: str) -> None:
    assert story_faults(MAUD, f"reply: {{from: 5001, line: acquisitions, {said}}}", "expect: nothing") == []


@pytest.mark.parametrize("said", ["reaction: ❤", 'text: "❤️"', "text: Thank you so much 🙏"])
def test_a_heart_is_appended_to_no_record(said: str) -> None:
    known = "facts: {sender.open_acquisition: K7PQ2M}"
    assert story_faults(MAUD, known, f"reply: {{from: 5001, line: acquisitions, {said}}}", "expect: nothing") == []


@pytest.mark.parametrize("said", ["reaction: ❤", "reaction: 👍"])
def test_a_reaction_to_a_form_s_question_is_no_answer(said: str) -> None:
    assert story_faults(MAUD, *BEGUN, f"reply: {{from: 5001, {said}, to: pitch.title}}", "expect: nothing") == []


def test_emoji_are_no_title_and_the_form_asks_again() -> None:
    moves = (*BEGUN, 'reply: {from: 5001, text: "❤️"}', "expect: [{collect: 5001, say: pitch.title}]")
    assert story_faults(MAUD, *moves) == []


@pytest.mark.parametrize(
    "title",
    ["Basta", "End", "Quit", "Cancel", "Revoke", "Unsubscribe", "Alto", "Fin", "停止", "Стоп", "Why", "Start", "Absent",
     "Merci", "Thank You", "Please Stop", "Not Me"],
)  # fmt: skip
def test_a_title_is_a_title(title: str) -> None:
    moves = (
        f"reply: {{from: 5001, text: {title}}}",
        "expect: [{collect: 5001, say: pitch.genre}]",
        "reply: {from: 5001, text: fiction}",
        'reply: {from: 5001, button: "no"}',
        "reply: {from: 5001, text: later}",
        f"expect: [{{collect: 5001}}, {{collect: 5001}}, {{collect: 5001, text: 'Title: {title}. Author'}}]",
    )
    assert story_faults(MAUD, *BEGUN, *moves) == []


def test_a_title_that_is_a_stop_word_is_confirmed_with_the_way_to_opt_out() -> None:
    moves = (
        *BEGUN,
        "reply: {from: 5001, text: Basta}",
        'expect: [{collect: 5001, say: pitch.genre, text: "write STOP"}]',
    )
    assert story_faults(MAUD, *moves) == []


@pytest.mark.parametrize("said", ["STOP", "Stop.", "END", "Basta"])
def test_a_stop_word_is_a_title_and_a_button_opts_out_instead(said: str) -> None:
    taken = (f'reply: {{from: 5001, text: "{said}"}}', "expect: [{collect: 5001, say: pitch.genre}]")
    stopped = "expect: [{tell: 5001, say: stopped}, {end: gave_up}]"
    assert story_faults(MAUD, *BEGUN, *taken, "reply: {from: 5001, button: stop_all}", stopped) == []
    assert story_faults(MAUD, *BEGUN, *taken, 'reply: {from: 5001, text: "1"}', "expect: [{collect: 5001}]") == []


@pytest.mark.parametrize("again", ["STOP", "stop!"])
def test_stop_itself_counts_once_the_button_was_offered(again: str) -> None:
    taken = ("reply: {from: 5001, text: STOP}", "expect: [{collect: 5001, say: pitch.genre}]")
    stopped = (f'reply: {{from: 5001, text: "{again}"}}', "expect: [{tell: 5001, say: stopped}, {end: gave_up}]")
    assert story_faults(MAUD, *BEGUN, *taken, *stopped) == []


def test_the_button_opts_out_also_when_the_form_is_over() -> None:
    answers = ("text: Basta", "text: poetry", "text: partly", "text: later", "button: cancel", "button: stop_all")
    seen = f"{', '.join(['{collect: 5001}'] * 5)}, {{end: answered}}, {{tell: 5001, say: stopped}}"
    moves = (*(f"reply: {{from: 5001, {each}}}" for each in answers), f"expect: [{seen}]")
    assert story_faults(MAUD, *BEGUN, *moves) == []


def test_stop_is_confirmed_once() -> None:
    moves = (STAGE, TOLD, "reply: {from: 801, text: STOP}", "expect: [{tell: 801, say: stopped}]")
    assert story_faults(AUTHOR, *moves, "reply: {from: 801, text: Unsubscribe}", "expect: nothing") == []


@pytest.mark.parametrize("said", ["END", "Quit", "Basta"])
def test_a_stop_word_opts_out_where_a_form_offers_options(said: str) -> None:
    moves = (*BEGUN, "reply: {from: 5001, text: Marsh Light}", "expect: [{collect: 5001, say: pitch.genre}]")
    stopped = (f"reply: {{from: 5001, text: {said}}}", "expect: [{tell: 5001, say: stopped}, {end: gave_up}]")
    assert story_faults(MAUD, *moves, *stopped) == []


def test_cancel_written_at_the_summary_cancels_the_form_and_no_more() -> None:
    filled = (
        "reply: {from: 5001, text: Marsh Light}",
        "reply: {from: 5001, text: poetry}",
        "reply: {from: 5001, text: partly}",
        "reply: {from: 5001, text: later}",
        "expect: [{collect: 5001}, {collect: 5001}, {collect: 5001}, {collect: 5001, say: pitch_summary}]",
    )
    cancelled = ("reply: {from: 5001, text: Cancel}", "expect: [{collect: 5001, say: form_cancelled}, {end: answered}]")
    assert story_faults(MAUD, *BEGUN, *filled, *cancelled) == []


@pytest.mark.parametrize("said", ["QUIT", "END", "REVOKE", "CANCEL", "PARE", "стоп", "停止", "توقف", "please stop"])
def test_a_stop_word_in_reply_to_a_question_opts_out(said: str) -> None:
    moves = (
        ASKED,
        "expect: [{ask: 812}]",
        f"reply: {{from: 812, text: {said}}}",
        "expect: [{tell: 812, say: stopped}, {hand_over: 40, say: rights_unanswered}]",
    )
    assert story_faults(HOLDER, *moves) == []


DONE = "{collect: 5001, say: pitch_received}"
CREATED = "{record: acquisition.create, with: {author: Maud Ferrier, submitter_name: ''}}"


@pytest.mark.parametrize("name", ["WhatsApp visitor", "+44 7700 900777", "🌸", "."])
def test_a_person_without_a_name_is_asked_for_the_author_s_name(name: str) -> None:
    moves = (
        "reply: {from: 5001, line: acquisitions, text: A novel of the marshes}",
        "reply: {from: 5001, text: Marsh Light}",
        "expect: [{collect: 5001}, {collect: 5001, say: pitch.title}, {collect: 5001, say: pitch.author}]",
        "reply: {from: 5001, text: Maud Ferrier}",
        "reply: {from: 5001, text: fiction}",
        'reply: {from: 5001, button: "no"}',
        "reply: {from: 5001, text: later}",
        "reply: {from: 5001, button: send}",
        f"expect: [{3 * '{collect: 5001}, '}{{collect: 5001, text: 'Author: Maud Ferrier.'}}, {CREATED}, {DONE}]",
    )
    assert story_faults(f'5001: {{visitor: true, name: "{name}", country: GB}}', *moves) == []


def test_a_message_of_a_person_without_a_name_shows_a_placeholder() -> None:
    cast = "5001: {visitor: true, name: WhatsApp visitor, country: GB}\n11: {roles: [editor], country: GB}"
    moves = (
        "reply: {from: 5001, text: Do you take novels?}",
        "expect: [{tell: 11, say: to_read, text: from WhatsApp visitor}, {tell: 5001, say: passed_on}]",
    )
    assert story_faults(cast, *moves) == []


def test_a_why_after_a_reminder_is_about_the_title_of_the_reminder() -> None:
    """Two questions of one rule wait, and the older one was the last to be reminded of."""

    def asked(request: str, work: int, title: str) -> str:
        return (
            f"{{event: rights.approval_requested, with: {{request_id: {request}, respond_by: 2027-04-30, "
            f"work: {{work_id: {work}, title: {title}}}, rights_holder: 812}}}}"
        )

    people = "812: {roles: [rights_holder], country: GB}\n40: {roles: [rights_manager], country: GB}"
    moves = (
        asked("R-1", 1, "First"), "wait: 1 working day", asked("R-2", 2, "Second"), "wait: 1 working day",
        "expect: [{ask: 812}, {ask: 812}, {remind: 812}]",
        "reply: {from: 812, text: why}", "expect: [{tell: 812, say: why_answer, text: First}]",
    )  # fmt: skip
    assert story_faults(people, *moves) == []


def test_words_to_a_question_whose_chain_has_ended_are_passed_on_and_answered_as_closed() -> None:
    moves = (
        ASKED,
        "event: rights.request_withdrawn",
        "expect: [{ask: 812}, {tell: 812, say: rights_request_void}, {end: until}]",
        "reply: {from: 812, text: But I meant the other book, to: rights_request}",
        "expect: [{tell: 812, say: closed_question}, {tell: 40, say: to_read, text: the other book}]",
    )
    assert story_faults(HOLDER, *moves) == []


def test_a_wrong_number_is_replied_to_once_and_one_of_the_staff_disputes_only_a_question() -> None:
    staff = "22: {roles: [production_lead], country: GB}"
    again = "reply: {from: 812, text: wrong number}"
    disputed = "{tell: 812, say: wrong_person}, {tell: 40, say: address_disputed}, {left_out: {812: wrong_person}}"
    at_once = f"expect: [{{ask: 812}}, {disputed}, {{hand_over: 40}}]"
    moves = (ASKED, again, at_once, again, "expect: [{withdraw: 812}, {left_out: {812: wrong_person}}]")
    assert story_faults(HOLDER, *moves) == []
    of_staff = (STAGE, "reply: {from: 22, text: wrong number}")
    told = "{tell: 22, say: stage_changed_staff}, {end: done}, {tell: 22, say: passed_on}"
    unfilled = "".join(f", {{left_out: {{{each}: unknown_role}}}}" for each in ("author", *_ROLES[:-1]))
    assert story_faults(staff, *of_staff, f"expect: [{told}{unfilled}]") == []

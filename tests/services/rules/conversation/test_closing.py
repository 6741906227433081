"""No message leaves after its reason is gone: a chain that ends withdraws its unsent messages."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.rules.conversation.chain import Chain, ChainMessage, DeliveryState, Ending
from services.rules.rulebook.model import Verb
from tests.services.rules.delayed_dispatcher import DelayedStory, sent_templates, unsent_messages, withdrawn

RIGHTS = "812: {roles: [rights_holder], country: GB}\n40: {roles: [rights_manager], country: GB}"
ASKED = "{event: rights.approval_requested, with: {respond_by: 2027-03-19}}"
REMINDED = (ASKED, "wait: 2 working days")  # a question and a reminder are requested, and nobody has sent them
CONFIRMERS = (
    "801: {roles: [author], country: GB}\n803: {roles: [translator], country: GB}\n31: {roles: [metadata_manager]}"
)
METADATA = (
    "{event: metadata.confirmation_requested, with: {quorum: all, confirmers: [801, 803], respond_by: 2027-04-30}}"
)


@pytest.mark.parametrize(
    ("end", "ending"),
    [
        ("reply: {from: 812, button: approve, to: rights_request}", None),  # waits for its write
        ("event: rights.request_withdrawn", Ending.UNTIL),
        ("{event: rights.request_changed, with: {new_terms_hash: other}}", Ending.UNTIL),
        ("wait until: 2027-04-01T10:00:00Z", None),  # given up, and waits for its write
    ],
)
def test_a_chain_that_ends_withdraws_its_requested_messages(end: str, ending: Ending | None) -> None:
    play = DelayedStory(RIGHTS)
    play.move(*REMINDED)
    question, reminder = unsent_messages(play.chain)
    tapped = {question.message_id} if "reply" in end else set()
    effects = play.effects_of([end])
    assert {question.message_id, reminder.message_id} - tapped <= withdrawn(effects)
    assert play.chain.ended is ending
    assert not play.chain.active


def test_the_messages_of_an_ending_are_not_withdrawn() -> None:
    play = DelayedStory(RIGHTS)
    play.move(ASKED)
    play.stage.report_one(0)
    effects = play.effects_of(["event: rights.request_withdrawn"])
    assert sent_templates(effects) == ["rights_request_void"]
    assert withdrawn(effects) == set()


def test_a_report_of_a_write_after_the_end_is_not_withdrawn() -> None:
    play = DelayedStory(RIGHTS)
    play.move(ASKED)
    play.stage.report_one(0)
    play.move("reply: {from: 812, button: approve}")
    effects = play.effects_of(["written: {record: rights.record_decision, as: verified}"])
    assert sent_templates(effects) == ["rights_approved"]
    assert withdrawn(effects) == set()


def test_a_notice_the_end_did_not_make_is_taken_back() -> None:
    cast = "830: {roles: [designer], country: GB}\n22: {roles: [production_coordinator], country: GB}"
    play = DelayedStory(cast, about="deadline-reminders")
    play.move(
        "{event: schedule.date_set, with: {new_due: 2027-03-19, affected: [830]}}", "wait until: 2027-03-12T12:00:00Z"
    )
    notices = {m.message_id for m in unsent_messages(play.chain)}
    assert len(notices) == 2
    assert withdrawn(play.effects_of(["event: milestone.completed"])) == notices


def test_messages_for_an_earlier_date_are_withdrawn_when_the_date_moves() -> None:
    cast = "830: {roles: [designer], country: GB}\n22: {roles: [production_coordinator], country: GB}"
    play = DelayedStory(cast, about="deadline-reminders")
    play.move(
        "{event: schedule.date_set, with: {new_due: 2027-03-19, affected: [830]}}", "wait until: 2027-03-12T12:00:00Z"
    )
    notices = {m.message_id for m in unsent_messages(play.chain)}
    moved = "{event: schedule.date_changed, with: {new_due: 2027-04-30, affected: [830]}}"
    assert withdrawn(play.effects_of([moved])) == notices


def test_a_message_that_falls_due_with_the_end_is_not_requested() -> None:
    """After days without timers the reminder is due, and so is the end: only the end speaks."""
    play = DelayedStory(RIGHTS)
    play.move(ASKED)
    play.stage.report_one(0)
    play.stage.now += timedelta(days=40)
    before = len(play.stage.effects)
    play.stage._run(play.chain)
    assert "rights_reminder" not in sent_templates(play.stage.effects[before:])
    assert play.chain.closing is Ending.GAVE_UP


def test_a_person_who_has_answered_is_not_reminded() -> None:
    play = DelayedStory(CONFIRMERS, about="metadata-confirmation")
    play.move(METADATA)
    play.stage.report_one(0)
    play.stage.report_one(0)
    play.move("wait: 1 working day")
    mine, theirs = (m for m in unsent_messages(play.chain) if m.verb is Verb.REMIND)
    effects = play.effects_of(["reply: {from: 801, button: confirm, to: metadata_confirm}"])
    assert withdrawn(effects) == {mine.message_id}
    assert mine.person_id == play.person(801)
    assert play.chain.message(theirs.message_id) == theirs


@pytest.mark.parametrize("wait", ["wait: 20 hours", "wait: 24 hours"])  # the reminder is held, or requested
@pytest.mark.parametrize("button", ["send", "cancel"])
def test_a_form_that_is_over_takes_back_its_reminder(wait: str, button: str) -> None:
    play = DelayedStory(
        "5001: {visitor: true, name: Maud Ferrier, country: GB}\n71: {country: GB}", about="pitch-intake"
    )
    play.move(
        "reply: {from: 5001, line: acquisitions, text: A history of tide mills}",
        *(f"reply: {{from: 5001, {what}}}" for what in ("text: The Tide Millers", "text: '2'", "button: 'no'")),
        "reply: {from: 5001, document: mills.pdf}",
        wait,
    )
    reminders = {m.message_id for m in unsent_messages(play.chain) if m.verb is Verb.REMIND}
    assert len(reminders) == 1
    effects = play.effects_of([f"reply: {{from: 5001, button: {button}}}"])
    assert reminders <= withdrawn(effects) | {
        m.message_id for m in play.chain.messages if m.delivery is DeliveryState.WITHDRAWN
    }


# ------------------------------------------------------------------ in any order


def has_no_reason(chain: Chain, outgoing: ChainMessage) -> bool:
    """After the end: questions, reminders and notices of the steps; not replies, outcomes, or the end's own words."""
    if outgoing.is_question:
        return True
    last = outgoing.step == len(chain.steps) - 1 and outgoing.verb is Verb.GIVE_UP
    return outgoing.answer is None and not outgoing.reply and not last


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("tell"), st.integers(0, 3)),
        st.tuples(st.just("wait"), st.sampled_from([1, 7, 13, 24, 49, 120])),
        st.tuples(
            st.just("reply"), st.tuples(st.sampled_from([801, 803]), st.sampled_from(["confirm", "show", "correct"]))
        ),
        st.tuples(st.just("event"), st.just("metadata.changed")),
        st.tuples(st.just("write"), st.sampled_from(["verified", "conflict", "manual"])),
        st.tuples(st.just("stop"), st.sampled_from([801, 803])),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(moves=MOVES, quorum=st.sampled_from(["all", "first"]), country=st.sampled_from(["GB", "JP", "US"]))
def test_no_unsent_message_of_a_closed_chain_is_left_without_its_withdrawal(
    moves: list[tuple[str, object]], quorum: str, country: str
) -> None:
    cast = CONFIRMERS.replace("translator], country: GB", f"translator], country: {country}")
    play = DelayedStory(cast, about="metadata-confirmation")
    play.move(METADATA.replace("quorum: all", f"quorum: {quorum}"))
    for kind, what in moves:
        make(play, kind, what)
    taken_back = withdrawn(play.stage.effects)
    for chain in play.stage.facts.chains.values():
        if chain.active or chain.ended is Ending.DONE:
            continue
        left = [m for m in unsent_messages(chain) if has_no_reason(chain, m) and m.message_id not in taken_back]
        assert left == []
        assert all(m.delivery is not DeliveryState.HELD or m.answer is not None for m in chain.messages)


def make(play: DelayedStory, kind: str, what: object) -> None:
    """What cannot be done at this moment is not done."""
    if kind == "tell" and play.stage.requested:
        play.stage.report_one(int(str(what)) % len(play.stage.requested))
    elif kind == "wait":
        play.pass_time(timedelta(hours=int(str(what))))
    elif kind == "reply" and isinstance(what, tuple):
        if any(m.person_id == play.person(what[0]) and m.requested_at and what[1] in m.buttons for m in messages(play)):
            play.move(f"reply: {{from: {what[0]}, button: {what[1]}}}")
    elif kind == "event":
        play.move(f"{{event: {what}}}")
    elif kind == "write" and play.stage.writes:
        play.move(f"written: {{record: {play.stage.writes[0].input.operation}, as: {what}}}")
    elif kind == "stop":
        play.move(f"reply: {{from: {what}, text: STOP}}")


def messages(play: DelayedStory) -> list[ChainMessage]:
    return [m for chain in play.stage.facts.chains.values() for m in chain.messages]

"""No message leaves after its reason is gone: a chain that ends withdraws its unsent messages."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.rules.conversation.chain import Chain, ChainMessage, DeliveryState, Ending
from services.rules.conversation.context import RequestedMessage
from services.rules.rulebook.model import NOWHERE, After, At, Step, Verb
from services.rules.scenario.player import StoryPlayer
from shared.clients.working_calendar import Duration, TimeUnit
from shared.contracts.ids import RuleId
from tests.services.rules.delayed_dispatcher import DelayedStory, sent_templates, unsent_messages, withdrawn
from tests.services.rules.stories import own_rulebook, story

RIGHTS = "812: {roles: [rights_holder], country: GB}\n40: {roles: [rights_manager], country: GB}"
ASKED = "{event: rights.approval_requested, with: {respond_by: 2027-03-19}}"
REMINDED = (ASKED, "wait: 2 working days")  # a question and a reminder are requested, and not sent yet
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
    story = DelayedStory(RIGHTS)
    story.play(*REMINDED)
    question, reminder = unsent_messages(story.chain)
    tapped = {question.message_id} if "reply" in end else set()
    effects = story.effects_of([end])
    assert {question.message_id, reminder.message_id} - tapped <= withdrawn(effects)
    assert story.chain.ended is ending
    assert not story.chain.active


def test_a_chain_that_ends_withdraws_a_message_whose_send_is_uncertain() -> None:
    """The dispatcher sends it again where nothing ever proves it."""
    story = DelayedStory(RIGHTS)
    story.play(*REMINDED)
    question, reminder = unsent_messages(story.chain)
    story.simulation.report_uncertain(0)
    story.simulation.report_uncertain(0)
    effects = story.effects_of(["event: rights.request_withdrawn"])
    assert withdrawn(effects) == {question.message_id, reminder.message_id}


@pytest.mark.parametrize("is_over", [True, False])
def test_a_message_that_whatsapp_reports_as_failed_goes_again_only_while_it_has_a_reason(*, is_over: bool) -> None:
    story = DelayedStory(RIGHTS)
    story.play(ASKED)
    (question,) = unsent_messages(story.chain)
    story.simulation.report_one(0)
    if is_over:
        story.play("event: rights.request_withdrawn")
    before = len(story.simulation.effects)
    story.simulation.report_again(question.message_id, question.person_id)
    assert withdrawn(story.simulation.effects[before:]) == ({question.message_id} if is_over else set())


@pytest.mark.parametrize("is_stopped", [True, False])
@pytest.mark.parametrize("moves", [("event: rights.request_withdrawn",), ("reply: {from: 812, text: why}",)])
def test_a_message_sent_before_an_opt_out_is_not_sent_again_after_it(
    moves: tuple[str, ...], *, is_stopped: bool
) -> None:
    """The last message of a chain that has ended, and an answer that belongs to no chain."""
    story = DelayedStory(RIGHTS)
    story.play(ASKED)
    story.simulation.report_one(0)
    story.play(*moves)
    last = [*story.simulation.requested, *story.simulation.facts.notices.items()][-1]
    story.simulation.report_all()
    if is_stopped:
        story.play("reply: {from: 812, text: STOP}")
        story.simulation.report_all()
    before = len(story.simulation.effects)
    story.simulation.report_again(*last)
    assert withdrawn(story.simulation.effects[before:]) == ({last[0]} if is_stopped else set())


def test_the_messages_of_an_ending_are_not_withdrawn() -> None:
    story = DelayedStory(RIGHTS)
    story.play(ASKED)
    story.simulation.report_one(0)
    effects = story.effects_of(["event: rights.request_withdrawn"])
    assert sent_templates(effects) == ["rights_request_void"]
    assert withdrawn(effects) == set()


def test_a_report_of_a_write_after_the_end_is_not_withdrawn() -> None:
    story = DelayedStory(RIGHTS)
    story.play(ASKED)
    story.simulation.report_one(0)
    story.play("reply: {from: 812, button: approve}")
    effects = story.effects_of(["written: {record: rights.record_decision, as: verified}"])
    assert sent_templates(effects) == ["rights_approved"]
    assert withdrawn(effects) == set()


def test_a_notice_the_end_did_not_make_is_taken_back() -> None:
    cast = "830: {roles: [designer], country: GB}\n22: {roles: [production_coordinator], country: GB}"
    story = DelayedStory(cast, rule="deadline-reminders")
    story.play(
        "{event: schedule.date_set, with: {new_due: 2027-03-19, affected: [830]}}", "wait until: 2027-03-12T12:00:00Z"
    )
    notices = {m.message_id for m in unsent_messages(story.chain)}
    assert len(notices) == 2
    assert withdrawn(story.effects_of(["event: milestone.completed"])) == notices


def test_messages_for_an_earlier_date_are_withdrawn_when_the_date_moves() -> None:
    cast = "830: {roles: [designer], country: GB}\n22: {roles: [production_coordinator], country: GB}"
    story = DelayedStory(cast, rule="deadline-reminders")
    story.play(
        "{event: schedule.date_set, with: {new_due: 2027-03-19, affected: [830]}}", "wait until: 2027-03-12T12:00:00Z"
    )
    notices = {m.message_id for m in unsent_messages(story.chain)}
    moved = "{event: schedule.date_changed, with: {new_due: 2027-04-30, affected: [830]}}"
    assert withdrawn(story.effects_of([moved])) == notices


def test_a_message_that_falls_due_with_the_end_is_not_requested() -> None:
    """After days without timers the reminder is due, and so is the end: only the end speaks."""
    story = DelayedStory(RIGHTS)
    story.play(ASKED)
    story.simulation.report_one(0)
    story.simulation.now += timedelta(days=40)
    before = len(story.simulation.effects)
    story.simulation._run_due(story.chain)
    assert "rights_reminder" not in sent_templates(story.simulation.effects[before:])
    assert story.chain.closing is Ending.GAVE_UP


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (Step(1, Verb.GIVE_UP, NOWHERE, reason="none"), ["rights_request"]),
        (Step(1, Verb.ASK, NOWHERE, ("translator",), "rights_request"), ["rights_request", "left_with_owner"]),
        (Step(1, Verb.GIVE_UP, NOWHERE, reason="none", timing=At("respond_by")), []),  # late: only the end speaks
    ],
)
def test_messages_of_the_step_that_ends_a_chain_are_sent(end: Step, said: list[str]) -> None:
    rule = own_rulebook().rules[RuleId("rights-approval")]
    tell = Step(0, Verb.TELL, NOWHERE, ("rights_holder",), "rights_request", timing=After(Duration(1, TimeUnit.DAYS)))
    book = replace(own_rulebook(), rules={rule.name: replace(rule, steps=(tell, end), until=())})
    told = story(RIGHTS, ASKED)
    player = StoryPlayer.of(told, book)
    player.play(told.steps[0])
    player.simulation.now += timedelta(days=40)
    (chain,) = player.simulation.facts.chains.values()
    player.simulation._run_due(chain)
    assert [effect.send.say for effect in player.simulation.effects if isinstance(effect, RequestedMessage)] == said


def test_a_person_who_has_answered_is_not_reminded() -> None:
    story = DelayedStory(CONFIRMERS, rule="metadata-confirmation")
    story.play(METADATA)
    story.simulation.report_one(0)
    story.simulation.report_one(0)
    story.play("wait: 1 working day")
    mine, theirs = (m for m in unsent_messages(story.chain) if m.verb is Verb.REMIND)
    effects = story.effects_of(["reply: {from: 801, button: confirm, to: metadata_confirm}"])
    assert withdrawn(effects) == {mine.message_id}
    assert mine.person_id == story.person(801)
    assert story.chain.message(theirs.message_id) == theirs


@pytest.mark.parametrize("wait", ["wait: 20 hours", "wait: 24 hours"])  # the reminder is held, or requested
@pytest.mark.parametrize("button", ["send", "cancel"])
def test_a_form_that_is_over_takes_back_its_reminder(wait: str, button: str) -> None:
    story = DelayedStory(
        "5001: {visitor: true, name: Maud Ferrier, country: GB}\n71: {country: GB}", rule="pitch-intake"
    )
    story.play(
        "reply: {from: 5001, line: acquisitions, text: A history of tide mills}",
        *(f"reply: {{from: 5001, {what}}}" for what in ("text: The Tide Millers", "text: '2'", "button: 'no'")),
        "reply: {from: 5001, document: mills.pdf}",
        wait,
    )
    reminders = {m.message_id for m in unsent_messages(story.chain) if m.verb is Verb.REMIND}
    assert len(reminders) == 1
    effects = story.effects_of([f"reply: {{from: 5001, button: {button}}}"])
    assert reminders <= withdrawn(effects) | {
        m.message_id for m in story.chain.messages if m.delivery is DeliveryState.WITHDRAWN
    }


def test_a_form_whose_person_opts_out_after_its_reminder_waits_no_longer() -> None:
    people = "5001: {visitor: true, name: Maud Ferrier, country: GB}\n71: {country: GB}"
    story = DelayedStory(people, rule="pitch-intake")
    story.play("reply: {from: 5001, line: acquisitions, text: A history of tide mills}")
    story.simulation.report_all()
    story.play("wait: 30 hours")
    assert [m.verb for m in story.chain.messages][-1] is Verb.REMIND
    story.play(*(f"reply: {{from: 5001, {what}}}" for what in ("text: The Tide Millers", "text: '2'", "button: 'no'")))
    story.play("reply: {from: 5001, text: STOP}")
    assert story.chain.ended is Ending.GAVE_UP


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


@settings(max_examples=60)
@given(moves=MOVES, quorum=st.sampled_from(["all", "first"]), country=st.sampled_from(["GB", "JP", "US"]))
def test_no_unsent_message_of_a_closed_chain_is_left_without_its_withdrawal(
    moves: list[tuple[str, object]], quorum: str, country: str
) -> None:
    cast = CONFIRMERS.replace("translator], country: GB", f"translator], country: {country}")
    story = DelayedStory(cast, rule="metadata-confirmation")
    story.play(METADATA.replace("quorum: all", f"quorum: {quorum}"))
    for kind, what in moves:
        make(story, kind, what)
    taken_back = withdrawn(story.simulation.effects)
    for chain in story.simulation.facts.chains.values():
        if chain.active or chain.ended is Ending.DONE:
            continue
        left = [m for m in unsent_messages(chain) if has_no_reason(chain, m) and m.message_id not in taken_back]
        assert left == []
        assert all(m.delivery is not DeliveryState.HELD or m.answer is not None for m in chain.messages)


def make(story: DelayedStory, kind: str, what: object) -> None:
    """An action that cannot be done at this moment is not done."""
    if kind == "tell" and story.simulation.requested:
        story.simulation.report_one(int(str(what)) % len(story.simulation.requested))
    elif kind == "wait":
        story.pass_time(timedelta(hours=int(str(what))))
    elif kind == "reply" and isinstance(what, tuple):
        if any(
            m.person_id == story.person(what[0]) and m.requested_at and what[1] in m.buttons for m in messages(story)
        ):
            story.play(f"reply: {{from: {what[0]}, button: {what[1]}}}")
    elif kind == "event":
        story.play(f"{{event: {what}}}")
    elif kind == "write" and story.simulation.writes:
        story.play(f"written: {{record: {story.simulation.writes[0].input.operation}, as: {what}}}")
    elif kind == "stop":
        story.play(f"reply: {{from: {what}, text: STOP}}")


def messages(story: DelayedStory) -> list[ChainMessage]:
    return [m for chain in story.simulation.facts.chains.values() for m in chain.messages]


@pytest.mark.parametrize(("reported", "told"), [(0, 1), (1, 0)], ids=["waits", "has gone"])
def test_words_whose_offer_waits_in_the_dispatcher_are_read_though_the_chain_ends(reported: int, told: int) -> None:
    """Their person was told that a colleague looks after them."""
    story = DelayedStory(RIGHTS)
    story.play(ASKED)
    story.simulation.report_all()
    assert sent_templates(story.effects_of(["reply: {from: 812, text: I must ask my agent}"])) == [
        "to_take",
        "handed_over",
    ]
    for _ in range(reported):
        story.simulation.report_one(0)
    effects = story.effects_of(["event: rights.request_withdrawn"])
    sends = [effect.send for effect in effects if isinstance(effect, RequestedMessage)]
    read = [send for send in sends if send.say == "to_read" and "I must ask my agent" in send.body]
    assert [send.person_id for send in read] == [story.person(40)] * told


def test_an_answer_that_is_tapped_again_before_its_offer_has_left_is_offered_and_read_once() -> None:
    """Its person tapped the question and later its reminder."""
    story = DelayedStory(RIGHTS)
    story.play(ASKED)
    story.simulation.report_all()
    tap = "reply: {from: 812, button: question}"
    story.play(tap, "wait: 2 working days", "wait: 5 working days", tap)
    offers = [message for message in story.chain.messages if message.say == "to_take"]
    assert {(offer.person_id, offer.delivery) for offer in offers} == {(story.person(40), DeliveryState.REQUESTED)}
    assert len(offers) == 1
    effects = story.effects_of(["event: rights.request_withdrawn"])
    sends = [effect.send for effect in effects if isinstance(effect, RequestedMessage)]
    assert [send.person_id for send in sends if send.say == "to_read"] == [story.person(40)]

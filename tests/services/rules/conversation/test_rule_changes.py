"""A changed rule and its live chains: pinned, migrated or cancelled."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.rules.conversation.button_ids import sign_button_id
from services.rules.conversation.chain import Chain, ChainState, DeliveryState, Ending, GivenAnswer, StepStatus
from services.rules.conversation.context import Decision, EndedChain, Reason, RequestedMessage
from services.rules.conversation.decider import Decider
from services.rules.conversation.rendering import ABSENT_VALUE
from services.rules.matching.matcher import RuleMatcher
from services.rules.rulebook.built_in import add_built_in_rules
from services.rules.rulebook.model import (
    After,
    AnswerAction,
    OnChange,
    OnRepeat,
    Question,
    Rule,
    Rulebook,
    Severity,
    Template,
    TemplateText,
    Until,
    Verb,
)
from services.rules.scenario.player import StoryPlayer
from shared.clients.working_calendar import Duration, TimeUnit
from shared.contracts.consonance import ApprovalRequested, RequestChangeReason, RequestWithdrawn
from shared.contracts.envelope import Event
from shared.contracts.evidence import QuestionDelivery, evidence_words
from shared.contracts.ids import EventId, Line, MessageId, Revision, RuleId, Wamid
from shared.contracts.messages import AmendMessage, MessageAccepted, MessageForm, SentTemplate, WithdrawMessage
from shared.contracts.values import decode, encode
from shared.contracts.whatsapp import MessageKind, MessageReceived
from shared.contracts.writes import RequestWrite
from tests.services.rules.stories import own_rulebook, story

PEOPLE = "812: {roles: [rights_holder], country: GB}\n40: {roles: [rights_manager], country: GB}"
ASKED = "{event: rights.approval_requested, with: {respond_by: 2027-04-30, rights_holder: 812}}"
RULE = RuleId("rights-approval")
NEW = Revision("a newer one")
Change = Callable[[Rule], Rule]


def with_rule(book: Rulebook, rule: Rule | None) -> Rulebook:
    others = {name: one for name, one in book.rules.items() if name != RULE}
    return replace(book, revision=NEW, rules=others if rule is None else {**others, RULE: rule})


def as_shipped(rule: Rule) -> Rule:
    return rule


def started(on_change: OnChange, change: Change = as_shipped) -> tuple[StoryPlayer, Rulebook, Chain]:
    """A chain that has asked, under a rule with this ``on_change``."""
    book = own_rulebook()
    book = replace(book, rules={**book.rules, RULE: change(replace(book.rules[RULE], on_change=on_change))})
    one = story(PEOPLE, ASKED)
    player = StoryPlayer.of(one, book)
    for step in one.steps:
        assert player.play(step) == []
    (chain,) = player.simulation.facts.chains.values()
    return player, player.people.book, chain


def decider_of(old: Rulebook, new: Rulebook) -> Decider:
    book = add_built_in_rules(new)
    return Decider(
        rulebook=book,
        rulebook_at=lambda revision: old if revision == old.revision else book,
        matcher=RuleMatcher(book.rules.values()),
        zone_of=lambda person: person.zone,
        signing_keys=(b"key",),
    )


def changed(player: StoryPlayer, old: Rulebook, new: Rulebook, chain: Chain) -> tuple[Decision, Chain]:
    decision = decider_of(old, new).decide_change(chain, player.simulation.facts, player.simulation.now)
    after = decision.changes.chains[chain.chain_id]
    assert decode(Chain, encode(after)) == after
    assert after.reviewed == NEW
    return decision, after


def without_reminder(rule: Rule) -> Rule:
    steps = [step for step in rule.steps if step.index != 1]
    return replace(rule, steps=tuple(replace(step, index=index) for index, step in enumerate(steps)))


def test_a_pinned_chain_keeps_its_steps() -> None:
    player, old, chain = started(OnChange.PIN)
    decision, after = changed(player, old, with_rule(old, without_reminder(old.rules[RULE])), chain)
    assert decision.reasons == (Reason.PINNED,)
    assert (after.revision, after.steps) == (chain.revision, chain.steps)


def test_a_migrated_chain_goes_on_by_the_new_steps_and_keeps_its_question() -> None:
    player, old, chain = started(OnChange.MIGRATE)
    decision, after = changed(player, old, with_rule(old, without_reminder(old.rules[RULE])), chain)
    assert decision.reasons == (Reason.MIGRATED,)
    assert decision.effects == ()
    assert (after.revision, len(after.steps)) == (NEW, len(chain.steps) - 1)
    assert [state.status for state in after.steps[:2]] == [StepStatus.DONE, StepStatus.PENDING]
    assert after.messages == chain.messages


@pytest.mark.parametrize("on_change", [OnChange.PIN, OnChange.MIGRATE])
@pytest.mark.parametrize("before", [OnRepeat.REPLAN, OnRepeat.IGNORE])
def test_no_chain_starts_beside_one_of_a_time_when_its_rule_joined_no_events(
    on_change: OnChange, before: OnRepeat
) -> None:
    """There is one such chain of a rule and subject, and PostgreSQL refuses another."""
    book = own_rulebook()
    rule = replace(book.rules[RULE], on_change=on_change, on_repeat=before, about=("work.work_id",))
    old = replace(book, rules={**book.rules, RULE: rule})
    new = with_rule(old, replace(rule, on_repeat=OnRepeat.JOIN))
    first, second = (
        f"{{event: rights.approval_requested, with: {{request_id: {request}, rights_holder: 812}}}}"
        for request in ("R-1", "R-2")
    )
    one = story(PEOPLE, first, second)
    player = StoryPlayer.of(one, old)
    assert player.play(one.steps[0]) == []
    simulation = player.simulation
    (chain,) = simulation.facts.chains.values()
    simulation.decider = decider_of(old, new)
    simulation.facts.apply_changes(changed(player, old, new, chain)[0].changes)
    assert player.play(one.steps[1]) == []
    assert [each.chain_id for each in simulation.facts.chains.values()] == [chain.chain_id]


@pytest.mark.parametrize("on_repeat", [OnRepeat.REPLAN, OnRepeat.JOIN])
def test_an_event_that_its_rule_did_not_know_when_a_chain_began_leaves_the_chain_as_it_is(on_repeat: OnRepeat) -> None:
    """Its texts and times name fields of the events of then."""
    book, stage = own_rulebook(), "work.stage_changed"
    first = replace(book.rules[RULE].steps[0], timing=After(Duration(1, TimeUnit.DAYS)))
    steps = (first, *book.rules[RULE].steps[1:])
    rule = replace(book.rules[RULE], about=("work.work_id",), on_repeat=on_repeat, steps=steps)
    old = replace(book, rules={**book.rules, RULE: rule})
    events = ("rights.approval_requested", stage)
    one = story(PEOPLE, *(f"{{event: {name}, with: {{work: {{work_id: 5, title: Tides}}}}}}" for name in events))
    player = StoryPlayer.of(one, old)
    assert player.play(one.steps[0]) == []
    simulation = player.simulation
    simulation.decider = decider_of(old, with_rule(old, replace(rule, events=(*rule.events, stage))))
    assert player.play(one.steps[1]) == []
    (chain,) = (each for each in simulation.facts.chains.values() if each.rule == RULE)
    assert set(chain.event_names) == {"rights.approval_requested"}


STAGE = "work.stage_changed"
STAGE_CHANGED = "{event: work.stage_changed, with: {work: {work_id: 5, title: Tides}}}"


def about_a_work(on_change: OnChange, on_repeat: OnRepeat = OnRepeat.REPLAN) -> tuple[StoryPlayer, Rulebook, Rule]:
    """A chain about a work that waits for its first step, by a rule that knows no change of stage."""
    book = own_rulebook()
    first = replace(book.rules[RULE].steps[0], timing=After(Duration(1, TimeUnit.DAYS)))
    steps = (first, *book.rules[RULE].steps[1:])
    rule = replace(
        book.rules[RULE], about=("work.work_id",), on_repeat=on_repeat, on_change=on_change, steps=steps, until=()
    )
    old = replace(book, rules={**book.rules, RULE: rule})
    player = StoryPlayer.of(story(PEOPLE, "expect: nothing"), old)
    asked = "{event: rights.approval_requested, with: {work: {work_id: 5, title: Tides}, rights_holder: 812}}"
    (step,) = story(PEOPLE, asked).steps
    assert player.play(step) == []
    return player, old, rule


def after_new_event(player: StoryPlayer, old: Rulebook, new: Rule, *, reviewed: bool) -> list[Chain]:
    """The chains of the rule after a stage has changed, before or after the review of the chain that runs."""
    simulation = player.simulation
    book = with_rule(old, new)
    simulation.decider = decider_of(old, book)
    if reviewed:
        (chain,) = (each for each in simulation.facts.chains.values() if each.rule == RULE)
        simulation.facts.apply_changes(changed(player, old, book, chain)[0].changes)
    (step,) = story(PEOPLE, STAGE_CHANGED).steps
    assert player.play(step) == []
    return [each for each in simulation.facts.chains.values() if each.rule == RULE]


@pytest.mark.parametrize("reviewed", [True, False])
@pytest.mark.parametrize(
    ("on_change", "names", "endings"),
    [
        (OnChange.PIN, [{"rights.approval_requested"}], [None]),
        (OnChange.MIGRATE, [{"rights.approval_requested", STAGE}], [None]),
        (OnChange.CANCEL, [{"rights.approval_requested"}, {STAGE}], [Ending.CANCELLED, None]),
    ],
)
@pytest.mark.parametrize("on_repeat", [OnRepeat.REPLAN, OnRepeat.JOIN])
def test_an_event_that_the_changed_rule_has_added_reaches_the_chain_as_the_change_says(
    on_repeat: OnRepeat, on_change: OnChange, names: list[set[str]], endings: list[Ending | None], *, reviewed: bool
) -> None:
    """Also where it comes before the loop that reviews the chains."""
    player, old, rule = about_a_work(on_change, on_repeat)
    chains = after_new_event(player, old, replace(rule, events=(*rule.events, STAGE)), reviewed=reviewed)
    assert [set(chain.event_names) for chain in chains] == names
    assert [chain.ended for chain in chains] == endings


@pytest.mark.parametrize("reviewed", [True, False])
@pytest.mark.parametrize(
    ("on_change", "ending"),
    [(OnChange.PIN, None), (OnChange.MIGRATE, Ending.UNTIL), (OnChange.CANCEL, Ending.CANCELLED)],
)
def test_an_until_line_that_the_changed_rule_has_added_ends_the_chain_as_the_change_says(
    on_change: OnChange, ending: Ending | None, *, reviewed: bool
) -> None:
    player, old, rule = about_a_work(on_change)
    (chain,) = after_new_event(player, old, replace(rule, until=(Until(event=STAGE),)), reviewed=reviewed)
    assert chain.ended is ending


def test_a_question_of_a_step_that_is_gone_is_closed_and_the_new_one_is_asked() -> None:
    def reworded(rule: Rule) -> Rule:
        first = replace(rule.steps[0], answers={"approve": rule.steps[0].answers["approve"]})
        return replace(rule, steps=(first, *rule.steps[1:]))

    player, old, chain = started(OnChange.MIGRATE)
    _, after = changed(player, old, with_rule(old, reworded(old.rules[RULE])), chain)
    assert after.messages[0].closed
    assert after.state is ChainState.RUNNING


def reworded_question(rule: Rule) -> Rule:
    return replace(rule, steps=(replace(rule.steps[0], say="rights_reminder"), *rule.steps[1:]))


def sent_by(decision: Decision) -> list[str]:
    return [effect.send.say for effect in decision.effects if isinstance(effect, RequestedMessage)]


def play(player: StoryPlayer, *moves: str) -> Chain:
    for step in story(PEOPLE, *moves).steps:
        assert player.play(step) == []
    (chain,) = player.simulation.facts.chains.values()
    return chain


def test_a_question_in_the_place_of_another_that_was_asked_is_asked() -> None:
    """Also of a person who has answered the other one."""
    player, old, chain = started(OnChange.MIGRATE)
    decision, after = changed(player, old, with_rule(old, reworded_question(old.rules[RULE])), chain)
    assert sent_by(decision) == ["rights_reminder"]
    assert [message.open for message in after.messages[:1]] == [False]
    assert [message.message_id for message in after.messages] != [chain.messages[0].message_id]


def with_second_reminder(rule: Rule) -> Rule:
    asked, reminder, *others = rule.steps
    steps = (asked, reminder, replace(reminder, say="rights_request"), *others)
    return replace(rule, steps=tuple(replace(step, index=index) for index, step in enumerate(steps)))


def test_a_step_that_moves_to_the_place_of_one_that_has_sent_something_still_runs() -> None:
    player, old, _ = started(OnChange.MIGRATE, with_second_reminder)
    chain = play(player, "wait: 2 working days")  # the first reminder has gone
    new = with_rule(old, without_reminder(old.rules[RULE]))
    _, after = changed(player, old, new, chain)
    facts = player.simulation.facts
    facts.set_chain(after)
    facts.read_to = lambda chain: chain.next_due or chain.started_at
    assert after.next_due is not None
    decision = decider_of(old, new).decide_due(after, facts, after.next_due)
    assert sent_by(decision) == ["rights_request"]


def test_a_hand_over_held_until_morning_survives_the_end_of_its_question() -> None:
    """The person was told that a colleague has it."""
    player, old, _ = started(OnChange.MIGRATE)
    chain = play(player, "wait until: 2027-03-03T22:00:00Z", "reply: {from: 812, button: question}")
    new = with_rule(old, reworded_question(old.rules[RULE]))
    _, after = changed(player, old, new, chain)
    (offer,) = (message for message in after.messages if message.verb is Verb.HAND_OVER)
    assert (offer.delivery, offer.closed) == (DeliveryState.HELD, False)
    assert [handed.people for handed in after.handovers] == [(offer.person_id,)]


def with_words_gone(chain: Chain) -> Chain:
    """The chain with an offer whose template no rulebook has any more."""
    return chain.replace(
        messages=tuple(m.replace(say="gone") if m.verb is Verb.HAND_OVER else m for m in chain.messages)
    )


def offers_after(player: StoryPlayer, old: Rulebook, new: Rulebook, chain: Chain) -> list[str]:
    """The templates of the offers that are sent in the month after the change of the rules."""
    decision, _ = changed(player, old, new, chain)
    simulation = player.simulation
    simulation.decider = replace(decider_of(old, new), signing_keys=simulation.decider.signing_keys)
    simulation.effects.clear()
    simulation._apply(decision)
    simulation.advance(simulation.now + timedelta(days=30))
    sends = [effect.send for effect in simulation.effects if isinstance(effect, RequestedMessage)]
    assert all(
        send.template is not None and send.template.name == new.templates[send.say].meta_name
        for send in sends
        if send.buttons
    )
    return [send.say for send in sends if any(button.title == "Take it" for button in send.buttons)]


def test_an_offer_in_words_that_are_gone_is_made_and_reminded_of_in_those_of_the_house() -> None:
    player, old, _ = started(OnChange.MIGRATE)
    chain = play(player, "wait until: 2027-03-03T22:00:00Z", "reply: {from: 812, button: question}")
    new = with_rule(
        old, replace(reworded_question(old.rules[RULE]), steps=reworded_question(old.rules[RULE]).steps[:1])
    )
    assert offers_after(player, old, new, with_words_gone(chain)) == ["to_take", "to_take"]


def test_an_offer_whose_words_are_gone_is_reminded_of_in_those_of_the_house() -> None:
    player, old, _ = started(OnChange.MIGRATE)
    chain = play(player, "reply: {from: 812, button: question}")
    new = with_rule(old, replace(old.rules[RULE], steps=old.rules[RULE].steps[:1]))
    assert offers_after(player, old, new, with_words_gone(chain)) == ["to_take"]


def test_an_answer_to_a_question_that_is_gone_does_not_count_for_the_new_one() -> None:
    def reworded(rule: Rule) -> Rule:
        return replace(rule, steps=(replace(rule.steps[0], say="rights_reminder"), *rule.steps[1:]))

    player, old, chain = started(OnChange.MIGRATE)
    (question,) = chain.messages
    given = GivenAnswer(
        person_id=question.person_id,
        answer="approve",
        final=True,
        at=player.simulation.now,
        message_id=question.message_id,
        wamid=Wamid("wamid.given"),
        reply="approve",
    )
    answered = chain.replace(answers=(given,))  # as where others have still to agree
    _, after = changed(player, old, with_rule(old, reworded(old.rules[RULE])), answered)
    assert after.answers == (given.replace(final=False),)
    _, after = changed(player, old, with_rule(old, without_reminder(old.rules[RULE])), answered)
    assert after.answers == (given,)


def test_a_chain_goes_on_as_it_began_while_it_has_to_say_what_the_new_rules_lack() -> None:
    """A held message is rendered when it leaves."""
    player, old, chain = started(OnChange.MIGRATE)
    (question,) = chain.messages
    message = question.replace(
        message_id=MessageId("another"), say="gone", verb=Verb.TELL, buttons=(), delivery=DeliveryState.HELD
    )
    new = with_rule(old, replace(old.rules[RULE], severity=Severity.INFO))
    old = replace(old, templates={**old.templates, "gone": old.templates["rights_request"]})
    decision, after = changed(player, old, new, chain.replace(messages=(question, message)))
    assert (decision.reasons, after.revision) == ((Reason.PINNED,), chain.revision)


def test_a_message_whose_template_is_gone_since_an_earlier_change_gets_no_fallback() -> None:
    player, old, chain = started(OnChange.MIGRATE)
    (question,) = chain.messages
    sent_again = question.replace(say="gone", closed=True, delivery=DeliveryState.REQUESTED)
    new = with_rule(old, replace(old.rules[RULE], severity=Severity.INFO))
    decision, after = changed(player, old, new, chain.replace(messages=(sent_again,)))
    assert decision.effects == ()
    assert after.messages[0].fallback == question.fallback


def test_a_step_is_another_one_where_an_answer_asks_something_else() -> None:
    player, old, chain = started(OnChange.MIGRATE)
    rule = old.rules[RULE]

    def asking_next(say: str) -> Rule:
        inner = Question(("rights_manager",), say, {}, within="question")
        answers = {**rule.steps[0].answers, "question": AnswerAction("question", ask=inner)}
        return replace(rule, steps=(replace(rule.steps[0], answers=answers), *rule.steps[1:]))

    old = replace(old, rules={**old.rules, RULE: asking_next("rights_request")})
    _, same = changed(player, old, with_rule(old, asking_next("rights_request")), chain)
    _, other = changed(player, old, with_rule(old, asking_next("rights_reminder")), chain)
    assert [same.messages[0].closed, other.messages[0].closed] == [False, True]


def test_a_cancelled_chain_ends_only_if_its_rule_changed() -> None:
    player, old, chain = started(OnChange.CANCEL)
    decision, after = changed(player, old, with_rule(old, without_reminder(old.rules[RULE])), chain)
    assert (decision.reasons, after.ended) == ((Reason.CANCELLED,), Ending.CANCELLED)
    assert any(isinstance(effect, EndedChain) for effect in decision.effects)
    assert after.messages[0].closed
    decision, after = changed(player, old, with_rule(old, old.rules[RULE]), chain)
    assert (decision.reasons, after.state) == ((Reason.PINNED,), ChainState.RUNNING)


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        (("work.stage_changed",), Reason.PINNED),
        (("work.stage_changed", "rights.approval_requested"), Reason.MIGRATED),
    ],
)
def test_a_chain_goes_on_as_it_began_where_the_new_steps_are_of_other_events(
    events: tuple[str, ...], reason: Reason
) -> None:
    """Their templates and writes name fields that its own event does not have."""
    player, old, chain = started(OnChange.MIGRATE)
    new = replace(without_reminder(old.rules[RULE]), events=events)
    decision, _ = changed(player, old, with_rule(old, new), chain)
    assert decision.reasons == (reason,)


@pytest.mark.parametrize(
    ("on_change", "ended"), [(OnChange.PIN, None), (OnChange.MIGRATE, None), (OnChange.CANCEL, Ending.CANCELLED)]
)
def test_of_a_rule_that_is_gone_the_old_file_decides(on_change: OnChange, ended: Ending | None) -> None:
    player, old, chain = started(on_change)
    assert changed(player, old, with_rule(old, None), chain)[1].ended is ended


@pytest.mark.parametrize("line", ["the rule is gone", "the line is gone"])
def test_a_pinned_chain_is_ended_by_the_until_line_that_it_began_with(line: str) -> None:
    player, old, chain = started(OnChange.PIN)
    rule = old.rules[RULE]
    now = None if line == "the rule is gone" else replace(rule, until=())
    _, pinned = changed(player, old, with_rule(old, now), chain)
    player.simulation.facts.set_chain(pinned)
    asked = decode(ApprovalRequested, chain.start)
    withdrawn = RequestWithdrawn(
        actor=asked.actor,
        version=asked.version,
        work=asked.work,
        request_id=asked.request_id,
        reason=RequestChangeReason.CANCELLED,
    )
    event = Event(
        id=EventId("withdrawn"), source="test", type=withdrawn.kind, time=player.simulation.now,
        recordedtime=player.simulation.now, tenantid=chain.tenant, partitionkey=chain.key, data=withdrawn,
    )  # fmt: skip
    decision = decider_of(old, with_rule(old, now)).decide(event, player.simulation.facts, player.simulation.now)
    assert decision.changes.chains[chain.chain_id].ended is Ending.UNTIL


# ------------------------------------------------------------------ messages that wait for their template


def unsent(chain: Chain, delivery: DeliveryState = DeliveryState.REQUESTED) -> Chain:
    """The chain before anything is known of its question, or at another place on the way."""
    return chain.with_message(chain.messages[0].replace(delivery=delivery, wamid=None))


def with_fallback(book: Rulebook, fallback: Template | None = None) -> Rulebook:
    """A later revision that names a fallback for the question: the reminder, or another."""
    other = fallback or book.templates["rights_reminder"]
    declared = replace(book.templates["rights_request"], fallback=other.name)
    return replace(book, revision=NEW, templates={**book.templates, other.name: other, declared.name: declared})


def with_texts(template: Template, change: Callable[[TemplateText], TemplateText], **changes: Any) -> Template:
    texts = {language: change(text) for language, text in template.languages.items()}
    return replace(template, languages=texts, **changes)


def in_another_order(text: TemplateText) -> TemplateText:
    return replace(text, buttons=dict(reversed(list(text.buttons.items()))))


def amendments(decision: Decision) -> list[AmendMessage]:
    return [effect for effect in decision.effects if isinstance(effect, AmendMessage)]


@pytest.mark.parametrize("on_change", [OnChange.PIN, OnChange.MIGRATE, OnChange.CANCEL])
def test_a_question_that_waits_gets_the_fallback_that_a_later_revision_names(on_change: OnChange) -> None:
    player, old, chain = started(on_change)
    decision, after = changed(player, old, with_fallback(old), unsent(chain))
    (amendment,) = amendments(decision)
    assert (amendment.message_id, amendment.person_id) == (chain.messages[0].message_id, chain.messages[0].person_id)
    assert amendment.fallback is not None
    assert (amendment.fallback.name, amendment.fallback.language) == ("rights_reminder_v2", "en")
    assert {"person", "title", "by"} <= amendment.fallback.parameters.keys()
    assert ABSENT_VALUE not in amendment.fallback.parameters.values()
    assert len(decision.effects) == 1
    assert after.messages[0].fallback == "rights_reminder_v2"
    assert decision.record is not None
    assert [(v.reason, v.messages) for v in decision.record.verdicts][-1] == (
        Reason.AMENDED,
        (chain.messages[0].message_id,),
    )


def test_a_fallback_that_a_message_has_is_not_sent_to_it_again() -> None:
    player, old, chain = started(OnChange.PIN)
    _, after = changed(player, old, with_fallback(old), unsent(chain))
    assert amendments(changed(player, old, with_fallback(old), after)[0]) == []


def sent_as(player: StoryPlayer, old: Rulebook, chain: Chain, template: SentTemplate | None) -> Decision:
    """The decision on the report that the chain's question went as this template, or as free text."""
    question, now = chain.messages[0], player.simulation.now
    accepted = MessageAccepted(
        message_id=question.message_id, person_id=question.person_id, at=now, wamid=Wamid("wamid.q"),
        wording=MessageForm.TEMPLATE if template else MessageForm.FREE_TEXT, template=template,
    )  # fmt: skip
    event = Event(
        id=EventId("accepted"), source="test", type=accepted.kind, time=now, recordedtime=now,
        tenantid=chain.tenant, partitionkey=chain.key, data=accepted,
    )  # fmt: skip
    facts = player.simulation.facts
    facts.set_chain(chain)
    return decider_of(old, with_fallback(old)).decide(event, facts, now)


@pytest.mark.parametrize(("name", "has_gone_so"), [("rights_reminder_v2", True), ("rights_request_v2", False)])
def test_the_evidence_has_the_text_of_the_template_that_went(name: str, *, has_gone_so: bool) -> None:
    player, old, chain = started(OnChange.PIN)
    _, waiting = changed(player, old, with_fallback(old), unsent(chain))
    decision = sent_as(player, old, waiting, SentTemplate(name=name, language="en"))
    (entry,) = decision.evidence
    assert isinstance(entry.content, QuestionDelivery)
    assert (entry.content.wording, entry.content.template, entry.content.language) == ("template", name, "en")
    reminder = old.templates["rights_reminder"].languages["en"].body
    first, last = reminder.partition("{")[0], reminder.rpartition("}")[2]
    text = entry.content.rendered
    assert (text is not None and text.startswith(first) and text.endswith(last)) is has_gone_so
    question = decision.changes.chains[chain.chain_id].messages[0]
    assert question.sent_text == (text if has_gone_so else question.rendered)
    assert {"template": name, "language": "en"}.items() <= evidence_words(entry.content).items()


def test_a_write_says_as_which_template_its_question_went() -> None:
    player, old, chain = started(OnChange.PIN)
    _, waiting = changed(player, old, with_fallback(old), unsent(chain))
    decision = sent_as(player, old, waiting, SentTemplate(name="rights_reminder_v2", language="en"))
    asked = decision.changes.chains[chain.chain_id].messages[0]
    tap = MessageReceived(
        message_id=Wamid("wamid.tap"), person_id=asked.person_id, line=Line("main"), at=player.simulation.now,
        message_kind=MessageKind.BUTTON, text="Approve",
        button_id=sign_button_id((b"key",), asked.message_id, "approve"),
    )  # fmt: skip
    event = Event(
        id=EventId("tap"), source="test", type=tap.kind, time=tap.at, recordedtime=tap.at,
        tenantid=chain.tenant, partitionkey=chain.key, data=tap,
    )  # fmt: skip
    facts = player.simulation.facts
    facts.set_chain(decision.changes.chains[chain.chain_id])
    answered = decider_of(old, with_fallback(old)).decide(event, facts, tap.at)
    (write,) = (effect for effect in answered.effects if isinstance(effect, RequestWrite))
    assert (write.evidence.sent_template, write.evidence.rendered) == ("rights_reminder_v2", asked.sent_text)
    assert write.evidence.rendered != asked.rendered


@pytest.mark.parametrize(
    "delivery", [each for each in DeliveryState if each not in {DeliveryState.HELD, DeliveryState.REQUESTED}]
)
def test_a_message_of_which_more_is_known_is_not_amended(delivery: DeliveryState) -> None:
    player, old, chain = started(OnChange.PIN)
    assert amendments(changed(player, old, with_fallback(old), unsent(chain, delivery))[0]) == []


@pytest.mark.parametrize("buttons", [(), ("approve", "decline")])
def test_a_message_that_the_change_withdraws_is_not_amended(buttons: tuple[str, ...]) -> None:
    player, old, chain = started(OnChange.CANCEL)
    chain = unsent(chain)
    new = with_fallback(with_rule(old, without_reminder(old.rules[RULE])))
    decision, after = changed(player, old, new, chain.with_message(chain.messages[0].replace(buttons=buttons)))
    assert after.ended is Ending.CANCELLED
    assert [type(effect) for effect in decision.effects] == [WithdrawMessage, EndedChain]


def test_a_question_of_a_chain_that_has_ended_is_not_amended() -> None:
    player, old, chain = started(OnChange.PIN)
    ended = unsent(chain).close(Ending.ANSWERED).finish()
    assert amendments(changed(player, old, with_fallback(old), ended)[0]) == []


def test_a_newer_version_of_a_template_stands_in_for_the_one_that_was_requested() -> None:
    player, old, chain = started(OnChange.MIGRATE)
    newer = replace(old.templates["rights_request"], version=3)
    new = replace(old, revision=NEW, templates={**old.templates, newer.name: newer})
    assert [
        each.fallback and each.fallback.name for each in amendments(changed(player, old, new, unsent(chain))[0])
    ] == ["rights_request_v3"]


def test_a_template_with_the_buttons_in_other_places_stands_in_for_none() -> None:
    player, old, chain = started(OnChange.PIN)
    turned = with_texts(old.templates["rights_request"], in_another_order, version=2)
    new = replace(old, revision=NEW, templates={**old.templates, turned.name: turned})
    assert amendments(changed(player, old, new, unsent(chain))[0]) == []


def test_a_template_that_says_what_the_chain_does_not_know_stands_in_for_none() -> None:
    player, old, chain = started(OnChange.PIN)
    asks = with_texts(
        old.templates["rights_request"], lambda text: replace(text, body=text.body + " {unknown}"), name="other"
    )
    assert amendments(changed(player, old, with_fallback(old, asks), unsent(chain))[0]) == []


def test_a_pinned_chain_asks_for_the_fallback_of_now_with_its_next_message() -> None:
    player, old, chain = started(OnChange.PIN)
    reminder = replace(old.templates["rights_reminder"], fallback="rights_request")
    new = replace(old, revision=NEW, templates={**old.templates, reminder.name: reminder})
    decider = decider_of(old, new)
    assert chain.next_due is not None
    player.simulation.facts.read_to = lambda chain: chain.next_due or chain.started_at
    decision = decider.decide_due(chain, player.simulation.facts, chain.next_due)
    (sent,) = [effect.send for effect in decision.effects if isinstance(effect, RequestedMessage)]
    assert sent.template is not None
    assert sent.fallback is not None
    assert (sent.template.name, sent.fallback.name) == ("rights_reminder_v2", "rights_request_v2")


@pytest.mark.parametrize("said", ["When will you decide?", "wrong number"])
def test_words_to_a_chain_whose_owner_team_is_gone_are_read_by_the_inbox_team(said: str) -> None:
    player, old, chain = started(OnChange.PIN)
    ended = chain.replace(closing=Ending.DONE, ended=Ending.DONE) if said.startswith("When") else chain
    player.simulation.facts.set_chain(ended)
    teams = {"production" if name == "rights" else name: team for name, team in old.people.teams.items()}
    people = replace(
        old.people, teams=teams | {"inbox": {"inbox_manager": old.people.teams["rights"]["rights_manager"]}}
    )
    new = replace(old, revision=NEW, people=replace(people, inbox="inbox"))
    player.simulation.decider = decider_of(old, new)
    (step,) = story(PEOPLE, f"reply: {{from: 812, text: '{said}', to: rights_request}}").steps
    player.play(step)
    told = [effect.send.say for effect in player.simulation.effects if isinstance(effect, RequestedMessage)]
    assert {"to_read", "address_disputed"} & set(told)

"""Applies a changed rule file to the live chains of its rule: each is pinned, migrated or cancelled.

``on_change`` of the rule in force decides; for a rule that is gone, that of the rule the chain began with. People, the
calendar and the limits are never pinned, and neither is the fallback of a template: a message that was requested and
has not gone gets the fallback that the rules name now, and one that has not gone the hours of the calendar of now.
"""

from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import assert_never

from services.rules.conversation import outbound
from services.rules.conversation.amendments import amend, amend_hours
from services.rules.conversation.chain import (
    IN_DISPATCHER,
    Chain,
    ChainMessage,
    DeliveryState,
    Ending,
    StepState,
    StepStatus,
)
from services.rules.conversation.chain_messages import is_copy, is_of_handover, is_offer
from services.rules.conversation.completion import close_chain
from services.rules.conversation.context import DecisionContext, Reason
from services.rules.conversation.event_rules import tags_of
from services.rules.conversation.outbound import BODY_VALUE
from services.rules.conversation.people import language_of, working_hours
from services.rules.conversation.question_lookup import answers_to_steps
from services.rules.conversation.schedule import has_lapsed
from services.rules.conversation.steps import advance
from services.rules.conversation.template_calls import fallback_call, text_of_call
from services.rules.rulebook.model import OnChange, Rule, Rulebook, Step, Verb, questions_of
from shared.contracts.ids import MessageId
from shared.contracts.messages import AmendMessage, TemplateCall, WithdrawMessage


def review_chain(context: DecisionContext, chain: Chain) -> Chain:
    """Apply a change of the rulebook to a chain of an earlier one, once for each rulebook.

    Of a chain that has ended only the messages that have not gone yet are concerned.
    """
    earlier = context.rulebook_at(chain.reviewed or chain.revision)
    calls = {m.message_id: call for m in chain.messages if (call := _other_fallback(context, chain, m)) is not None}
    changed = _hold_anew(context, _apply_change(context, chain), earlier)
    changed = _amend_fallbacks(context, changed, calls)
    _amend_hours(context, changed, earlier)
    return changed


def _other_fallback(context: DecisionContext, chain: Chain, message: ChainMessage) -> TemplateCall | None:
    """The fallback by the rules of now; None where it is the same, and for a message that has no template by now."""
    person = context.facts.current_person(message.person_id)
    is_known = any(message.say in book.templates for book in (context.rulebook_of(chain), context.rulebook))
    without_template = message.digest is not None or BODY_VALUE in message.words or not is_known
    if message.delivery is not DeliveryState.REQUESTED or without_template or person is None:
        return None
    call = fallback_call(context, chain, message, person, message.language or language_of(context.rulebook, person))
    return None if call is None or call.name == message.fallback else call


def _amend_fallbacks(context: DecisionContext, chain: Chain, calls: Mapping[MessageId, TemplateCall]) -> Chain:
    """Give messages that may still wait for their template another fallback, unless the change withdrew them."""
    withdrawn = {e.message_id for e in context.effects if isinstance(e, WithdrawMessage)}
    for message in chain.messages:
        call = calls.get(message.message_id)
        if call is None or message.closed or message.unwanted is not None or message.message_id in withdrawn:
            continue
        amendment = AmendMessage(message_id=message.message_id, person_id=message.person_id, fallback=call)
        amend(context, amendment, chain, message.step)
        texts = {**message.other_texts, call.name: text_of_call(context, chain, call)} if message.is_question else {}
        chain = chain.with_message(message.replace(fallback=call.name, other_texts=texts))
    return context.save_chain(chain)


def _amend_hours(context: DecisionContext, chain: Chain, earlier: Rulebook) -> None:
    """Give messages that wait for people whose hours were others by the earlier rulebook those of now."""
    receivers = {m.person_id for m in chain.messages if m.delivery in IN_DISPATCHER}
    for receiver in sorted(map(context.facts.current_id, receivers)):
        if (person := context.facts.people.get(receiver)) is not None:
            amend_hours(context, chain, person, earlier, person)


def _hold_anew(context: DecisionContext, chain: Chain, earlier: Rulebook) -> Chain:
    """Hold messages to people whose hours were others by the earlier rulebook until the next of those of now."""
    held = chain
    receivers = {m.person_id for m in chain.messages if m.delivery is DeliveryState.HELD}
    for receiver in sorted(map(context.facts.current_id, receivers)):
        person = context.facts.people.get(receiver)
        if person is not None and working_hours(earlier, person) != working_hours(context.rulebook, person):
            held = outbound.hold_anew(context, held, person)
    return chain if held is chain else advance(context, held)


def _apply_change(context: DecisionContext, chain: Chain) -> Chain:
    old, new = context.rule_of(chain), context.rulebook.rules.get(chain.rule)
    chain = chain.replace(reviewed=context.rulebook.revision)
    match (new or old).on_change:
        case OnChange.CANCEL if new != old and chain.active:
            context.add_reason(Reason.CANCELLED, chain)
            return advance(context, close_chain(context, chain, Ending.CANCELLED))
        case OnChange.MIGRATE if new is not None and _can_migrate(context, chain, old, new):
            context.add_reason(Reason.MIGRATED, chain)
            return advance(context, _migrate(context, chain, old, new))
        case OnChange.PIN | OnChange.CANCEL | OnChange.MIGRATE:
            context.add_reason(Reason.PINNED, chain)
            return context.save_chain(chain)
        case unknown:
            assert_never(unknown)


def _can_migrate(context: DecisionContext, chain: Chain, old: Rule, new: Rule) -> bool:
    """Whether the chain can go on with the new steps. Otherwise it goes on as it began, which is so where

    - it is closing, about another subject now, filling a form or waiting for a write;
    - one of its events is not in the new ``on``: new texts and writes would name fields that it does not have;
    - a message that it has still to send, or may show again, has no template in the new rules (an offer takes one of
      the house).
    """
    stays = _matching_steps(old, new)
    held = (m for m in chain.messages if m.step in stays and m.delivery is DeliveryState.HELD and not is_offer(m))
    shown_again = (m for m in chain.messages if m.digest is not None)
    rendered_again = (m for m in (*held, *shown_again) if BODY_VALUE not in m.words)
    if any(message.say not in context.rulebook.templates for message in rendered_again):
        return False
    filling = chain.form is not None and not chain.form.over
    waiting = any(write.pending for write in chain.writes)
    is_known = set(chain.event_names) <= set(new.events)
    return chain.active and old.about == new.about and is_known and not filling and not waiting


def _migrate(context: DecisionContext, chain: Chain, old: Rule, new: Rule) -> Chain:
    """Done steps stay. Questions of steps that are gone are closed; new steps before the last begun are skipped.

    What an answer to a question that is gone has handed over or told stays: its person was told so.
    """
    matching = _matching_steps(old, new)
    gone = [step.index for step in old.steps if step.index not in matching]

    def is_gone(message: ChainMessage) -> bool:
        return message.step in gone and not _follows_answer(context, message)

    chain = outbound.withdraw_messages(context, chain, "replaced", is_gone)
    chain = chain.reopen_answers(answers_to_steps(context, chain, gone))
    chain = chain.migrate(
        context.rulebook.revision,
        steps=_new_states(chain, new, matching),
        messages=tuple(
            m.replace(step=_nearest(matching, m.step), closed=m.closed or (m.is_question and is_gone(m)))
            for m in chain.messages
        ),
        writes=tuple(w.replace(step=_nearest(matching, w.step)) for w in chain.writes),
        handovers=tuple(h.replace(step=_nearest(matching, h.step)) for h in chain.handovers),
        form=None if chain.form is None else chain.form.replace(step=_nearest(matching, chain.form.step)),
        tags=tuple(sorted({*chain.tags, *tags_of(new, chain.subject, context.document(chain))})),
    )
    for step in new.steps:
        added = step.index not in matching.values()
        if added and chain.steps[step.index].status is StepStatus.PENDING and has_lapsed(context, chain, step):
            chain = chain.skip_step(step.index)
    return chain


def _follows_answer(context: DecisionContext, message: ChainMessage) -> bool:
    """Whether it hands over what a person wrote or answered, or tells others of it."""
    if message.answer is None or is_copy(message):
        return False
    return is_of_handover(message) or (message.verb is Verb.TELL and message.say in context.rulebook.templates)


def _matching_steps(old: Rule, new: Rule) -> Mapping[int, int]:
    """The new place of each old step that still exists, in their order."""
    matcher = SequenceMatcher(None, list(map(_identity, old.steps)), list(map(_identity, new.steps)), autojunk=False)
    return {a + n: b + n for a, b, size in matcher.get_matching_blocks() for n in range(size)}


def _identity(step: Step) -> tuple[object, ...]:
    """A step stays the same step while it does the same; its time, its people and its condition may change."""
    operation = step.record.operation if step.record is not None else None
    questions = tuple((each.within, each.say, tuple(sorted(each.answers))) for each in questions_of(step))
    return step.verb, step.say, step.form, operation, questions


def _new_states(chain: Chain, new: Rule, matching: Mapping[int, int]) -> tuple[StepState, ...]:
    """A step that has not begun gets an occurrence of its own, as another step may have sent messages at its place."""
    known = {now: chain.steps[before] for before, now in matching.items()}
    begun = max((index for index, state in known.items() if state.status is not StepStatus.PENDING), default=-1)
    unused = max((message.occurrence + 1 for message in chain.messages), default=0)
    added, skipped = StepState(occurrence=unused), StepState(status=StepStatus.SKIPPED)
    moved = {now for before, now in matching.items() if now != before}
    for index in moved & {index for index, state in known.items() if state.status is StepStatus.PENDING}:
        known[index] = known[index].replace(occurrence=max(unused, known[index].occurrence))
    return tuple(known.get(step.index) or (skipped if step.index < begun else added) for step in new.steps)


def _nearest(matching: Mapping[int, int], step: int) -> int:
    """The new place of a step; for a step that is gone, the place of the last one before it that still exists."""
    return next((matching[index] for index in range(step, -1, -1) if index in matching), 0)

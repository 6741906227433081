"""Runs the steps of a chain: sends what is released, runs what is due, reminds of a hand-over, ends what is over.

It also goes on with a hand-over whose person gives the matter back, or is left out.
"""

from datetime import datetime, timedelta

from services.rules.conversation import forms, outbound, writes
from services.rules.conversation.absence import absence_due, announce_cover, reroute_absent
from services.rules.conversation.chain import Chain, ChainMessage, DeliveryState, Ending, StepStatus, earlier
from services.rules.conversation.chain_messages import (
    awaits_answer,
    declined_offers,
    has_reached_anyone,
    is_of_handover,
    is_offer,
    unanswered_people,
)
from services.rules.conversation.completion import (
    close_chain,
    finish_chain,
    leave_with_owner,
    next_pending_step,
    report_unclaimed,
)
from services.rules.conversation.context import DecisionContext, Reason, is_due
from services.rules.conversation.document import MESSAGE_RECEIVED
from services.rules.conversation.fact_values import PersonFacts
from services.rules.conversation.handover import (
    ASSIGNEE_BUTTONS,
    OFFER_BUTTONS,
    HandoverDraft,
    offer_matter,
    pass_on_lost,
    repeat_offers,
)
from services.rules.conversation.outbound import MessageDraft, send_to_recipient, withdraw_messages
from services.rules.conversation.people import working_hours
from services.rules.conversation.recipients import (
    Recipient,
    is_excepted,
    judged_for_each,
    receiver_of_offer,
    resolve_recipients,
    skips_everyone,
)
from services.rules.conversation.release import release_messages, unless_due
from services.rules.conversation.schedule import add_duration, idle_due, next_due, runnable_step
from services.rules.rulebook.built_in import COVER_ANNOUNCED, RESERVED_PREFIX
from services.rules.rulebook.model import After, Rule, Step, Verb
from shared.contracts.ids import PersonId
from shared.contracts.values import format_instant

_MOST_ROUNDS = 100  # a fault in the code may keep a chain due forever


def advance(context: DecisionContext, chain: Chain) -> Chain:
    """Bring a chain as far as it goes now, and save it with the instant at which it is due next.

    ``next_due`` is then in the future or None, or lies before events that are not applied yet (``is_due``).
    """
    for _ in range(_MOST_ROUNDS):
        before, chain = chain, _advance_once(context, chain)
        due = earlier(next_due(context, chain), absence_due(context, chain) if chain.live else None)
        due = earlier(due, unless_due(context, chain))
        if chain is before or not is_due(context, chain, due):
            break
    return context.save_chain(chain if due == chain.next_due else chain.replace(next_due=due))


def pass_on_after_end(context: DecisionContext, chain: Chain) -> Chain:
    """Pass on the words of a chain that has ended, where a message with them is lost, and save the chain."""
    passed_on = pass_on_lost(context, chain)
    return context.save_chain(chain) if passed_on is chain else advance(context, passed_on)


def _advance_once(context: DecisionContext, chain: Chain) -> Chain:
    chain = reroute_absent(context, chain)
    chain = pass_on_lost(context, chain) if chain.live else chain
    chain = _settle_steps(release_messages(context, chain))
    while chain.active and (step := runnable_step(context, chain)) is not None:
        chain = _settle_steps(run_step(context, chain, step))
    chain = finish_chain(context, _settle_steps(chain))  # before a reminder of what is over now
    return finish_chain(context, _remind_assignee(context, chain))


def _settle_steps(chain: Chain) -> Chain:
    """Complete the running steps of which nothing is held or pending any more."""
    for index, state in enumerate(chain.steps):
        if state.status is StepStatus.RUNNING and not _holds_back(chain, index):
            chain = _complete_step(chain, index)
    return chain


def _holds_back(chain: Chain, index: int) -> bool:
    held = any(m.step == index and m.answer is None and m.delivery is DeliveryState.HELD for m in chain.messages)
    write = any(
        w.step == index and w.answer is None and w.depth == 0 and w.pending and not w.manual_reported
        for w in chain.writes
    )
    filling = chain.form is not None and chain.form.step == index and not chain.form.over and chain.form.prompts == 0
    return held or write or filling


def _complete_step(chain: Chain, index: int) -> Chain:
    sent = [m.requested_at for m in chain.messages if m.step == index and m.answer is None and m.requested_at]
    state = chain.steps[index]
    at = max(sent, default=state.done_at or chain.base_at)
    unreached = bool(state.left_out) and not skips_everyone(chain, index)
    unreached = unreached and not has_reached_anyone(chain, index)
    chain = chain.complete_step(index, done_at=at, unreached=unreached)
    return chain.replace(base_at=max(at, chain.base_at))


def run_step(context: DecisionContext, chain: Chain, step: Step) -> Chain:
    """Run one step, or skip it where its ``unless`` holds; the steps before it that have not begun are skipped."""
    chain = _skip_overtaken_steps(chain, context.rule_of(chain), step)
    context.add_reason(Reason.STEP_DUE, chain, str(step.index))
    if judged_for_each(step) is None and context.holds(step.unless, chain):
        chain = chain.replace(base_at=context.now)
        return chain.skip_step(step.index, done_at=context.now)
    chain, before = chain.begin_step(step.index, context.now), {message.message_id for message in chain.messages}
    chain = _VERBS[step.verb](context, chain, step)
    return outbound.send_copies(context, chain, step.cc, step.index, before) if step.cc else chain


def _skip_overtaken_steps(chain: Chain, rule: Rule, step: Step) -> Chain:
    """Skip the steps before this one that have not begun."""
    for overtaken in rule.steps[: step.index]:
        if chain.steps[overtaken.index].status is StepStatus.PENDING:
            chain = chain.skip_step(overtaken.index)
    return chain


def step_draft(
    context: DecisionContext, chain: Chain, step: Step, say: str, buttons: tuple[str, ...] = ()
) -> MessageDraft:
    """The draft of a step. To a person who has just written it is a reply, free of quiet hours."""
    reply = step.who == ("sender",) and (step.timing is None or _has_just_written(context, chain))
    reply = reply and chain.start_name == MESSAGE_RECEIVED
    occurrence = chain.steps[step.index].occurrence
    return MessageDraft(step.verb, say, step.index, occurrence=occurrence, buttons=buttons, reply=reply)


_JUST_NOW = timedelta(minutes=15)


def _has_just_written(context: DecisionContext, chain: Chain) -> bool:
    """Whether the newest message that the chain gathered is so new that its writer still expects a reply."""
    last = max((joined.at for joined in chain.joined), default=chain.started_at)
    return context.now - last <= _JUST_NOW


def _tell(context: DecisionContext, chain: Chain, step: Step) -> Chain:
    draft = step_draft(context, chain, step, step.say or "")
    if step.say == COVER_ANNOUNCED:
        return announce_cover(context, chain, step.who, draft)
    return outbound.send_draft(context, chain, step.who, draft, without=_writer_of_own_message(context, chain, step))


def _writer_of_own_message(context: DecisionContext, chain: Chain, step: Step) -> tuple[PersonId, ...]:
    """The member of a team whose own message is sent to the team to be read, where others of it can read it."""
    sender = context.document(chain).sender if chain.rule.startswith(RESERVED_PREFIX) else None
    writer = context.facts.current_id(sender) if sender is not None else None
    if writer is None:
        return ()
    team = {one.person.person_id for one in resolve_recipients(context, chain, step.who).recipients}
    return (writer,) if team - {writer} else ()


def _ask(context: DecisionContext, chain: Chain, step: Step) -> Chain:
    chain = outbound.send_draft(
        context, chain, step.who, step_draft(context, chain, step, step.say or "", tuple(step.answers))
    )
    if has_reached_anyone(chain, step.index) or skips_everyone(chain, step.index):
        return chain
    return report_unclaimed(context, chain, step.index)


def _remind(context: DecisionContext, chain: Chain, step: Step) -> Chain:
    """Ask again, with the same buttons, everyone without a final answer, and remind the person who fills a form."""
    people, filling = list(unanswered_people(chain)), chain.form
    if filling is not None and not filling.over:
        people.remove(filling.person_id)
        chain = forms.remind_form(context, chain, step_draft(context, chain, step, step.say or ""))
    elif not people and step.index and chain.steps[step.index - 1].unreached:
        return _leave_out_the_same(chain, step)
    for person_id in people:
        asked = next(m for m in reversed(chain.messages) if m.person_id == person_id and awaits_answer(m))
        person = context.facts.people.get(person_id)
        is_reminded = asked.answer is not None and bool(_held_reminders(chain, asked))
        if person is None or (is_reminded and not isinstance(step.timing, After)):
            continue
        recipient = Recipient(person, asked.role or "unanswered", asked.on_behalf_of, asked.also_for)
        if asked.answer is not None and is_excepted(context, chain, step, person, recipient.role):
            chain = outbound.exclude_excepted(context, chain, person_id, step.index)
        else:
            chain = send_to_recipient(context, chain, recipient, _reminder(context, chain, step, asked, person))
    return chain


def _reminder(
    context: DecisionContext, chain: Chain, step: Step, asked: ChainMessage, person: PersonFacts
) -> MessageDraft:
    """The reminder of a question.

    A question that an answer led to is repeated in its own words, as the step has none. It is repeated once the time of
    the step has passed since the question was asked, or since the reminder before it. Either may lie ahead, while a
    reminder is held.
    """
    if asked.answer is not None:
        key, since = f"remind.{step.index}.{chain.steps[step.index].occurrence}", _last_asked(chain, asked)
        calendar = working_hours(context.rulebook, person)
        due = add_duration(since, step.timing, calendar) if since and isinstance(step.timing, After) else None
        return MessageDraft(
            Verb.REMIND, asked.say, asked.step, asked.answer, key, asked.occurrence, asked.buttons, not_before=due
        )
    return step_draft(context, chain, step, step.say or "", asked.buttons)


def _last_asked(chain: Chain, asked: ChainMessage) -> datetime | None:
    """When a question was asked last, or reminded of; in the future where a reminder of it is held."""
    times = (asked.requested_at, *(m.held_until for m in _held_reminders(chain, asked)))
    return max((at for at in times if at is not None), default=None)


def _held_reminders(chain: Chain, asked: ChainMessage) -> list[ChainMessage]:
    """The reminders of a question that an answer asked, which wait for its person's hours."""
    place = (asked.person_id, asked.step, asked.answer)
    held = (m for m in chain.messages if m.verb is Verb.REMIND and m.delivery is DeliveryState.HELD)
    return [m for m in held if (m.person_id, m.step, m.answer) == place]


def _leave_out_the_same(chain: Chain, step: Step) -> Chain:
    """A reminder of a question that reached no person leaves out the same people."""
    return chain.exclude(step.index, {who: why for state in chain.steps for who, why in state.left_out.items()})


def _collect(context: DecisionContext, chain: Chain, step: Step) -> Chain:
    return forms.begin_form(context, chain, step.form or "", step.index)


def _hand_over(context: DecisionContext, chain: Chain, step: Step) -> Chain:
    return hand_over(context, chain, HandoverDraft(step.who, step.index, step.say or "to_take"))


def hand_over(context: DecisionContext, chain: Chain, offer: HandoverDraft) -> Chain:
    """Offer a matter to people; where that reaches no person, it is reported, unless the step leaves all out."""
    offered = offer_matter(context, chain, offer)
    is_offered = len(offered.handovers) > len(chain.handovers)
    if is_offered or (offer.answer is None and skips_everyone(offered, offer.step)):
        return offered
    return report_unclaimed(context, offered, offer.step)


def _record(context: DecisionContext, chain: Chain, step: Step) -> Chain:
    if step.record is None:
        return chain
    return writes.request_write(context, chain, step.record, writes.WriteOrigin(step.index))


def _give_up(context: DecisionContext, chain: Chain, step: Step) -> Chain:
    if step.record is not None:
        chain = writes.request_write(context, chain, step.record, writes.WriteOrigin(step.index))
    if step.tell is not None:
        chain = outbound.send_draft(context, chain, step.tell.who, step_draft(context, chain, step, step.tell.say))
    return close_chain(context, chain, Ending.GAVE_UP)


_VERBS = {
    Verb.TELL: _tell,
    Verb.ASK: _ask,
    Verb.REMIND: _remind,
    Verb.COLLECT: _collect,
    Verb.HAND_OVER: _hand_over,
    Verb.RECORD: _record,
    Verb.GIVE_UP: _give_up,
}


def _remind_assignee(context: DecisionContext, chain: Chain) -> Chain:
    """Remind the person who has the matter, or those who may still take it, once; then leave it with the owner team."""
    if not chain.active or not is_due(context, chain, idle_due(context, chain)):
        return chain
    holder = chain.assignment or chain.handovers[-1]
    if holder.reminded:
        return leave_with_owner(context, chain)
    people = (chain.assignment.person_id,) if chain.assignment else chain.handovers[-1].undecided
    last = {m.person_id: m for m in chain.messages if m.verb is Verb.HAND_OVER and m.person_id in people}
    for message in last.values():
        chain = _remind_of(
            context,
            chain,
            message,
            ASSIGNEE_BUTTONS if chain.assignment else OFFER_BUTTONS,
            f"idle.{format_instant(holder.at)}",
        )
    if chain.assignment is not None:
        return chain.replace(assignment=chain.assignment.replace(at=context.now, reminded=True))
    handed = chain.handovers[-1].replace(at=context.now, reminded=True)
    return chain.replace(handovers=(*chain.handovers[:-1], handed))


def _remind_of(
    context: DecisionContext, chain: Chain, message: ChainMessage, buttons: tuple[str, ...], key: str
) -> Chain:
    person = context.facts.people.get(message.person_id)
    if person is None:
        return chain
    say = "taken" if buttons == ASSIGNEE_BUTTONS else message.say
    draft = MessageDraft(
        Verb.REMIND, say, message.step, message.answer or "idle", key, message.occurrence, buttons, words=message.words
    )
    return send_to_recipient(context, chain, receiver_of_offer(person, message), draft)


# ------------------------------------------------------------------ hand-overs that lose a person


def release_matter(context: DecisionContext, chain: Chain, person: PersonId) -> Chain:
    """Go on without a person who is left out: what they have taken is free again, an offer to them is declined."""
    offered = [m for m in chain.messages if m.person_id == person and is_offer(m)]
    if not chain.active or not offered:
        return chain
    if chain.assignment is not None and chain.assignment.person_id == person:
        return offer_again(context, without_assignee(context, chain, offered[-1]), offered[-1])
    if offered[-1].message_id in declined_offers(chain):
        return chain
    chain = chain.decline_offer(offered[-1].step, person)
    return chain if chain.assignment is not None else offer_again(context, chain, offered[-1])


def without_assignee(context: DecisionContext, chain: Chain, question: ChainMessage) -> Chain:
    """The chain after its assignee gave the matter back; the reminders of the hand-over are withdrawn."""
    chain = chain.give_back(context.now).decline_offer(question.step, question.person_id)
    return withdraw_messages(context, chain, "given_back", lambda m: is_of_handover(m) and not is_offer(m))


def offer_again(context: DecisionContext, chain: Chain, question: ChainMessage) -> Chain:
    """Make the offers again; without any left to decide, go on to the next step or the owner team."""
    offers = len(chain.handovers)
    chain = repeat_offers(context, chain, question.step)
    if len(chain.handovers) > offers or not all_declined(chain, question):
        return advance(context, chain)
    if next_pending_step(context, chain) is None:
        return advance(context, leave_with_owner(context, chain))
    return advance(context, report_unclaimed(context, chain, question.step))


def all_declined(chain: Chain, question: ChainMessage) -> bool:
    """Whether everyone who got the latest offer has declined it."""
    last = next((h for h in reversed(chain.handovers) if h.step == question.step), None)
    if last is None or chain.assignment is not None or last.step < chain.handovers[-1].step:
        return False
    return not last.undecided

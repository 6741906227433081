"""Ends chains: by answers that decide, by people who are excluded, by ``until`` lines, and by closing.

It also reports a matter that no person has. A person who was asked counts for the quorum, also while the question is
held; an excluded person does not.
"""

from collections.abc import Collection
from datetime import datetime

from msgspec import Raw

from services.rules.conversation import outbound, writes
from services.rules.conversation.chain import LOST, Chain, ChainMessage, DeliveryState, Ending, GivenAnswer, StepStatus
from services.rules.conversation.chain_messages import (
    OF_THE_HOUSE,
    UNTIL_ANSWER,
    awaited_people,
    holds_question,
    is_question_of_rule,
    unanswered_people,
    unread_offers,
)
from services.rules.conversation.context import DecisionContext, EndedChain, ExclusionReason, Reason
from services.rules.conversation.outbound import MessageDraft, pass_on, send_to_person, withdraw_messages
from services.rules.conversation.question_lookup import answer_of
from services.rules.conversation.recipients import (
    inbox_team,
    owner_team,
    receiver_of_offer,
    resolve_recipients,
    skips_everyone,
)
from services.rules.conversation.send_hours import AWAITED_FOR
from services.rules.rulebook.built_in import MATTER_CLOSED, TO_READ
from services.rules.rulebook.catalogue import STAFF_ROLES
from services.rules.rulebook.model import AnswerAction, At, Field, Quorum, Step, Team, Verb, answers_of
from shared.contracts.ids import PersonId


def close_chain(
    context: DecisionContext, chain: Chain, ending: Ending, *, notified_later: Collection[PersonId] = ()
) -> Chain:
    """Withdraw the unsent messages that do not belong to this ending, and close the chain.

    It ends at once where no write is pending and no message is held. ``notified_later`` are the people whom a message
    reaches once the writes are settled.
    """
    chain = _without_unsent(context, chain, ending)
    return finish_chain(context, _notify_of_end(context, chain, ending, notified_later).close(ending))


def _notify_of_end(
    context: DecisionContext, chain: Chain, ending: Ending, notified_later: Collection[PersonId]
) -> Chain:
    """Tell those who are busy with the chain that it ends without them, where no other message tells them so."""
    notified = {m.person_id for m in chain.messages if m.message_id in context.drafted and m.delivery not in LOST}
    for person, wrote_at in _busy_people(context, chain, ending).items():
        if MATTER_CLOSED in context.rulebook.templates and person not in {*notified, *notified_later}:
            step = chain.form.step if chain.form is not None else _last_begun(chain)
            is_awaited = wrote_at is not None and context.now - wrote_at <= AWAITED_FOR
            draft = MessageDraft(Verb.TELL, MATTER_CLOSED, step, OF_THE_HOUSE, MATTER_CLOSED, reply=is_awaited)
            chain = send_to_person(context, chain, person, draft)
    return chain


def _busy_people(context: DecisionContext, chain: Chain, ending: Ending) -> dict[PersonId, datetime | None]:
    """The person who fills a form, with the time of their last message, and the one who has the matter.

    Nothing is sent to the one who has the matter where an ``until`` line ends the chain: mostly that person made it
    true, and the line has a message of its own. A form that its person has left for a while is given up without a word.
    A person who is merged into another goes on in the chain of that one.
    """
    found: dict[PersonId, datetime | None] = {}
    if chain.assignment is not None and ending in {Ending.ANSWERED, Ending.CANCELLED}:
        found[chain.assignment.person_id] = None
    if chain.form is not None and not chain.form.over and ending is not Ending.REPLACED:
        is_left = ending is Ending.GAVE_UP and context.now - chain.form.last_at > AWAITED_FOR
        found.update({} if is_left else {chain.form.person_id: chain.form.last_at})
    return found


def _without_unsent(context: DecisionContext, chain: Chain, ending: Ending) -> Chain:
    """Words that no colleague has yet go to those to whom they were offered: there is no matter to take any more."""
    unread = unread_offers(chain)
    chain = withdraw_messages(context, chain, str(ending), lambda m: not _belongs_to_ending(context, chain, m, ending))
    for offer in unread:
        person = context.facts.people.get(offer.person_id)
        if person is not None:
            chain = pass_on(context, chain, offer, receiver_of_offer(person, offer))
    return chain


def _belongs_to_ending(context: DecisionContext, chain: Chain, message: ChainMessage, ending: Ending) -> bool:
    """Replies, and the messages of the answer, the step or the ``until`` line that ends the chain now.

    A ``tell`` that goes with the ending step belongs to it too, such as one before a ``give_up`` without a time.
    Reports of a write, or of a person's changed answer, stay true after the end; so do a person's words to be read, and
    the report of a matter that no person has, unless others have ended it.
    """
    if message.is_question:
        return False
    if message.say == TO_READ or (message.say == LEFT_WITH_OWNER and ending in _WITHOUT_A_PERSON):
        return True
    last = message.step == len(chain.steps) - 1 and message.verb is Verb.GIVE_UP
    if message.reply or last:
        return True
    if message.answer is None and message.message_id in context.drafted:
        step, *then = context.rule_of(chain).steps[message.step : _last_begun(chain) + 1]
        return step.verb is Verb.TELL and all(each.timing is None for each in then)
    return message.answer is not None and (message.message_id in context.drafted or _stays_true(chain, message))


LEFT_WITH_OWNER = "left_with_owner"
_WITHOUT_A_PERSON = frozenset({Ending.DONE, Ending.GAVE_UP, Ending.LEFT_WITH_OWNER})


def _stays_true(chain: Chain, message: ChainMessage) -> bool:
    of_a_write = any((w.step, w.answer or "write") == (message.step, message.answer) for w in chain.writes)
    return of_a_write or message.answer == OF_THE_HOUSE


def finish_chain(context: DecisionContext, chain: Chain) -> Chain:
    """End a chain that is closing and has no pending write, or whose steps are all over and that waits for no
    person.
    """
    if not chain.live or any(w.pending for w in chain.writes):
        return chain
    if any(m.delivery is DeliveryState.HELD for m in chain.messages):
        return chain
    if chain.closing is None:
        if not all(s.over for s in chain.steps) or (chain.handovers and not chain.unclaimed) or chain.assignment:
            return chain
        chain = chain.close(Ending.DONE)
    context.effects.append(EndedChain(chain.chain_id, chain.closing or Ending.DONE))
    return chain.finish()


def leave_with_owner(context: DecisionContext, chain: Chain) -> Chain:
    """Tell the owner team that no person takes the matter, and close the chain.

    A step that is due again has no offer any more, but one that was sent before may have been taken since.
    """
    step = chain.handovers[-1].step if chain.handovers else _last_begun(chain)
    draft = MessageDraft(Verb.TELL, LEFT_WITH_OWNER, step, "idle", "left_with_owner")
    return close_chain(
        context, outbound.send_draft(context, chain, owner_team(context, chain), draft), Ending.LEFT_WITH_OWNER
    )


def end_by_until(context: DecisionContext, chain: Chain, index: int, data: Raw | None = None) -> Chain:
    """An ``until`` line came true by an event: send its message, withdraw the rest and close.

    While a write is pending, the message waits until the write is settled. ``data`` is that of the event.
    """
    until = context.rule_of(chain).until[index]
    if data is not None:
        chain = chain.replace(end_name=until.event, end=data)
    if any(w.pending and not w.manual_reported for w in chain.writes):
        return context.save_chain(_without_unsent(context, chain.replace(deferred_until=index), Ending.UNTIL))
    chain = chain.replace(deferred_until=None)
    if until.tell is not None:
        draft = MessageDraft(
            Verb.TELL, until.tell.say, _last_begun(chain), UNTIL_ANSWER, str(chain.steps[0].occurrence)
        )
        chain = outbound.send_draft(context, chain, until.tell.who, draft)
    return close_chain(context, chain, Ending.UNTIL)


def _last_begun(chain: Chain) -> int:
    begun = [i for i, s in enumerate(chain.steps) if s.status is not StepStatus.PENDING]
    return max(begun, default=0)


def recount(context: DecisionContext, chain: Chain) -> Chain:
    """Conclude the chain where the answers given are enough, now that a person who was asked is excluded."""
    for step in context.rule_of(chain).steps:
        for answer in answers_of(step):
            is_given = any(g.final and g.answer == answer.path for g in chain.answers)
            if chain.active and is_given and is_decided(context, chain, step, answer):
                chain = conclude(context, chain, step, answer)
    return chain


def await_quorum(context: DecisionContext, chain: Chain, step: Step, answer: AnswerAction, given: GivenAnswer) -> Chain:
    """An answer waits for its quorum: its person is asked no more.

    Where all have answered and no answer has its quorum, the next step need not wait; the owner team is told where no
    later step reaches staff.
    """
    chain = withdraw_messages(
        context, chain, "answered", lambda m: m.person_id == given.person_id and is_question_of_rule(m)
    )
    undecided = people_asked(chain, step, answer) - {each.person_id for each in chain.answers if each.final}
    if undecided or awaited_people(chain):
        return chain
    return report_unclaimed(context, chain.end_wait(), step.index)


def recount_merged(context: DecisionContext, chain: Chain, person: PersonId) -> Chain:
    """Two people of a chain are one: what they have answered by either id may be enough, or all that will come."""
    given = chain.final_answer_of(person)
    question = chain.message(given.message_id) if given is not None else None
    if given is None or question is None:
        return chain
    chain = recount(context, chain)
    step, answer = answer_of(context, chain, question, given.reply)
    return await_quorum(context, chain, step, answer, given) if chain.active and answer is not None else chain


def conclude(context: DecisionContext, chain: Chain, step: Step, answer: AnswerAction) -> Chain:
    """A final answer counts: request its write, or else send its message, and close the chain."""
    context.add_reason(Reason.ANSWERED, chain, str(step.index))
    agreed, notified_later = _agreed(chain, answer), set[PersonId]()
    if answer.record is not None:
        chain = writes.request_write(context, chain, answer.record, writes.WriteOrigin(step.index, answer.path, agreed))
        told = answer.tell.who if answer.tell is not None else ()
        resolved = resolve_recipients(context, chain, told, sender=agreed[-1].person_id)
        notified_later = {recipient.person.person_id for recipient in resolved.recipients}
    elif answer.tell is not None:
        chain = send_answer_message(context, chain, step, answer, agreed[-1].person_id)
    return close_chain(context, chain, Ending.ANSWERED, notified_later=notified_later)


def is_decided(context: DecisionContext, chain: Chain, step: Step, answer: AnswerAction) -> bool:
    """Quorum ``first``: at once. ``all``: when everyone with an open or held question gave the same answer.

    A number: when so many people did, where a person counts once for each person they stand for.
    """
    quorum = _quorum(context, chain, answer)
    agreed = _agreed(chain, answer)
    if quorum is Quorum.FIRST:
        return True
    if quorum is Quorum.ALL:
        return people_asked(chain, step, answer) <= {given.person_id for given in agreed}
    return len({holder for given in agreed for holder in given.holders}) >= quorum


def _agreed(chain: Chain, answer: AnswerAction) -> tuple[GivenAnswer, ...]:
    return tuple(g for g in chain.answers if g.final and g.answer == answer.path)


def people_asked(chain: Chain, step: Step, answer: AnswerAction) -> frozenset[PersonId]:
    """The people who may answer the question that this is an answer to, also while it is held for them."""
    within = answer.within or None
    asked = (m for m in chain.messages if m.step == step.index and m.answer == within and _may_answer(m))
    return frozenset(m.person_id for m in asked)


def _may_answer(question: ChainMessage) -> bool:
    return not question.closed and question.is_question and question.delivery not in LOST


def _quorum(context: DecisionContext, chain: Chain, answer: AnswerAction) -> Quorum | int:
    declared = answer.quorum
    if not isinstance(declared, Field):
        return declared
    found = context.document(chain).get(declared.name, Quorum.FIRST)
    return found if isinstance(found, int) else Quorum(found)


def send_answer_message(
    context: DecisionContext, chain: Chain, step: Step, answer: AnswerAction, sender: PersonId
) -> Chain:
    if answer.tell is None:
        return chain
    key, is_reply = f"tell.{len(chain.answers)}", answer.tell.who == ("sender",)
    draft = MessageDraft(Verb.TELL, answer.tell.say, step.index, answer.path, key, reply=is_reply)
    return outbound.send_draft(context, chain, answer.tell.who, draft, sender=sender)


def exclude_person(context: DecisionContext, chain: Chain, message: ChainMessage, reason: ExclusionReason) -> Chain:
    """Stop waiting for the person of a message. The others may be enough; without others the next step runs now."""
    chain = chain.exclude(message.step, {message.person_id: str(reason)})
    return recount_after_exclusion(context, chain, message)


def recount_after_exclusion(context: DecisionContext, chain: Chain, message: ChainMessage) -> Chain:
    """Stop waiting for a person whose exclusion is on the step already. An offer to them counts as declined."""
    chain = recount(context, chain)
    if message.verb is Verb.HAND_OVER and chain.active:
        return continue_unclaimed(context, chain.decline_offer(message.step, message.person_id), message.step)
    if chain.active and message.answer is not None and message.verb is Verb.ASK:
        return chain if _is_followed_up(chain, message) else report_unclaimed(context, chain, message.step)
    if (message.answer is not None and message.verb is not Verb.COLLECT) or awaited_people(chain):
        return chain
    if holds_question(chain):
        return chain  # of others, who are asked in their morning, or when their cap has room
    if not message.is_question and message.verb is not Verb.COLLECT:
        return chain.end_wait() if _is_for_none_else(chain, message) else chain
    is_asked = chain.active and message.verb is not Verb.COLLECT and not skips_everyone(chain, message.step)
    chain = chain.end_wait()
    return report_unclaimed(context, chain, message.step) if is_asked else chain


def _is_followed_up(chain: Chain, question: ChainMessage) -> bool:
    """Whether a question that an answer has led to was answered, or others have it still."""
    others = (m for m in chain.messages if m.answer == question.answer and m.person_id != question.person_id)
    is_answered = any(given.message_id == question.message_id for given in chain.answers)
    return is_answered or any(map(_may_answer, others))


def _is_for_none_else(chain: Chain, notice: ChainMessage) -> bool:
    """Whether the chain waits after the step of a notice, which has reached no other person."""
    others = (m for m in chain.messages if m.person_id != notice.person_id and m.delivery not in LOST)
    same = any((m.step, m.answer, m.occurrence) == (notice.step, notice.answer, notice.occurrence) for m in others)
    return chain.last_step_done == notice.step and not same


# ------------------------------------------------------------------ a matter that no person has


def report_unclaimed(context: DecisionContext, chain: Chain, step: int) -> Chain:
    """Tell the owner team, else the inbox team, that the matter has no person.

    A later step that hands over, or writes to a team, makes this needless.
    """
    if chain.unclaimed or any(_reaches_staff(each) for each in pending_steps(context, chain)):
        return chain
    team = {
        recipient.person.person_id
        for recipient in resolve_recipients(context, chain, owner_team(context, chain)).recipients
    }
    if team and team <= {person for handed in chain.handovers for person in handed.declined}:
        return chain  # the whole team has declined it
    draft = MessageDraft(Verb.TELL, LEFT_WITH_OWNER, step, "idle", "nobody_has_it")
    for who in (owner_team(context, chain), inbox_team(context)):
        known = len(chain.messages)
        chain = outbound.send_draft(context, chain, who, draft)
        if len(chain.messages) > known:
            break
    return chain.replace(unclaimed=True)


def pending_steps(context: DecisionContext, chain: Chain) -> list[Step]:
    """The steps of the chain's rule that have not begun, in their order."""
    return [s for s in context.rule_of(chain).steps if chain.steps[s.index].status is StepStatus.PENDING]


def next_pending_step(context: DecisionContext, chain: Chain) -> Step | None:
    """The first step that has not begun; None where all have."""
    return next(iter(pending_steps(context, chain)), None)


def waits_for_its_time(chain: Chain, step: Step) -> bool:
    """Whether the step after a matter that no person has taken waits for its own time.

    While people are asked, or will be in their morning, only a step that reaches staff goes on with the matter: a
    reminder, or the end of the chain, would come too early for them.
    """
    are_asked = bool(unanswered_people(chain)) or holds_question(chain)
    return isinstance(step.timing, At) or (are_asked and not _reaches_staff(step))


def _reaches_staff(step: Step) -> bool:
    addressed = step.tell.who if step.tell is not None else step.who if step.verb is Verb.TELL else ()
    return step.verb is Verb.HAND_OVER or any(isinstance(who, Team) or who in STAFF_ROLES for who in addressed)


def continue_unclaimed(context: DecisionContext, chain: Chain, step: int) -> Chain:
    """Where no person is left who could take the matter, begin the next step at once, or tell the owner team.

    A step that waits for its own time still does.
    """
    last = chain.handovers[-1] if chain.handovers else None
    if last is None or chain.assignment is not None or last.undecided:
        return chain
    following = next_pending_step(context, chain)
    waits = following is not None and waits_for_its_time(chain, following)
    return report_unclaimed(context, chain if waits else chain.end_wait(), step)

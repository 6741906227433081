"""How chains end: what is unsent is taken back, questions close, and writes asked for may still come to rest.

When the answers of several people decide: the quorum of a step, and who still counts for it.

Who was asked counts, also while the question is held for their hours; who is gone counts no more.
"""

from msgspec import Raw

from services.rules.conversation import outbound, writes
from services.rules.conversation.chain import Chain, ChainMessage, DeliveryState, Ending, StepStatus
from services.rules.conversation.context import DecisionContext, EndedChain, Reason
from services.rules.conversation.outbound import MessageDraft, withdraw_messages
from services.rules.conversation.recipients import awaited_people
from services.rules.conversation.rendering import UNTIL_ANSWER
from services.rules.rulebook.model import AnswerAction, Field, Step, Verb
from shared.contracts.consonance import ConfirmationQuorum
from shared.contracts.ids import PersonId


def close_chain(context: DecisionContext, chain: Chain, ending: Ending) -> Chain:
    """The chain's last word is said: questions close, and all that is unsent is taken back but what this end says."""
    chain = withdraw_messages(context, chain, str(ending), lambda m: not _belongs_to_the_end(context, chain, m))
    return finish_chain(
        context, outbound.close_questions(chain).replace(closing=_as_left(chain, ending), assignment=None)
    )


def _as_left(chain: Chain, ending: Ending) -> Ending:
    """What nobody could be asked or given rests with the owner team, and did not come to its usual end."""
    unusual = chain.unclaimed and ending in {Ending.DONE, Ending.GAVE_UP}
    return Ending.LEFT_WITH_OWNER if unusual else ending


def _belongs_to_the_end(context: DecisionContext, chain: Chain, outgoing: ChainMessage) -> bool:
    """Replies, and what the answer, the last step or the ``until`` says by which the chain ends now.

    What is said of a write, or of somebody's second thoughts, is no less true after the end.
    """
    if outgoing.is_question:
        return False
    last = outgoing.step == len(chain.steps) - 1 and outgoing.verb is Verb.GIVE_UP
    if outgoing.reply or last:
        return True
    return outgoing.answer is not None and (outgoing.message_id in context.drafted or _stays_true(chain, outgoing))


def _stays_true(chain: Chain, outgoing: ChainMessage) -> bool:
    of_a_write = any((w.step, w.answer or "write") == (outgoing.step, outgoing.answer) for w in chain.writes)
    return outgoing.verb is Verb.TELL and (of_a_write or outgoing.answer == "house")


def finish_chain(context: DecisionContext, chain: Chain) -> Chain:
    """End what is over: a closing chain whose writes rest, or one whose steps are all over and await nobody."""
    if not chain.live or any(w.pending for w in chain.writes):
        return chain
    if any(m.delivery is DeliveryState.HELD for m in chain.messages):
        return chain
    if chain.closing is None:
        if not all(s.over for s in chain.steps) or (chain.handovers and not chain.unclaimed) or chain.assignment:
            return chain
        chain = outbound.close_questions(chain).replace(closing=_as_left(chain, Ending.DONE))
    context.effects.append(EndedChain(chain.chain_id, chain.closing or Ending.DONE))
    return chain.replace(ended=chain.closing, next_due=None)


def end_by_until(context: DecisionContext, chain: Chain, index: int, said: Raw | None = None) -> Chain:
    """An ``until`` came true by what was ``said``: tell, withdraw the rest, end; while a write is pending it waits."""
    until = context.rule_of(chain).until[index]
    if said is not None:
        chain = chain.replace(end_name=until.event, end=said)
    if any(w.pending and not w.manual_reported for w in chain.writes):
        return context.save_chain(chain.replace(deferred_until=index))
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
    """One who was asked is gone: those who are left may all have said the same already."""
    for step in context.rule_of(chain).steps:
        for answer in step.answers.values():
            said = any(g.final and g.answer == answer.name for g in chain.answers)
            if chain.active and said and is_decided(context, chain, step, answer):
                chain = conclude(context, chain, step, answer)
    return chain


def conclude(context: DecisionContext, chain: Chain, step: Step, answer: AnswerAction) -> Chain:
    """A final answer stands: its write is asked for, or who hears of it is told, and the chain ends."""
    context.add_reason(Reason.ANSWERED, chain, str(step.index))
    agreed = tuple(g for g in chain.answers if g.final and g.answer == answer.name)
    if answer.record is not None:
        chain = writes.request_write(context, chain, answer.record, writes.WriteOrigin(step.index, answer.name, agreed))
    elif answer.tell is not None:
        chain = send_answer_message(context, chain, step, answer, agreed[-1].person_id)
    return close_chain(context, chain, Ending.ANSWERED)


def is_decided(context: DecisionContext, chain: Chain, step: Step, answer: AnswerAction) -> bool:
    """``first``: now. ``all``: once all have said the same who were asked, or will be once their hours begin."""
    if _quorum(context, chain, answer) is ConfirmationQuorum.FIRST:
        return True
    asked = {m.person_id for m in chain.messages if m.step == step.index and m.answer is None and _may_answer(m)}
    agreed = {g.person_id for g in chain.answers if g.final and g.answer == answer.name}
    return asked <= agreed


def _may_answer(question: ChainMessage) -> bool:
    return not question.closed and question.is_question and question.delivery not in _NEVER_ASKED


_NEVER_ASKED = frozenset({DeliveryState.FAILED, DeliveryState.DROPPED, DeliveryState.WITHDRAWN})


def _quorum(context: DecisionContext, chain: Chain, answer: AnswerAction) -> ConfirmationQuorum:
    declared = answer.quorum
    if isinstance(declared, Field):
        return ConfirmationQuorum(context.document(chain).get(declared.name, ConfirmationQuorum.FIRST))
    return declared


def send_answer_message(
    context: DecisionContext, chain: Chain, step: Step, answer: AnswerAction, sender: PersonId
) -> Chain:
    if answer.tell is None:
        return chain
    draft = MessageDraft(Verb.TELL, answer.tell.say, step.index, answer.name, f"tell.{len(chain.answers)}")
    if answer.tell.who == ("sender",):
        draft = MessageDraft(
            Verb.TELL, answer.tell.say, step.index, answer.name, f"tell.{len(chain.answers)}", reply=True
        )
    return outbound.send_draft(context, chain, answer.tell.who, draft, sender=sender)


# ------------------------------------------------------------------ who is gone


def exclude_person(context: DecisionContext, chain: Chain, outgoing: ChainMessage, reason: Reason) -> Chain:
    """Somebody cannot be waited for any more: the others may be enough; where nobody is left the next step runs now."""
    left_out = {**chain.steps[outgoing.step].left_out, outgoing.person_id: str(reason)}
    return recount_after_exclusion(context, chain.with_step(outgoing.step, left_out=left_out), outgoing)


def recount_after_exclusion(context: DecisionContext, chain: Chain, outgoing: ChainMessage) -> Chain:
    """The same, where the reason is kept on the step already."""
    chain = recount(context, chain)
    if (outgoing.answer is not None and outgoing.verb is not Verb.COLLECT) or awaited_people(chain):
        return chain
    over = [index for index, state in enumerate(chain.steps) if state.status is StepStatus.DONE]
    return chain.with_step(over[-1], unreached=True) if over else chain

"""When the answers of several people decide: the quorum of a step, and who still counts for it.

Who was asked counts, also while the question is held for their hours; who is gone counts no more.
"""

from services.rules import record, speak
from services.rules.chain import Chain, Delivery, Ending, Outgoing, StepStatus
from services.rules.desk import Desk, Reason
from services.rules.ending import close
from services.rules.recipients import awaited
from services.rules.rulebook import Answer, Quorum, Step, Verb
from services.rules.speak import Speech
from services.rules.terms import Field
from shared.contracts.ids import PersonId


def recount(desk: Desk, chain: Chain) -> Chain:
    """One who was asked is gone: those who are left may all have said the same already."""
    for step in desk.rule_of(chain).steps:
        for answer in step.answers.values():
            said = any(g.final and g.answer == answer.name for g in chain.given)
            if chain.active and said and decided(desk, chain, step, answer):
                chain = act(desk, chain, step, answer)
    return chain


def act(desk: Desk, chain: Chain, step: Step, answer: Answer) -> Chain:
    """A final answer stands: its write is asked for, or who hears of it is told, and the chain ends."""
    desk.judged(Reason.ANSWERED, chain, str(step.index))
    agreed = tuple(g for g in chain.given if g.final and g.answer == answer.name)
    if answer.record is not None:
        chain = record.ask(desk, chain, answer.record, record.Origin(step.index, answer.name, agreed))
    elif answer.tell is not None:
        chain = tell(desk, chain, step, answer, agreed[-1].person_id)
    return close(desk, chain, Ending.ANSWERED)


def decided(desk: Desk, chain: Chain, step: Step, answer: Answer) -> bool:
    """``first``: now. ``all``: once all have said the same who were asked, or will be once their hours begin."""
    if _quorum(desk, chain, answer) is Quorum.FIRST:
        return True
    asked = {m.person_id for m in chain.outgoing if m.step == step.index and m.answer is None and _may_answer(m)}
    agreed = {g.person_id for g in chain.given if g.final and g.answer == answer.name}
    return asked <= agreed


def _may_answer(question: Outgoing) -> bool:
    return not question.closed and question.is_question and question.delivery not in _NEVER_ASKED


_NEVER_ASKED = frozenset({Delivery.FAILED, Delivery.DROPPED, Delivery.WITHDRAWN})


def _quorum(desk: Desk, chain: Chain, answer: Answer) -> Quorum:
    declared = answer.quorum
    if isinstance(declared, Field):
        return Quorum(desk.document(chain).get(declared.name, Quorum.FIRST))
    return declared


def tell(desk: Desk, chain: Chain, step: Step, answer: Answer, sender: PersonId) -> Chain:
    if answer.tell is None:
        return chain
    speech = Speech(Verb.TELL, answer.tell.say, step.index, answer.name, f"tell.{len(chain.given)}")
    if answer.tell.who == ("sender",):
        speech = Speech(Verb.TELL, answer.tell.say, step.index, answer.name, f"tell.{len(chain.given)}", reply=True)
    return speak.speak(desk, chain, answer.tell.who, speech, sender=sender)


# ------------------------------------------------------------------ who is gone


def leave_out(desk: Desk, chain: Chain, outgoing: Outgoing, reason: Reason) -> Chain:
    """Somebody cannot be waited for any more: the others may be enough; where nobody is left the next step runs now."""
    left_out = {**chain.steps[outgoing.step].left_out, outgoing.person_id: str(reason)}
    return count_without(desk, chain.with_step(outgoing.step, left_out=left_out), outgoing)


def count_without(desk: Desk, chain: Chain, outgoing: Outgoing) -> Chain:
    """The same, where the reason is kept on the step already."""
    chain = recount(desk, chain)
    if (outgoing.answer is not None and outgoing.verb is not Verb.COLLECT) or awaited(chain):
        return chain
    over = [index for index, state in enumerate(chain.steps) if state.status is StepStatus.DONE]
    return chain.with_step(over[-1], unreached=True) if over else chain

"""Judges the ``unless`` of a step once more for a message that has not gone: where it holds by now, none is sent.

A held message is judged when it is released. One that waits in the dispatcher, as for its template, a limit or the end
of an outage, is judged when an event changes the facts of its work or rights record, or takes the place of the event of
its chain. What time alone makes true, as with ``days_to``, is not looked for there.
"""

from collections.abc import Iterable

from services.rules.conversation import outbound
from services.rules.conversation.chain import IN_DISPATCHER, Chain, ChainMessage, DeliveryState
from services.rules.conversation.completion import recount_after_exclusion
from services.rules.conversation.context import DecisionContext, Reason
from services.rules.conversation.handover import withdraw_offer
from services.rules.conversation.recipients import is_excepted, judged_for_each
from services.rules.rulebook.model import Verb
from shared.contracts.messages import WithdrawMessage


def unless_holds(context: DecisionContext, chain: Chain, message: ChainMessage) -> bool:
    """Whether the ``unless`` of the step that a message belongs to holds now; what follows an answer has none."""
    step = context.rule_of(chain).steps[message.step]
    if message.answer is not None or step.unless is None:
        return False
    if judged_for_each(step) is None:
        return context.holds(step.unless, chain)
    person = context.facts.people.get(message.person_id)
    return person is not None and is_excepted(context, chain, step, person, message.role)


def leave_out(context: DecisionContext, chain: Chain, message: ChainMessage) -> Chain:
    """The message never goes: its person takes no part in a hand-over, and the answers of the others may be enough."""
    chain = chain.with_message(message.replace(delivery=DeliveryState.WITHDRAWN))
    if judged_for_each(context.rule_of(chain).steps[message.step]) is not None:
        chain = outbound.exclude_excepted(context, chain, message.person_id, message.step)
    if message.verb is Verb.HAND_OVER:
        chain = withdraw_offer(chain, message)
    is_answered = chain.active and any(given.final for given in chain.answers)
    return recount_after_exclusion(context, chain, message) if is_answered else chain


def withdraw_by_facts(context: DecisionContext, tags: Iterable[str]) -> None:
    """Withdraw what waits in the dispatcher and whose ``unless`` holds by the facts of now, of ended chains too."""
    for chain in context.facts.chains_depending_on(tags):
        judged = withdraw_excepted(context, chain)
        if judged is not chain:
            context.save_chain(judged)


def withdraw_excepted(context: DecisionContext, chain: Chain) -> Chain:
    """Withdraw those messages of one chain. The dispatcher reports whether it was in time (``leave_out`` follows then).

    What remains of a digest goes then (``release.send_rest``).
    """
    for message in chain.messages:
        waits = message.delivery in IN_DISPATCHER and message.message_id not in context.drafted
        if waits and message.unwanted is None and unless_holds(context, chain, message):
            context.add_reason(Reason.UNLESS, chain, str(message.step))
            reason = str(Reason.UNLESS)
            sent_as = message.digest or message.message_id
            context.request_withdrawal(WithdrawMessage(message_id=sent_as, person_id=message.person_id, reason=reason))
            chain = chain.with_message(message.replace(unwanted=reason))
    return chain

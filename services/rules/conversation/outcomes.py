"""What became of what was asked of others: deliveries by the dispatcher, writes by writeback."""

from services.rules.conversation import outbound, writes
from services.rules.conversation.chain import DELIVERY_RANK, UNSENT, Chain, ChainMessage, ChainWrite, DeliveryState
from services.rules.conversation.completion import end_by_until, exclude_person
from services.rules.conversation.context import DecisionContext, ExcludedPerson, Reason
from services.rules.conversation.handover import owner_team
from services.rules.conversation.outbound import MessageDraft
from services.rules.conversation.replies import send_to_person
from services.rules.conversation.steps import advance
from services.rules.rulebook.model import Notification, Verb, WriteAction
from shared.contracts.ids import PersonId
from shared.contracts.messages import (
    MessageAccepted,
    MessageDelivered,
    MessageDropped,
    MessageEventData,
    MessageFailed,
    MessageRead,
    MessageResolved,
    MessageUncertain,
    MessageWithdrawn,
    Resolution,
)
from shared.contracts.writes import SUCCESSFUL_OUTCOMES, WriteEventData, WriteOutcome

_DELIVERIES: dict[type[MessageEventData], DeliveryState] = {
    MessageAccepted: DeliveryState.ACCEPTED,
    MessageDelivered: DeliveryState.DELIVERED,
    MessageRead: DeliveryState.READ,
    MessageUncertain: DeliveryState.UNCERTAIN,
    MessageFailed: DeliveryState.FAILED,
    MessageDropped: DeliveryState.DROPPED,
    MessageWithdrawn: DeliveryState.WITHDRAWN,
}


# ------------------------------------------------------------------ deliveries


def apply_delivery(context: DecisionContext, said: MessageEventData) -> None:
    found = context.facts.chain_of_message(said.message_id)
    reached = _reached(said)
    if found is None and reached is not None:
        context.facts.notice_outcomes[said.message_id] = getattr(said, "wamid", None)
    if found is None or reached is None:
        return
    chain, outgoing = found
    context.add_reason(Reason.DELIVERY, chain, str(outgoing.step))
    if (wamid := getattr(said, "wamid", None)) is not None:
        outgoing = outgoing.replace(wamid=wamid)
        context.facts.wamids[wamid] = outgoing.message_id
    if _rises(outgoing.delivery, reached):
        outgoing = outgoing.replace(delivery=reached)
    chain = chain.with_message(outgoing)
    if chain.live and reached in {DeliveryState.FAILED, DeliveryState.DROPPED} and outgoing.delivery is reached:
        chain = _unreachable(context, chain, outgoing)
    context.save_chain(advance(context, chain) if chain.live else chain)


def _reached(said: MessageEventData) -> DeliveryState | None:
    if isinstance(said, MessageResolved):
        sent = said.resolution in {Resolution.SENT, Resolution.RESENT}
        return DeliveryState.ACCEPTED if sent else DeliveryState.FAILED
    return _DELIVERIES.get(type(said))


def _rises(now: DeliveryState, reached: DeliveryState) -> bool:
    """Statuses only rise; a failure counts only while nothing better is known."""
    if reached in UNSENT:
        return DELIVERY_RANK.get(now, -1) in {
            DELIVERY_RANK[DeliveryState.REQUESTED],
            DELIVERY_RANK[DeliveryState.UNCERTAIN],
            DELIVERY_RANK[DeliveryState.ACCEPTED],
        }
    return DELIVERY_RANK.get(now, -1) < DELIVERY_RANK[reached]


def _unreachable(context: DecisionContext, chain: Chain, outgoing: ChainMessage) -> Chain:
    context.effects.append(ExcludedPerson(chain.chain_id, outgoing.person_id, Reason.UNREACHABLE))
    return exclude_person(context, chain, outgoing, Reason.UNREACHABLE)


# ------------------------------------------------------------------ writes


def apply_write_outcome(context: DecisionContext, said: WriteEventData) -> None:
    """A write rests, or is known to hang: follow up on the answer or step that asked for it."""
    chain = context.facts.chain_of_write(said.write_id)
    if chain is None:
        return
    writing = next(w for w in chain.writes if w.write_id == said.write_id)
    if not writing.pending:
        return
    context.add_reason(Reason.WRITE_SETTLED, chain, str(writing.step))
    told_before = _by_hand_already(chain, writing)
    told = writing.manual_reported or said.outcome is WriteOutcome.MANUAL
    chain = chain.with_write(writing.replace(outcome=said.outcome, manual_reported=told))
    if said.outcome in SUCCESSFUL_OUTCOMES:
        chain = _follow_up_write(context, chain, writing)
    elif said.outcome is WriteOutcome.CONFLICT:
        chain = _send_to_all_concerned(context, chain, writing, "not_written")
    elif said.outcome is WriteOutcome.MANUAL and not told_before:
        chain = _send_to_answerers(context, chain, writing, "by_hand")
    context.save_chain(_resume(context, chain))


def _by_hand_already(chain: Chain, writing: ChainWrite) -> bool:
    """One word about one answer, however many writes follow from it."""
    same = (w for w in chain.writes if (w.step, w.answer) == (writing.step, writing.answer))
    return any(w.manual_reported for w in same)


def _resume(context: DecisionContext, chain: Chain) -> Chain:
    waiting = any(w.pending and not w.manual_reported for w in chain.writes)
    if chain.active and chain.deferred_until is not None and not waiting:
        chain = end_by_until(context, chain, chain.deferred_until)
    return advance(context, chain)


def _origin_of(
    context: DecisionContext, chain: Chain, writing: ChainWrite
) -> tuple[WriteAction | None, Notification | None]:
    """The record this write is, and what is told beside it; a form's record says its own ``done``."""
    step = context.rule_of(chain).steps[writing.step]
    answer = step.answers.get(writing.answer) if writing.answer else None
    if writing.answer and answer is None:
        return None, None
    asked, tell = (
        (answer.record, answer.tell) if answer else (step.record, step.tell if step.verb is Verb.RECORD else None)
    )
    for _ in range(writing.depth):
        asked, tell = asked.then if asked else None, None
    return asked, tell


def _follow_up_write(context: DecisionContext, chain: Chain, writing: ChainWrite) -> Chain:
    asked, tell = _origin_of(context, chain, writing)
    if asked is not None and asked.then is not None:
        given = tuple(g for g in chain.answers if g.person_id in writing.answerers and g.answer == writing.answer)
        origin = writes.WriteOrigin(writing.step, writing.answer, given, writing.depth + 1)
        chain = writes.request_write(context, chain, asked.then, origin)
    if tell is not None:
        chain = outbound.send_draft(context, chain, tell.who, _write_draft(writing, tell.say), sender=_sender(writing))
    return chain


def _send_to_all_concerned(context: DecisionContext, chain: Chain, writing: ChainWrite, say: str) -> Chain:
    """Nothing was written: whoever answered hears it, and so do those who would have been told of the success."""
    chain = _send_to_answerers(context, chain, writing, say)
    answer = context.rule_of(chain).steps[writing.step].answers.get(writing.answer or "")
    tell = answer.tell if answer else None
    who = tell.who if tell else owner_team(context, chain)
    return outbound.send_draft(context, chain, who, _write_draft(writing, say, key="owner"), sender=_sender(writing))


def _send_to_answerers(context: DecisionContext, chain: Chain, writing: ChainWrite, say: str) -> Chain:
    for person in writing.answerers:
        draft = MessageDraft(
            Verb.TELL, say, writing.step, writing.answer or "write", f"{say}.{writing.write_id}", reply=True
        )
        chain = send_to_person(context, chain, person, draft)
    return chain


def _write_draft(writing: ChainWrite, say: str, *, key: str = "") -> MessageDraft:
    return MessageDraft(Verb.TELL, say, writing.step, writing.answer or "write", f"{say}.{key or writing.write_id}")


def _sender(writing: ChainWrite) -> PersonId | None:
    return writing.answerers[-1] if writing.answerers else None

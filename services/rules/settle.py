"""What became of what was asked of others: deliveries by the dispatcher, writes by writeback."""

from services.rules import record, speak
from services.rules.advance import advance
from services.rules.answer import to_person
from services.rules.chain import RANK, UNSENT, Chain, Delivery, Outgoing, Writing
from services.rules.desk import Desk, LeftOut, Reason
from services.rules.ending import end_by_until
from services.rules.handing import owners
from services.rules.quorum import leave_out
from services.rules.rulebook import Record, Tell, Verb
from services.rules.speak import Speech
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
from shared.contracts.writes import SUCCESSFUL_OUTCOMES, Outcome, WriteEventData

_DELIVERIES: dict[type[MessageEventData], Delivery] = {
    MessageAccepted: Delivery.ACCEPTED,
    MessageDelivered: Delivery.DELIVERED,
    MessageRead: Delivery.READ,
    MessageUncertain: Delivery.UNCERTAIN,
    MessageFailed: Delivery.FAILED,
    MessageDropped: Delivery.DROPPED,
    MessageWithdrawn: Delivery.WITHDRAWN,
}


# ------------------------------------------------------------------ deliveries


def delivery(desk: Desk, said: MessageEventData) -> None:
    found = desk.world.chain_of_message(said.message_id)
    reached = _reached(said)
    if found is None and reached is not None:
        desk.world.heard_of[said.message_id] = getattr(said, "wamid", None)
    if found is None or reached is None:
        return
    chain, outgoing = found
    desk.judged(Reason.DELIVERY, chain, str(outgoing.step))
    if (wamid := getattr(said, "wamid", None)) is not None:
        outgoing = outgoing.replace(wamid=wamid)
        desk.world.wamids[wamid] = outgoing.message_id
    if _rises(outgoing.delivery, reached):
        outgoing = outgoing.replace(delivery=reached)
    chain = chain.with_message(outgoing)
    if chain.live and reached in {Delivery.FAILED, Delivery.DROPPED} and outgoing.delivery is reached:
        chain = _unreachable(desk, chain, outgoing)
    desk.keep(advance(desk, chain) if chain.live else chain)


def _reached(said: MessageEventData) -> Delivery | None:
    if isinstance(said, MessageResolved):
        sent = said.resolution in {Resolution.SENT, Resolution.RESENT}
        return Delivery.ACCEPTED if sent else Delivery.FAILED
    return _DELIVERIES.get(type(said))


def _rises(now: Delivery, reached: Delivery) -> bool:
    """Statuses only rise; a failure counts only while nothing better is known."""
    if reached in UNSENT:
        return RANK.get(now, -1) in {RANK[Delivery.REQUESTED], RANK[Delivery.UNCERTAIN], RANK[Delivery.ACCEPTED]}
    return RANK.get(now, -1) < RANK[reached]


def _unreachable(desk: Desk, chain: Chain, outgoing: Outgoing) -> Chain:
    desk.effects.append(LeftOut(chain.chain_id, outgoing.person_id, Reason.UNREACHABLE))
    return leave_out(desk, chain, outgoing, Reason.UNREACHABLE)


# ------------------------------------------------------------------ writes


def write(desk: Desk, said: WriteEventData) -> None:
    """A write rests, or is known to hang: follow up on the answer or step that asked for it."""
    chain = desk.world.chain_of_write(said.write_id)
    if chain is None:
        return
    writing = next(w for w in chain.writings if w.write_id == said.write_id)
    if not writing.pending:
        return
    desk.judged(Reason.WRITE_SETTLED, chain, str(writing.step))
    told_before = _by_hand_already(chain, writing)
    told = writing.told_manual or said.outcome is Outcome.MANUAL
    chain = chain.with_writing(writing.replace(outcome=said.outcome, told_manual=told))
    if said.outcome in SUCCESSFUL_OUTCOMES:
        chain = _stands(desk, chain, writing)
    elif said.outcome is Outcome.CONFLICT:
        chain = _tell_all(desk, chain, writing, "not_written")
    elif said.outcome is Outcome.MANUAL and not told_before:
        chain = _tell_answerers(desk, chain, writing, "by_hand")
    desk.keep(_resume(desk, chain))


def _by_hand_already(chain: Chain, writing: Writing) -> bool:
    """One word about one answer, however many writes follow from it."""
    same = (w for w in chain.writings if (w.step, w.answer) == (writing.step, writing.answer))
    return any(w.told_manual for w in same)


def _resume(desk: Desk, chain: Chain) -> Chain:
    waiting = any(w.pending and not w.told_manual for w in chain.writings)
    if chain.active and chain.deferred_until is not None and not waiting:
        chain = end_by_until(desk, chain, chain.deferred_until)
    return advance(desk, chain)


def _asked_by(desk: Desk, chain: Chain, writing: Writing) -> tuple[Record | None, Tell | None]:
    """The record this write is, and what is told beside it; a form's record says its own ``done``."""
    step = desk.rule_of(chain).steps[writing.step]
    answer = step.answers.get(writing.answer) if writing.answer else None
    if writing.answer and answer is None:
        return None, None
    asked, tell = (
        (answer.record, answer.tell) if answer else (step.record, step.tell if step.verb is Verb.RECORD else None)
    )
    for _ in range(writing.depth):
        asked, tell = asked.then if asked else None, None
    return asked, tell


def _stands(desk: Desk, chain: Chain, writing: Writing) -> Chain:
    asked, tell = _asked_by(desk, chain, writing)
    if asked is not None and asked.then is not None:
        given = tuple(g for g in chain.given if g.person_id in writing.answerers and g.answer == writing.answer)
        origin = record.Origin(writing.step, writing.answer, given, writing.depth + 1)
        chain = record.ask(desk, chain, asked.then, origin)
    if tell is not None:
        chain = speak.speak(desk, chain, tell.who, _speech(writing, tell.say), sender=_sender(writing))
    return chain


def _tell_all(desk: Desk, chain: Chain, writing: Writing, say: str) -> Chain:
    """Nothing was written: whoever answered hears it, and so do those who would have been told of the success."""
    chain = _tell_answerers(desk, chain, writing, say)
    answer = desk.rule_of(chain).steps[writing.step].answers.get(writing.answer or "")
    tell = answer.tell if answer else None
    who = tell.who if tell else owners(desk, chain)
    return speak.speak(desk, chain, who, _speech(writing, say, key="owner"), sender=_sender(writing))


def _tell_answerers(desk: Desk, chain: Chain, writing: Writing, say: str) -> Chain:
    for person in writing.answerers:
        speech = Speech(
            Verb.TELL, say, writing.step, writing.answer or "write", f"{say}.{writing.write_id}", reply=True
        )
        chain = to_person(desk, chain, person, speech)
    return chain


def _speech(writing: Writing, say: str, *, key: str = "") -> Speech:
    return Speech(Verb.TELL, say, writing.step, writing.answer or "write", f"{say}.{key or writing.write_id}")


def _sender(writing: Writing) -> PersonId | None:
    return writing.answerers[-1] if writing.answerers else None

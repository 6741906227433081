"""Applies what other services report: deliveries, outcomes of writes, and what became of the files people sent."""

from collections.abc import Sequence

from services.rules.conversation import forms, outbound, release, send_hours, writes
from services.rules.conversation.amendments import amend_again, amend_notice_again
from services.rules.conversation.chain import (
    DELIVERY_RANK,
    LOST,
    UNSENT,
    Chain,
    ChainMessage,
    ChainWrite,
    DeliveryState,
)
from services.rules.conversation.chain_messages import carries_words
from services.rules.conversation.completion import end_by_until, exclude_person
from services.rules.conversation.context import DecisionContext, ExcludedPerson, ExclusionReason, Reason
from services.rules.conversation.fact_updates import close_request
from services.rules.conversation.fact_values import FileReport, NoticeOutcome
from services.rules.conversation.facts import Facts, file_tag
from services.rules.conversation.outbound import MessageDraft, send_to_person
from services.rules.conversation.recipients import owner_team
from services.rules.conversation.release import HeldMessage, send_rest
from services.rules.conversation.send_hours import AWAITED_FOR
from services.rules.conversation.separations import goes_to_own_person, request_again
from services.rules.conversation.steps import advance, pass_on_after_end
from services.rules.rulebook.built_in import NOT_WANTED
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
    WithdrawMessage,
)
from shared.contracts.whatsapp import MediaRefused, MediaStored
from shared.contracts.writes import DROPPED_BY_HAND, SUCCESSFUL_OUTCOMES, RightsDecision, WriteEventData, WriteOutcome

_DELIVERIES: dict[type[MessageEventData], DeliveryState] = {
    MessageAccepted: DeliveryState.ACCEPTED,
    MessageDelivered: DeliveryState.DELIVERED,
    MessageRead: DeliveryState.READ,
    MessageUncertain: DeliveryState.UNCERTAIN,
    MessageFailed: DeliveryState.FAILED,
    MessageDropped: DeliveryState.DROPPED,
    MessageWithdrawn: DeliveryState.WITHDRAWN,
}
_RESOLUTIONS = {
    Resolution.SENT: DeliveryState.ACCEPTED,
    Resolution.RESENT: DeliveryState.UNCERTAIN,
    Resolution.NOT_SENT: DeliveryState.FAILED,
}


def apply_delivery(context: DecisionContext, data: MessageEventData) -> None:
    """The items of a digest share its delivery."""
    found, reached = context.facts.chains_of_message(data.message_id), _reached(data)
    if reached in {DeliveryState.DROPPED, DeliveryState.WITHDRAWN}:
        send_hours.uncount_message(
            context, data.message_id, data.person_id, *(message.person_id for _, message in found)
        )
    if reached is None:
        return
    if not found:
        _apply_to_notice(context, data, reached)
    rest = _rest_of_digest(found, data)
    separated = [(chain, message) for chain, message in found if goes_to_own_person(context, chain, message, reached)]
    for chain, message in found:
        if (chain, message) not in rest and (chain, message) not in separated:
            _apply_to_message(context, context.facts.chains[chain.chain_id], message, data, reached)
    if rest:
        _send_rest(context, rest)
    _request_separated(context, separated, data, reached)


def _request_separated(
    context: DecisionContext,
    separated: Sequence[tuple[Chain, ChainMessage]],
    data: MessageEventData,
    reached: DeliveryState,
) -> None:
    """Send messages to their own person that were lost, or have gone to another person's address."""
    found = []
    for chain, message in separated:
        if reached in LOST:
            context.add_reason(Reason.DELIVERY, chain, str(message.step))
        else:
            _apply_to_message(context, context.facts.chains[chain.chain_id], message, data, reached)
        known = context.facts.chains[chain.chain_id].message(message.message_id) or message
        found.append((chain, known.replace(delivery=reached)))
    request_again(context, found)


def _apply_to_notice(context: DecisionContext, data: MessageEventData, reached: DeliveryState) -> None:
    """A message that belongs to no chain."""
    outcome = NoticeOutcome(getattr(data, "wamid", None), uncertain=reached is DeliveryState.UNCERTAIN)
    context.facts.notice_outcomes[data.message_id] = outcome
    if not _is_queued_again(data):
        return
    if context.facts.opted_out(data.person_id):
        _withdraw(context, data, str(ExclusionReason.OPTED_OUT))
    else:
        amend_notice_again(context, data.message_id, data.person_id)


def _rest_of_digest(
    found: Sequence[tuple[Chain, ChainMessage]], data: MessageEventData
) -> Sequence[tuple[Chain, ChainMessage]]:
    """The items to send after all, where a digest was withdrawn because of other items in it."""
    gone = isinstance(data, MessageWithdrawn) and any(
        item.digest == data.message_id and item.unwanted is not None for _, item in found
    )
    return [(chain, item) for chain, item in found if item.unwanted is None] if gone else ()


def _send_rest(context: DecisionContext, rest: Sequence[tuple[Chain, ChainMessage]]) -> None:
    items = [HeldMessage(context.facts.chains[chain.chain_id], message) for chain, message in rest]
    for item in items:
        context.add_reason(Reason.DELIVERY, item.chain, str(item.message.step))
    send_rest(context, items)
    for chain, _ in rest:
        context.save_chain(release.with_unless_due(context, context.facts.chains[chain.chain_id]))


def _apply_to_message(
    context: DecisionContext, chain: Chain, message: ChainMessage, data: MessageEventData, reached: DeliveryState
) -> None:
    message = chain.message(message.message_id) or message
    context.add_reason(Reason.DELIVERY, chain, str(message.step))
    if (wamid := getattr(data, "wamid", None)) is not None:
        message = message.replace(wamid=wamid)
        context.facts.wamids[wamid] = data.message_id
    if message.is_question and isinstance(data, (MessageAccepted, MessageResolved)) and data.wording is not None:
        message = message.replace(wording=data.wording, sent_template=data.template)
    if _is_queued_again(data) or _rises(message.delivery, reached):
        message = message.replace(delivery=reached)
    chain = chain.with_message(message)
    if chain.live and reached in {DeliveryState.FAILED, DeliveryState.DROPPED} and message.delivery is reached:
        chain = _unreachable(context, chain, message)
    if isinstance(data, MessageWithdrawn) and message.unwanted == Reason.UNLESS:
        chain = (
            release.leave_out(context, chain, message) if chain.active else release.withdraw_excepted(context, chain)
        )
    if _is_queued_again(data):
        opted_out = context.facts.opted_out(message.person_id)
        unwanted = str(ExclusionReason.OPTED_OUT) if opted_out else message.unwanted
        if unwanted is None:
            amend_again(context, chain, message)
        else:
            _withdraw(context, data, unwanted)
    context.save_chain(_after_report(context, chain, message, is_lost=message.delivery is reached and reached in LOST))


def _after_report(context: DecisionContext, chain: Chain, message: ChainMessage, *, is_lost: bool) -> Chain:
    """Go on with a chain. Once it has ended, words that did not arrive are still passed on."""
    if is_lost and not chain.live and carries_words(message):
        chain = pass_on_after_end(context, chain)
    return advance(context, chain) if chain.live or chain.next_due is not None else chain


def _is_queued_again(data: MessageEventData) -> bool:
    """Whether a message that did not arrive is in the dispatcher's queue again."""
    return isinstance(data, MessageResolved) and data.resolution is Resolution.RESENT


def _withdraw(context: DecisionContext, data: MessageEventData, reason: str) -> None:
    context.request_withdrawal(WithdrawMessage(message_id=data.message_id, person_id=data.person_id, reason=reason))


def _reached(data: MessageEventData) -> DeliveryState | None:
    if isinstance(data, MessageResolved):
        return _RESOLUTIONS[data.resolution]
    return _DELIVERIES.get(type(data))


def _rises(now: DeliveryState, reached: DeliveryState) -> bool:
    """Whether a state is above the known one; a failure counts only while nothing better is known."""
    if reached in UNSENT:
        return DELIVERY_RANK.get(now, -1) in {
            DELIVERY_RANK[DeliveryState.REQUESTED],
            DELIVERY_RANK[DeliveryState.UNCERTAIN],
            DELIVERY_RANK[DeliveryState.ACCEPTED],
        }
    return DELIVERY_RANK.get(now, -1) < DELIVERY_RANK[reached]


def _unreachable(context: DecisionContext, chain: Chain, message: ChainMessage) -> Chain:
    context.effects.append(ExcludedPerson(chain.chain_id, message.person_id, ExclusionReason.UNREACHABLE))
    return exclude_person(context, chain, message, ExclusionReason.UNREACHABLE)


def apply_write_outcome(context: DecisionContext, data: WriteEventData) -> None:
    """A write is settled, or became a manual task: continue with the answer or step that asked for it."""
    chain = context.facts.chain_of_write(data.write_id)
    if chain is None:
        return
    write = next(w for w in chain.writes if w.write_id == data.write_id)
    if not write.pending:
        return
    context.add_reason(Reason.WRITE_SETTLED, chain, str(write.step))
    reported_before = _by_hand_already(chain, write)
    reported = write.manual_reported or data.outcome is WriteOutcome.MANUAL
    chain = chain.with_write(write.replace(outcome=data.outcome, manual_reported=reported))
    if data.outcome in SUCCESSFUL_OUTCOMES:
        chain = _follow_up_write(context, chain, write)
    elif data.outcome is WriteOutcome.CONFLICT:
        if not any(other.outcome is WriteOutcome.CONFLICT for other in _writes_for_other_events(chain, write)):
            chain = _send_to_all_concerned(context, chain, write, _reason_template(context, data))
        chain = _report_success_of_others(context, chain, write)
    elif data.outcome is WriteOutcome.MANUAL and not reported_before:
        chain = _send_to_answerers(context, chain, write, "by_hand")
    context.save_chain(_resume(context, chain))


def _writes_for_other_events(chain: Chain, write: ChainWrite) -> list[ChainWrite]:
    """The writes that record the same answer for the other events that the chain has gathered."""
    cause = (write.step, write.answer, write.depth, write.answerers)
    same = (w for w in chain.writes if (w.step, w.answer, w.depth, w.answerers) == cause)
    return [w for w in same if w.write_id != write.write_id] if chain.joined else []


def _are_others_pending(chain: Chain, write: ChainWrite) -> bool:
    """Whether the same answer is still to be recorded for another event; all are reported together."""
    return any(other.pending for other in _writes_for_other_events(chain, write))


def _report_success_of_others(context: DecisionContext, chain: Chain, write: ChainWrite) -> Chain:
    """Report the success of the writes for other events, which waited for this write, once none is pending."""
    others = _writes_for_other_events(chain, write)
    _, tell = _origin_of(context, chain, write)
    if tell is None or any(other.pending for other in others):
        return chain
    done = next((other for other in others if other.outcome in SUCCESSFUL_OUTCOMES), None)
    if done is None:
        return chain
    return outbound.send_draft(context, chain, tell.who, _write_draft(done, tell.say), sender=_sender(done))


def _by_hand_already(chain: Chain, write: ChainWrite) -> bool:
    """Whether the answerers know already that a write of this answer is a manual task."""
    same = (w for w in chain.writes if (w.step, w.answer) == (write.step, write.answer))
    return any(w.manual_reported for w in same)


def _resume(context: DecisionContext, chain: Chain) -> Chain:
    waiting = any(w.pending and not w.manual_reported for w in chain.writes)
    if chain.deferred_until is not None and not waiting:
        chain = end_by_until(context, chain, chain.deferred_until)
    return advance(context, chain)


def _origin_of(
    context: DecisionContext, chain: Chain, write: ChainWrite
) -> tuple[WriteAction | None, Notification | None]:
    """The record of this write, and the message that reports its success; a form's record has none."""
    step = context.rule_of(chain).steps[write.step]
    answer = step.answer_at(write.answer) if write.answer else None
    if write.answer and answer is None:
        return None, None
    asked, tell = (
        (answer.record, answer.tell) if answer else (step.record, step.tell if step.verb is Verb.RECORD else None)
    )
    for _ in range(write.depth):
        asked, tell = asked.then if asked else None, None
    return asked, tell


def _follow_up_write(context: DecisionContext, chain: Chain, write: ChainWrite) -> Chain:
    asked, tell = _origin_of(context, chain, write)
    document = writes.document_of_item(context, chain, write.item)
    if asked is not None and asked.values.get("decision") in _DECIDED and document is not None:
        close_request(context.facts, str(document.get("rights_record_id")), str(document.get("request_id")))
    if asked is not None and asked.then is not None:
        given = tuple(g for g in chain.answers if g.person_id in write.answerers and g.answer == write.answer)
        origin = writes.WriteOrigin(write.step, write.answer, given, write.depth + 1)
        chain = writes.request_write_of(context, chain, asked.then, origin, write.item)
    if tell is not None and not _are_others_pending(chain, write):
        chain = outbound.send_draft(context, chain, tell.who, _write_draft(write, tell.say), sender=_sender(write))
    return chain


_DECIDED = frozenset({*RightsDecision} - {RightsDecision.QUESTION, RightsDecision.COUNTER_OFFER})
"""The decisions after which a request for approval is open no more."""


def _reason_template(context: DecisionContext, data: WriteEventData) -> str:
    """The template that says why nothing was written."""
    is_unwanted = data.detail == DROPPED_BY_HAND and NOT_WANTED in context.rulebook.templates
    return NOT_WANTED if is_unwanted else "not_written"


def _send_to_all_concerned(context: DecisionContext, chain: Chain, write: ChainWrite, say: str) -> Chain:
    """Nothing was written: notify the answerers, and the people who would have been notified of the success."""
    chain = _send_to_answerers(context, chain, write, say)
    answer = context.rule_of(chain).steps[write.step].answer_at(write.answer or "")
    tell = answer.tell if answer else None
    who = tell.who if tell else owner_team(context, chain)
    draft = _write_draft(write, say, key="owner")
    return outbound.send_draft(context, chain, who, draft, sender=_sender(write), without=write.answerers)


def _send_to_answerers(context: DecisionContext, chain: Chain, write: ChainWrite, say: str) -> Chain:
    for person in write.answerers:
        chain = send_to_person(
            context, chain, person, _write_draft(write, say, reply=_is_awaited(context, chain, person))
        )
    return chain


def _is_awaited(context: DecisionContext, chain: Chain, person: PersonId) -> bool:
    """Whether the person still waits for the outcome; after a long outage of Consonance they do not."""
    answered = max((given.at for given in chain.answers if given.person_id == person), default=context.now)
    return context.now - answered <= AWAITED_FOR


def _write_draft(write: ChainWrite, say: str, *, key: str = "", reply: bool = False) -> MessageDraft:
    return MessageDraft(
        Verb.TELL, say, write.step, write.answer or "write", f"{say}.{key or write.write_id}", reply=reply
    )


def _sender(write: ChainWrite) -> PersonId | None:
    return write.answerers[-1] if write.answerers else None


def apply_file_report(context: DecisionContext, data: MediaStored | MediaRefused) -> None:
    """Judge a received file by the form that has it: a file that is not kept is taken out, and asked for again.

    Where no form that is being filled has it, the report is kept: the message may be read after it.
    """
    report = FileReport.of(data)
    chain = _chain_with_file(context.facts, report.file_id)
    if chain is None:
        context.facts.add_file_report(report)
    elif (refusal := forms.report_refusal(context, chain, report)) is not None:
        context.add_reason(Reason.FILE_REFUSED, chain)
        context.save_chain(advance(context, forms.give_up_file(context, chain, report.file_id, refusal)))
        return
    context.add_reason(Reason.FACTS_KEPT)


def _chain_with_file(facts: Facts, file_id: str) -> Chain | None:
    """The chain whose form is being filled with this file, by its writer or another person at their address."""
    return next((chain for chain in facts.chains_with_tags([file_tag(file_id)]) if chain.active), None)

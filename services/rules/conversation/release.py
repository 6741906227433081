"""Releases held messages when their time has come, the most severe first, and joins several into a digest.

Messages that wait for the working hours or the cap of one person are in several chains, and are released together.
Messages of the verb ``tell`` up to the severity ``digest`` of limits.yaml become one message. Others stay held where a
cap leaves no room for them.

The ``unless`` of a step is judged once more for each message that has not been sent; where it holds, the message is not
sent. A held message is judged when it is released. A message that waits in the dispatcher (for its template, a limit or
the end of an outage) is judged in three cases: an event changes the facts of its work or rights record; a new event
replaces the one that its chain began with; or a midnight makes its ``unless`` true by time alone (as with ``days_to``;
its chain is due then). A copy is sent if at least one of the copied messages is sent.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.rules.conversation import button_ids, outbound, send_hours, template_calls
from services.rules.conversation.chain import Chain, ChainMessage, DeliveryState, earlier
from services.rules.conversation.chain_messages import is_copy
from services.rules.conversation.completion import recount_after_exclusion
from services.rules.conversation.context import DecisionContext, ExclusionReason, Reason, RequestedMessage, is_due
from services.rules.conversation.document import changes_by_day
from services.rules.conversation.fact_values import PersonFacts
from services.rules.conversation.outbound import BODY_VALUE, MessageDraft
from services.rules.conversation.recipients import Recipient, exclusion_reason, is_excepted, judged_for_each
from services.rules.conversation.rendering import numbered_line, reference_code
from services.rules.conversation.send_hours import expiry_of
from services.rules.identity_cache import cached_by_identity
from services.rules.rulebook.built_in import SHOW
from services.rules.rulebook.model import Condition, Severity, Verb, mentioned_fields
from shared.contracts.ids import ChainId, MessageId, PersonId, derive_id
from shared.contracts.messages import WithdrawMessage
from shared.contracts.whatsapp import MessageReceived

_RANKS = {severity: rank for rank, severity in enumerate(Severity)}
MOST_ITEMS = 15
"""Items of one digest: of each there is room for a readable beginning. More of them become several digests."""


# ------------------------------------------------------------------ “unless”, judged again


def unless_holds(context: DecisionContext, chain: Chain, message: ChainMessage) -> bool:
    """Whether the ``unless`` of the step that a message belongs to holds now; messages that follow an answer have no
    ``unless``.
    """
    step = context.rule_of(chain).steps[message.step]
    if is_copy(message):
        return _copies_nothing(context, chain, message)
    if step.unless is None or message.answer is not None:
        return False
    if judged_for_each(step) is None:
        return context.holds(step.unless, chain)
    person = context.facts.people.get(message.person_id)
    return person is not None and is_excepted(context, chain, step, person, message.role)


def _copies_nothing(context: DecisionContext, chain: Chain, copy: ChainMessage) -> bool:
    """Whether none of the messages that a copy tells of is sent. A message in the dispatcher may have been sent, until
    it is reported.
    """
    source = (copy.step, copy.occurrence, None)
    copied = [message for message in chain.messages if (message.step, message.occurrence, message.answer) == source]
    return bool(copied) and all(
        one.delivery in {DeliveryState.WITHDRAWN, DeliveryState.DROPPED}
        or (one.delivery is DeliveryState.HELD and unless_holds(context, chain, one))
        for one in copied
    )


def leave_out(context: DecisionContext, chain: Chain, message: ChainMessage) -> Chain:
    """The message never goes: its person takes no part in a hand-over, and the answers of the others may be enough.

    Nor do its copies go.
    """
    chain = chain.with_message(message.replace(delivery=DeliveryState.WITHDRAWN))
    if is_copy(message):
        return chain
    if judged_for_each(context.rule_of(chain).steps[message.step]) is not None:
        chain = outbound.exclude_excepted(context, chain, message.person_id, message.step)
    if message.verb is Verb.HAND_OVER:
        chain = chain.withdraw_offer(message)
    is_answered = chain.active and any(given.final for given in chain.answers)
    chain = recount_after_exclusion(context, chain, message) if is_answered else chain
    return withdraw_excepted(context, chain)


def withdraw_by_facts(context: DecisionContext, tags: Iterable[str]) -> None:
    """Withdraw messages that wait in the dispatcher and whose ``unless`` holds by the current facts, also those of
    ended chains.
    """
    for chain in context.facts.chains_depending_on(tags):
        judged = with_unless_due(context, withdraw_excepted(context, chain))
        if judged is not chain:
            context.save_chain(judged)


def withdraw_excepted(context: DecisionContext, chain: Chain) -> Chain:
    """Withdraw those messages of one chain. The dispatcher reports whether it was in time (``leave_out`` follows then).

    The remaining items of a digest leave then (``release.send_rest``).
    """
    for message in chain.messages:
        is_new = message.message_id in context.drafted
        if message.may_still_go and not is_new and unless_holds(context, chain, message):
            context.add_reason(Reason.UNLESS, chain, str(message.step))
            reason = str(Reason.UNLESS)
            withdrawal = WithdrawMessage(message_id=message.sent_as, person_id=message.person_id, reason=reason)
            context.request_withdrawal(withdrawal)
            chain = chain.with_message(message.replace(unwanted=reason))
    return chain


def with_unless_due(context: DecisionContext, chain: Chain) -> Chain:
    """The chain with ``unless_due`` as its next due instant, if it is not due before."""
    due = earlier(chain.next_due, unless_due(context, chain))
    return chain if due == chain.next_due else chain.replace(next_due=due)


def unless_due(context: DecisionContext, chain: Chain) -> datetime | None:
    """The next midnight at which time alone makes the ``unless`` of a message true that waits in the dispatcher.

    It is found by the current facts, and again whenever they change.
    """
    steps, due = context.rule_of(chain).steps, None
    for message in chain.messages:
        condition = steps[message.step].unless if message.answer is None and message.may_still_go else None
        if condition is not None and _changes_by_day(condition):
            due = earlier(due, _unless_due_of(context, chain, message))
    return due


@cached_by_identity(most=4096)
def _changes_by_day(condition: Condition) -> bool:
    return any(map(changes_by_day, mentioned_fields(condition)))


def _unless_due_of(context: DecisionContext, chain: Chain, message: ChainMessage) -> datetime | None:
    """The midnight at which the ``unless`` begins to hold; None if it does not before the message expires."""
    office = context.rulebook.calendar.office
    day, last = context.today, office.local_date(expiry_of(context, message))
    while day < last:
        day += timedelta(days=1)
        midnight = office.start_of_day(day)
        then = replace(context, now=midnight, observe_condition=None, _cached=None)
        if unless_holds(then, chain, message):
            return midnight
    return None


# ------------------------------------------------------------------ held messages


@dataclass(frozen=True, slots=True)
class HeldMessage:
    chain: Chain
    message: ChainMessage


def release_messages(context: DecisionContext, chain: Chain) -> Chain:
    """Request the held messages of one chain whose time has come.

    Where limits.yaml has caps or a digest, only when the chain itself is due (``release_together`` comes first then).
    An event about it at that moment, or its turn beside another chain, leaves them held.
    """
    if _gathers(context) and context.due_chain != chain.chain_id:
        return chain
    for held in chain.messages:
        message = chain.message(held.message_id) or held  # an earlier one may have ended the chain
        if is_released(context, chain, message):
            chain = _release(context, chain, message)
    return chain


def release_together(context: DecisionContext, chain: Chain) -> Sequence[ChainId]:
    """Release the due messages of all chains to the receivers of this chain's due messages; returns the changed chains.

    Without caps and digests each chain releases its own.
    """
    if not _gathers(context):
        return ()
    people = dict.fromkeys(m.person_id for m in chain.messages if is_released(context, chain, m))
    return tuple(dict.fromkeys(changed for person in people for changed in _release_to(context, person)))


def _gathers(context: DecisionContext) -> bool:
    return bool(context.rulebook.tenant.caps) or context.rulebook.tenant.digest is not None


def is_released(context: DecisionContext, chain: Chain, message: ChainMessage) -> bool:
    return message.delivery is DeliveryState.HELD and is_due(context, chain, message.held_until)


def _release_to(context: DecisionContext, person: PersonId) -> list[ChainId]:
    """The most severe first, so that a cap stops the least; those that waited longest before the others."""
    held = [HeldMessage(c, m) for c in context.facts.chains_of(person) for m in c.messages if m.person_id == person]
    held = [one for one in held if is_released(context, one.chain, one.message)]
    held.sort(key=lambda one: (-_RANKS[context.severity(one.chain)], one.message.held_until, one.chain.started_at))
    gathered, changed = [], []
    for one in held:
        current = context.facts.chains[one.chain.chain_id]
        message = current.message(one.message.message_id)
        if message is None or not is_released(context, current, message):
            continue
        if _may_join_digest(context, current, message) and not unless_holds(context, current, message):
            gathered.append(HeldMessage(current, message))
        else:
            context.save_chain(_release(context, current, message))
        changed.append(current.chain_id)
    _release_gathered(context, person, gathered)
    return changed


def _release(context: DecisionContext, chain: Chain, message: ChainMessage) -> Chain:
    """Request a message, or withdraw it if the ``unless`` of its step holds now.

    If its person may not be written to any more, the others may be enough.
    """
    if unless_holds(context, chain, message):
        return leave_out(context, chain, message)
    chain = outbound.request_message(context, chain, message)
    sent = chain.message(message.message_id)
    gone = chain.active and sent is not None and sent.delivery is DeliveryState.DROPPED
    return recount_after_exclusion(context, chain, message) if gone else chain


# ------------------------------------------------------------------ digests


def _may_join_digest(context: DecisionContext, chain: Chain, message: ChainMessage) -> bool:
    """A message with a document goes by itself, since a digest has no room for it; marketing needs its own consent."""
    most = context.rulebook.tenant.digest
    if template_calls.attachment_of(context, chain, message) is not None:
        return False
    if BODY_VALUE not in message.words and outbound.is_marketing(context, chain, message):
        return False
    tells = message.verb is Verb.TELL and not message.buttons and not message.reply and BODY_VALUE not in message.words
    return tells and most is not None and _RANKS[context.severity(chain)] <= _RANKS[most]


def _release_gathered(context: DecisionContext, person_id: PersonId, gathered: Sequence[HeldMessage]) -> None:
    for start in range(0, len(gathered), MOST_ITEMS):
        _release_portion(context, person_id, gathered[start : start + MOST_ITEMS])


def _release_portion(context: DecisionContext, person_id: PersonId, items: Sequence[HeldMessage]) -> None:
    """Send one message as it is, several as a digest. Where the person cannot get one now, each is held or dropped."""
    person = context.facts.people.get(person_id)
    refused = exclusion_reason(context, person, person_id, "", is_admitted=True)
    may_go = person is not None and refused is None and send_hours.is_open(context, person)
    if len(items) > 1 and person is not None and may_go and send_hours.is_below_caps(context, person):
        _send_digest(context, person, items)
        return
    for one in items:
        current = context.facts.chains[one.chain.chain_id]
        context.save_chain(_release(context, current, current.message(one.message.message_id) or one.message))


def _send_digest(context: DecisionContext, person: PersonFacts, items: Sequence[HeldMessage]) -> None:
    digest = MessageId(derive_id("digest", person.person_id, *(one.message.message_id for one in items)))
    if context.rulebook.tenant.caps:
        send_hours.count_message(context, person.person_id, digest)
    texts = [outbound.text_of_message(context, one.chain, one.message, person) for one in items]
    codes = [f" ({reference_code(one.chain.chain_id)})" for one in items]
    line = numbered_line([" ".join(text.split()) for text in texts], endings=codes)
    message = outbound.build_digest(context, person, digest, items[0].chain, (len(items), line))
    context.effects.append(RequestedMessage(message, Verb.TELL, ()))
    for one in items:
        current = context.facts.chains[one.chain.chain_id]
        item = (current.message(one.message.message_id) or one.message).replace(
            delivery=DeliveryState.REQUESTED,
            requested_at=context.now,
            held_until=None,
            language=message.language,
            digest=digest,
        )
        context.save_chain(outbound.keep_dependencies(context, current, item).with_message(item))
        if context.rule_of(current).events:
            context.facts.set_last_rule(person.person_id, current.rule)


def send_rest(context: DecisionContext, items: Sequence[HeldMessage]) -> None:
    """Send the remaining items of a digest that was withdrawn because of its other items, or messages to one person
    that were withdrawn since they waited for another.

    It does not wait here for open hours: the dispatcher, which has just given them back, keeps to them.
    """
    person_id = items[0].message.person_id
    person = context.facts.people.get(person_id)
    reason = exclusion_reason(context, person, person_id, "", is_admitted=True)
    items = [HeldMessage(one.chain, one.message.replace(digest=None)) for one in items]
    if person is None or reason is not None:
        for one in items:
            current = context.facts.chains[one.chain.chain_id]
            refused = outbound.drop_message(context, current, one.message, reason or ExclusionReason.UNKNOWN_PERSON)
            context.save_chain(refused)
    elif len(items) > 1:
        _send_digest(context, person, items)
    else:
        _send_one(context, person, items[0])


def _send_one(context: DecisionContext, person: PersonFacts, item: HeldMessage) -> None:
    """A reply is awaited for as long as it was when it was requested first."""
    message = item.message
    if context.rulebook.tenant.caps and not send_hours.goes_at_any_hour(context, item.chain, message, person):
        send_hours.count_message(context, person.person_id, message.message_id)
    then = replace(context, written_at=message.requested_at) if message.reply else context
    context.save_chain(outbound.request_now(then, item.chain, message, person))


def show_digest(context: DecisionContext, message: MessageReceived) -> bool:
    """A tap on the button of a digest sends its items one by one, as replies; False for any other message."""
    claim = button_ids.read_button_id(context.signing_keys, message.button_id) if message.button_id else None
    if claim is None or claim[1] != SHOW:
        return False
    ids = context.facts.ids_of_person(message.person_id, *message.shared_with)
    found = context.facts.chains_of_message(claim[0])
    items = [(chain, item) for chain, item in found if item.digest == claim[0] and item.person_id in ids]
    for chain, item in items:
        context.add_reason(Reason.SHOWN, chain, str(item.step))
        current = context.facts.chains[chain.chain_id]
        context.save_chain(_show_item(context, current, item))
    return bool(items)


def _show_item(context: DecisionContext, chain: Chain, item: ChainMessage) -> Chain:
    person = context.facts.people.get(context.facts.current_id(item.person_id))
    if person is None:
        return chain
    key = f"show.{item.message_id}"
    draft = MessageDraft(
        Verb.TELL, item.say, item.step, item.answer or "digest", key, item.occurrence, reply=True, words=item.words
    )
    return outbound.send_to_recipient(
        context, chain, Recipient(person, "sender", item.on_behalf_of, item.also_for), draft
    )

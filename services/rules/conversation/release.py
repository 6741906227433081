"""Releases held messages when their time has come, the most severe first, and joins several into a digest.

Messages that wait for the working hours or the cap of one person are in several chains, and are released together.
Each is judged again. Those of the verb ``tell`` up to the severity ``digest`` of limits.yaml become one message, and
caps hold the others that they leave no room for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.rules.conversation import button_ids, caps, outbound, send_hours, template_calls, unless
from services.rules.conversation.chain import Chain, ChainMessage, DeliveryState
from services.rules.conversation.completion import recount_after_exclusion
from services.rules.conversation.context import DecisionContext, ExclusionReason, Reason, RequestedMessage, is_due
from services.rules.conversation.fact_values import PersonFacts
from services.rules.conversation.outbound import BODY_VALUE, MessageDraft
from services.rules.conversation.recipients import Recipient, exclusion_reason
from services.rules.conversation.rendering import numbered_line, reference_code
from services.rules.rulebook.built_in import SHOW
from services.rules.rulebook.model import Severity, Verb
from shared.contracts.ids import ChainId, MessageId, PersonId, derive_id
from shared.contracts.whatsapp import MessageReceived

_RANKS = {severity: rank for rank, severity in enumerate(Severity)}
MOST_ITEMS = 15
"""Items of one digest: of each there is room for a readable beginning. More of them become several digests."""


@dataclass(frozen=True, slots=True)
class HeldMessage:
    chain: Chain
    message: ChainMessage


def release_messages(context: DecisionContext, chain: Chain) -> Chain:
    """Request the held messages of one chain whose time has come."""
    for held in chain.messages:
        message = chain.message(held.message_id) or held  # an earlier one may have ended the chain
        if is_released(context, chain, message):
            chain = _release(context, chain, message)
    return chain


def release_together(context: DecisionContext, chain: Chain) -> Sequence[ChainId]:
    """Release what is due of all chains to the people of this one's due messages; returns the chains it changed.

    Without caps and digests each chain releases its own.
    """
    tenant = context.rulebook.tenant
    if not tenant.caps and tenant.digest is None:
        return ()
    people = dict.fromkeys(m.person_id for m in chain.messages if is_released(context, chain, m))
    return tuple(dict.fromkeys(changed for person in people for changed in _release_to(context, person)))


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
        if _may_join_digest(context, current, message) and not unless.unless_holds(context, current, message):
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
    if unless.unless_holds(context, chain, message):
        return unless.leave_out(context, chain, message)
    chain = outbound.request_message(context, chain, message)
    sent = chain.message(message.message_id)
    gone = chain.active and sent is not None and sent.delivery is DeliveryState.DROPPED
    return recount_after_exclusion(context, chain, message) if gone else chain


# ------------------------------------------------------------------ digests


def _may_join_digest(context: DecisionContext, chain: Chain, message: ChainMessage) -> bool:
    """A message with a document goes by itself, since a digest has no room for it."""
    most = context.rulebook.tenant.digest
    if template_calls.attachment_of(context, chain, message) is not None:
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
    if len(items) > 1 and person is not None and may_go and caps.has_room(context, person):
        _send_digest(context, person, items)
        return
    for one in items:
        current = context.facts.chains[one.chain.chain_id]
        context.save_chain(_release(context, current, current.message(one.message.message_id) or one.message))


def _send_digest(context: DecisionContext, person: PersonFacts, items: Sequence[HeldMessage]) -> None:
    digest = MessageId(derive_id("digest", person.person_id, *(one.message.message_id for one in items)))
    if context.rulebook.tenant.caps:
        caps.count_message(context, person.person_id, digest)
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
        context.save_chain(outbound.depending(context, current, item).with_message(item))
        if context.rule_of(current).events:
            context.facts.set_last_rule(person.person_id, current.rule)


def send_rest(context: DecisionContext, items: Sequence[HeldMessage]) -> None:
    """Send what remains of a digest that was withdrawn for the sake of others of its items.

    It does not wait here for open hours: the dispatcher, which has just given the digest back, keeps to them.
    """
    person_id = items[0].message.person_id
    person = context.facts.people.get(person_id)
    reason = exclusion_reason(context, person, person_id, "", is_admitted=True)
    items = [HeldMessage(one.chain, one.message.replace(digest=None)) for one in items]
    if person is None or reason is not None:
        for one in items:
            refused = outbound.drop_message(context, one.chain, one.message, reason or ExclusionReason.UNKNOWN_PERSON)
            context.save_chain(refused)
    elif len(items) > 1:
        _send_digest(context, person, items)
    else:
        if context.rulebook.tenant.caps:
            caps.count_message(context, person_id, items[0].message.message_id)
        context.save_chain(outbound.request_now(context, items[0].chain, items[0].message, person))


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
    return outbound.send_to_recipient(context, chain, Recipient(person, "sender", item.on_behalf_of), draft)

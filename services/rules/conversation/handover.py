"""Offers a matter to people, with the buttons Take and Not me, and offers it again when the one who had it cannot.

Words of a person that are offered to no colleague any more are passed on to be read.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from services.rules.conversation import outbound
from services.rules.conversation.chain import IN_DISPATCHER, UNSENT, Chain, ChainMessage, DeliveryState, HandoverOffer
from services.rules.conversation.chain_messages import declined_offers, is_offer, lost_offers
from services.rules.conversation.context import DecisionContext
from services.rules.conversation.outbound import MessageDraft, pass_on, send_to_recipient
from services.rules.conversation.recipients import (
    Recipient,
    inbox_team,
    owner_team,
    receiver_of_offer,
    resolve_recipients,
)
from services.rules.conversation.send_hours import AWAITED_FOR
from services.rules.rulebook.built_in import ALREADY_TAKEN, FINISH, TAKE
from services.rules.rulebook.model import Addressees, Verb
from shared.contracts.ids import PersonId
from shared.contracts.values import format_instant

OFFER_BUTTONS, ASSIGNEE_BUTTONS = TAKE, FINISH


@dataclass(frozen=True, slots=True)
class HandoverDraft:
    """A hand-over by a step, or by an ``answer`` to one; ``key`` tells apart two offers of one answer."""

    who: Addressees
    step: int
    say: str = "to_take"
    answer: str | None = None
    key: str = ""
    words: dict[str, str] = field(default_factory=dict)


def offer_matter(context: DecisionContext, chain: Chain, offer: HandoverDraft) -> Chain:
    """Offer a matter to people, with Take and Not me.

    If the people named cannot be reached, the reply of a person is offered to the owner team next, and then to the
    inbox team. The matter of a step is not. The chain has one more offer where a person was reached.
    """
    before = {m.message_id for m in chain.messages}
    occurrence = chain.steps[offer.step].occurrence
    draft = MessageDraft(
        Verb.HAND_OVER, offer.say, offer.step, offer.answer, offer.key, occurrence, OFFER_BUTTONS, words=offer.words
    )
    for who in (offer.who,) if offer.answer is None else (offer.who, owner_team(context, chain), inbox_team(context)):
        chain = outbound.send_draft(context, chain, who, draft)
        people = tuple(m.person_id for m in chain.messages if m.message_id not in before)
        if people:
            handed = HandoverOffer(step=offer.step, answer=offer.answer, people=people, at=context.now)
            return chain.replace(handovers=(*chain.handovers, handed), unclaimed=False)
    return chain


def repeat_offers(context: DecisionContext, chain: Chain, step: int) -> Chain:
    """Offer the matter again to those who have not declined it, since the person who had it has it no more.

    ``step`` is the one that offered it to that person. Three kinds of people get an offer again: those whose offer was
    withdrawn before it left; those who wanted to take the matter meanwhile; and those to whom the same step had offered
    it, unless that was less than an hour ago, since then they still have the offer before them.
    """
    again = _offers_to_repeat(context, chain, step)
    for place in sorted({message.step for message in again}):
        known = {m.message_id for m in chain.messages}
        for message in again:
            if message.step == place:
                chain = _repeat_offer(context, chain, message)
        people = tuple(m.person_id for m in chain.messages if m.message_id not in known)
        if people:
            repeated = HandoverOffer(step=place, answer=None, people=people, at=context.now)
            chain = chain.replace(handovers=(*chain.handovers, repeated))
    return chain


def _offers_to_repeat(context: DecisionContext, chain: Chain, step: int) -> list[ChainMessage]:
    last = {(m.person_id, m.step, m.answer, tuple(m.words.items())): m for m in chain.messages if is_offer(m)}
    declined = declined_offers(chain)
    offers = [m for m in last.values() if m.message_id not in declined and m.delivery is not DeliveryState.HELD]
    missed = [m for m in offers if m.delivery is DeliveryState.WITHDRAWN]
    told = {m.person_id for m in chain.messages if m.say == ALREADY_TAKEN} - {m.person_id for m in missed}
    same = {m.person_id for m in offers if m.step == step} - {m.person_id for m in missed}
    newest = {m.person_id: m for m in offers if m.verb is Verb.HAND_OVER and m.person_id in told | same}
    return [*missed, *(m for m in newest.values() if m.person_id in told or not _is_new(context, m))]


def _is_new(context: DecisionContext, offer: ChainMessage) -> bool:
    """Whether an offer has arrived within the hour."""
    is_sent = offer.delivery not in UNSENT | IN_DISPATCHER
    return is_sent and offer.requested_at is not None and context.now - offer.requested_at <= AWAITED_FOR


def _repeat_offer(context: DecisionContext, chain: Chain, message: ChainMessage) -> Chain:
    person = context.facts.people.get(message.person_id)
    if person is None:
        return chain
    key = f"again.{format_instant(context.now)}" + (f".{message.message_id}" if message.words else "")
    draft = MessageDraft(
        Verb.HAND_OVER, message.say, message.step, message.answer, key, message.occurrence, OFFER_BUTTONS,
        words=message.words,
    )  # fmt: skip
    return send_to_recipient(context, chain, receiver_of_offer(person, message), draft)


# ------------------------------------------------------------------ words that no colleague has yet


def pass_on_lost(context: DecisionContext, chain: Chain) -> Chain:
    """Send the words of offers that went to no colleague, and never will, to the one who has the matter, else to a
    team: their person was told that a colleague looks after them. That holds after the end of the chain, too.
    """
    for offer, failed in lost_offers(chain):
        for recipient in _readers(context, chain, failed):
            chain = pass_on(context, chain, offer, recipient)
    return chain


def _readers(context: DecisionContext, chain: Chain, without: Collection[PersonId]) -> list[Recipient]:
    if chain.assignment is not None and chain.assignment.person_id not in without:
        person = context.facts.current_person(chain.assignment.person_id)
        return [] if person is None else [Recipient(person, "owner")]
    for who in (owner_team(context, chain), inbox_team(context)):
        reached = resolve_recipients(context, chain, who).recipients
        if team := [one for one in reached if one.person.person_id not in without]:
            return team
    return []

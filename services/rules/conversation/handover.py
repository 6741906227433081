"""Hands a matter over to a person: offers it with the buttons Take and Not me, and reports that no person has it."""

from dataclasses import dataclass, field

from services.rules.conversation import outbound
from services.rules.conversation.chain import (
    IN_DISPATCHER,
    UNSENT,
    Chain,
    ChainMessage,
    DeliveryState,
    HandoverOffer,
    StepStatus,
)
from services.rules.conversation.chain_messages import declined_offers, holds_question, is_offer, unanswered_people
from services.rules.conversation.context import DecisionContext
from services.rules.conversation.fact_values import PersonFacts
from services.rules.conversation.outbound import MessageDraft, send_to_recipient
from services.rules.conversation.recipients import Recipient, owner_team, resolve_recipients, skips_everyone
from services.rules.conversation.send_hours import AWAITED_FOR
from services.rules.rulebook.built_in import ALREADY_TAKEN, FINISH, TAKE
from services.rules.rulebook.catalogue import STAFF_ROLES
from services.rules.rulebook.model import Addressees, At, Step, Team, Verb
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


def offer_handover(context: DecisionContext, chain: Chain, offer: HandoverDraft) -> Chain:
    """Offer a matter to people, with Take and Not me.

    What a person wrote or answered is offered to the owner team next, then to the inbox team, if the people named
    cannot be reached. What a step hands over is not: the owner team is told that it reached no person.
    """
    before = {m.message_id for m in chain.messages}
    occurrence = chain.steps[offer.step].occurrence
    draft = MessageDraft(
        Verb.HAND_OVER, offer.say, offer.step, offer.answer, offer.key, occurrence, OFFER_BUTTONS, words=offer.words
    )
    for who in (offer.who,) if offer.answer is None else (offer.who, owner_team(context, chain), _inbox_team(context)):
        chain = outbound.send_draft(context, chain, who, draft)
        people = tuple(m.person_id for m in chain.messages if m.message_id not in before)
        if people:
            handed = HandoverOffer(step=offer.step, answer=offer.answer, people=people, at=context.now)
            return chain.replace(handovers=(*chain.handovers, handed), unclaimed=False)
    if offer.answer is None and skips_everyone(chain, offer.step):
        return chain
    return report_unclaimed(context, chain, offer.step)


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
    draft = MessageDraft(Verb.TELL, "left_with_owner", step, "idle", "nobody_has_it")
    for who in (owner_team(context, chain), _inbox_team(context)):
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


def keeps_its_time(chain: Chain, step: Step) -> bool:
    """Whether the step after a matter that no person takes waits for its time.

    While people are asked, or will be in their morning, only a step that reaches staff goes on with the matter: a
    reminder, or the end of the chain, would come too early for them.
    """
    are_asked = bool(unanswered_people(chain)) or holds_question(chain)
    return isinstance(step.timing, At) or (are_asked and not _reaches_staff(step))


def _reaches_staff(step: Step) -> bool:
    addressed = step.tell.who if step.tell is not None else step.who if step.verb is Verb.TELL else ()
    return step.verb is Verb.HAND_OVER or any(isinstance(who, Team) or who in STAFF_ROLES for who in addressed)


def _inbox_team(context: DecisionContext) -> Addressees:
    return (Team(context.rulebook.people.inbox),)


def decline_offer(chain: Chain, step: int, person: PersonId) -> Chain:
    handed = (h.replace(declined=(*h.declined, person)) if h.step == step else h for h in chain.handovers)
    return chain.replace(handovers=tuple(handed))


def go_on_without_takers(context: DecisionContext, chain: Chain, step: int) -> Chain:
    """When no person is left to take it, the next step does not wait for that, or the owner team is told."""
    last = chain.handovers[-1] if chain.handovers else None
    if last is None or chain.assignment is not None or last.undecided:
        return chain
    following = next_pending_step(context, chain)
    waits = following is not None and keeps_its_time(chain, following)
    return report_unclaimed(context, chain if waits else chain.end_wait(), step)


def withdraw_offer(chain: Chain, message: ChainMessage) -> Chain:
    """An offer that never went: its person is not among those who may take the matter."""
    offers = (
        offer.replace(people=tuple(one for one in offer.people if one != message.person_id))
        if (offer.step, offer.answer) == (message.step, message.answer)
        else offer
        for offer in chain.handovers
    )
    return chain.replace(handovers=tuple(offer for offer in offers if offer.people))


def repeat_offers(context: DecisionContext, chain: Chain, step: int) -> Chain:
    """Offer the matter again to those who have not declined it, since the person who had it has it no more.

    ``step`` is that by which it was offered to that person. An offer that was withdrawn before it left is repeated. Who
    has read theirs gets the newest once more, where it was of the same step, or where they wanted to take it meanwhile;
    who has had it for less than an hour, and does not know that another had the matter, has it still.
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


def receiver_of_offer(person: PersonFacts, offer: ChainMessage) -> Recipient:
    """The person who had an offer, as one who gets it again or is reminded of it: in the same role and place."""
    return Recipient(person, offer.role or "owner", offer.on_behalf_of, offer.also_for)

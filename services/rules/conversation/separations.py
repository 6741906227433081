"""Undoes merges of people: what belongs to the person who is one of their own again goes back to them.

While a merge holds, both people are reached at the same addresses. A chain is given back whole where it knew the merged
id alone, where its event names that id, or where it began by a message from that person's address. A message that
waits is withdrawn, and requested again for its person once the dispatcher reports that it never went. A question that
went to an address of the other person was asked of the wrong one: an answer to it decides nothing any more, and it is
asked again. This is deciding only: it changes the facts of a draft.
"""

from collections.abc import Collection, Mapping, Sequence

from msgspec import Raw, Struct, structs

from services.rules.conversation import release
from services.rules.conversation.chain import IN_DISPATCHER, LOST, Chain, ChainMessage, DeliveryState
from services.rules.conversation.chain_messages import awaits_answer, declined_offers, is_offer, is_question_of_rule
from services.rules.conversation.completion import recount_after_exclusion
from services.rules.conversation.context import DecisionContext, Reason
from services.rules.conversation.document import MESSAGE_RECEIVED, newest_data, start_data
from services.rules.conversation.event_rules import subjects_of
from services.rules.conversation.fact_values import PersonFacts
from services.rules.conversation.facts import Facts
from services.rules.conversation.question_lookup import has_answered
from services.rules.conversation.recipients import WITHOUT_ROLE, parties_in
from services.rules.conversation.release import HeldMessage, send_rest
from services.rules.conversation.steps import advance
from services.rules.rulebook.model import Verb
from shared.contracts.envelope import EventData
from shared.contracts.ids import MessageId, PersonId, derive_id
from shared.contracts.messages import WithdrawMessage
from shared.contracts.values import encode
from shared.contracts.whatsapp import MessageReceived

_Place = tuple[PersonId, str | None, MessageId | None]
ARRIVED = frozenset({DeliveryState.ACCEPTED, DeliveryState.DELIVERED, DeliveryState.READ})


class Separation(Struct, frozen=True):
    """``person`` is one of their own again, or a third person; ``other`` is the id they were merged into.

    ``own`` and ``others`` are the marks of the addresses at which the one and the other are reached now.
    """

    person: PersonId
    other: PersonId
    own: frozenset[int]
    others: frozenset[int]

    def foreign_marks(self, receiver: PersonId) -> frozenset[int]:
        """The addresses that the other one of the two is reached at, and not this receiver; none for third people."""
        foreign = {self.other: self.own - self.others, self.person: self.others - self.own}
        return foreign.get(receiver, frozenset())

    def was_asked_elsewhere(self, receiver: PersonId, sent_to: Collection[int]) -> bool:
        """Whether a message for this receiver went to addresses of the other of the two alone."""
        own = self.others if receiver == self.other else self.own
        return not self.foreign_marks(receiver).isdisjoint(sent_to) and own.isdisjoint(sent_to)


def undo_merge(context: DecisionContext, known: PersonFacts | None, seen: PersonFacts) -> Separation | None:
    """Make a merged id a separate person again, and give back what only this id had brought; None where no merge is
    undone.

    The facts have the person as ``known`` still. Where it is known to be a third person meanwhile,
    ``merges.follow_merge`` goes on with that one; ``ask_again`` follows then.
    """
    if known is None or known.merged_into in {None, seen.merged_into}:
        return None
    facts, other = context.facts, context.facts.current_id(known.person_id)
    separation = _separation(facts, seen, other)
    for chain in facts.chains_of(other):
        own = _given_back(chain, separation)
        if own is not chain:
            own = _withdraw_waiting(context, chain, own)
            context.save_chain(with_subject(facts, own, other, separation.person))
    for ended in facts.ended_chains_of(other):
        own = _given_back(ended, separation)
        if own is not ended:
            context.save_chain(_withdraw_waiting(context, ended, own))
    for ended in facts.ended_chains_of(seen.person_id):
        context.save_chain(_withdraw_requeued(context, ended, seen.person_id))
    _withdraw_notices(context, seen.person_id)
    if known.moved_submission is not None:
        _give_submission_back(facts, separation, known.moved_submission)
    return separation


def _separation(facts: Facts, seen: PersonFacts, other: PersonId) -> Separation:
    third = facts.people.get(seen.merged_into) if seen.merged_into is not None else None
    known = facts.people.get(other)
    mine = frozenset((*seen.address_marks, *(third.address_marks if third is not None else ())))
    theirs = frozenset(known.address_marks if known is not None else ())
    return Separation(seen.person_id, other, mine, theirs)


def _give_submission_back(facts: Facts, separation: Separation, reference: str) -> None:
    if facts.acquisitions.get(separation.other) == reference:
        facts.set_acquisition(separation.other, None)
    facts.forget_moved_submission(separation.other, reference)
    facts.set_acquisition(separation.person, reference)


# ------------------------------------------------------------------ which chains are the person's


def _given_back(chain: Chain, separation: Separation) -> Chain:
    """The chain with everything under the former id that came into it by this id; the same chain where nothing did."""
    own = chain.with_former_id(separation.person)
    if own is not chain or not _began_by_person(chain, separation):
        return own
    return _as_begun_by(chain, separation).renamed(separation.other, separation.person)


def _began_by_person(chain: Chain, separation: Separation) -> bool:
    """Whether a chain that began while the merge held is about this person, and not about the other one.

    It is if its event names the id of this one alone, or if it began by a message of the other id to which the first
    reply went to an address that is only this one's. A chain that has also addressed the other one in a role of their
    own, as a member of a team, is left as it is.
    """
    named = _people_named(newest_data(chain))
    roles = set(WITHOUT_ROLE)
    if separation.person in named and separation.other not in named:
        roles |= named[separation.person]
    elif not _wrote_from_own_address(chain, separation):
        return False
    received = [message for message in chain.messages if message.person_id == separation.other]
    return all(message.role is None or message.role in roles for message in received)


def _people_named(data: EventData) -> dict[PersonId, set[str]]:
    """The people whom an event names, with their roles in it: as the writer, or as parties."""
    found = dict[PersonId, set[str]]()
    writer: PersonId | None = getattr(data, "person_id", None)
    if writer is not None:
        found[writer] = set()
    for name, party in parties_in(data):
        found.setdefault(party.person_id, set()).update((name, str(party.role)))
    return found


def _wrote_from_own_address(chain: Chain, separation: Separation) -> bool:
    first = start_data(chain)
    if not isinstance(first, MessageReceived) or first.person_id != separation.other:
        return False
    replies = (m.sent_to for m in chain.messages if m.person_id == separation.other and m.sent_to)
    return separation.was_asked_elsewhere(separation.other, next(replies, ()))


def _as_begun_by(chain: Chain, separation: Separation) -> Chain:
    first = start_data(chain)
    if chain.start_name != MESSAGE_RECEIVED or not isinstance(first, MessageReceived):
        return chain
    return chain.replace(start=Raw(encode(first.replace(person_id=separation.person))))


def with_subject(facts: Facts, chain: Chain, former: PersonId, current: PersonId) -> Chain:
    """The chain with the other id in its subject and tags; the subject stays where a chain about that id is active."""
    (old,), (new,) = subjects_of(former), subjects_of(current)
    if old not in chain.tags:
        return chain
    tags = tuple(sorted({new if tag == old else tag for tag in chain.tags}))
    taken = bool(facts.active_chains(chain.rule, new))
    return chain.replace(tags=tags, subject=new if chain.subject == old and not taken else chain.subject)


# ------------------------------------------------------------------ messages that wait


def _withdraw_waiting(context: DecisionContext, merged: Chain, own: Chain) -> Chain:
    """Withdraw the messages of a chain that wait for the other person and are this one's again, and mark those that
    WhatsApp may still report as failed.
    """
    for before, message in zip(merged.messages, own.messages, strict=True):
        if before.person_id == message.person_id:
            continue
        if message.may_still_go:
            own = _withdraw(context, own, message)
        elif message.unwanted is None and message.delivery is DeliveryState.ACCEPTED:
            own = own.with_message(message.replace(unwanted=str(Reason.SEPARATED)))
    return own


def _withdraw_requeued(context: DecisionContext, ended: Chain, person: PersonId) -> Chain:
    """Withdraw what has come into the dispatcher's queue again while the merge held, as after a reported failure.

    At the merge it had been sent, so rules has left it with the former id; the dispatcher has not.
    """
    for message in ended.messages:
        if message.person_id == person and message.may_still_go:
            ended = _withdraw(context, ended, message)
    return ended


def _withdraw(context: DecisionContext, chain: Chain, message: ChainMessage) -> Chain:
    context.add_reason(Reason.SEPARATED, chain, str(message.step))
    _request_withdrawal(context, message.sent_as, message.person_id)
    return chain.with_message(message.replace(unwanted=str(Reason.SEPARATED)))


def _withdraw_notices(context: DecisionContext, person: PersonId) -> None:
    """Messages outside chains that were requested for this id wait for the other person, and are not made again."""
    for message, receiver in context.facts.notices.items():
        if receiver == person:
            _request_withdrawal(context, message, person)


def _request_withdrawal(context: DecisionContext, message: MessageId, person: PersonId) -> None:
    context.request_withdrawal(WithdrawMessage(message_id=message, person_id=person, reason=str(Reason.SEPARATED)))


# ------------------------------------------------------------------ questions that went to the other person


def ask_again(context: DecisionContext, separation: Separation | None) -> None:
    """Ask the questions again that went to an address of the other person; answers to them are final no more.

    One that waits in the dispatcher is withdrawn first. A tap from the other one's address does not count. A question
    that its person has at an address of their own too, as by a reminder, is not repeated.
    """
    if separation is None:
        return
    facts = context.facts
    separation = structs.replace(separation, person=facts.current_id(separation.person))
    for person in (separation.person, separation.other):
        for chain in facts.chains_of(person):
            asked = _ask_again(context, chain, separation)
            if asked is not chain:
                context.save_chain(asked)


def _ask_again(context: DecisionContext, chain: Chain, separation: Separation) -> Chain:
    elsewhere = {m.message_id for m in chain.messages if _went_elsewhere(m, separation)}
    for message in chain.messages:
        foreign = separation.foreign_marks(message.person_id)
        if not foreign.isdisjoint(message.sent_to):
            kept = tuple(mark for mark in message.sent_to if mark not in foreign)
            chain = chain.with_message(message.replace(sent_to=kept))
    if not chain.active or not elsewhere:
        return chain
    chain = chain.reopen_answers([given for given in chain.answers if given.message_id in elsewhere])
    awaited = [m for m in chain.messages if _is_awaited(chain, m)]
    for message in [one for one in awaited if one.message_id in elsewhere]:
        if message.may_still_go:
            chain = _withdraw(context, chain, message)
    places = {_place(m) for m in awaited if m.message_id not in elsewhere and m.delivery in ARRIVED}
    arrived = [m for m in awaited if m.message_id in elsewhere and m.delivery in ARRIVED]
    again = {_place(m): m for m in reversed(arrived) if _place(m) not in places}
    chain = _close(chain, [m for m in awaited if m.message_id in elsewhere and _place(m) in {*again, *places}], again)
    context.save_chain(chain)
    for message in again.values():
        context.add_reason(Reason.SEPARATED, chain, str(message.step))
    request_again(context, [(chain, m) for m in again.values()])
    return context.facts.chains[chain.chain_id]


def _close(chain: Chain, asked: Sequence[ChainMessage], again: Mapping[_Place, ChainMessage]) -> Chain:
    repeated = {message.message_id for message in again.values()}
    gone = {message.message_id for message in asked} - repeated
    return chain.close_questions(lambda message: message.message_id in gone)


def _went_elsewhere(message: ChainMessage, separation: Separation) -> bool:
    is_theirs = message.person_id in {separation.person, separation.other}
    return is_theirs and separation.was_asked_elsewhere(message.person_id, message.sent_to)


def _place(message: ChainMessage) -> _Place:
    """The same for a question and its reminders; each offer and each prompt of a form has one of its own."""
    is_other = not is_question_of_rule(message)
    return message.person_id, message.answer, message.message_id if is_other else None


def _is_awaited(chain: Chain, message: ChainMessage) -> bool:
    """Whether the answer to a message is awaited: to a question, an offer, or the newest question of a form."""
    if message.verb is Verb.COLLECT:
        form = chain.form
        prompts = [m for m in chain.messages if m.verb is Verb.COLLECT and m.person_id == message.person_id]
        return form is not None and not form.over and form.person_id == message.person_id and prompts[-1] == message
    if is_offer(message):
        return message.open and chain.assignment is None and message.message_id not in declined_offers(chain)
    return awaits_answer(message) and not has_answered(chain, message)


def goes_to_own_person(context: DecisionContext, chain: Chain, message: ChainMessage, reached: DeliveryState) -> bool:
    """Whether a message that was to be withdrawn because of an undone merge is to be sent to its own person now: it
    never arrived, or is a question that has gone to an address that is not theirs.
    """
    if message.unwanted != Reason.SEPARATED or message.closed or message.led_on or has_answered(chain, message):
        return False
    if reached in LOST:
        return message.delivery in {*IN_DISPATCHER, DeliveryState.ACCEPTED}
    person = context.facts.current_person(message.person_id)
    is_new = reached in ARRIVED and message.delivery in IN_DISPATCHER
    is_elsewhere = person is not None and set(message.sent_to).isdisjoint(person.address_marks)
    return is_new and is_elsewhere and chain.active and _is_awaited(chain, message)


def request_again(context: DecisionContext, found: Sequence[tuple[Chain, ChainMessage]]) -> None:
    """Send messages to their own person: under another id, as the dispatcher knows the former one, which is closed. An
    item of a digest has had none of its own.
    """
    items = []
    for chain, message in found:
        current = context.facts.chains[chain.chain_id]
        replacement = message.replace(unwanted=None, wamid=None, wording=None, sent_template=None)
        if message.digest is None:
            current = current.with_message(message.replace(closed=True))
            replacement = replacement.replace(
                message_id=MessageId(derive_id("message", message.message_id, Reason.SEPARATED))
            )
        current = context.save_chain(current.with_message(replacement))
        if release.unless_holds(context, current, replacement):
            context.save_chain(release.leave_out(context, current, replacement))
        else:
            items.append(HeldMessage(current, replacement))
    for person in dict.fromkeys(item.message.person_id for item in items):
        send_rest(context, [item for item in items if item.message.person_id == person])
    for item in items:
        context.save_chain(_go_on(context, context.facts.chains[item.chain.chain_id], item.message.message_id))


def _go_on(context: DecisionContext, chain: Chain, message_id: MessageId) -> Chain:
    """Go on with a chain whose message was sent to its person, or could not be."""
    message = chain.message(message_id)
    if message is not None and message.delivery is DeliveryState.DROPPED and chain.active:
        chain = recount_after_exclusion(context, chain, message)
    return advance(context, chain) if chain.live else release.with_unless_due(context, chain)

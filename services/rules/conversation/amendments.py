"""Amends messages that were requested and have not gone: in which hours they may leave, as what, and in whose place.

A message may wait in the dispatcher for days, as for its template or for the month's budget. Meanwhile its person may
have moved, have turned out to be another, or have refused marketing. The publisher's calendar may have changed, or the
fallback of the template.
"""

from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct

from services.rules.conversation.chain import Chain, ChainMessage
from services.rules.conversation.context import DecisionContext, Reason
from services.rules.conversation.fact_values import PersonFacts
from services.rules.conversation.people import working_hours
from services.rules.conversation.send_hours import hours_of_waiting, hours_of_waiting_notice
from services.rules.rulebook.model import Rulebook
from shared.contracts.ids import MessageId, PersonId
from shared.contracts.messages import AmendMessage, WithdrawMessage


class KnownBefore(Struct, frozen=True):
    """A person as known before an event was applied, and whether marketing, or anything, might go to them."""

    person: PersonFacts
    allows_marketing: bool
    opted_out: bool


def known_before(context: DecisionContext, people: Iterable[PersonId | None]) -> Mapping[PersonId, KnownBefore]:
    """The people whom an event is about, as far as they are known."""
    facts = context.facts
    known = ((person, facts.current_person(person)) for person in people if person is not None)
    return {
        person: KnownBefore(one, facts.allows_marketing(person), facts.opted_out(person))
        for person, one in known
        if one is not None
    }


def amend_waiting(context: DecisionContext, before: Mapping[PersonId, KnownBefore]) -> None:
    """Give messages that wait for these people the current hours and consent, where the event has changed them."""
    for person, known in before.items():
        now = context.facts.current_person(person)
        if now is not None and not now.erased:
            _follow_consent(context, person, known)
            _follow_hours(context, now, known.person)


def _follow_consent(context: DecisionContext, person: PersonId, before: KnownBefore) -> None:
    allows = context.facts.allows_marketing(person)
    if allows is before.allows_marketing:
        return
    ids = context.facts.ids_of_person(person)
    for chain in context.facts.chains_with_unsent(ids):
        for message in chain.messages:
            if message.person_id in ids and message.may_still_go:
                receiver = message.person_id
                amendment = AmendMessage(message_id=message.sent_as, person_id=receiver, marketing_consent=allows)
                amend(context, amendment, chain, message.step)
    for notice, receiver in _waiting_notices(context, ids):
        amend(context, AmendMessage(message_id=notice, person_id=receiver, marketing_consent=allows))


def _follow_hours(context: DecisionContext, person: PersonFacts, before: PersonFacts) -> None:
    facts, book = context.facts, context.rulebook
    if not has_other_hours(context, before, person):
        return
    ids = facts.ids_of_person(person.person_id)
    for chain in facts.chains_with_unsent(ids):
        amend_hours(context, chain, person, book, before)
    for notice, receiver in _waiting_notices(context, ids):
        hours = hours_of_waiting_notice(context, person)
        amend(context, AmendMessage(message_id=notice, person_id=receiver, open_hours=hours))


def has_other_hours(context: DecisionContext, before: PersonFacts, person: PersonFacts) -> bool:
    """Whether the hours of a person are others than as they were known before."""
    return working_hours(context.rulebook, before) is not working_hours(context.rulebook, person)


def _waiting_notices(context: DecisionContext, ids: Collection[PersonId]) -> list[tuple[MessageId, PersonId]]:
    """The messages to a person that belong to no chain and may still go; those of this decision are up to date."""
    notices = context.facts.notices.items()
    return [(notice, to) for notice, to in notices if to in ids and notice not in context.drafted]


def amend_hours(
    context: DecisionContext, chain: Chain, person: PersonFacts, book: Rulebook, before: PersonFacts
) -> None:
    """Give the messages of a chain that wait for a person, under any of their ids, the current hours, where these have
    changed.

    ``book`` and ``before`` are the rulebook, and the person as known, by which their hours were found.
    """
    ids = context.facts.ids_of_person(person.person_id)
    for message in chain.messages:
        if message.person_id not in ids or not message.may_still_go:
            continue
        hours = hours_of_waiting(context, chain, message, context.rulebook, person)
        if hours != hours_of_waiting(context, chain, message, book, before):
            amendment = AmendMessage(message_id=message.sent_as, person_id=message.person_id, open_hours=hours)
            amend(context, amendment, chain, message.step)


def amend_again(context: DecisionContext, chain: Chain, message: ChainMessage) -> None:
    """Give a message that did not arrive and is sent again the current hours and consent."""
    if (person := context.facts.current_person(message.person_id)) is not None:
        amendment = AmendMessage(
            message_id=message.sent_as,
            person_id=message.person_id,
            open_hours=hours_of_waiting(context, chain, message, context.rulebook, person),
            marketing_consent=context.facts.allows_marketing(person.person_id),
        )
        amend(context, amendment, chain, message.step)


def amend_notice_again(context: DecisionContext, message: MessageId, receiver: PersonId) -> None:
    """Give a message outside chains that did not arrive and is sent again the current hours and consent."""
    if (person := context.facts.current_person(receiver)) is not None:
        amendment = AmendMessage(
            message_id=message,
            person_id=receiver,
            open_hours=hours_of_waiting_notice(context, person),
            marketing_consent=context.facts.allows_marketing(person.person_id),
        )
        amend(context, amendment)


def amend(
    context: DecisionContext, amendment: AmendMessage, chain: Chain | None = None, step: int | None = None
) -> None:
    """Request an amendment, in one with what this decision amends of the message already; not of a withdrawn one."""
    for place, effect in enumerate(context.effects):
        if isinstance(effect, WithdrawMessage) and effect.message_id == amendment.message_id:
            return
        if isinstance(effect, AmendMessage) and effect.message_id == amendment.message_id:
            given = {name: getattr(amendment, name) for name in _AMENDED if getattr(amendment, name) is not None}
            context.effects[place] = effect.replace(**given)
            return
    context.effects.append(amendment)
    context.add_reason(Reason.AMENDED, chain, None if step is None else str(step))


_AMENDED = ("fallback", "open_hours", "marketing_consent")

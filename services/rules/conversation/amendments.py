"""Amends messages that were requested and have not gone: in which hours they may leave, and what goes in their place.

A message may wait in the dispatcher for days, as for its template or for the month's budget. Meanwhile its person may
have moved or turn out to be another, and the publisher's calendar or the fallback of its template may be others.
"""

from services.rules.conversation.chain import IN_DISPATCHER, Chain
from services.rules.conversation.context import DecisionContext, Reason
from services.rules.conversation.fact_values import PersonFacts
from services.rules.conversation.people import working_hours
from services.rules.conversation.send_hours import hours_of_waiting, hours_of_waiting_notice
from services.rules.rulebook.model import Rulebook
from shared.contracts.ids import PersonId
from shared.contracts.messages import AmendMessage, WithdrawMessage


def follow_person(context: DecisionContext, person: PersonId, before: PersonFacts | None) -> None:
    """Give what waits for a person the hours of now, where they were others while the person was as ``before`` says."""
    facts, book = context.facts, context.rulebook
    known = facts.current_person(person)
    if before is None or known is None or known.erased or working_hours(book, before) is working_hours(book, known):
        return
    ids = facts.ids_of_person(person)
    for chain in facts.chains_with_unsent(ids):
        amend_hours(context, chain, known, book, before)
    for message, receiver in facts.notices.items():
        if receiver in ids and message not in context.drafted:
            hours = hours_of_waiting_notice(context, known)
            amend(context, AmendMessage(message_id=message, person_id=receiver, open_hours=hours))


def amend_hours(
    context: DecisionContext, chain: Chain, person: PersonFacts, book: Rulebook, before: PersonFacts
) -> None:
    """Give those messages of a chain that wait for a person, by whichever id, the hours of now, if they are others.

    ``book`` and ``before`` are the rulebook, and the person as known, by which their hours were found.
    """
    ids = context.facts.ids_of_person(person.person_id)
    for message in chain.messages:
        if message.person_id not in ids or message.delivery not in IN_DISPATCHER or message.unwanted is not None:
            continue
        hours = hours_of_waiting(context, chain, message, context.rulebook, person)
        if hours != hours_of_waiting(context, chain, message, book, before):
            sent_as = message.digest or message.message_id
            amendment = AmendMessage(message_id=sent_as, person_id=message.person_id, open_hours=hours)
            amend(context, amendment, chain, message.step)


def amend(
    context: DecisionContext, amendment: AmendMessage, chain: Chain | None = None, step: int | None = None
) -> None:
    """Request an amendment, in one with what this decision amends of the message already; not of a withdrawn one."""
    for place, effect in enumerate(context.effects):
        if isinstance(effect, WithdrawMessage) and effect.message_id == amendment.message_id:
            return
        if isinstance(effect, AmendMessage) and effect.message_id == amendment.message_id:
            context.effects[place] = effect.replace(
                fallback=amendment.fallback or effect.fallback,
                open_hours=effect.open_hours if amendment.open_hours is None else amendment.open_hours,
            )
            return
    context.effects.append(amendment)
    context.add_reason(Reason.AMENDED, chain, None if step is None else str(step))

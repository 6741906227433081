"""Limits what all strangers together cause (``limits.yaml``: ``brake``): people whom Consonance does not know.

Counted are the chains that their messages start, and answers that start none, in the last while. They are kept in one
row of the tenant with a version: of two transactions that count at the same time, one begins again.
"""

from datetime import datetime

from services.rules.conversation.context import DecisionContext, HeldStrangers, Reason
from services.rules.conversation.fact_values import StrangersMessages
from shared.contracts.ids import PersonId


def is_stranger(context: DecisionContext, person: PersonId) -> bool:
    known = context.facts.people.get(context.facts.current_id(person))
    return known is None or known.contact_id is None


def has_room(context: DecisionContext, chains: int) -> bool:
    """Whether strangers may start so many chains now. Where nothing is counted, they may start any number."""
    recent, most = _recent(context), context.rulebook.tenant.unsolicited.strangers_chains
    return not recent or len(recent) + chains <= most


def count(context: DecisionContext, chains: int) -> None:
    """Count chains that are about to start, or one answer."""
    started = (*_recent(context), *[context.now] * chains)
    context.facts.set_strangers(_known(context).replace(started=started))


def hold(context: DecisionContext) -> None:
    """Give the reason for a message that is kept without an answer; the first one in each while is logged."""
    context.add_reason(Reason.STRANGERS_BRAKED)
    known, limit = _known(context), context.rulebook.tenant.unsolicited
    if known.reported_at is None or context.now >= known.reported_at + limit.within:
        context.facts.set_strangers(known.replace(reported_at=context.now))
        context.observations.append(HeldStrangers(limit.strangers_chains, limit.within))


def _known(context: DecisionContext) -> StrangersMessages:
    return context.facts.strangers.get(context.tenant) or StrangersMessages()


def _recent(context: DecisionContext) -> tuple[datetime, ...]:
    since = context.now - context.rulebook.tenant.unsolicited.within
    return tuple(at for at in _known(context).started if at > since)

"""Judges the ``unless`` of a step for each person its message goes to, where the condition names ``recipient``.

It is judged when the step begins, before the person's consent and address are looked at, and again when a held message
is released. Copies, reminders of what a person has taken, and answers to a person are not judged.
"""

from collections.abc import Mapping
from typing import Any

from services.rules.conversation.chain import Chain
from services.rules.conversation.context import DecisionContext, ExclusionReason
from services.rules.conversation.fact_values import PersonFacts
from services.rules.conversation.recipients import is_staff
from services.rules.conversation.rendering import language_of
from services.rules.matching.conditions import names_recipient
from services.rules.rulebook.model import Condition, Step
from shared.contracts.ids import PersonId

_WITHOUT_ROLE = frozenset({"sender", "unanswered", "told", "awaited", "owner"})
"""The words in place of a role for people whom the chain has reached, or heard of, before."""


def judged_for_each(step: Step) -> Condition | None:
    """The ``unless`` of a step if it is judged for each person; None where it is judged for the whole step."""
    return step.unless if step.unless is not None and names_recipient(step.unless) else None


def is_excepted(context: DecisionContext, chain: Chain, step: Step, person: PersonFacts, role: str | None) -> bool:
    """Whether the step leaves this person out by its ``unless``."""
    condition = judged_for_each(step)
    if condition is None:
        return False
    return context.holds(condition, chain, _values(context, chain, person, role))


def _values(context: DecisionContext, chain: Chain, person: PersonFacts, role: str | None) -> Mapping[str, Any]:
    return {
        "person_id": person.person_id,
        "country": person.country,
        "subdivision": person.subdivision,
        "language": language_of(context, person).replace("-", "_"),
        "role": _role_before(chain, person.person_id) if role in _WITHOUT_ROLE else role,
        "roles": person.roles,
        "staff": is_staff(context, person),
    }


def _role_before(chain: Chain, person: PersonId) -> str | None:
    """The role in which the chain has addressed the person first; None for one it knows by their own message only."""
    roles = (message.role for message in chain.messages if message.person_id == person)
    return next((role for role in roles if role and role not in _WITHOUT_ROLE), None)


def skips_everyone(chain: Chain, step: int) -> bool:
    """Whether all the people that the step left out are left out by its ``unless``: it is skipped, as by any other."""
    reasons = set(chain.steps[step].left_out.values())
    return reasons == {ExclusionReason.UNLESS}

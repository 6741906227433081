"""Checks of ``recipient.role`` in the ``unless`` of a step: the role exists, and is one that the step addresses.

Where a step addresses people by roles and teams alone, their roles are known before any message goes.
"""

from collections.abc import Iterator

from services.rules.rulebook.addressee_validation import ANSWERING
from services.rules.rulebook.catalogue import RECIPIENT_ROLE, party_fields
from services.rules.rulebook.model import (
    RECEIVED,
    Compare,
    Condition,
    LiteralValue,
    Location,
    Operator,
    Rule,
    Step,
    Team,
    Verb,
    comparisons,
)
from services.rules.rulebook.validation_context import ValidationContext

_COMPARED = frozenset({Operator.IS, Operator.IS_NOT, Operator.ONE_OF})


def check_recipient_roles(context: ValidationContext, rule: Rule, step: Step) -> None:
    if step.unless is None or step.verb not in RECEIVED or not context.reads("people.yaml"):
        return
    addressed = _addressed_roles(context, rule, step)
    compared = [
        (role, location)
        for compare in comparisons(step.unless)
        if compare.field == RECIPIENT_ROLE and compare.operator in _COMPARED
        for role, location in _literals(compare)
    ]
    for role, location in compared:
        _check_role(context, role, addressed, location)
    if addressed and addressed.issuperset(role for role, _ in compared):
        _check_never_done(context, step.unless, addressed)


def _check_role(context: ValidationContext, role: str, addressed: frozenset[str] | None, location: Location) -> None:
    if role not in context.roles:
        context.report.unknown(location, f"there is no role “{role}”", role, context.roles)
    elif addressed is not None and role not in addressed:
        sentence = f"this step addresses {_listed(addressed)}, so “{RECIPIENT_ROLE}” is never “{role}”"
        context.report.add(location, sentence)


def _check_never_done(context: ValidationContext, unless: Condition, addressed: frozenset[str]) -> None:
    """A condition on the role alone that holds for every role leaves the step without a receiver."""
    if isinstance(unless, Compare) and all(_holds(unless, role) for role in addressed):
        sentence = f"this step is never done: “unless” holds for all whom it addresses, {_listed(addressed)}"
        context.report.add(unless.location, sentence)


def _addressed_roles(context: ValidationContext, rule: Rule, step: Step) -> frozenset[str] | None:
    """The roles in which the step can address people; None where the event or the chain says them.

    Also where a role or team does not exist, which is reported.
    """
    if step.verb is Verb.REMIND:
        return None
    named_by_event = ANSWERING | {party for event in rule.events for party in party_fields(event)} | {"affected"}
    found: set[str] = set()
    for name in step.who:
        if isinstance(name, Team) and name.name in context.book.people.teams:
            found.update(context.book.people.teams[name.name])
        elif isinstance(name, Team) or name in named_by_event or name not in context.roles:
            return None
        else:
            found.add(name)
    return frozenset(found)


def _literals(compare: Compare) -> Iterator[tuple[str, Location]]:
    """The roles it is compared with; one that is no text is reported with the types."""
    operands: tuple[LiteralValue, ...] = compare.operand if isinstance(compare.operand, tuple) else ()
    if not isinstance(compare.operand, tuple) and isinstance(compare.operand, str):
        operands = (compare.operand,)
    locations = compare.operand_locations or (compare.location,) * len(operands)
    for literal, location in zip(operands, locations, strict=True):
        if isinstance(literal, str) and literal:
            yield literal, location


def _holds(compare: Compare, role: str) -> bool:
    if compare.field != RECIPIENT_ROLE or compare.operator not in _COMPARED:
        return False
    roles = [literal for literal, _ in _literals(compare)]
    return bool(roles) and (role in roles) is (compare.operator is not Operator.IS_NOT)


def _listed(roles: frozenset[str]) -> str:
    first, *others = sorted(roles, reverse=True)
    return f"{', '.join(reversed(others))} and {first}" if others else first

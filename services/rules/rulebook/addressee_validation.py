"""Checks of the people that a rule names: roles, parties of the event, teams, and those who answered.

A rule with ``on_repeat: join`` must concern the same people by all events that join. The ``recipient.role`` in the
``unless`` of a step exists, and is one that the step addresses: where it addresses people by roles and teams alone,
their roles are known before any message goes.
"""

import re
from collections.abc import Iterator, Sequence

from services.rules.rulebook.action_schema import no_field_chooses
from services.rules.rulebook.catalogue import (
    EVENTS,
    MESSAGE_RECEIVED,
    RECIPIENT_ROLE,
    ROLES_OF_A_TITLE,
    STAFF_ROLES,
    party_fields,
)
from services.rules.rulebook.faults import nearest_word
from services.rules.rulebook.model import (
    RECEIVED,
    Addressees,
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
from shared.contracts.vocabulary import Role

SENDER, UNANSWERED, TOLD, AWAITED = "sender", "unanswered", "told", "awaited"
_ROLES = frozenset(Role)
_OUTSIDE_ROLES = _ROLES - STAFF_ROLES
_PERHAPS_STAFF = frozenset({Role.OWNER})
"""The owner of a block may be a colleague, whom no reason is needed for."""
ANSWERING = frozenset({SENDER, UNANSWERED, TOLD, AWAITED})
_COMPARED = frozenset({Operator.IS, Operator.IS_NOT, Operator.ONE_OF})


def check_addressees(
    context: ValidationContext, rule: Rule, who: Addressees, *path: str | int, answered: bool = False
) -> None:
    """``answered``: a person tapped or wrote, so there is a sender whatever the event."""
    locations = context.locations(rule, len(who), *path)
    check_each_addressee(context, rule, who, locations, answered=answered)
    if not who:
        sentence = "this names no person; write a role, a party of the event or {team: …}"
        context.report.add(context.location(rule, *path), sentence)


def check_each_addressee(
    context: ValidationContext, rule: Rule, who: Addressees, locations: Sequence[Location], *, answered: bool = False
) -> None:
    for number, (name, location) in enumerate(zip(who, locations, strict=True)):
        if name and name in who[:number]:
            written = f"{{team: {name.name}}}" if isinstance(name, Team) else f"“{name}”"
            context.report.refuse(location, f"{written} is named twice")
        elif isinstance(name, Team):
            check_team(context, name.name, location)
        elif name == SENDER:
            _check_sender(context, rule, location, answered=answered)
        elif name == AWAITED and not (rule.listing and rule.listing.each):
            context.report.add(location, "“awaited” is the person of “list: {each: person}”, which this rule lacks")
        elif name not in ANSWERING and name:
            _check_name(context, rule, name, location)


def check_team(context: ValidationContext, team: str, location: Location) -> None:
    teams = context.book.people.teams
    if (capitals := next((each for each in teams if each != team and each.casefold() == team), None)) is not None:
        sentence = f"rules say “{team}”, and here stands “{capitals}”; write it in small letters"
        context.report.repeated(context.file_key_location("people.yaml", "teams", capitals), sentence)
    elif team and team not in teams and context.reads_whole("people.yaml"):
        context.report.unknown(location, f"people.yaml has no team “{team}”", team, teams, listed=True)


def _check_sender(context: ValidationContext, rule: Rule, location: Location, *, answered: bool) -> None:
    if not answered and set(rule.events) != {MESSAGE_RECEIVED} and not context.report.has_fault_on(location):
        context.report.add(location, _no_sender(rule))


def _no_sender(rule: Rule) -> str:
    events, parties = " or ".join(rule.events), sorted(party for event in rule.events for party in party_fields(event))
    return f"“{SENDER}” is the person who wrote, and {events} is no message{_listed(parties)}"


def _listed(parties: Sequence[str]) -> str:
    """The end of a sentence with the people whom the event names."""
    if not parties:
        return ""
    return f"; the event names {', '.join(dict.fromkeys(parties))}, and people.yaml the roles of the house"


def _check_name(context: ValidationContext, rule: Rule, name: str, location: Location) -> None:
    parties = frozenset(party for event in rule.events for party in party_fields(event))
    known = parties | context.roles | ANSWERING
    several = name.strip("[]").replace(",", " ").split()
    if len(several) > 1 and known.issuperset(several):
        context.report.add(location, f"several people stand in brackets: [{', '.join(several)}]")
        return
    if (sentence := _no_name(context, name)) is not None and name not in known:
        context.report.repeated(location, sentence)
    elif name not in known and "." in name:
        context.report.repeated(location, no_field_chooses(name))
    elif name not in known and context.reads_whole("people.yaml"):
        like = "" if len(several) > 1 or nearest_word(name, known) else _listed(sorted(parties))
        like = like or _why_unknown(name, several, known)
        sentence = f"“{name}” is no role, party of the event, or team member{like}"
        context.report.unknown(location, sentence, name, known, several=True)
    elif name in STAFF_ROLES - parties - context.staffed and not _comes_with_event(rule, name):
        is_told = context.lacks_team or _is_misspelt_in_people(context, name)
        if context.reads_whole("people.yaml") and not is_told:
            context.report.repeated(location, f"“{name}” is a role without a contact: no team of people.yaml has it")
    elif name in _OUTSIDE_ROLES - (parties & _PERHAPS_STAFF) - context.staffed:
        _check_outside(context, rule, name, location)


def _why_unknown(name: str, several: Sequence[str], known: frozenset[str]) -> str:
    """The end of the sentence about a name that is like no other: a party of other events, a person, or a new role."""
    events = sorted(event for event in EVENTS if name in party_fields(event))
    if events:
        return f"; it is a party of {', '.join(events)}"
    if len(several) > 1 and name != name.lower():
        return ": people are named by their role, which people.yaml gives them"
    return "" if nearest_word(name, known) else "; give the role a contact under “teams” in people.yaml"


_ADDRESS = re.compile(r"\+?[\d ()./-]+|\S+@\S+")


def _no_name(context: ValidationContext, name: str) -> str | None:
    """The sentence about an address, an id or a team in the place of a role. An address is not repeated in it."""
    if _ADDRESS.fullmatch(name):
        return "people are named by their role; give a contact a role in people.yaml, and leave addresses to Consonance"
    if (team := name.removeprefix("team ")) != name and team in context.book.people.teams:
        return f"a team is written {{team: {team}}}"
    if name in context.book.people.teams:
        return f"“{name}” is a team; write {{team: {name}}}"
    return None


def _is_misspelt_in_people(context: ValidationContext, name: str) -> bool:
    """A team has a role that is nearly this one, which is reported there."""
    return any(meant_role(context, role) == name for role in context.staffed - _ROLES)


def meant_role(context: ValidationContext, role: str) -> str | None:
    """The role that is nearest to one of people.yaml that there is not; those that no team has come first."""
    lacking = (str(each) for each in STAFF_ROLES - context.staffed)
    return nearest_word(role, lacking) or nearest_word(role, map(str, _ROLES - ROLES_OF_A_TITLE))


def _check_outside(context: ValidationContext, rule: Rule, name: str, location: Location) -> None:
    """People outside the house are found by a title, and written to for a reason that house.yaml gives their role."""
    if rule.every is not None and not context.is_written(rule, "on") and context.reads_whole("people.yaml"):
        sentence = f"a recurring rule is about no title, so it finds no “{name}”; it writes to roles and teams of"
        context.report.refuse(location, f"{sentence} people.yaml, or with “each: person” to “awaited”")
        return
    basis = context.book.tenant.basis
    is_read = context.reads_whole("house.yaml") and context.reads_whole("people.yaml")
    if not is_read or name in basis or basis.keys() - context.roles or _is_misspelt_in_people(context, name):
        return  # a role of house.yaml that is not known is reported there, and may be this one
    sentence = f"house.yaml has no reason to write to “{name}”; add one under “basis”, like {name}: contract"
    context.report.repeated(location, sentence)


def _comes_with_event(rule: Rule, name: str) -> bool:
    """Escalation contacts may come with the event that asks for them."""
    return name.startswith("escalation") and any("escalation" in party_fields(event) for event in rule.events)


# ------------------------------------------------------------------ the role in “unless”


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
        sentence = f"this step addresses {_listed_roles(addressed)}, so “{RECIPIENT_ROLE}” is never “{role}”"
        context.report.add(location, sentence)


def _check_never_done(context: ValidationContext, unless: Condition, addressed: frozenset[str]) -> None:
    """A condition on the role alone that holds for every role leaves the step without a receiver."""
    if isinstance(unless, Compare) and all(_holds(unless, role) for role in addressed):
        sentence = f"this step is never done: “unless” holds for all whom it addresses, {_listed_roles(addressed)}"
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


def _listed_roles(roles: frozenset[str]) -> str:
    first, *others = sorted(roles, reverse=True)
    return f"{', '.join(reversed(others))} and {first}" if others else first

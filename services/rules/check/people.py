"""people.yaml, calendar.yaml and house.yaml: teams and roles that exist, and nobody who stands in for themselves."""

from collections.abc import Iterator
from datetime import date

from services.rules.check.scope import Scope
from services.rules.check.templates import check_languages
from services.rules.check.who import check_team
from services.rules.house import StandIn
from services.rules.terms import Place
from shared.events.vocabulary import MilestoneKey
from shared.ids import ContactId


def check_house(scope: Scope) -> None:
    people = scope.book.people
    check_team(scope, people.inbox, scope.single("people.yaml", "inbox"))
    for key, roles in people.milestones.items():
        place = scope.single_key("people.yaml", "milestones", key)
        if key not in list(MilestoneKey):
            scope.report.unknown(place, f"there is no milestone “{key}”", key, list(MilestoneKey))
        _check_roles(scope, roles, place)
    _check_stand_ins(scope)
    for index, fair in enumerate(scope.book.calendar.fairs):
        _check_roles(scope, fair.roles, scope.single("calendar.yaml", "fairs", index, "roles"))
    for role in scope.book.tenant.basis:
        _check_roles(scope, (role,), scope.single_key("house.yaml", "basis", role))
    check_languages(scope, scope.book.tenant.publisher, scope.single("house.yaml", "publisher"), "“publisher”")


def _check_roles(scope: Scope, roles: frozenset[str] | tuple[str, ...], place: Place) -> None:
    for role in sorted(roles):
        if role not in scope.roles():
            scope.report.unknown(place, f"there is no role “{role}”", role, scope.roles())


def _check_stand_ins(scope: Scope) -> None:
    rules = scope.book.people.stands_in
    for index, rule in enumerate(rules):
        place = scope.single("people.yaml", "stands_in", index)
        _check_roles(scope, rule.roles, scope.single("people.yaml", "stands_in", index, "as"))
        for circle in _circles(rules, rule, (rule.absent,)):
            if rule.absent != min(circle):
                continue  # it is told once, from its lowest number
            said = " → ".join(map(str, circle))
            scope.report.add(place, f"everybody stands in for another and nobody is left: {said}")


def _circles(rules: tuple[StandIn, ...], rule: StandIn, seen: tuple[ContactId, ...]) -> Iterator[tuple[ContactId, ...]]:
    """Ways back to the first absent person, through stand-ins who are away at the same time in the same role."""
    if rule.who == seen[0]:
        yield (*seen, rule.who)
    elif rule.who not in seen:
        for further in rules:
            if further.absent == rule.who and (both := _at_once(rule, further)) is not None:
                yield from _circles(rules, both, (*seen, rule.who))


def _at_once(one: StandIn, other: StandIn) -> StandIn | None:
    """The second, narrowed to when and as what both hold."""
    first = max(one.first or date.min, other.first or date.min)
    last = min(one.last or date.max, other.last or date.max)
    roles = one.roles & other.roles if one.roles and other.roles else one.roles | other.roles
    if first > last or (one.roles and other.roles and not roles):
        return None
    return StandIn(other.absent, other.who, roles, first, last)

"""people.yaml, calendar.yaml and house.yaml: teams and roles that exist, and nobody who stands in for themselves."""

from collections.abc import Iterator, Mapping
from datetime import date
from itertools import islice

from services.rules.check.scope import Scope
from services.rules.check.templates import check_languages
from services.rules.check.who import check_team
from services.rules.house import StandIn
from services.rules.language.faults import nearest
from services.rules.rulebook import HandOver, Rule, Step, Tell
from services.rules.terms import Place
from shared.contracts.errors import Misconfigured
from shared.contracts.ids import ContactId
from shared.contracts.vocabulary import MilestoneKey, Role

_LONGEST_LINE = 10
_MOST_CIRCLES = 20


def check_house(scope: Scope) -> None:
    people = scope.book.people
    check_team(scope, people.inbox, scope.single("people.yaml", "inbox"))
    for key, roles in people.milestones.items():
        place = scope.single_key("people.yaml", "milestones", key)
        if key not in list(MilestoneKey):
            scope.report.unknown(place, f"there is no milestone “{key}”", key, list(MilestoneKey))
        _check_roles(scope, roles, place)
    _check_filled(scope)
    _check_stand_ins(scope)
    _check_open(scope)
    for index, fair in enumerate(scope.book.calendar.fairs):
        _check_roles(scope, fair.roles, scope.single("calendar.yaml", "fairs", index, "roles"))
    for role in scope.book.tenant.basis:
        _check_roles(scope, (role,), scope.single_key("house.yaml", "basis", role))
    check_languages(scope, scope.book.tenant.publisher, scope.single("house.yaml", "publisher"), "“publisher”")


def _check_roles(scope: Scope, roles: frozenset[str] | tuple[str, ...], place: Place) -> None:
    for role in sorted(roles):
        if role not in scope.roles():
            scope.report.unknown(place, f"there is no role “{role}”", role, scope.roles())


def _check_filled(scope: Scope) -> None:
    """A role of an imprint is one that a team has too; a team's own word for a role is one that something names."""
    people = scope.book.people
    of_teams = frozenset(role for team in people.teams.values() for role in team)
    for imprint, roles in people.imprints.items():
        for role in roles.keys() - of_teams - set(Role):
            place = scope.single_key("people.yaml", "imprints", str(imprint), role)
            scope.report.unknown(place, f"there is no role “{role}”", role, of_teams | set(Role))
    named = _named_roles(scope)
    for team, roles in people.teams.items():
        for role in roles.keys() - named - set(Role):
            if (meant := nearest(role, map(str, Role))) is not None:
                place = scope.single_key("people.yaml", "teams", team, role)
                scope.report.unknown(place, f"there is no role “{role}”, and no rule names it", role, (meant,))


def _named_roles(scope: Scope) -> frozenset[str]:
    """What rules call people, and the other house files call roles."""
    book = scope.book
    told = (tell for rule in book.rules.values() for tell in _tells(rule))
    people = (each.who for rule in book.rules.values() for each in _meaning_people(rule))
    lists = (*(tell.who for tell in told), *people, *book.people.milestones.values(), book.tenant.basis)
    return frozenset(name for who in lists for name in who if isinstance(name, str))


def _tells(rule: Rule) -> Iterator[Tell]:
    found = [*(until.tell for until in rule.until), *(step.tell for step in rule.steps)]
    found += [answer.tell for step in rule.steps for answer in step.answers.values()]
    yield from (tell for tell in found if tell is not None)


def _meaning_people(rule: Rule) -> Iterator[Step | HandOver]:
    yield from rule.steps
    yield from (a.hand_over for step in rule.steps for a in step.answers.values() if a.hand_over is not None)


def _check_open(scope: Scope) -> None:
    """Closures leave the house days to work on."""
    office = scope.book.calendar.office
    for index, closure in enumerate(office.closures):
        if closure.first == date.min:
            continue  # its date could not be read
        try:
            office.next_open(office.opening(closure.first))
        except (Misconfigured, ArithmeticError, ValueError):
            place = scope.single("calendar.yaml", "closed", index)
            scope.report.add(place, "with this closure the house has no working day in years")
            return


def _check_stand_ins(scope: Scope) -> None:
    rules = scope.book.people.stands_in
    by_absent: dict[ContactId, list[StandIn]] = {}
    for index, rule in enumerate(rules):
        place = scope.single("people.yaml", "stands_in", index)
        _check_roles(scope, rule.roles, scope.single("people.yaml", "stands_in", index, "as"))
        known = by_absent.setdefault(rule.absent, [])
        if any(_at_once(other, rule) is not None for other in known):
            sentence = f"{rule.absent} has two who stand in at once; give each days or roles of their own"
            scope.report.add(place, sentence)
            continue
        known.append(rule)
    for index, rule in enumerate(rules):
        if rule in by_absent[rule.absent]:
            _check_circles(scope, by_absent, rule, scope.single("people.yaml", "stands_in", index))


def _check_circles(scope: Scope, by_absent: Mapping[ContactId, list[StandIn]], rule: StandIn, place: Place) -> None:
    for circle in islice(_circles(by_absent, rule, (rule.absent,)), _MOST_CIRCLES):
        if len(circle) > _LONGEST_LINE:
            scope.report.add(place, f"more than {_LONGEST_LINE} people stand in for one another here")
            return
        if rule.absent == min(circle):  # it is told once, from its lowest number
            said = " → ".join(map(str, circle))
            scope.report.add(place, f"everybody stands in for another and nobody is left: {said}")


def _circles(
    by_absent: Mapping[ContactId, list[StandIn]], rule: StandIn, seen: tuple[ContactId, ...]
) -> Iterator[tuple[ContactId, ...]]:
    """Ways back to the first absent person, through stand-ins who are away at the same time in the same role.

    A way that is too long to follow is one too.
    """
    if rule.who == seen[0] or len(seen) > _LONGEST_LINE:
        yield (*seen, rule.who)
    elif rule.who not in seen:
        for further in by_absent.get(rule.who, ()):
            if (both := _at_once(rule, further)) is not None:
                yield from _circles(by_absent, both, (*seen, rule.who))


def _at_once(one: StandIn, other: StandIn) -> StandIn | None:
    """The second, narrowed to when and as what both hold."""
    first = max(one.first or date.min, other.first or date.min)
    last = min(one.last or date.max, other.last or date.max)
    roles = one.roles & other.roles if one.roles and other.roles else one.roles | other.roles
    if first > last or (one.roles and other.roles and not roles):
        return None
    return StandIn(other.absent, other.who, roles, first, last)

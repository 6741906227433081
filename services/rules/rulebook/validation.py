"""Every check of a folder of rules: the files, the publisher's people and calendar, then rules, templates and forms."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from itertools import islice
from pathlib import Path

from services.rules.rulebook.faults import FaultReport, FileFault, nearest_word
from services.rules.rulebook.field_validation import ValidationContext
from services.rules.rulebook.loader import read_folder, read_rulebook
from services.rules.rulebook.model import HandoverAction, Location, Notification, Rule, Rulebook, StandIn, Step
from services.rules.rulebook.rule_validation import check_rule, check_team
from services.rules.rulebook.template_validation import (
    begun_by,
    built_in_uses,
    check_defaults,
    check_form,
    check_languages,
    check_template,
    check_use,
    size_notes,
)
from shared.contracts.errors import Misconfigured
from shared.contracts.ids import ContactId
from shared.contracts.vocabulary import MilestoneKey, Role


@dataclass(frozen=True, slots=True)
class Validation:
    """``rulebook`` is complete only where there are no faults; ``notes`` are warnings."""

    rulebook: Rulebook
    faults: tuple[FileFault, ...]
    notes: tuple[FileFault, ...] = ()


def validate(files: Mapping[str, str]) -> Validation:
    """All faults of the rule files at once. Stories among ``files`` are skipped."""
    loaded = read_rulebook(files)
    scope = ValidationContext(loaded)
    _check_publisher(scope)
    for template in scope.book.templates.values():
        check_template(scope, template)
    _check_forms(scope)
    for rule in scope.book.rules.values():
        check_rule(scope, rule)
    for use in built_in_uses(scope):
        check_use(scope, use)
    return Validation(scope.book, tuple(loaded.report.sorted()), tuple(size_notes(scope)))


def validate_folder(folder: Path) -> tuple[Validation, dict[str, str]]:
    """The validation of a folder's rule files, and their texts. Files that cannot be read are among the faults."""
    report = FaultReport()
    files = read_folder(folder, report, stories=False)
    validation = validate(files)
    report.faults.extend(validation.faults)
    return replace(validation, faults=tuple(report.sorted())), files


def _check_forms(scope: ValidationContext) -> None:
    for form in scope.book.forms.values():
        check_form(scope, form)
    for rule in scope.book.rules.values():
        for step in rule.steps:
            for name in begun_by(step):
                if name in scope.book.forms:
                    check_defaults(scope, rule, scope.book.forms[name])


# ------------------------------------------------------------------ the publisher's people and calendar


_LONGEST_LINE = 10
_MOST_CIRCLES = 20


def _check_publisher(scope: ValidationContext) -> None:
    people = scope.book.people
    check_team(scope, people.inbox, scope.single("people.yaml", "inbox"))
    for key, roles in people.milestones.items():
        location = scope.single_key("people.yaml", "milestones", key)
        if key not in list(MilestoneKey):
            scope.report.unknown(location, f"there is no milestone “{key}”", key, list(MilestoneKey))
        _check_roles(scope, roles, location)
    _check_filled(scope)
    _check_stand_ins(scope)
    _check_open(scope)
    for index, fair in enumerate(scope.book.calendar.fairs):
        _check_roles(scope, fair.roles, scope.single("calendar.yaml", "fairs", index, "roles"))
    for role in scope.book.tenant.basis:
        _check_roles(scope, (role,), scope.single_key("house.yaml", "basis", role))
    check_languages(scope, scope.book.tenant.publisher, scope.single("house.yaml", "publisher"), "“publisher”")


def _check_roles(scope: ValidationContext, roles: frozenset[str] | tuple[str, ...], location: Location) -> None:
    for role in sorted(roles):
        if role not in scope.roles():
            scope.report.unknown(location, f"there is no role “{role}”", role, scope.roles())


def _check_filled(scope: ValidationContext) -> None:
    """A role of an imprint is one that a team has too; a team's own word for a role is one that something names."""
    people = scope.book.people
    of_teams = frozenset(role for team in people.teams.values() for role in team)
    for imprint, roles in people.imprints.items():
        for role in roles.keys() - of_teams - set(Role):
            location = scope.single_key("people.yaml", "imprints", str(imprint), role)
            scope.report.unknown(location, f"there is no role “{role}”", role, of_teams | set(Role))
    named = _named_roles(scope)
    for team, roles in people.teams.items():
        for role in roles.keys() - named - set(Role):
            if (meant := nearest_word(role, map(str, Role))) is not None:
                location = scope.single_key("people.yaml", "teams", team, role)
                scope.report.unknown(location, f"there is no role “{role}”, and no rule names it", role, (meant,))


def _named_roles(scope: ValidationContext) -> frozenset[str]:
    """What rules call people, and the other house files call roles."""
    book = scope.book
    told = (tell for rule in book.rules.values() for tell in _tells(rule))
    people = (each.who for rule in book.rules.values() for each in _meaning_people(rule))
    lists = (*(tell.who for tell in told), *people, *book.people.milestones.values(), book.tenant.basis)
    return frozenset(name for who in lists for name in who if isinstance(name, str))


def _tells(rule: Rule) -> Iterator[Notification]:
    found = [*(until.tell for until in rule.until), *(step.tell for step in rule.steps)]
    found += [answer.tell for step in rule.steps for answer in step.answers.values()]
    yield from (tell for tell in found if tell is not None)


def _meaning_people(rule: Rule) -> Iterator[Step | HandoverAction]:
    yield from rule.steps
    yield from (a.hand_over for step in rule.steps for a in step.answers.values() if a.hand_over is not None)


def _check_open(scope: ValidationContext) -> None:
    """Closures leave the house days to work on."""
    office = scope.book.calendar.office
    for index, closure in enumerate(office.closures):
        if closure.first == date.min:
            continue  # its date could not be read
        try:
            office.next_open(office.opening(closure.first))
        except (Misconfigured, ArithmeticError, ValueError):
            location = scope.single("calendar.yaml", "closed", index)
            scope.report.add(location, "with this closure the house has no working day in years")
            return


def _check_stand_ins(scope: ValidationContext) -> None:
    rules = scope.book.people.stands_in
    by_absent: dict[ContactId, list[StandIn]] = {}
    for index, rule in enumerate(rules):
        location = scope.single("people.yaml", "stands_in", index)
        _check_roles(scope, rule.roles, scope.single("people.yaml", "stands_in", index, "as"))
        known = by_absent.setdefault(rule.absent, [])
        if any(_at_once(other, rule) is not None for other in known):
            sentence = f"{rule.absent} has two who stand in at once; give each days or roles of their own"
            scope.report.add(location, sentence)
            continue
        known.append(rule)
    for index, rule in enumerate(rules):
        if rule in by_absent[rule.absent]:
            _check_circles(scope, by_absent, rule, scope.single("people.yaml", "stands_in", index))


def _check_circles(
    scope: ValidationContext, by_absent: Mapping[ContactId, list[StandIn]], rule: StandIn, location: Location
) -> None:
    for circle in islice(_circles(by_absent, rule, (rule.absent,)), _MOST_CIRCLES):
        if len(circle) > _LONGEST_LINE:
            scope.report.add(location, f"more than {_LONGEST_LINE} people stand in for one another here")
            return
        if rule.absent == min(circle):  # it is told once, from its lowest number
            said = " → ".join(map(str, circle))
            scope.report.add(location, f"everybody stands in for another and nobody is left: {said}")


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

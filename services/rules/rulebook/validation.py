"""Every check of a folder of rules: the files, the publisher's people and calendar, then rules, templates and forms."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from services.rules.rulebook.addressee_validation import check_team, meant_role
from services.rules.rulebook.built_in import BUILT_IN_TEMPLATES, TYPED_FIELDS
from services.rules.rulebook.catalogue import ROLES_OF_A_TITLE, known_codes
from services.rules.rulebook.faults import FaultReport, FileFault
from services.rules.rulebook.form_validation import check_defaults, check_form, size_notes
from services.rules.rulebook.joining_validation import check_counts
from services.rules.rulebook.loader import read_rulebook
from services.rules.rulebook.marketing import marketing_notes
from services.rules.rulebook.model import (
    HandoverAction,
    Location,
    Notification,
    Question,
    Rule,
    Rulebook,
    StandIn,
    Step,
    answers_of,
)
from services.rules.rulebook.recurrence_validation import listing_notes
from services.rules.rulebook.rule_folder import RULE, TEMPLATE, read_folder, stem, why_no_rules
from services.rules.rulebook.rule_validation import check_rule
from services.rules.rulebook.template_uses import built_in_uses, uses_of
from services.rules.rulebook.template_validation import check_languages, check_template, check_use
from services.rules.rulebook.validation_context import ValidationContext, forms_of_step
from shared.contracts.errors import Misconfigured
from shared.contracts.ids import ContactId
from shared.contracts.vocabulary import MilestoneKey, Role


@dataclass(frozen=True, slots=True)
class Validation:
    """``rulebook`` is complete only where there are no faults; ``notes`` are warnings."""

    rulebook: Rulebook
    faults: tuple[FileFault, ...]
    notes: tuple[FileFault, ...] = ()
    unread_rules: frozenset[str] = frozenset()
    """Names of rules whose file is no YAML, or of no known kind."""
    unread_templates: frozenset[str] = frozenset()
    has_people: bool = True
    """Whether people.yaml could be read."""


def validate(files: Mapping[str, str]) -> Validation:
    """All faults of the rule files at once. Stories among ``files`` are skipped."""
    loaded = read_rulebook(files)
    context = ValidationContext(loaded)
    _check_publisher(context)
    for template in context.book.templates.values():
        check_template(context, template)
    _check_forms(context)
    for rule in context.book.rules.values():
        check_rule(context, rule)
    check_counts(context, context.book.rules.values())
    if context.lacks_built_in:
        context.report.add(context.file_key_location("house.yaml"), _NO_BUILT_IN)
    for use in built_in_uses(context):
        check_use(context, use)
    unread, unread_templates = (frozenset(map(stem, loaded.unread(kind))) for kind in (RULE, TEMPLATE))
    faults, notes = (
        tuple(loaded.report.sorted()),
        (*size_notes(context), *marketing_notes(context), *listing_notes(context), *_unused(context)),
    )
    return Validation(context.book, faults, notes, unread, unread_templates, context.reads_people)


_NO_BUILT_IN = (
    "the folder has none of the templates that Stet says by itself, like “noted” and “to_take”; copy the folder "
    "“house” of the rules that Stet ships into it"
)


def validate_folder(folder: Path) -> tuple[Validation, dict[str, str]]:
    """The validation of a folder's rule files, and their texts. Files that cannot be read are among the faults.

    Of a folder far above one of rules no file is read.
    """
    if (why := why_no_rules(folder)) is not None:
        return replace(validate({}), faults=(FileFault(Location(folder.name, 1, 1), why),)), {}
    report = FaultReport()
    files = read_folder(folder, report, stories=False)
    validation = validate(files)
    report.faults.extend(validation.faults)
    return replace(validation, faults=tuple(report.sorted())), files


def _check_forms(context: ValidationContext) -> None:
    for form in context.book.forms.values():
        check_form(context, form)
    for rule in context.book.rules.values():
        for step in rule.steps:
            for name in forms_of_step(step):
                if name in context.book.forms:
                    check_defaults(context, rule, step, context.book.forms[name])


def _unused(context: ValidationContext) -> Iterator[FileFault]:
    """A note of each template and form that nothing names: it is never sent, and may be meant under another name."""
    book = context.book
    steps = [step for rule in book.rules.values() for step in rule.steps]
    forms = {name for step in steps for name in forms_of_step(step)}
    said = {use.template for rule in book.rules.values() for use in uses_of(context, rule)} | BUILT_IN_TEMPLATES.keys()
    said |= {name for form in book.forms.values() for name in (form.welcome, form.confirm, form.done)}
    said |= {template.fallback for template in book.templates.values() if template.fallback}
    said |= set(TYPED_FIELDS.values())
    for name, template in book.templates.items():
        if name not in said and template.name not in said:
            yield FileFault(template.location, f"no rule says “{name}”, so it is never sent")
    for name, form in book.forms.items():
        if name not in forms and form.name not in forms:
            yield FileFault(form.location, f"no rule collects “{name}”, so nothing asks its questions")


# ------------------------------------------------------------------ the publisher's people and calendar


_LONGEST_CIRCLE = 10
_MOST_CIRCLES = 20


def _check_publisher(context: ValidationContext) -> None:
    people = context.book.people
    check_team(context, people.inbox, context.file_location("people.yaml", "inbox"))
    for key, roles in people.milestones.items():
        location = context.file_key_location("people.yaml", "milestones", key)
        if key not in list(MilestoneKey):
            context.report.unknown(location, f"there is no milestone “{key}”", key, list(MilestoneKey))
        for index, role in enumerate(roles):
            _check_roles(context, (role,), context.file_location("people.yaml", "milestones", key, index))
    _check_role_names(context)
    _check_outside_roles(context)
    _check_stand_ins(context)
    _check_working_days(context)
    for index, fair in enumerate(context.book.calendar.fairs):
        _check_roles(context, fair.roles, context.file_location("calendar.yaml", "fairs", index, "roles"))
    for role in context.book.tenant.basis:
        _check_roles(context, (role,), context.file_key_location("house.yaml", "basis", role))
    _check_house_language(context)
    _check_words(context)
    check_languages(
        context, context.book.tenant.publisher, context.file_location("house.yaml", "publisher"), "“publisher”"
    )


def _check_house_language(context: ValidationContext) -> None:
    """A language in which few templates are said is at fault itself, and none of the texts."""
    own, lacking = context.book.tenant.language, context.without_house_language
    if not own or not lacking:
        return
    location = context.file_location("house.yaml", "language")
    said = Counter(code for template in context.book.templates.values() for code in template.languages)
    if own not in said:
        context.report.unknown(location, f"no template is said in “{own}”", own, said, listed=True)
        return
    named = ", ".join(f"“{name}”" for name in lacking[:_MOST_NAMED])
    sentence = f"{len(lacking)} of {len(context.book.templates)} templates are not said in “{own}”, like {named}"
    (usual, _), *_ = said.most_common(1)
    context.report.add(location, f"{sentence}; say them in it, or write “language: {usual}”, in which most are said")


_MOST_NAMED = 3


def _check_words(context: ValidationContext) -> None:
    """A code that is nearly one of Consonance, or of another language, is misspelt: no message would say its words.

    A publisher may have codes of its own, like those of stages.
    """
    words = context.book.tenant.words
    known = _codes(context)
    for language, own in words.items():
        right = known.union(*(other for code, other in words.items() if code != language))
        for code in own.keys() - right:
            if (meant := _meant_code(code, right - own.keys())) is not None:
                location = context.file_key_location("house.yaml", "words", language, code)
                context.report.refuse(location, f"no event has a code “{code}”, so its words are never said", meant)


_NEARLY_A_CODE = 0.85
_NEARLY_A_WORD = 0.7


def _meant_code(written: str, right: Collection[str]) -> str | None:
    """The code that is similar as a whole, or word by word; words may be abbreviated, and in another order."""
    near = get_close_matches(written, right, 1, _NEARLY_A_CODE)
    if near:
        return near[0]
    words = written.casefold().replace("-", "_").split("_")
    same = (code for code in sorted(right) if _are_same_words(words, code.split("_")))
    return next(same, None)


def _are_same_words(written: Sequence[str], right: Sequence[str]) -> bool:
    """Whether each word stands for another one of the code; a code of one word is too short to be told so."""
    left = list(right)
    for word in written:
        meant = next((each for each in left if _is_same_word(word, each)), None)
        if meant is None:
            return False
        left.remove(meant)
    return not left and len(right) > 1


def _is_same_word(written: str, right: str) -> bool:
    letters = iter(right)
    is_abbreviation = written[:1] == right[:1] and len(written) * 2 >= len(right) and all(c in letters for c in written)
    return is_abbreviation or bool(get_close_matches(written, (right,), 1, _NEARLY_A_WORD))


def _codes(context: ValidationContext) -> frozenset[str]:
    """The codes of events and facts, the names of events, and the options of forms."""
    forms = context.book.forms.values()
    options = {option for form in forms for field in form.fields for option in field.choose}
    return known_codes().union(options, (re.sub(r"\W", "_", option).lower() for option in options))


def _check_roles(context: ValidationContext, roles: frozenset[str] | tuple[str, ...], location: Location) -> None:
    for role in sorted(filter(None, roles)):
        if role not in context.roles:
            context.report.unknown(location, f"there is no role “{role}”", role, context.roles, several=True)


def _check_role_names(context: ValidationContext) -> None:
    """A role of an imprint exists in a team too; a role that only a team has is named by a rule or another file."""
    people = context.book.people
    of_teams = frozenset(role for team in people.teams.values() for role in team)
    for imprint, roles in people.imprints.items():
        for role in roles.keys() - of_teams - set(Role):
            location = context.file_key_location("people.yaml", "imprints", str(imprint), role)
            context.report.unknown(location, f"there is no role “{role}”", role, of_teams | set(Role))
    named = _named_roles(context)
    for team, roles in people.teams.items():
        for role in roles.keys() - named - set(Role):
            if (meant := meant_role(context, role)) is not None:
                location = context.file_key_location("people.yaml", "teams", team, role)
                context.report.unknown(location, f"there is no role “{role}”, and no rule names it", role, (meant,))


def _check_outside_roles(context: ValidationContext) -> None:
    """The people in people.yaml are staff: an author there would get the matters of all authors, at night, too."""
    people = context.book.people
    tables = [("teams", team, roles) for team, roles in people.teams.items()]
    tables += [("imprints", str(imprint), roles) for imprint, roles in people.imprints.items()]
    for key, name, roles in tables:
        for role in sorted(roles.keys() & ROLES_OF_A_TITLE):
            context.report.refuse(context.file_key_location("people.yaml", key, name, role), _outside(role))


def _outside(role: str) -> str:
    return (
        f"the people in people.yaml are staff, and Consonance names the “{role}” of each title; take “{role}” out "
        "here, or give the contact a role of the house"
    )


def _named_roles(context: ValidationContext) -> frozenset[str]:
    """The names of people in rules, and of roles in the publisher's files."""
    book = context.book
    files = (*book.people.milestones.values(), book.tenant.basis)
    return names_of_addressees(book) | {name for names in files for name in names}


def names_of_addressees(book: Rulebook) -> frozenset[str]:
    """The names of people in rules: roles, party fields, and words like “sender”."""
    notifications = (tell.who for rule in book.rules.values() for tell in _notifications(rule))
    people = (each.who for rule in book.rules.values() for each in _addressing_parts(rule))
    copies = (step.cc for rule in book.rules.values() for step in rule.steps)
    return frozenset(name for who in (*notifications, *people, *copies) for name in who if isinstance(name, str))


def _notifications(rule: Rule) -> Iterator[Notification]:
    found = [*(until.tell for until in rule.until), *(step.tell for step in rule.steps)]
    found += [answer.tell for step in rule.steps for answer in answers_of(step)]
    yield from (tell for tell in found if tell is not None)


def _addressing_parts(rule: Rule) -> Iterator[Step | HandoverAction | Question]:
    yield from rule.steps
    for answer in (answer for step in rule.steps for answer in answers_of(step)):
        yield from (part for part in (answer.hand_over, answer.ask) if part is not None)


def _check_working_days(context: ValidationContext) -> None:
    """The closures leave working days."""
    office = context.book.calendar.office
    for index, closure in enumerate(office.closures):
        if closure.first == date.min:
            continue  # its date could not be read
        try:
            office.next_open(office.opening(closure.first))
        except (Misconfigured, ArithmeticError, ValueError):
            location = context.file_location("calendar.yaml", "closed", index)
            context.report.add(location, "with this closure the house has no working day in years")
            return


def _check_stand_ins(context: ValidationContext) -> None:
    listed = [
        (rule, context.file_location("people.yaml", "stands_in", index), index)
        for index, rule in enumerate(context.book.people.stands_in)
    ]
    rules = [each for each in listed if not context.report.has_fault_on(each[1])]  # the others could not be read
    by_absent: dict[ContactId, list[StandIn]] = {}
    for rule, location, index in rules:
        _check_roles(context, rule.roles, context.file_location("people.yaml", "stands_in", index, "as"))
        known = by_absent.setdefault(rule.absent, [])
        if any(_overlap(other, rule) is not None for other in known):
            sentence = f"{rule.absent} has two who stand in at once; give each days or roles of their own"
            context.report.add(location, sentence)
            continue
        known.append(rule)
    for rule, location, _ in rules:
        if rule in by_absent[rule.absent]:
            _check_circles(context, by_absent, rule, location)


def _check_circles(
    context: ValidationContext, by_absent: Mapping[ContactId, list[StandIn]], rule: StandIn, location: Location
) -> None:
    for circle in islice(_circles(by_absent, rule, (rule.absent,)), _MOST_CIRCLES):
        if len(circle) > _LONGEST_CIRCLE:
            context.report.add(location, f"more than {_LONGEST_CIRCLE} people stand in for one another here")
            return
        if rule.absent == min(circle):  # reported once, at its lowest number
            circle_text = " → ".join(map(str, circle))
            sentence = (
                f"these contacts stand in for one another, and none is left: {circle_text}; take one of the lines out"
            )
            if rule.who == rule.absent:
                sentence = f"{rule.absent} stands in for {rule.absent}, the same contact; name another under “who”"
            context.report.add(location, sentence)


def _circles(
    by_absent: Mapping[ContactId, list[StandIn]], rule: StandIn, seen: tuple[ContactId, ...]
) -> Iterator[tuple[ContactId, ...]]:
    """The circles back to the first absent person, over stand-ins who are away at the same time in the same role.

    A line that is too long to follow counts as a circle.
    """
    if rule.who == seen[0] or len(seen) > _LONGEST_CIRCLE:
        yield (*seen, rule.who)
    elif rule.who not in seen:
        for further in by_absent.get(rule.who, ()):
            if (both := _overlap(rule, further)) is not None:
                yield from _circles(by_absent, both, (*seen, rule.who))


def _overlap(one: StandIn, other: StandIn) -> StandIn | None:
    """The second, limited to the days and roles that both have; None where they have none in common."""
    first = max(one.first or date.min, other.first or date.min)
    last = min(one.last or date.max, other.last or date.max)
    roles = one.roles & other.roles if one.roles and other.roles else one.roles | other.roles
    if first > last or (one.roles and other.roles and not roles):
        return None
    return StandIn(other.absent, other.who, roles, first, last)

"""Checks of recurring rules: the day on which a period begins them, the open chains that they list, and for whom."""

from collections.abc import Iterator

from services.rules.rulebook.addressee_validation import ANSWERING, AWAITED, check_team
from services.rules.rulebook.catalogue import STAFF_ROLES, party_fields
from services.rules.rulebook.faults import FileFault
from services.rules.rulebook.model import Addressees, DayKind, PeriodUnit, Rule, Team, Verb, answers_of
from services.rules.rulebook.validation_context import ValidationContext
from shared.contracts.ids import ContactId
from shared.contracts.vocabulary import Role


def check_recurrence(context: ValidationContext, rule: Rule) -> None:
    _check_every(context, rule)
    _check_roles(context, rule)
    _check_rules(context, rule)
    _check_each(context, rule)


_FEWEST_DAYS = {
    PeriodUnit.MONTH: (4, 17),
    PeriodUnit.QUARTER: (12, 52),
    PeriodUnit.YEAR: (52, 220),
}
"""The fewest times that each weekday, and a working day, occurs in such a period, also with public holidays and
closures.
"""


def _check_every(context: ValidationContext, rule: Rule) -> None:
    """Every period has the day on which a recurring rule starts."""
    every = rule.every
    if every is None or every.period not in _FEWEST_DAYS or every.day is DayKind.DAY:
        return
    most = _FEWEST_DAYS[every.period][every.day is DayKind.WORKING_DAY]
    if every.place > most:
        sentence = f"not every {every.period} has so many {every.day}s; count to {most} or say “last {every.day}”"
        context.report.refuse(context.location(rule, "every"), sentence)


# ------------------------------------------------------------------ the list


def listing_notes(context: ValidationContext) -> Iterator[FileFault]:
    """A warning where a list waits for people outside the house in a role in which its rules ask no person."""
    for rule in context.book.rules.values():
        if (listing := rule.listing) is None:
            continue
        named = listing.rules or context.book.rules
        others = [context.book.rules[each] for each in named if each in context.book.rules]
        asked = {each for other in others for who in _awaited_by(other) for each in who}
        known = asked | (_OUTSIDE_ROLES & context.staffed)
        if not others or (listing.rules and any(_is_anyone(other, each) for other in others for each in asked)):
            continue
        locations = context.locations(rule, len(listing.waits_for), "list", "waits_for")
        for name, location in zip(listing.waits_for, locations, strict=True):
            if name in _OUTSIDE_ROLES - _PERHAPS_STAFF and name not in known and _may_await(context, rule, name):
                rules = " and ".join(f"“{each}”" for each in listing.rules) or "any rule"
                sentence = f"no step of {rules} asks a person as “{name}”; the list has those who are that as well"
                yield FileFault(location, sentence)


def _check_roles(context: ValidationContext, rule: Rule) -> None:
    """The roles and teams exist, and the rules that are listed wait for them."""
    if (listing := rule.listing) is None:
        return
    locations = context.locations(rule, len(listing.waits_for), "list", "waits_for")
    for name, location in zip(listing.waits_for, locations, strict=True):
        if isinstance(name, Team):
            check_team(context, name.name, location)
        elif name and name not in context.roles:
            context.report.unknown(location, f"there is no role “{name}”", name, context.roles)
            continue
        if not _may_await(context, rule, name):
            written = f"{{team: {name.name}}}" if isinstance(name, Team) else f"“{name}”"
            if not listing.rules:
                sentence = f"no rule asks {written} or hands over to them, so this list stays empty"
                context.report.refuse(location, f"{sentence}; where those who wrote are meant, name their rules")
                continue
            rules = " and ".join(f"“{each}”" for each in listing.rules)
            context.report.refuse(location, f"{rules} never wait{'s' * (len(listing.rules) == 1)} for {written}")


def _check_rules(context: ValidationContext, rule: Rule) -> None:
    """The rules that are listed exist, and wait for people."""
    if (listing := rule.listing) is None:
        return
    named = zip(listing.rules, context.locations(rule, len(listing.rules), "list", "rules"), strict=True)
    for other, location in named:
        if other and other not in context.book.rules:
            context.report.unknown(location, f"there is no rule “{other}” to list", other, context.book.rules)
        elif other in context.book.rules and not _awaits(context.book.rules[other]):
            sentence = f"“{other}” asks and hands over nothing, so it is never on this list"
            context.report.refuse(location, sentence)


_AWAITING = frozenset({Verb.ASK, Verb.REMIND, Verb.COLLECT, Verb.HAND_OVER})


def _awaits(rule: Rule) -> bool:
    """Whether its chains wait for a person: an answer, or the end of what was handed over."""
    return any(step.verb in _AWAITING for step in rule.steps) or not rule.steps


def _may_await(context: ValidationContext, rule: Rule, name: str | Team) -> bool:
    """Whether a listed rule may wait for a person of the role or team; without a list of rules, any rule.

    Those who wrote may have any role, which counts for rules that are listed alone.
    """
    listed = rule.listing.rules if rule.listing is not None else ()
    others = [context.book.rules.get(each) for each in listed or context.book.rules]
    if not name or not others or not context.reads_whole("people.yaml"):
        return True
    for other in others:
        if other is None or other.location.file in context.loaded.faulty or (listed and not _awaits(other)):
            return True  # it is reported, or its people could not be read
        asked = [each for who in _awaited_by(other) for each in who if listed or not _is_anyone(other, each)]
        if any(_may_be(context, other, each, name) for each in asked):
            return True
    return False


def _may_be(context: ValidationContext, rule: Rule, asked: str | Team, wanted: str | Team) -> bool:
    """Whether a person whom the rule asks may have the role as well.

    People outside the house may have any role of such people; contacts have those that people.yaml gives them.
    """
    if asked == wanted or {asked, wanted} & _PERHAPS_STAFF or _is_anyone(rule, asked):
        return True
    if {asked, wanted} <= _OUTSIDE_ROLES:
        return True
    return not _contacts(context, asked).isdisjoint(_contacts(context, wanted))


_PERHAPS_STAFF = frozenset({Role.OWNER, Role.EDITOR})
_OUTSIDE_ROLES = frozenset(Role) - STAFF_ROLES


def _is_anyone(rule: Rule, asked: str | Team) -> bool:
    """Whether the event or the chain says who it is, in any role."""
    return asked in ANSWERING or (
        asked not in frozenset(Role) and any(asked in party_fields(event) for event in rule.events)
    )


def _awaited_by(rule: Rule) -> Iterator[Addressees]:
    """The people of whom a rule waits for an answer, or to whom it hands over."""
    yield from (step.who for step in rule.steps if step.verb in _AWAITING - {Verb.REMIND})
    for answer in (answer for step in rule.steps for answer in answers_of(step)):
        yield from (part.who for part in (answer.hand_over, answer.ask) if part is not None)


def _contacts(context: ValidationContext, name: str | Team) -> frozenset[ContactId]:
    """The contacts of people.yaml that have the role, or are in the team."""
    people = context.book.people
    if isinstance(name, Team):
        return frozenset(each for contacts in people.teams.get(name.name, {}).values() for each in contacts)
    tables = (*people.teams.values(), *people.imprints.values())
    return frozenset(each for table in tables for each in table.get(name, ()))


# ------------------------------------------------------------------ a list for each person


def _check_each(context: ValidationContext, rule: Rule) -> None:
    """A list of their own is for the person who is awaited."""
    if rule.listing is None or not rule.listing.each or not rule.steps:
        return
    if not any(AWAITED in who for who in _addressed_by(rule)) and not _is_faulty(context, rule):
        location = context.loaded.key_location(rule.location.file, "list", "each")
        sentence = "each person who is awaited has a list, and no step goes to “awaited”; name them, or take “each” out"
        context.report.refuse(location, sentence)


def _addressed_by(rule: Rule) -> Iterator[Addressees]:
    """The people of all its messages."""
    yield from (step.who for step in rule.steps)
    answers = [answer for step in rule.steps for answer in answers_of(step)]
    yield from (part.who for each in answers for part in (each.hand_over, each.ask) if part is not None)
    told = (*(each.tell for each in rule.steps), *(each.tell for each in answers), *(each.tell for each in rule.until))
    yield from (tell.who for tell in told if tell is not None)


def _is_faulty(context: ValidationContext, rule: Rule) -> bool:
    """Whether a name of the file could not be read, or is none: it may be meant."""
    known = context.roles | ANSWERING
    names = [name for step in rule.steps for name in step.who if isinstance(name, str)]
    return rule.location.file in context.loaded.faulty or any(name not in known for name in names)

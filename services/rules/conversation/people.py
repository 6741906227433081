"""A person in the terms of the rulebook: their language, their roles in people.yaml, and their working hours.

All of it follows from the person and the current rulebook, so no decision is needed to ask.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from services.rules.conversation.fact_values import PersonFacts
from services.rules.identity_cache import cached_by_identity
from services.rules.rulebook.model import Rulebook, StaffDirectory
from shared.clients.working_calendar import PublisherCalendar, WorkingCalendar
from shared.contracts.ids import ContactId, PersonId, TenantId, person_id_of_contact


def language_of(book: Rulebook, person: PersonFacts) -> str:
    """The person's own language, else that of their country, else the publisher's."""
    tenant = book.tenant
    return person.language or tenant.languages.get(person.country or "", tenant.language)


# ------------------------------------------------------------------ staff


def is_staff(book: Rulebook, person: PersonFacts) -> bool:
    """Whether the person is in a team of people.yaml."""
    return person.contact_id in _roles_by_contact(book.people)


def staff_people(book: Rulebook, tenant: TenantId) -> list[PersonId]:
    """All people in the teams of people.yaml."""
    contacts = _roles_by_contact(book.people)
    return sorted(person_id_of_contact(tenant, contact) for contact in contacts if contact is not None)


def staff_roles(people: StaffDirectory, person: PersonFacts) -> frozenset[str]:
    """The roles that people.yaml gives a member of staff."""
    return _roles_by_contact(people).get(person.contact_id, _NO_ROLES)


_NO_ROLES: frozenset[str] = frozenset()


@lru_cache(maxsize=64)
def _roles_by_contact(people: StaffDirectory) -> Mapping[ContactId | None, frozenset[str]]:
    given = [(contact, role) for team in people.teams.values() for role, ids in team.items() for contact in ids]
    return {contact: frozenset(role for one, role in given if one == contact) for contact, _ in given}


def staff_ids(book: Rulebook, tenant: TenantId) -> Iterable[PersonId]:
    """All people of people.yaml: teams, imprints and stand-ins."""
    people = book.people
    of_teams = (c for team in (*people.teams.values(), *people.imprints.values()) for ids in team.values() for c in ids)
    for contact in (*of_teams, *(stand_in.who for stand_in in people.stands_in)):
        yield person_id_of_contact(tenant, ContactId(contact))


# ------------------------------------------------------------------ working hours


def working_hours(book: Rulebook, person: PersonFacts) -> WorkingCalendar:
    """The calendar of a person, by their country, time zone and roles."""
    return _hours_by_person(book)(person)


@cached_by_identity(most=8)
def _hours_by_person(book: Rulebook) -> Callable[[PersonFacts], WorkingCalendar]:
    """The people of a rulebook are forgotten with it: each story has one, and there are thousands."""

    @lru_cache(maxsize=4096)
    def hours(person: PersonFacts) -> WorkingCalendar:
        own = staff_roles(book.people, person)
        place = (person.country, person.subdivision)
        return _hours(book.calendar, place, person.zone, own.union(person.roles), bool(own))

    return hours


@lru_cache(maxsize=4096)
def _hours(
    calendar: PublisherCalendar,
    place: tuple[str | None, str | None],
    zone: str | None,
    roles: frozenset[str],
    staff: bool,  # noqa: FBT001 -- a cached call is keyed by position
) -> WorkingCalendar:
    """People with the same country and part of it, zone and roles share their hours."""
    country, subdivision = place
    return calendar.calendar_of(
        country=country, zone=zone or calendar.office.zone, roles=roles, staff=staff, subdivision=subdivision
    )

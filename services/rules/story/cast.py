"""The people of a story: they replace people.yaml, and are all the world knows."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from services.rules.conversation.facts import Consent, PersonFacts
from services.rules.rulebook.catalogue import STAFF_ROLES
from services.rules.rulebook.model import Rulebook, StaffDirectory, StandIn
from services.rules.story.model import Character, Story
from shared.clients.working_calendar import resolve_zone
from shared.contracts.ids import ContactId, PersonId, RuleId, TenantId, derive_id, person_id_of_contact
from shared.contracts.vocabulary import Role

TENANT = TenantId("story")


@dataclass(frozen=True, slots=True)
class Cast:
    """``people`` by the number a story calls them by."""

    book: Rulebook
    people: dict[ContactId, PersonFacts]
    consent: dict[PersonId, Consent]
    on_the_work: tuple[tuple[PersonFacts, str], ...]
    strangers: dict[PersonId, ContactId] = field(default_factory=dict)

    def party(self, contact: ContactId, like: Mapping[str, Any]) -> dict[str, Any]:
        """Somebody in an event, as ``like`` says but for who they are; rules may never have heard of them."""
        known = self.people.get(contact)
        if known is None:
            stranger = person_id_of_contact(TENANT, contact)
            self.strangers[stranger] = contact
            return {"display_name": f"Person {contact}", **like, "contact_id": contact, "person_id": stranger}
        return {
            **like, "contact_id": known.contact_id, "person_id": known.person_id, "display_name": known.display_name,
        }  # fmt: skip

    def call(self, person: PersonFacts) -> ContactId:
        return next(contact for contact, known in self.people.items() if known is person)

    def number(self, who: str) -> ContactId | str:
        """What the story calls somebody; a role nobody fills is called by its name."""
        known = {person.person_id: contact for contact, person in self.people.items()}
        return known.get(PersonId(who)) or self.strangers.get(PersonId(who)) or who


def cast_of(story: Story, book: Rulebook) -> Cast:
    """``book`` with this cast for its people: whoever has a role of the house, or a team, is staff."""
    owner = rule.owner if (rule := book.rules.get(RuleId(story.about))) else book.people.inbox
    teams = _teams(story, book, owner)
    people = {each.contact: _person(each, book) for each in story.people}
    return Cast(
        book=replace(book, people=_people(story, book, teams)),
        people=people,
        consent={people[each.contact].person_id: _stopped(story.start) for each in story.people if each.opted_out},
        on_the_work=tuple((people[each.contact], role) for each, role in _outside(story, book)),
    )


def _people(story: Story, book: Rulebook, teams: dict[str, dict[str, tuple[ContactId, ...]]]) -> StaffDirectory:
    stands_in = tuple(StandIn(each.stands_in_for, each.contact) for each in story.people if each.stands_in_for)
    return replace(book.people, teams=teams, imprints={}, stands_in=stands_in)


def _teams(story: Story, book: Rulebook, owner: str) -> dict[str, dict[str, tuple[ContactId, ...]]]:
    """Every team of the book is there, for it may own a rule; only the cast fills it."""
    filled: defaultdict[tuple[str, str], list[ContactId]] = defaultdict(list)
    for each in story.people:
        for role in each.roles:
            for team in _teams_of(each, role, book, owner):
                filled[team, role].append(each.contact)
    teams: dict[str, dict[str, tuple[ContactId, ...]]] = {team: {} for team in book.people.teams}
    for (team, role), contacts in filled.items():
        teams.setdefault(team, {})[role] = tuple(contacts)
    return teams


def _teams_of(each: Character, role: str, book: Rulebook, owner: str) -> Iterator[str]:
    if each.team is not None:
        yield each.team
    elif _of_the_house(role, book):
        yield next((team for team, roles in book.people.teams.items() if role in roles), owner)


def _of_the_house(role: str, book: Rulebook) -> bool:
    return role in STAFF_ROLES or any(role in roles for roles in book.people.teams.values())


def _outside(story: Story, book: Rulebook) -> Iterator[tuple[Character, str]]:
    """Who works on the title from outside the house; Consonance lists its contacts only."""
    for each in story.people:
        for role in each.roles:
            if not (each.visitor or each.team or _of_the_house(role, book)):
                yield each, role


def _person(each: Character, book: Rulebook) -> PersonFacts:
    contact = None if each.visitor else each.contact
    return PersonFacts(
        person_id=_visitor(each.contact) if contact is None else person_id_of_contact(TENANT, contact),
        contact_id=contact,
        display_name=each.name or f"Person {each.contact}",
        country=each.country,
        language=each.language,
        zone=resolve_zone(each.zone, each.country, None, book.calendar.office.zone),
        roles=tuple(role for role in each.roles if role in set(Role)),
        reachable=each.reachable,
    )


def _visitor(contact: ContactId) -> PersonId:
    return PersonId("v" + derive_id(TENANT, "visitor", contact))


def _stopped(start: datetime) -> Consent:
    return Consent(opted_out_at=start)

"""More contacts and works than the seed has, as a file says: for runs that need hundreds of both.

The file is JSON: ``contacts`` with id, name, country, phone and tags; ``works`` with id, title, subtitle, imprint,
stage and people, who are contact ids with an ONIX contributor code each.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from dev.consonance.house import House
from dev.consonance.records import Contact, ContactKind, Contribution, Work


class CrowdContact(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: int
    name: str
    country: str
    phone: str
    tags: list[str] = []


class CrowdWork(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: int
    title: str
    subtitle: str
    imprint: int
    stage: int
    people: dict[int, str]


class Crowd(BaseModel):
    model_config = ConfigDict(extra="forbid")
    contacts: list[CrowdContact]
    works: list[CrowdWork]


def add_crowd(house: House, file: Path) -> None:
    """Put the people and works of ``file`` into ``house``; raises ValidationError where the file is not as above."""
    crowd = Crowd.model_validate_json(file.read_bytes())
    for contact in crowd.contacts:
        house.contacts[contact.id] = _contact(contact)
    for work in crowd.works:
        _add_work(house, work)


def _contact(given: CrowdContact) -> Contact:
    first, _, last = given.name.partition(" ")
    return Contact(
        id=given.id,
        kind=ContactKind.PERSON,
        given_name=first,
        key_names=last or None,
        country=given.country,
        town="London",
        phones=[{"phone_number": given.phone, "phone_type": "mobile"}],
        contact_tags=list(given.tags),
    )


def _add_work(house: House, given: CrowdWork) -> None:
    house.works[given.id] = Work(
        id=given.id,
        title=given.title,
        subtitle=given.subtitle,
        imprint_id=given.imprint,
        project_stage_id=given.stage,
        in_house_work_reference=f"CR-{given.id}",
        season="Spring 2028",
    )
    for place, (contact_id, code) in enumerate(given.people.items()):
        one = house.new_id()
        house.contributions[one] = Contribution(one, given.id, contact_id, code, place + 1)

"""The records the simulator starts with: people and works of the stories, a backlist around them, and more from a file.

The same seed number gives the same publisher.
"""

import random
from collections.abc import Mapping
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from ruamel.yaml import YAML

from dev.consonance.publisher import PublisherRecords
from dev.consonance.records import (
    LONG_AGO,
    Contact,
    ContactKind,
    Contract,
    Contribution,
    MarketingText,
    SupportingResource,
    WorkRecord,
)
from dev.consonance.trade import PICTURE, edition

# https://www.ofcom.org.uk/phones-and-broadband/phone-numbers/numbers-for-drama · Arcep decision 2019-0954 (audiovisual
# works) · Bundesnetzagentur "Rufnummern für Medien" · North American Numbering Plan 555-0100 to 555-0199 ·
# Post- och telestyrelsen "Telefonnummer för användning i böcker och filmer"
_RANGES = {
    "GB": ("+44 20 7946 0{:03d}", 1_000),
    "FR": ("+33 1 99 00 {:02d} {:02d}", 10_000),
    "DE": ("+49 171 39200{:02d}", 100),
    "US": ("+1 312-555-01{:02d}", 100),
    "SE": ("+46 70 174 06 {:02d}", 95),
}
_SWEDISH_START = 5
_NATIONAL = {"GB": ("+44 ", "0"), "FR": ("+33 ", "0")}


class FictionalNumbers:
    """Hands out each number once, country by country."""

    def __init__(self) -> None:
        self._given = dict.fromkeys(_RANGES, 0)

    def number(self, country: str, *, national: bool = False) -> str:
        """``national`` leaves the country code out. Raises LookupError when a range is used up."""
        pattern, size = _RANGES[country]
        place = self._given[country]
        if place >= size:
            raise LookupError(f"no fictional number is left for {country}")
        self._given[country] += 1
        if country == "SE":
            place += _SWEDISH_START
        number = pattern.format(*divmod(place, 100)) if country == "FR" else pattern.format(place)
        if national and country in _NATIONAL:
            abroad, home = _NATIONAL[country]
            return number.replace(abroad, home, 1)
        return number


WORKS = 40
CONTACTS = 120
PAYEES = 200
FIRST_PAYEE = 3001
_FIRST_CONTACT = 1001
_FIRST_ORGANISATION = 1901
_FIRST_WORK = 60_001
_FIRST_PRODUCT = 93_001
_COUNTRIES = ("GB", "GB", "GB", "FR", "FR", "DE", "US")
_PAYEE_COUNTRIES = ("GB", "GB", "FR")
_AGENTS_AMONG_PAYEES = 10  # every tenth payee is an agent
_PUBLISHED = 18


class Backlist:
    def __init__(
        self, publisher: PublisherRecords, numbers: FictionalNumbers, words: Mapping[str, Any], seed: int
    ) -> None:
        self._publisher = publisher
        self._numbers = numbers
        self._words = words
        self._random = random.Random(seed)

    def fill(self) -> None:
        for place, name in enumerate(self._words["organisations"]):
            self._add_organisation(_FIRST_ORGANISATION + place, name)
        authors = range(_FIRST_CONTACT, _FIRST_CONTACT + CONTACTS - len(self._publisher.contacts))
        for contact_id in authors:
            self._add_person(contact_id, self._random.choice(_COUNTRIES), [])
        for number in range(WORKS - len(self._publisher.works)):
            self._add_work(_FIRST_WORK + number * 7, number, self._random.sample(authors, 1 + number % 2))
        for number in range(PAYEES):
            tags = ["payee", *(["role:agent"] if number % _AGENTS_AMONG_PAYEES == 0 else [])]
            self._add_person(FIRST_PAYEE + number, _PAYEE_COUNTRIES[number % len(_PAYEE_COUNTRIES)], tags)

    def _add_organisation(self, contact_id: int, name: str) -> None:
        self._publisher.contacts[contact_id] = Contact(
            id=contact_id,
            kind=ContactKind.ORGANISATION,
            given_name=name,
            key_names=None,
            country="GB",
            town=self._random.choice(self._words["countries"]["GB"]["towns"]),
            phones=[{"phone_number": self._numbers.number("GB"), "phone_type": "work"}],
            contact_tags=["language:en"],
        )

    def _add_person(self, contact_id: int, country: str, tags: list[str]) -> None:
        words = self._words["countries"][country]
        number = self._numbers.number(country, national=contact_id % 4 == 0)
        self._publisher.contacts[contact_id] = Contact(
            id=contact_id,
            kind=ContactKind.PERSON,
            given_name=self._random.choice(words["given"]),
            key_names=self._random.choice(words["family"]),
            country=country,
            town=self._random.choice(words["towns"]),
            phones=[{"phone_number": number, "phone_type": "mobile"}],
            emails=[{"email": f"contact-{contact_id}@example.org"}],
            contact_tags=[*tags, f"language:{_LANGUAGES[country]}"],
            changed_on=LONG_AGO - timedelta(days=self._random.randrange(900)),
        )

    def _add_work(self, work_id: int, number: int, authors: list[int]) -> None:
        titles = self._words["titles"]
        title = f"{titles['first'][number % 10]} {titles['second'][(number * 3 + number // 10) % 10]}"
        published = number % 4 != 3
        self._publisher.works[work_id] = WorkRecord(
            id=work_id,
            title=title,
            subtitle=self._random.choice(titles["subtitle"]),
            imprint_id=self._random.choice(tuple(self._publisher.imprints)),
            project_stage_id=_PUBLISHED if published else self._random.randint(1, 11),
            in_house_work_reference=f"PL-{number:04d}",
            season="Backlist" if published else "Spring 2028",
            metadata_status="approved" if published else "draft",
            changed_on=LONG_AGO - timedelta(days=self._random.randrange(900)),
        )
        for place, contact_id in enumerate(authors):
            one = self._publisher.new_id()
            self._publisher.contributions[one] = Contribution(one, work_id, contact_id, "A01", place + 1)
        self._add_products(work_id, number, published=published)
        self._add_launch(work_id, title, published=published)

    def _add_products(self, work_id: int, number: int, *, published: bool) -> None:
        forms = ("BC", "DG") if number % 5 else ("BB", "BC", "DG")
        day = (
            date(2019, 2, 7) + timedelta(weeks=9 * number) if published else date(2028, 3, 2) + timedelta(weeks=number)
        )
        for place, form in enumerate(forms):
            product = edition(
                _FIRST_PRODUCT + number * 11 + place, work_id, form, day, status="04" if published else "02"
            )
            self._publisher.products[product.id] = product

    def _add_launch(self, work_id: int, title: str, *, published: bool) -> None:
        status = "approved" if published else "draft"
        cover, text = self._publisher.new_id(), self._publisher.new_id()
        copy = f"{title}: a book about {self._random.choice(self._words['topics'])}."
        self._publisher.supporting_resources[cover] = SupportingResource(
            cover, work_id, "front_cover", status, "Front cover", PICTURE.format(cover)
        )
        self._publisher.marketing_texts[text] = MarketingText(text, work_id, "COVER_COPY", copy, approval_status=status)


_SEED = Path(__file__).parent / "seed"
_SIGNED_FROM_STAGE = 2
_LANGUAGES = {"GB": "en", "US": "en", "FR": "fr", "DE": "de", "SE": "sv"}
_FIRST_CAST_PRODUCT = 94_741
_FIRST_CONTRACT = 88


def seeded_publisher(seed: int) -> PublisherRecords:
    publisher = _new_publisher(_read("publisher"))
    numbers = FictionalNumbers()
    people = _read("people")
    for contact_id, record in people["staff"].items():
        _add_contact(publisher, numbers, contact_id, {"country": "GB", "town": "London", "staff": True, **record})
    for group in ("people", "organisations"):
        for contact_id, record in people[group].items():
            _add_contact(publisher, numbers, contact_id, record)
    for number, (work_id, record) in enumerate(_read("works").items()):
        _add_work(publisher, work_id, record, number)
    Backlist(publisher, numbers, _read("backlist"), seed).fill()
    return publisher


@cache
def _read(name: str) -> Any:
    return YAML(typ="safe", pure=True).load((_SEED / f"{name}.yaml").read_text("utf-8"))


def _new_publisher(record: Mapping[str, Any]) -> PublisherRecords:
    series = {id_: {"id": id_, **one} for id_, one in record["series"].items()}
    return PublisherRecords(
        name=record["name"], imprints=dict(record["imprints"]), stages=dict(record["stages"]), series=series
    )


def _add_contact(
    publisher: PublisherRecords, numbers: FictionalNumbers, contact_id: int, record: Mapping[str, Any]
) -> None:
    name = record["name"]
    organisation = isinstance(name, str)
    given, family = (name, None) if organisation else name
    country = record["country"]
    publisher.contacts[contact_id] = Contact(
        id=contact_id,
        kind=ContactKind.ORGANISATION if organisation else ContactKind.PERSON,
        given_name=given,
        key_names=family,
        country=country,
        town=record["town"],
        phones=_phones(numbers, contact_id, record),
        emails=[{"email": f"contact-{contact_id}@example.org"}],
        contact_tags=_tags(record),
        biographical_note=record.get("bio"),
        agency_id=record.get("agency"),
    )


def _phones(numbers: FictionalNumbers, contact_id: int, record: Mapping[str, Any]) -> list[dict[str, str]]:
    if "as_written" in record:
        return [{"phone_number": record["as_written"], "phone_type": "home"}]
    if record.get("no_phone"):
        return []
    national = contact_id % 3 == 0
    kind = "work" if isinstance(record["name"], str) else "mobile"
    return [{"phone_number": numbers.number(record["country"], national=national), "phone_type": kind}]


def _tags(record: Mapping[str, Any]) -> list[str]:
    tags = ["staff"] if record.get("staff") else []
    if "role" in record:
        tags.append(f"role:{record['role']}")
    return [*tags, f"language:{record.get('language', _LANGUAGES[record['country']])}"]


def _add_work(publisher: PublisherRecords, work_id: int, record: Mapping[str, Any], number: int) -> None:
    publisher.works[work_id] = WorkRecord(
        id=work_id,
        title=record["title"],
        subtitle=record["subtitle"],
        imprint_id=record["imprint"],
        project_stage_id=record["stage"],
        in_house_work_reference=record["reference"],
        season="Autumn 2027",
        marketing_tier="Lead",
        subjects={"THEMA": ["WTL", "DNL"], "BISAC": ["TRV010000"], "BIC": ["WTL"]},
        series_id=record.get("series"),
        part_number=str(number + 1) if "series" in record else None,
        embargo_until=record.get("embargo"),
    )
    for place, (contact_id, role) in enumerate(record["people"].items()):
        one = publisher.new_id()
        publisher.contributions[one] = Contribution(one, work_id, contact_id, role, place + 1)
    for place, (form, day) in enumerate(record["products"].items()):
        product = edition(_FIRST_CAST_PRODUCT + number * 10 + place, work_id, form, day, status="02")
        publisher.products[product.id] = product
    _add_launch(publisher, work_id, record)
    _add_contract(publisher, work_id, record, number)


def _add_launch(publisher: PublisherRecords, work_id: int, record: Mapping[str, Any]) -> None:
    final = record.get("final", ())
    cover, text, short = publisher.new_id(), publisher.new_id(), publisher.new_id()
    status = "approved" if "front_cover" in final else "draft"
    publisher.supporting_resources[cover] = SupportingResource(
        cover, work_id, "front_cover", status, "Front cover", PICTURE.format(cover)
    )
    publisher.marketing_texts[text] = MarketingText(text, work_id, "COVER_COPY", record["copy"])
    publisher.marketing_texts[short] = MarketingText(
        short, work_id, "SHORT_DESCRIPTION", f"**{record['title']}**\n\n{record['copy']}", approval_status="approved"
    )


def _add_contract(publisher: PublisherRecords, work_id: int, record: Mapping[str, Any], number: int) -> None:
    contract_id = _FIRST_CONTRACT + number
    first_day = min(record["products"].values())
    publisher.contracts[contract_id] = Contract(
        id=contract_id,
        work_id=work_id,
        contract_name=f"{record['title']}: head contract",
        signed_date=first_day.replace(year=first_day.year - 2) if record["stage"] >= _SIGNED_FROM_STAGE else None,
        ms_delivery_date=first_day.replace(year=first_day.year - 1),
        delivery_dates=[
            {
                "id": contract_id * 10,
                "date_due": first_day.replace(year=first_day.year - 1),
                "deliverable_type": "Manuscript",
                "delivery_requirement": "Complete text with captions",
                "percentage_of_total": 100.0,
                "slipped_date": None,
            }
        ],
        licensed_rights=[
            {"id": contract_id * 10 + place, "right_type": right, "author_cut": cut}
            for place, (right, cut) in enumerate((("Translation", 80.0), ("Audio", 75.0), ("First serial", 90.0)))
        ],
    )


class ExtraContact(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: int
    name: str
    country: str
    phone: str
    tags: list[str] = []


class ExtraWork(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: int
    title: str
    subtitle: str
    imprint: int
    stage: int
    people: dict[int, str]


class ExtraRecords(BaseModel):
    model_config = ConfigDict(extra="forbid")
    contacts: list[ExtraContact]
    works: list[ExtraWork]


def add_extra_records(publisher: PublisherRecords, file: Path) -> None:
    """Add the people and works of ``file`` to ``publisher``. Raises ValidationError for another shape."""
    extra = ExtraRecords.model_validate_json(file.read_bytes())
    for contact in extra.contacts:
        publisher.contacts[contact.id] = _extra_contact(contact)
    for work in extra.works:
        _add_extra_work(publisher, work)


def _extra_contact(given: ExtraContact) -> Contact:
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


def _add_extra_work(publisher: PublisherRecords, given: ExtraWork) -> None:
    publisher.works[given.id] = WorkRecord(
        id=given.id,
        title=given.title,
        subtitle=given.subtitle,
        imprint_id=given.imprint,
        project_stage_id=given.stage,
        in_house_work_reference=f"CR-{given.id}",
        season="Spring 2028",
    )
    for place, (contact_id, code) in enumerate(given.people.items()):
        one = publisher.new_id()
        publisher.contributions[one] = Contribution(one, given.id, contact_id, code, place + 1)

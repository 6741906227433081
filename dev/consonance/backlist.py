"""The rest of the list: works long published or far off, their people, and the payees of a royalty run."""

import random
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from dev.consonance.house import House
from dev.consonance.phones import Switchboard
from dev.consonance.records import LONG_AGO, Contact, ContactKind, Contribution, MarketingText, SupportingResource, Work
from dev.consonance.trade import PICTURE, edition

WORKS = 40
CONTACTS = 120
PAYEES = 200
FIRST_PAYEE = 3001
_FIRST_CONTACT = 1001
_FIRST_ORGANISATION = 1901
_FIRST_WORK = 60_001
_FIRST_PRODUCT = 93_001
_LANGUAGES = {"GB": "en", "FR": "fr", "DE": "de", "US": "en"}
_COUNTRIES = ("GB", "GB", "GB", "FR", "FR", "DE", "US")
_PAYEE_COUNTRIES = ("GB", "GB", "FR")
_AGENTS_AMONG_PAYEES = 10  # every tenth payee is an agent
_PUBLISHED = 18


class Backlist:
    def __init__(self, house: House, switchboard: Switchboard, words: Mapping[str, Any], seed: int) -> None:
        self._house = house
        self._switchboard = switchboard
        self._words = words
        self._random = random.Random(seed)

    def fill(self) -> None:
        for place, name in enumerate(self._words["organisations"]):
            self._add_organisation(_FIRST_ORGANISATION + place, name)
        authors = range(_FIRST_CONTACT, _FIRST_CONTACT + CONTACTS - len(self._house.contacts))
        for contact_id in authors:
            self._add_person(contact_id, self._random.choice(_COUNTRIES), [])
        for number in range(WORKS - len(self._house.works)):
            self._add_work(_FIRST_WORK + number * 7, number, self._random.sample(authors, 1 + number % 2))
        for number in range(PAYEES):
            tags = ["payee", *(["role:agent"] if number % _AGENTS_AMONG_PAYEES == 0 else [])]
            self._add_person(FIRST_PAYEE + number, _PAYEE_COUNTRIES[number % len(_PAYEE_COUNTRIES)], tags)

    def _add_organisation(self, contact_id: int, name: str) -> None:
        self._house.contacts[contact_id] = Contact(
            id=contact_id,
            kind=ContactKind.ORGANISATION,
            given_name=name,
            key_names=None,
            country="GB",
            town=self._random.choice(self._words["countries"]["GB"]["towns"]),
            phones=[{"phone_number": self._switchboard.number("GB"), "phone_type": "work"}],
            contact_tags=["language:en"],
        )

    def _add_person(self, contact_id: int, country: str, tags: list[str]) -> None:
        words = self._words["countries"][country]
        number = self._switchboard.number(country, national=contact_id % 4 == 0)
        self._house.contacts[contact_id] = Contact(
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
        self._house.works[work_id] = Work(
            id=work_id,
            title=title,
            subtitle=self._random.choice(titles["subtitle"]),
            imprint_id=self._random.choice(tuple(self._house.imprints)),
            project_stage_id=_PUBLISHED if published else self._random.randint(1, 11),
            in_house_work_reference=f"PL-{number:04d}",
            season="Backlist" if published else "Spring 2028",
            metadata_status="approved" if published else "draft",
            changed_on=LONG_AGO - timedelta(days=self._random.randrange(900)),
        )
        for place, contact_id in enumerate(authors):
            one = self._house.new_id()
            self._house.contributions[one] = Contribution(one, work_id, contact_id, "A01", place + 1)
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
            self._house.products[product.id] = product

    def _add_launch(self, work_id: int, title: str, *, published: bool) -> None:
        status = "approved" if published else "draft"
        cover, text = self._house.new_id(), self._house.new_id()
        copy = f"{title}: a book about {self._random.choice(self._words['topics'])}."
        self._house.supporting_resources[cover] = SupportingResource(
            cover, work_id, "front_cover", status, "Front cover", PICTURE.format(cover)
        )
        self._house.marketing_texts[text] = MarketingText(text, work_id, "COVER_COPY", copy, approval_status=status)

"""The people of the demo: those of the Consonance simulator's seed, each with a phone known to WhatsApp."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import phonenumbers

from dev.demo.simulators import Simulators

_LANGUAGE = "language:"


@dataclass(frozen=True)
class DemoPerson:
    """``handle`` is the simulator's name for them; ``language`` is that of their messages."""

    handle: str
    name: str
    language: str
    country: str = "GB"
    phone: str | None = None

    def registration(self) -> dict[str, object]:
        """For the WhatsApp simulator; a person without a phone is known by BSUID only."""
        known = {} if self.phone is None else {"phone": self.phone}
        return {"id": self.handle, "name": self.name, "country": self.country, **known}


@dataclass(frozen=True)
class DemoPeople:
    """``by_contact``: by Consonance contact id."""

    by_contact: Mapping[int, DemoPerson]

    def __getitem__(self, contact_id: int) -> DemoPerson:
        return self.by_contact[contact_id]

    def contact_of(self, handle: str) -> int | None:
        return int(handle) if handle.isdecimal() and int(handle) in self.by_contact else None


async def read_people(simulators: Simulators) -> DemoPeople:
    """Register every person with a usable number in Consonance at WhatsApp, with the same number."""
    contacts = await simulators.consonance("state/contacts")
    people = DemoPeople({contact["id"]: person for contact in contacts if (person := _player(contact)) is not None})
    await register_people(simulators, people.by_contact.values())
    return people


async def register_people(simulators: Simulators, persons: Iterable[DemoPerson]) -> None:
    await simulators.whatsapp("people", [person.registration() for person in persons])


def _player(contact: Mapping[str, Any]) -> DemoPerson | None:
    phone = next(filter(None, (_digits(p["phone_number"], contact["country"]) for p in contact["phones"])), None)
    if phone is None or contact["kind"] != "person":
        return None
    name = " ".join(filter(None, (contact["given_name"], contact["key_names"])))
    language = next((t.removeprefix(_LANGUAGE) for t in contact["contact_tags"] if t.startswith(_LANGUAGE)), "en")
    return DemoPerson(str(contact["id"]), name, language, contact["country"], phone)


def _digits(written: str, country: str) -> str | None:
    """None for a text that is not a number: the field takes any text."""
    try:
        number = phonenumbers.parse(written, country)
    except phonenumbers.NumberParseException:
        return None
    return f"{number.country_code}{number.national_number}"

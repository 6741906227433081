"""Who plays: the people of the Consonance simulator's seed, each with the phone WhatsApp knows them by."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import phonenumbers

from dev.demo.outside import Outside

_LANGUAGE = "language:"


@dataclass(frozen=True)
class Player:
    """``handle`` is the simulator's name for them; ``language`` what they are written to in."""

    handle: str
    name: str
    language: str
    country: str = "GB"
    phone: str | None = None

    def registration(self) -> dict[str, object]:
        """As the WhatsApp simulator is told of them; without a phone they are known by BSUID only."""
        known = {} if self.phone is None else {"phone": self.phone}
        return {"id": self.handle, "name": self.name, "country": self.country, **known}


@dataclass(frozen=True)
class Cast:
    """``by_contact``: by Consonance contact id."""

    by_contact: Mapping[int, Player]

    def __getitem__(self, contact_id: int) -> Player:
        return self.by_contact[contact_id]

    def contact_of(self, handle: str) -> int | None:
        return int(handle) if handle.isdecimal() and int(handle) in self.by_contact else None


async def assemble(outside: Outside) -> Cast:
    """Everybody of Consonance's who can be written to is known to WhatsApp by the same number."""
    contacts = await outside.in_consonance("state/contacts")
    cast = Cast({contact["id"]: player for contact in contacts if (player := _player(contact)) is not None})
    await introduce(outside, cast.by_contact.values())
    return cast


async def introduce(outside: Outside, players: Iterable[Player]) -> None:
    await outside.at_whatsapp("people", [player.registration() for player in players])


def _player(contact: Mapping[str, Any]) -> Player | None:
    phone = next(filter(None, (_digits(p["phone_number"], contact["country"]) for p in contact["phones"])), None)
    if phone is None or contact["kind"] != "person":
        return None
    name = " ".join(filter(None, (contact["given_name"], contact["key_names"])))
    language = next((t.removeprefix(_LANGUAGE) for t in contact["contact_tags"] if t.startswith(_LANGUAGE)), "en")
    return Player(str(contact["id"]), name, language, contact["country"], phone)


def _digits(written: str, country: str) -> str | None:
    """None for what is no number: a clerk may type anything."""
    try:
        number = phonenumbers.parse(written, country)
    except phonenumbers.NumberParseException:
        return None
    return f"{number.country_code}{number.national_number}"

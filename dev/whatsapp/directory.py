"""The business's own numbers, and the people who can be written to, with their addresses."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from dev.whatsapp.chance import Chance

HOME_CODE = "1"  # the country code of every display number
_FIRST_DISPLAY = 15550783881


@dataclass(frozen=True, slots=True)
class BusinessLine:
    name: str
    phone_number_id: str
    display: str

    @property
    def metadata(self) -> dict[str, str]:
        return {"display_phone_number": self.display, "phone_number_id": self.phone_number_id}


class BusinessLines:
    def __init__(self, phone_number_ids: Mapping[str, str]) -> None:
        self._all = [
            BusinessLine(name, number_id, str(_FIRST_DISPLAY + place))
            for place, (name, number_id) in enumerate(phone_number_ids.items())
        ]
        self._by_id = {line.phone_number_id: line for line in self._all}

    def __iter__(self) -> Iterator[BusinessLine]:
        return iter(self._all)

    def numbered(self, phone_number_id: str) -> BusinessLine | None:
        return self._by_id.get(phone_number_id)

    def find(self, word: str) -> BusinessLine | None:
        """The line with this name or phone number id."""
        return self._by_id.get(word) or next((line for line in self._all if line.name == word), None)


class PersonRegistration(BaseModel):
    """A person in the control API; without ``phone`` their webhooks carry no number."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    phone: str | None = Field(default=None, pattern=r"^\+?\d{5,15}$")
    bsuid: str | None = Field(default=None, pattern=r"^[A-Z]{2}\.[A-Za-z0-9.]{1,128}$")
    name: str = ""
    username: str | None = None
    country: str = Field(default="GB", pattern=r"^[A-Z]{2}$")
    on_whatsapp: bool = True


class WhatsAppPerson(BaseModel):
    """``phone`` is bare digits, as WhatsApp's ``wa_id`` is."""

    model_config = ConfigDict(frozen=True)
    id: str
    phone: str | None
    bsuid: str
    name: str
    username: str | None = None
    on_whatsapp: bool = True


class WhatsAppPeople:
    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._by_id: dict[str, WhatsAppPerson] = {}
        self._by_phone: dict[str, WhatsAppPerson] = {}
        self._by_bsuid: dict[str, WhatsAppPerson] = {}

    def add(self, new: PersonRegistration) -> WhatsAppPerson:
        """Register a person; the same id again replaces them."""
        self._forget(new.id)
        person = WhatsAppPerson(
            id=new.id,
            phone=new.phone.lstrip("+") if new.phone else None,
            bsuid=new.bsuid or self._minted(new.country, new.id),
            name=new.name or new.id,
            username=new.username,
            on_whatsapp=new.on_whatsapp,
        )
        self._by_id[person.id] = person
        self._by_bsuid[person.bsuid] = person
        if person.phone:
            self._by_phone[person.phone] = person
        return person

    def at_phone(self, digits: str) -> WhatsAppPerson:
        """The person with this number; an unregistered number belongs to an ordinary person, who is not stored."""
        known = self._by_phone.get(digits)
        return known or WhatsAppPerson(
            id=digits, phone=digits, bsuid=self._minted("GB", digits), name=f"Person {digits[-4:]}"
        )

    def at_bsuid(self, bsuid: str) -> WhatsAppPerson | None:
        return self._by_bsuid.get(bsuid)

    def find(self, who: str) -> WhatsAppPerson | None:
        """The person with this id, BSUID or phone number."""
        known = self._by_id.get(who) or self._by_bsuid.get(who)
        digits = who.lstrip("+")
        return known or (self.at_phone(digits) if digits.isdecimal() else None)

    def _minted(self, country: str, name: str) -> str:
        return f"{country}.{self._chance.whole(20, 'bsuid', name)}"

    def _forget(self, person_id: str) -> None:
        old = self._by_id.pop(person_id, None)
        if old is not None:
            self._by_bsuid.pop(old.bsuid, None)
            self._by_phone.pop(old.phone or "", None)

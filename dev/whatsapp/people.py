"""The people on the other side: some with a phone number, some known by their business-scoped user id (BSUID) only."""

from pydantic import BaseModel, ConfigDict, Field

from dev.whatsapp.chance import Chance


class NewPerson(BaseModel):
    """A person as the control API is told of one; without ``phone`` their webhooks carry no number."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    phone: str | None = Field(default=None, pattern=r"^\+?\d{5,15}$")
    bsuid: str | None = Field(default=None, pattern=r"^[A-Z]{2}\.[A-Za-z0-9.]{1,128}$")
    name: str = ""
    username: str | None = None
    country: str = Field(default="GB", pattern=r"^[A-Z]{2}$")
    on_whatsapp: bool = True


class Person(BaseModel):
    """``phone`` is bare digits, as WhatsApp's ``wa_id`` is."""

    model_config = ConfigDict(frozen=True)
    id: str
    phone: str | None
    bsuid: str
    name: str
    username: str | None = None
    on_whatsapp: bool = True


class People:
    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._by_id: dict[str, Person] = {}
        self._by_phone: dict[str, Person] = {}
        self._by_bsuid: dict[str, Person] = {}

    def add(self, new: NewPerson) -> Person:
        """Register a person; the same id again replaces them."""
        self._forget(new.id)
        person = Person(
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

    def at_phone(self, digits: str) -> Person:
        """Whoever has this number; one that nobody registered belongs to an ordinary person, not remembered here."""
        known = self._by_phone.get(digits)
        return known or Person(id=digits, phone=digits, bsuid=self._minted("GB", digits), name=f"Person {digits[-4:]}")

    def at_bsuid(self, bsuid: str) -> Person | None:
        return self._by_bsuid.get(bsuid)

    def find(self, who: str) -> Person | None:
        """By id, BSUID or phone number."""
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

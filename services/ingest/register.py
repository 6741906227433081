"""The people one transaction looks at, folded in memory: who is reached where, who changed, whose version rises.

An address leads to one person: to the one whose BSUID it is; by number to a contact before a visitor, and among
contacts that share a number to the first one Consonance made.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from services.ingest.addresses import phone_key
from shared.contracts.contacts import Addresses, PersonObserved
from shared.contracts.ids import Bsuid, PersonId, Phone

_LAST = 2**63


class Register:
    def __init__(self, people: Iterable[PersonObserved] = ()) -> None:
        self._people: dict[PersonId, PersonObserved] = {}
        self._at: dict[str, set[PersonId]] = {}
        for person in people:
            self.put(person)
        self._loaded = dict(self._people)

    def get(self, person_id: PersonId) -> PersonObserved | None:
        return self._people.get(person_id)

    def put(self, person: PersonObserved) -> None:
        former = self._people.get(person.person_id)
        for address in () if former is None else _spellings(former):
            self._at[address].discard(person.person_id)
        for address in _spellings(person):
            self._at.setdefault(address, set()).add(person.person_id)
        self._people[person.person_id] = person

    def by_bsuid(self, bsuid: Bsuid | None) -> PersonObserved | None:
        return None if bsuid is None else self._first(bsuid)

    def by_phone(self, phone: Phone | None) -> PersonObserved | None:
        return None if phone is None else self._first(phone_key(phone))

    def sharing(self, person_id: PersonId, *addresses: str) -> tuple[PersonId, ...]:
        """Others who are reached at one of these addresses, or at the person's own number or BSUID."""
        person = self._people[person_id]
        there = {other for address in (*addresses, *_spellings(person)) for other in self._at.get(address, ())}
        return tuple(sorted(there - {person_id}))

    def changed(self, now: datetime) -> list[PersonObserved]:
        """Everyone who is not as loaded, each with the next version."""
        return [
            person.replace(version=_version(self._loaded, person.person_id) + 1, observed_at=now)
            for person in self._people.values()
            if person != self._loaded.get(person.person_id)
        ]

    def merge(self, visitor: PersonObserved, into: PersonObserved) -> PersonObserved:
        """The visitor was somebody we know: their addresses go over where that one has none; they are empty-handed."""
        self.put(visitor.replace(merged_into=into.person_id, addresses=Addresses()))
        phone = into.addresses.phone or visitor.addresses.phone
        bsuid = into.addresses.bsuid or visitor.addresses.bsuid
        joined = into.replace(addresses=Addresses(phone=phone, bsuid=bsuid))
        self.put(joined)
        return joined

    def _first(self, address: str) -> PersonObserved | None:
        there = (self._people[person_id] for person_id in self._at.get(address, ()))
        return min(there, key=lambda person: (person.contact_id or _LAST, person.person_id), default=None)


def _spellings(person: PersonObserved) -> list[str]:
    """A BSUID never looks like a number: it holds a dot, a number begins with a plus."""
    phone, bsuid = person.addresses.phone, person.addresses.bsuid
    return [*([phone_key(phone)] if phone else []), *([bsuid] if bsuid else [])]


def _version(loaded: Mapping[PersonId, PersonObserved], person_id: PersonId) -> int:
    former = loaded.get(person_id)
    return 0 if former is None else former.version

"""The people of one transaction, in memory: found by address, changed, merged; and what addresses they left. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from shared.clients.phone_numbers import phone_key
from shared.contracts.contacts import Addresses, PersonObserved
from shared.contracts.ids import Bsuid, PersonId, Phone
from shared.contracts.values import Instant, Value

LONG_AGO = datetime.min.replace(tzinfo=UTC)
_AFTER_ALL_CONTACTS = 2**63


class FormerAddress(Value):
    """A number or a BSUID that a person has left, as WhatsApp says: what was sent from there until then is theirs.

    WhatsApp's instants are whole seconds, so the second of the change counts as before it.
    """

    address: str
    until: Instant

    @property
    def is_number(self) -> bool:
        return is_number(self.address)


class PersonDirectory:
    """A change of a person, or of the addresses that they have left, raises the version.

    An address leads to one person: a BSUID to its owner; a number to a contact before a visitor, and among contacts
    that share a number to the one with the lowest id. A person who has left an address is still found by messages that
    were sent before.
    """

    def __init__(
        self,
        people: Iterable[PersonObserved] = (),
        former: Mapping[PersonId, Iterable[FormerAddress]] | None = None,
    ) -> None:
        self._people: dict[PersonId, PersonObserved] = {}
        self._by_address: dict[str, set[PersonId]] = {}
        self._former: dict[PersonId, frozenset[FormerAddress]] = {}
        self._left: dict[str, set[tuple[datetime, PersonId]]] = {}
        for person in people:
            self.put(person)
        for person_id, left in (former or {}).items():
            self.put_former(person_id, left)
        self._loaded, self._loaded_former = dict(self._people), dict(self._former)

    def __iter__(self) -> Iterator[PersonObserved]:
        return iter(self._people.values())

    def get(self, person_id: PersonId) -> PersonObserved | None:
        return self._people.get(person_id)

    def put(self, person: PersonObserved) -> None:
        former = self._people.get(person.person_id)
        for address in () if former is None else address_keys(former.addresses):
            self._by_address[address].discard(person.person_id)
        for address in address_keys(person.addresses):
            self._by_address.setdefault(address, set()).add(person.person_id)
        self._people[person.person_id] = person

    # ------------------------------------------------------------------ by address

    def by_bsuid(self, bsuid: Bsuid | None, at: datetime | None = None) -> PersonObserved | None:
        """The person who has it; with ``at``, the one who had it then."""
        return None if bsuid is None else self._first_at(bsuid, at)

    def by_phone(self, phone: Phone | None, at: datetime | None = None) -> PersonObserved | None:
        """The person who has it; with ``at``, the one who had it then."""
        return None if phone is None else self._first_at(phone_key(phone), at)

    def contacts_at(self, *numbers: Phone | None) -> list[PersonObserved]:
        """The contacts with one of these numbers, in the order of their ids."""
        found = {one for number in numbers if number for one in self._by_address.get(phone_key(number), ())}
        contacts = (self._people[one] for one in sorted(found))
        return [person for person in contacts if person.contact_id is not None]

    def others_at(self, person_id: PersonId, keys: Iterable[str], at: datetime) -> tuple[PersonId, ...]:
        """Other people with one of these addresses, or with the person's own number or BSUID.

        Where the person has left one of these addresses since ``at``: the other people who left it at the same time.
        """
        keys = tuple(keys)
        left = {one for address in keys for one in self._left_after(address, at)}
        if person_id in left:
            return tuple(sorted(left - {person_id}))
        keys = (*keys, *address_keys(self._people[person_id].addresses))
        found = {other for address in keys for other in self._by_address.get(address, ())}
        return tuple(sorted(found - {person_id}))

    def _first_at(self, address: str, at: datetime | None) -> PersonObserved | None:
        ids = self._by_address.get(address, ())
        if at is not None and address in self._left:
            ids = self._left_after(address, at) or ids
        found = (self._people[person_id] for person_id in ids)
        return min(found, key=lambda person: (person.contact_id or _AFTER_ALL_CONTACTS, person.person_id), default=None)

    # ------------------------------------------------------------------ addresses that were left

    def former(self, person_id: PersonId) -> frozenset[FormerAddress]:
        return self._former.get(person_id, frozenset())

    def former_of(self, people: Iterable[PersonId]) -> Mapping[PersonId, frozenset[FormerAddress]]:
        """The addresses that these people have left, by person; people who have left none are missing."""
        return {person_id: left for person_id in people if (left := self.former(person_id))}

    def put_former(self, person_id: PersonId, left: Iterable[FormerAddress]) -> None:
        """Add to the addresses that a person has left."""
        self._set_former(person_id, self.former(person_id).union(left))

    def copy(self, person: PersonObserved, source: "PersonDirectory") -> None:
        """Copy a state of a person, with the addresses that they have left, from another directory."""
        self.put(person)
        self._set_former(person.person_id, source.former(person.person_id))

    def _set_former(self, person_id: PersonId, left: frozenset[FormerAddress]) -> None:
        for one in self._former.pop(person_id, ()):
            self._left[address_key(one.address)].discard((one.until, person_id))
        for one in left:
            self._left.setdefault(address_key(one.address), set()).add((one.until, person_id))
        if left:
            self._former[person_id] = left

    def has_left(self, person_id: PersonId, address: str, until: datetime) -> bool:
        """Whether the person is known to have left the address at this very instant."""
        return (until, person_id) in self._left.get(address_key(address), ())

    def was_left(self, address: str) -> bool:
        """Whether a person has ever left this address."""
        return bool(self._left.get(address_key(address)))

    def _left_after(self, address: str, at: datetime) -> set[PersonId]:
        """The people who had the address at that instant: of those who have left it since, the first to leave."""
        later = [(until, person_id) for until, person_id in self._left.get(address, ()) if until >= at]
        first = min((until for until, _ in later), default=None)
        return {person_id for until, person_id in later if until == first}

    # ------------------------------------------------------------------ changes

    def changed(self, now: datetime) -> list[PersonObserved]:
        """The people that differ from those loaded, each with its next version."""
        return [
            person.replace(version=_version(self._loaded, person.person_id) + 1, observed_at=now)
            for person in self._people.values()
            if person != self._loaded.get(person.person_id)
            or self.former(person.person_id) != self._loaded_former.get(person.person_id, frozenset())
        ]

    def part(self, addresses: Iterable[str], persons: Iterable[PersonId]) -> "PersonDirectory":
        """Exactly those of the people that the store would have loaded for these addresses and ids."""
        found = self._people.keys() & persons
        for address in addresses:
            at_address = self._by_address.get(address, set())
            owners = (self._people[person_id] for person_id in at_address)
            found |= at_address.union(*(self._with_number_of(one) for one in owners if one.addresses.bsuid == address))
            found |= {person_id for _, person_id in self._left.get(address, ())}
        left = {person_id: self._former[person_id] for person_id in found & self._former.keys()}
        return PersonDirectory((self._people[person_id] for person_id in sorted(found)), left)

    def _with_number_of(self, owner: PersonObserved) -> set[PersonId]:
        """At the owner's number, or with the one that WhatsApp uses for the owner as their own."""
        phone, wa_id = owner.addresses.phone, owner.addresses.wa_id
        at_number = self._by_address.get(phone_key(phone), set()) if phone else set()
        at_wa_id = self._by_address.get(phone_key(wa_id), set()) if wa_id else set()
        return at_number | {other for other in at_wa_id if _has_number(self._people[other], wa_id)}

    def last_change(self, person: PersonObserved) -> datetime:
        """When the person's number or BSUID changed last, as WhatsApp says; long ago where no change is known."""
        return max((one.until for one in self.former(person.person_id)), default=LONG_AGO)

    def number_since(self, person: PersonObserved) -> datetime:
        """When the person's number changed last, as WhatsApp says; long ago where no change is known."""
        return max((one.until for one in self.former(person.person_id) if one.is_number), default=LONG_AGO)

    def user_since(self, person: PersonObserved) -> datetime:
        """When the person's BSUID changed last, or was shown at their number; long ago where neither is known."""
        left = (one.until for one in self.former(person.person_id) if not one.is_number)
        return max((person.user_since or LONG_AGO, *left))

    def merge(self, visitor: PersonObserved, into: PersonObserved) -> PersonObserved:
        """Merge a visitor into a known person, who gets those of the visitor's addresses that they lack.

        Of two BSUIDs, and of two numbers to which WhatsApp says a person has moved, the later one counts.
        """
        number, bsuid, since = self._later_number(visitor, into), *self._later_user(visitor, into)
        until = max(self.user_since(visitor), self.user_since(into))
        replaced = {visitor.addresses.bsuid, into.addresses.bsuid} - {bsuid, None}
        self.put(visitor.replace(merged_into=into.person_id, addresses=Addresses()))
        self.put_former(into.person_id, self.former(visitor.person_id))
        self._set_former(visitor.person_id, frozenset())
        if until > LONG_AGO:  # when the earlier BSUID was left is not known, but that it was by then
            self.put_former(into.person_id, [FormerAddress(address=one, until=until) for one in replaced if one])
        merged = into.replace(addresses=number.replace(bsuid=bsuid), user_since=since)
        self.put(merged)
        return merged

    def _later_number(self, visitor: PersonObserved, into: PersonObserved) -> Addresses:
        mine, theirs = into.addresses, visitor.addresses
        since = self.number_since(into)
        if theirs.phone is not None and LONG_AGO < since < self.number_since(visitor):
            return theirs
        if mine.phone is not None and since > LONG_AGO:
            return mine
        last = self.number_since(visitor)
        left = {address_key(one.address) for one in self.former(visitor.person_id) if one.until == last}
        own = [number for number in (theirs.wa_id, theirs.phone) if number and phone_key(number) not in left]
        return join_addresses(mine.phone or theirs.phone, None, mine.wa_id or next(iter(own), None))

    def _later_user(self, visitor: PersonObserved, into: PersonObserved) -> tuple[Bsuid | None, datetime | None]:
        mine, theirs = into.addresses.bsuid, visitor.addresses.bsuid
        since = self.user_since(visitor)
        if mine is None and LONG_AGO < since < self.user_since(into):
            return None, into.user_since  # the visitor's has been replaced since, by one that is not known
        if mine is None or theirs is None:
            return mine or theirs, into.user_since
        return (theirs, since) if since > self.user_since(into) else (mine, into.user_since)


def is_number(address: str) -> bool:
    """A BSUID never looks like a number, which begins with a plus."""
    return address.startswith("+")


def address_key(address: str) -> str:
    """The form by which an address is looked up."""
    return phone_key(address) if is_number(address) else address


def address_keys(addresses: Addresses) -> list[str]:
    numbers = [phone_key(number) for number in (addresses.phone, addresses.wa_id) if number]
    return [*numbers, *([addresses.bsuid] if addresses.bsuid else [])]


def join_addresses(phone: Phone | None, bsuid: Bsuid | None, number: Phone | None) -> Addresses:
    """``number`` is the one that WhatsApp uses; it is kept beside ``phone`` only where it is another."""
    is_other = phone is not None and number is not None and phone_key(number) != phone_key(phone)
    return Addresses(phone=phone or number, bsuid=bsuid, wa_id=number if is_other else None)


def _has_number(person: PersonObserved, number: Phone | None) -> bool:
    phone = person.addresses.phone
    return phone is not None and number is not None and phone_key(phone) == phone_key(number)


def _version(loaded: Mapping[PersonId, PersonObserved], person_id: PersonId) -> int:
    former = loaded.get(person_id)
    return 0 if former is None else former.version

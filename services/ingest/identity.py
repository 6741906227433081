"""Identifies the person behind addresses: addresses seen together belong to one person. Pure.

The person is a contact of Consonance, or a visitor until a contact with the same address appears. What WhatsApp shows
is added to the person: a BSUID beside a known number, a changed number, a changed BSUID. Two contacts are never merged,
because Consonance keeps them apart.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.ingest.phone_numbers import phone_key
from services.ingest.poll.snapshots import ContactSnapshot
from services.ingest.records import EventContext
from shared.contracts.contacts import PLACEHOLDER_NAME, Addresses, PersonObserved
from shared.contracts.envelope import Event
from shared.contracts.ids import Bsuid, PersonId, Phone, TenantId, derive_id, partition_key, person_id_of_contact
from shared.contracts.vocabulary import PartyKind
from shared.contracts.whatsapp import IdentityChange
from shared.runtime.credentials import Pseudonymizer

_AFTER_ALL_CONTACTS = 2**63
_ONE_SECOND = timedelta(seconds=1)

SEEN_ANEW_AFTER = timedelta(days=30)
"""A visitor who writes after so long is stored with a new ``observed_at``, from which their retention counts."""


@dataclass(frozen=True, slots=True)
class ObservedIdentity:
    """Addresses seen together, so of one person. ``change``: they replace the former addresses."""

    bsuid: Bsuid | None
    phone: Phone | None
    name: str | None = None
    change: IdentityChange | None = None
    former_bsuid: Bsuid | None = None
    former_phone: Phone | None = None

    def user_since(self, at: datetime) -> datetime:
        """From when on a BSUID that was shown at ``at`` counts as the person's.

        WhatsApp's instants are whole seconds. A message is its new user's own; no account is set up within a second, so
        the former user wrote nothing in it. In the second of an announced change the order is not known.
        """
        return at if self.change is not None else at - _ONE_SECOND


class PersonDirectory:
    """The people of one transaction, in memory: found by address, changed, merged; a change raises the version.

    An address leads to one person: a BSUID to its owner; a number to a contact before a visitor, and among contacts
    that share a number to the one with the lowest id.
    """

    def __init__(self, people: Iterable[PersonObserved] = ()) -> None:
        self._people: dict[PersonId, PersonObserved] = {}
        self._by_address: dict[str, set[PersonId]] = {}
        for person in people:
            self.put(person)
        self._loaded = dict(self._people)

    def get(self, person_id: PersonId) -> PersonObserved | None:
        return self._people.get(person_id)

    def put(self, person: PersonObserved) -> None:
        former = self._people.get(person.person_id)
        for address in () if former is None else _address_keys(former):
            self._by_address[address].discard(person.person_id)
        for address in _address_keys(person):
            self._by_address.setdefault(address, set()).add(person.person_id)
        self._people[person.person_id] = person

    def by_bsuid(self, bsuid: Bsuid | None) -> PersonObserved | None:
        return None if bsuid is None else self._first_at(bsuid)

    def by_phone(self, phone: Phone | None) -> PersonObserved | None:
        return None if phone is None else self._first_at(phone_key(phone))

    def contacts_at(self, *numbers: Phone | None) -> list[PersonObserved]:
        """The contacts with one of these numbers, in the order of their ids."""
        found = {one for number in numbers if number for one in self._by_address.get(phone_key(number), ())}
        contacts = (self._people[one] for one in sorted(found))
        return [person for person in contacts if person.contact_id is not None]

    def others_at(self, person_id: PersonId, *addresses: str) -> tuple[PersonId, ...]:
        """Other people with one of these addresses, or with the person's own number or BSUID."""
        person = self._people[person_id]
        keys = (*addresses, *_address_keys(person))
        found = {other for address in keys for other in self._by_address.get(address, ())}
        return tuple(sorted(found - {person_id}))

    def changed(self, now: datetime) -> list[PersonObserved]:
        """The people that differ from those loaded, each with its next version."""
        return [
            person.replace(version=_version(self._loaded, person.person_id) + 1, observed_at=now)
            for person in self._people.values()
            if person != self._loaded.get(person.person_id)
        ]

    def part(self, addresses: Iterable[str], persons: Iterable[PersonId]) -> "PersonDirectory":
        """Exactly those of the people that the store would have loaded for these addresses and ids."""
        found = self._people.keys() & persons
        for address in addresses:
            at_address = self._by_address.get(address, set())
            owners = (self._people[person_id] for person_id in at_address)
            found |= at_address.union(*(self._with_number_of(one) for one in owners if one.addresses.bsuid == address))
        return PersonDirectory(self._people[person_id] for person_id in sorted(found))

    def _with_number_of(self, owner: PersonObserved) -> set[PersonId]:
        """At the owner's number, or with the one that WhatsApp uses for the owner as their own."""
        phone, wa_id = owner.addresses.phone, owner.addresses.wa_id
        at_number = self._by_address.get(phone_key(phone), set()) if phone else set()
        at_wa_id = self._by_address.get(phone_key(wa_id), set()) if wa_id else set()
        return at_number | {other for other in at_wa_id if _has_number(self._people[other], wa_id)}

    def merge(self, visitor: PersonObserved, into: PersonObserved) -> PersonObserved:
        """The visitor is a known person: it loses its addresses, which fill the gaps of the other's."""
        mine, theirs = into.addresses, visitor.addresses
        self.put(visitor.replace(merged_into=into.person_id, addresses=Addresses()))
        number = mine.wa_id or theirs.wa_id or theirs.phone
        merged = into.replace(addresses=_addresses(mine.phone or theirs.phone, mine.bsuid or theirs.bsuid, number))
        self.put(merged)
        return merged

    def _first_at(self, address: str) -> PersonObserved | None:
        found = (self._people[person_id] for person_id in self._by_address.get(address, ()))
        return min(found, key=lambda person: (person.contact_id or _AFTER_ALL_CONTACTS, person.person_id), default=None)


def _address_keys(person: PersonObserved) -> list[str]:
    """A BSUID never looks like a number: it has a dot, and a number begins with a plus."""
    addresses = person.addresses
    numbers = [phone_key(number) for number in (addresses.phone, addresses.wa_id) if number]
    return [*numbers, *([addresses.bsuid] if addresses.bsuid else [])]


def _has_number(person: PersonObserved, number: Phone | None) -> bool:
    phone = person.addresses.phone
    return phone is not None and number is not None and phone_key(phone) == phone_key(number)


def _addresses(phone: Phone | None, bsuid: Bsuid | None, number: Phone | None) -> Addresses:
    """``number`` is the one that WhatsApp uses; it is kept beside ``phone`` only where it is another."""
    is_other = phone is not None and number is not None and phone_key(number) != phone_key(phone)
    return Addresses(phone=phone or number, bsuid=bsuid, wa_id=number if is_other else None)


def _version(loaded: Mapping[PersonId, PersonObserved], person_id: PersonId) -> int:
    former = loaded.get(person_id)
    return 0 if former is None else former.version


def lookup_keys(identity: ObservedIdentity) -> list[str]:
    """The addresses that the directory must be loaded with before ``identify``: BSUIDs, and keys of numbers."""
    bsuids = [bsuid for bsuid in (identity.bsuid, identity.former_bsuid) if bsuid]
    phones = [phone_key(phone) for phone in (identity.phone, identity.former_phone) if phone]
    return [*bsuids, *phones]


def visitor_id(identity: ObservedIdentity, tenant: TenantId, pseudonyms: Pseudonymizer) -> PersonId:
    """The person id of an unknown person with these addresses: the same one each time."""
    return pseudonyms.visitor_id(tenant, identity.bsuid or identity.phone or "")


def identify(
    directory: PersonDirectory, identity: ObservedIdentity, visitor: PersonId, now: datetime, at: datetime | None = None
) -> PersonId:
    """The person with these addresses, of which one must be present. Adds to ``directory`` what they show.

    ``visitor`` is the id of a new person where none is known at the addresses. ``at`` is when WhatsApp showed them.
    """
    since = identity.user_since(at or now)
    if identity.change in {IdentityChange.NUMBER, IdentityChange.BSUID}:
        return _change_addresses(directory, identity, visitor, now, since)
    person = _person_at(directory, identity.bsuid, identity.phone)
    if person is None:
        return _add_visitor(directory, identity, visitor, now)
    person_id = _add_addresses(directory, person, identity, since)
    _show_user_to_others(directory, person, identity, since)
    return _note_seen(directory, person_id, now)


def _note_seen(directory: PersonDirectory, person_id: PersonId, now: datetime) -> PersonId:
    """Contacts are kept for as long as Consonance has them: nothing counts from when they wrote."""
    person = directory.get(person_id)
    if person is not None and person.contact_id is None and person.observed_at + SEEN_ANEW_AFTER < now:
        directory.put(person.replace(observed_at=now))
    return person_id


def apply_contact(
    directory: PersonDirectory, new: ContactSnapshot, old: ContactSnapshot | None, tenant: TenantId, now: datetime
) -> None:
    """Put a contact's state in Consonance into ``directory``; a visitor with its number or BSUID is merged into it.

    A number learnt from WhatsApp stays until Consonance has another number than in ``old``; so does a BSUID, unless the
    other number is known as the person's own already.
    """
    person_id = person_id_of_contact(tenant, new.contact_id)
    known = directory.get(person_id)
    has_new_phone = old is None or old.phone != new.phone
    addresses = known.addresses if known else Addresses()
    bsuid = new.bsuid or (None if has_new_phone and _is_elsewhere(addresses, new.phone) else addresses.bsuid)
    visitors = [one for one in (directory.by_phone(new.phone), directory.by_bsuid(new.bsuid)) if one is not None]
    person = PersonObserved(
        person_id=person_id,
        contact_id=new.contact_id,
        party=new.kind,
        display_name=new.name,
        country=new.country,
        language=new.language,
        zone=new.zone,
        roles=new.roles,
        addresses=addresses,
        observed_at=known.observed_at if known else now,
        version=known.version if known else 0,
        user_since=known.user_since if known else None,
    )
    shown = Addresses(phone=new.phone, bsuid=bsuid) if has_new_phone else addresses.replace(bsuid=bsuid)
    person = _with_addresses(person, shown, now)
    directory.put(person)
    for visitor in visitors:
        if visitor.contact_id is None:
            person = directory.merge(directory.get(visitor.person_id) or visitor, person)


def _is_elsewhere(known: Addresses, phone: Phone | None) -> bool:
    """Whether a person whose number is ``phone`` by now is another WhatsApp user than the one at the known addresses.

    A BSUID belongs to a user at their number: WhatsApp gives another one to who changes it.
    """
    numbers = {phone_key(number) for number in (known.phone, known.wa_id) if number}
    return bool(numbers) and (phone is None or phone_key(phone) not in numbers)


def _with_addresses(person: PersonObserved, addresses: Addresses, since: datetime) -> PersonObserved:
    """``since`` is from when on another BSUID, where the addresses have one, is the person's."""
    before, after = person.addresses.bsuid, addresses.bsuid
    is_another_user = before is not None and after is not None and before != after
    return person.replace(addresses=addresses, user_since=since if is_another_user else person.user_since)


def _show_user_to_others(
    directory: PersonDirectory, known: PersonObserved, identity: ObservedIdentity, since: datetime
) -> None:
    """The user at a number is the same for all contacts who share it with the person, ``known`` as before.

    A contact with another BSUID of their own keeps it.
    """
    person = directory.get(known.person_id)
    if identity.bsuid is None or person is None or person.addresses.bsuid != identity.bsuid:
        return
    sharing = directory.contacts_at(identity.phone)
    if person not in sharing:
        return
    for other in sharing:
        if other.addresses.bsuid in {None, known.addresses.bsuid}:
            directory.put(_with_addresses(other, other.addresses.replace(bsuid=identity.bsuid), since))


def _change_addresses(
    directory: PersonDirectory, identity: ObservedIdentity, visitor: PersonId, now: datetime, since: datetime
) -> PersonId:
    """A person's addresses changed; a person already known at the new ones is the same.

    All contacts who shared the former number follow, since it is their account, too.
    """
    before = _person_at(directory, identity.former_bsuid, identity.former_phone)
    after = _person_at(directory, identity.bsuid, identity.phone)
    person = _same_person(directory, before, after)
    if person is None:
        return _add_visitor(directory, identity, visitor, now)
    known, former = person.addresses, before.addresses if before else Addresses()
    bsuid = identity.bsuid or known.bsuid
    sharing = directory.contacts_at(identity.former_phone, former.phone, former.wa_id)
    users = {None, known.bsuid, former.bsuid, identity.former_bsuid, identity.bsuid}
    for one in (person, *(other for other in sharing if other.addresses.bsuid in users)):
        at = one.addresses.replace(bsuid=bsuid)
        addresses = at if identity.phone is None else Addresses(phone=identity.phone, bsuid=bsuid)
        directory.put(_with_addresses(one, addresses, since))
    return person.person_id


def _person_at(directory: PersonDirectory, bsuid: Bsuid | None, phone: Phone | None) -> PersonObserved | None:
    """The person with these addresses, which were shown together."""
    return _same_person(directory, directory.by_bsuid(bsuid), directory.by_phone(phone))


def _same_person(
    directory: PersonDirectory, one: PersonObserved | None, other: PersonObserved | None
) -> PersonObserved | None:
    """The person found at two addresses; a visitor among two people is merged into the other."""
    if one is None or other is None or one.person_id == other.person_id:
        return one or other
    if one.contact_id is not None and other.contact_id is not None:
        return one
    if one.contact_id is None and other.contact_id is not None:
        return directory.merge(one, other)
    return directory.merge(other, one)


def _add_addresses(
    directory: PersonDirectory,
    person: PersonObserved,
    identity: ObservedIdentity,
    since: datetime,
    *,
    keeps_phone: bool = False,
) -> PersonId:
    """A BSUID belongs to the person it is seen with; a contact is still written to by the number of Consonance."""
    known = person.addresses
    if keeps_phone or person.contact_id is not None:
        phone = known.phone or identity.phone
    else:
        phone = identity.phone or known.phone
    number = identity.phone if _is_free(directory, person, identity.phone) else None
    bsuid = known.bsuid
    owner = directory.by_bsuid(identity.bsuid)
    if identity.bsuid is not None and (owner is None or owner.person_id == person.person_id):
        bsuid = identity.bsuid
    name = _known_name(person) or identity.name
    shown = _addresses(phone, bsuid, number or known.wa_id)
    updated = _with_addresses(person.replace(display_name=name), shown, since)
    if updated != person:
        directory.put(updated)
    return person.person_id


def _is_free(directory: PersonDirectory, person: PersonObserved, number: Phone | None) -> bool:
    """Whether no other contact has the number. Contacts that share a number keep what Consonance has of each."""
    owner = directory.by_phone(number)
    return owner is None or owner.person_id == person.person_id or owner.contact_id is None


@dataclass(frozen=True, slots=True)
class ReachedAddress:
    """Where a message to a person arrived, as a status says. ``version`` is that of the state it was sent by."""

    person: PersonId
    version: int
    bsuid: Bsuid | None
    phone: Phone | None

    @property
    def identity(self) -> ObservedIdentity:
        return ObservedIdentity(self.bsuid, self.phone)


def learn_address(directory: PersonDirectory, reached: ReachedAddress, now: datetime) -> None:
    """Add to a person the BSUID and the number that a message to them reached; a visitor found there is merged.

    A visitor who is reached at a contact's address is that contact.

    Nothing is learnt where the person's state has changed since the message was sent: the address may be a former one.
    """
    person = directory.get(reached.person)
    if person is None or person.erased or person.merged_into is not None or person.version != reached.version:
        return
    for owner in (directory.by_bsuid(reached.bsuid), directory.by_phone(reached.phone)):
        if owner is None or owner.person_id == person.person_id:
            continue
        if owner.contact_id is None:
            person = directory.merge(owner, person)
        elif person.contact_id is None:
            person = directory.merge(person, owner)
    _add_addresses(directory, person, reached.identity, now, keeps_phone=True)
    _show_user_to_others(directory, person, reached.identity, now)


def _add_visitor(directory: PersonDirectory, identity: ObservedIdentity, visitor: PersonId, now: datetime) -> PersonId:
    """A visitor seen before, whose addresses had another owner since, is that visitor again."""
    before = directory.get(visitor)
    person = PersonObserved(
        person_id=visitor,
        party=PartyKind.PERSON,
        display_name=identity.name or _known_name(before),
        addresses=Addresses(phone=identity.phone, bsuid=identity.bsuid),
        observed_at=now,
        version=before.version if before else 0,
    )
    directory.put(person)
    return person.person_id


def _known_name(person: PersonObserved | None) -> str | None:
    return None if person is None or person.display_name == PLACEHOLDER_NAME else person.display_name


def person_event(person: PersonObserved, context: EventContext) -> Event:
    """A person's full state for ``contacts``. Its id contains the version, so each state is published once."""
    key = partition_key(context.tenant, "persons", person.person_id)
    event_id = derive_id(context.tenant, "person", person.person_id, person.version)
    return context.event(person, id=event_id, key=key, at=person.observed_at)


def address_locks(tenant: str, addresses: list[str]) -> list[str]:
    """The advisory locks under which people with these addresses are changed."""
    return [f"{tenant}/address/{address}" for address in addresses]

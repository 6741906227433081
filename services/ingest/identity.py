"""Identifies the person behind addresses: addresses seen together belong to one person. Pure.

The person is a contact of Consonance, or a visitor until a contact with the same address appears. Each further address
that WhatsApp shows is added to the person: a BSUID beside a known number, a changed number, a changed BSUID. Two
contacts are never merged, because Consonance keeps them apart.

WhatsApp delivers in any order, and again, so its own instants count: a message from before a change belongs to the
person who had the address then, and a change that is older than one already known alters no address.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.ingest.person_directory import LONG_AGO, FormerAddress, PersonDirectory, address_key, join_addresses
from services.ingest.poll.snapshots import ContactSnapshot
from services.ingest.records import EventContext
from shared.clients.phone_numbers import phone_key
from shared.contracts.contacts import PLACEHOLDER_NAME, Addresses, PersonObserved
from shared.contracts.envelope import Event
from shared.contracts.ids import Bsuid, PersonId, Phone, TenantId, derive_id, partition_key, person_id_of_contact
from shared.contracts.values import format_instant
from shared.contracts.vocabulary import PartyKind
from shared.contracts.whatsapp import IdentityChange
from shared.runtime.credentials import Pseudonymizer

_ONE_SECOND = timedelta(seconds=1)
_REPORTS_APART = timedelta(seconds=5)
"""WhatsApp reports a changed BSUID beside the changed number; the two instants need not be the same."""

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
        """The instant from which a BSUID that was shown at ``at`` counts as the person's.

        WhatsApp's instants are whole seconds. A message is its new user's own; no account is set up within a second, so
        the former user wrote nothing in it. In the second of an announced change the order is not known.
        """
        return at if self.change is not None else at - _ONE_SECOND

    @property
    def new_phone(self) -> Phone | None:
        """The number that was moved to; a report of a changed BSUID names a number that may be the former one."""
        if self.former_phone is None:
            return self.phone if self.change is IdentityChange.NUMBER else None
        is_same = self.phone is None or phone_key(self.phone) == phone_key(self.former_phone)
        return None if is_same else self.phone

    @property
    def address_changes(self) -> list[tuple[str, str]]:
        """The former and the new address, for each kind that has changed."""
        pairs: tuple[tuple[str | None, str | None], ...] = (
            (self.former_phone, self.phone),
            (self.former_bsuid, self.bsuid),
        )
        return [(old, new) for old, new in pairs if old and new and address_key(old) != address_key(new)]


def lookup_keys(identity: ObservedIdentity) -> list[str]:
    """The addresses that the directory must be loaded with before ``identify``: BSUIDs, and keys of numbers."""
    bsuids = [bsuid for bsuid in (identity.bsuid, identity.former_bsuid) if bsuid]
    phones = [phone_key(phone) for phone in (identity.phone, identity.former_phone) if phone]
    return [*bsuids, *phones]


def visitor_id(identity: ObservedIdentity, tenant: TenantId, pseudonyms: Pseudonymizer) -> PersonId:
    """The person id of an unknown person with these addresses: the same one each time."""
    return pseudonyms.visitor_id(tenant, identity.bsuid or identity.phone or "")


def address_hash(tenant: TenantId, key: str, pseudonyms: Pseudonymizer) -> str:
    """Stands for an address of an erased person; ``key`` is the form by which it is looked up."""
    return pseudonyms.hash("erased address", tenant, key)


def identify(
    directory: PersonDirectory, identity: ObservedIdentity, visitor: PersonId, now: datetime, at: datetime | None = None
) -> PersonId:
    """The person with these addresses, of which one must be present. Adds to ``directory`` what they show.

    ``visitor`` is the id of a new person where none is known at the addresses. ``at`` is when WhatsApp showed them.
    """
    at = at or now
    if identity.change in {IdentityChange.NUMBER, IdentityChange.BSUID}:
        return _change_addresses(directory, identity, visitor, now, at)
    person = _person_at(directory, identity.bsuid, identity.phone, at)
    if person is None:
        return _add_visitor(directory, identity, visitor, now, at)
    since = identity.user_since(at)
    if directory.last_change(person) >= at:  # the addresses are those of then
        has_number = person.addresses.phone is not None or directory.number_since(person) >= at
        identity = ObservedIdentity(None, None if has_number else identity.phone, identity.name)
    person_id = _add_addresses(directory, person, identity, since)
    _share_user(directory, person, identity, since)
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

    A number learnt from WhatsApp stays until Consonance has a new number: one that differs from ``old`` and that the
    person, by WhatsApp, has not left. A BSUID goes at the same moment, unless the new number is known as the person's
    own already.
    """
    person_id = person_id_of_contact(tenant, new.contact_id)
    known = directory.get(person_id)
    has_new_phone = not _has_left(directory, person_id, new.phone) if old is None else old.phone != new.phone
    addresses = known.addresses if known else Addresses()
    bsuid = new.bsuid or (None if has_new_phone and _is_elsewhere(addresses, new.phone) else addresses.bsuid)
    shown = Addresses(phone=new.phone, bsuid=bsuid) if has_new_phone else addresses.replace(bsuid=bsuid)
    visitors = [one for one in (directory.by_phone(shown.phone), directory.by_bsuid(new.bsuid)) if one is not None]
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
    person = _with_addresses(person, shown, now)
    directory.put(person)
    for visitor in visitors:
        if visitor.contact_id is None:
            person = directory.merge(directory.get(visitor.person_id) or visitor, person)


def _has_left(directory: PersonDirectory, person: PersonId, phone: Phone | None) -> bool:
    return phone is not None and phone_key(phone) in {address_key(one.address) for one in directory.former(person)}


def _is_elsewhere(known: Addresses, phone: Phone | None) -> bool:
    """Whether the current number ``phone`` shows that the known addresses belong to another WhatsApp user.

    A BSUID belongs to a user at one number: WhatsApp gives a user who changes the number another BSUID.
    """
    numbers = {phone_key(number) for number in (known.phone, known.wa_id) if number}
    return bool(numbers) and (phone is None or phone_key(phone) not in numbers)


def _with_addresses(person: PersonObserved, addresses: Addresses, since: datetime) -> PersonObserved:
    """``since`` is from when on another BSUID, where the addresses have one, is the person's."""
    is_another_user = addresses.bsuid is not None and addresses.bsuid != person.addresses.bsuid
    return person.replace(addresses=addresses, user_since=since if is_another_user else person.user_since)


def _share_user(directory: PersonDirectory, known: PersonObserved, identity: ObservedIdentity, since: datetime) -> None:
    """Give the person's new BSUID to the other contacts with the same number: they share one WhatsApp user.

    ``known`` is the person's state before. A contact with another BSUID of their own keeps it.
    """
    person = directory.get(known.person_id)
    if identity.bsuid is None or person is None or person.addresses.bsuid != identity.bsuid:
        return
    sharing = directory.contacts_at(identity.phone)
    if person not in sharing:
        return
    for other in sharing:
        if other.addresses.bsuid in {None, known.addresses.bsuid}:
            updated = _with_addresses(other, other.addresses.replace(bsuid=identity.bsuid), since)
            directory.put(updated)
            _note_replaced_user(directory, other.addresses.bsuid, updated, since)


def _change_addresses(
    directory: PersonDirectory, identity: ObservedIdentity, visitor: PersonId, now: datetime, at: datetime
) -> PersonId:
    """A person's number, BSUID or both changed at that instant; a person already known at the new ones is the same.

    All contacts who shared the former number follow, since it is their account, too. A change that was applied before
    alters nothing; of two changes of a number, or of a BSUID, the later one counts, in whatever order they come.
    """
    before = _person_before(directory, identity, at)
    if before is not None and _is_applied(directory, before, identity, at):
        return before.person_id
    after = _person_at(directory, identity.bsuid, identity.new_phone, at + _ONE_SECOND)
    before = _merged(directory, before)
    if before is not None and after is not None and None not in {before.contact_id, after.contact_id}:
        after = before  # two contacts are kept apart
    sharing = [] if before is None else _sharing(directory, identity, before, after)
    for one in [before, *sharing] if before is not None else []:
        _leave(directory, one, identity, at)
    bsuid = identity.bsuid or _user_at_new_number(directory, before, after)
    person = _same_person(
        directory, before and directory.get(before.person_id), after and directory.get(after.person_id)
    )
    if person is None:
        person_id = _add_visitor(directory, identity, visitor, now, at)
        _note_former(directory, person_id, identity, (), at)
        return person_id
    _note_former(directory, person.person_id, identity, (), at)
    person = _with_change(directory, person, identity, bsuid, at)
    directory.put(person)
    _note_replaced_user(directory, identity.bsuid, person, directory.user_since(person))
    for other in (directory.get(one.person_id) for one in sharing):
        if other is not None:
            own = person.addresses if identity.new_phone else other.addresses
            since = person.user_since or at
            directory.put(_with_addresses(other, own.replace(bsuid=person.addresses.bsuid), since))
    return person.person_id


def _merged(directory: PersonDirectory, person: PersonObserved | None) -> PersonObserved | None:
    """The person, or the one whom they turned out to be meanwhile."""
    known = None if person is None else directory.get(person.person_id)
    return known if known is None or known.merged_into is None else directory.get(known.merged_into)


def _person_before(directory: PersonDirectory, identity: ObservedIdentity, at: datetime) -> PersonObserved | None:
    """The person whose addresses changed.

    A report of a changed BSUID may name the number that was left with it, some moments before: it is looked for then.
    """
    if identity.new_phone is not None:
        return _person_at(directory, identity.former_bsuid, identity.former_phone, at)
    return _person_at(directory, identity.former_bsuid, identity.former_phone or identity.phone, at - _REPORTS_APART)


def _user_at_new_number(
    directory: PersonDirectory, before: PersonObserved | None, after: PersonObserved | None
) -> Bsuid | None:
    """The BSUID that was seen at the new number, unless a later one of the person is known."""
    if before is None or after is None or LONG_AGO < directory.user_since(after) < directory.user_since(before):
        return None
    return after.addresses.bsuid


def _is_applied(directory: PersonDirectory, person: PersonObserved, identity: ObservedIdentity, at: datetime) -> bool:
    changes = identity.address_changes
    return bool(changes) and all(directory.has_left(person.person_id, former, at) for former, _ in changes)


def _sharing(
    directory: PersonDirectory, identity: ObservedIdentity, before: PersonObserved, after: PersonObserved | None
) -> list[PersonObserved]:
    """The other contacts whose account it was: at the former number, and not with another BSUID of their own."""
    if before.contact_id is None:
        return []
    former = before.addresses
    users = {None, former.bsuid, identity.former_bsuid, identity.bsuid, after.addresses.bsuid if after else None}
    there = directory.contacts_at(identity.former_phone, former.phone, former.wa_id)
    return [one for one in there if one.addresses.bsuid in users and one not in {before, after}]


def _leave(directory: PersonDirectory, person: PersonObserved, identity: ObservedIdentity, at: datetime) -> None:
    """Record that the person left their addresses at that instant, unless a later change is known.

    A BSUID that was first seen at the number some time later belongs to the next person with this number.
    """
    addresses, left = person.addresses, list[str | None]()
    if identity.new_phone is not None and directory.number_since(person) <= at:
        left += [addresses.phone, addresses.wa_id]
        if person.user_since is not None and person.user_since > at + _REPORTS_APART:
            directory.put(person.replace(addresses=addresses.replace(bsuid=None), user_since=None))
            addresses = addresses.replace(bsuid=None)
    if identity.bsuid is not None and directory.user_since(person) <= at:
        left.append(addresses.bsuid)
    _note_former(directory, person.person_id, identity, left, at)


def _note_former(
    directory: PersonDirectory,
    person_id: PersonId,
    identity: ObservedIdentity,
    left: Iterable[str | None],
    at: datetime,
) -> None:
    new = {address_key(address) for address in (identity.phone, identity.bsuid) if address}
    former = (*left, identity.former_phone, identity.former_bsuid)
    by_key = {address_key(address): address for address in former if address}
    gone = [address for key, address in by_key.items() if key not in new]
    directory.put_former(person_id, [FormerAddress(address=address, until=at) for address in gone])


def _with_change(
    directory: PersonDirectory, person: PersonObserved, identity: ObservedIdentity, bsuid: Bsuid | None, at: datetime
) -> PersonObserved:
    """The person with the new addresses, but for those of which a later change is known."""
    addresses = person.addresses
    if identity.new_phone is None:
        addresses = addresses.replace(phone=addresses.phone or identity.phone)
    elif directory.number_since(person) <= at:
        addresses = addresses.replace(phone=identity.new_phone, wa_id=None)
    else:
        addresses = _without(identity.former_phone, addresses)
    if bsuid is not None and directory.user_since(person) <= at:
        addresses = addresses.replace(bsuid=bsuid)
    return _with_addresses(person, addresses, at)


def _without(former: Phone | None, addresses: Addresses) -> Addresses:
    """The addresses without the number that was left, where Consonance has that number and WhatsApp another one."""
    phone, wa_id = addresses.phone, addresses.wa_id
    if former is None or phone is None or wa_id is None or phone_key(former) != phone_key(phone):
        return addresses
    return addresses.replace(phone=wa_id, wa_id=None)


def _person_at(
    directory: PersonDirectory, bsuid: Bsuid | None, phone: Phone | None, at: datetime
) -> PersonObserved | None:
    """The person who had these addresses at that instant, when they were shown together."""
    return _same_person(directory, directory.by_bsuid(bsuid, at), directory.by_phone(phone, at))


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
    is_outdated = bsuid is not None and person.user_since is not None and since < person.user_since
    if identity.bsuid is not None and not is_outdated and (owner is None or owner.person_id == person.person_id):
        bsuid = identity.bsuid
    name = _known_name(person) or identity.name
    shown = join_addresses(phone, bsuid, number or known.wa_id)
    updated = _with_addresses(person.replace(display_name=name), shown, since)
    if updated != person:
        directory.put(updated)
    _note_replaced_user(directory, known.bsuid, updated, since)
    return person.person_id


def _note_replaced_user(
    directory: PersonDirectory, bsuid: Bsuid | None, person: PersonObserved, since: datetime
) -> None:
    """A BSUID that another one has replaced was the person's: a report about it may come yet, without any number."""
    if bsuid is not None and person.addresses.bsuid not in {None, bsuid}:
        directory.put_former(person.person_id, [FormerAddress(address=bsuid, until=since)])


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
    _share_user(directory, person, reached.identity, now)


def _add_visitor(
    directory: PersonDirectory, identity: ObservedIdentity, visitor: PersonId, now: datetime, at: datetime
) -> PersonId:
    """A visitor seen before, whose addresses had another owner since, is that visitor again.

    But not where that visitor, or the person whom the visitor turned out to be, has left the address: then the one who
    writes from there is a new visitor, with a new id.
    """
    before = directory.get(visitor)
    if before is not None and _has_moved(directory, before, identity):
        visitor, before = PersonId("v" + derive_id(visitor, format_instant(at))), None
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


def _has_moved(directory: PersonDirectory, before: PersonObserved, identity: ObservedIdentity) -> bool:
    shown = [address for address in (identity.bsuid, identity.phone) if address]
    return before.addresses != Addresses() or (not before.erased and any(map(directory.was_left, shown)))


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

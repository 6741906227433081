"""Identifies the person behind addresses: addresses seen together belong to one person. Pure.

The person is a contact of Consonance, or a visitor until a contact with the same address appears. What WhatsApp shows
is added to the person: a BSUID beside a known number, a changed number, a changed BSUID. Two contacts are never merged,
because Consonance keeps them apart.

WhatsApp delivers in any order, and again, so its own instants count: a message from before a change is the person's who
had the address then, and a change that is older than one already known alters no address.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from services.ingest.person_directory import (
    FormerAddress,
    PersonDirectory,
    address_key,
    address_keys,
    join_addresses,
)
from services.ingest.phone_numbers import phone_key
from services.ingest.poll.snapshots import ContactSnapshot
from services.ingest.records import EventContext
from shared.contracts.contacts import PLACEHOLDER_NAME, Addresses, PersonObserved
from shared.contracts.envelope import Event
from shared.contracts.ids import Bsuid, PersonId, Phone, TenantId, derive_id, partition_key, person_id_of_contact
from shared.contracts.values import format_instant
from shared.contracts.vocabulary import PartyKind
from shared.contracts.whatsapp import IdentityChange
from shared.runtime.credentials import Pseudonymizer

_ONE_SECOND = timedelta(seconds=1)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)

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

    @property
    def moves(self) -> list[tuple[str, str]]:
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
    if _last_change(directory, person) >= at:  # the addresses are those of then
        identity = ObservedIdentity(None, None, identity.name)
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

    A number learnt from WhatsApp stays until Consonance has another number than in ``old``, or than the one that
    WhatsApp said the person has left; so does a BSUID, unless the other number is known as the person's own already.
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
    """Whether a person whose number is ``phone`` by now is another WhatsApp user than the one at the known addresses.

    A BSUID belongs to a user at their number: WhatsApp gives another one to who changes it.
    """
    numbers = {phone_key(number) for number in (known.phone, known.wa_id) if number}
    return bool(numbers) and (phone is None or phone_key(phone) not in numbers)


def _with_addresses(person: PersonObserved, addresses: Addresses, since: datetime) -> PersonObserved:
    """``since`` is from when on another BSUID, where the addresses have one, is the person's."""
    is_another_user = addresses.bsuid is not None and addresses.bsuid != person.addresses.bsuid
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
    directory: PersonDirectory, identity: ObservedIdentity, visitor: PersonId, now: datetime, at: datetime
) -> PersonId:
    """A person's addresses changed at that instant; a person already known at the new ones is the same.

    All contacts who shared the former number follow, since it is their account, too. A change that was applied before
    alters nothing; one that comes after a newer one leaves the addresses of the newer one.
    """
    if identity.former_phone is None and identity.phone is not None and directory.was_left_at(identity.phone, at):
        identity = replace(
            identity, former_phone=identity.phone, phone=None
        )  # a changed BSUID, beside the former number
    before = _person_at(directory, identity.former_bsuid, identity.former_phone, at)
    if before is not None and _is_applied(directory, before, identity, at):
        return before.person_id
    after = _person_at(directory, identity.bsuid, identity.phone, at + _ONE_SECOND)
    if before is not None and after is not None and None not in {before.contact_id, after.contact_id}:
        after = before  # two contacts are kept apart
    newer = _changed_after(directory, (before, after), at)
    person = _same_person(directory, before, after)
    if person is None:
        person_id = _add_visitor(directory, identity, visitor, now, at)
        _leave(directory, person_id, identity, Addresses(), at)
        return person_id
    was_there = before if before != newer else None
    is_contact = was_there is not None and was_there.contact_id is not None
    sharing = _sharing(directory, identity, was_there, person) if was_there is not None and is_contact else []
    bsuid = identity.bsuid or _bsuid_until(person, at)
    for one, former in [(person, was_there), *((other, other) for other in sharing)]:
        if newer is not None:
            addresses, since = _without(identity.former_phone, newer.addresses, bsuid), _last_change(directory, newer)
        else:
            own = one.addresses.replace(bsuid=bsuid)
            addresses, since = own if identity.phone is None else Addresses(phone=identity.phone, bsuid=bsuid), at
        directory.put(_with_addresses(one, addresses, since))
        left = Addresses() if former is None else former.addresses.replace(bsuid=_bsuid_until(former, at))
        _leave(directory, one.person_id, identity, left, at)
    return person.person_id


def _is_applied(directory: PersonDirectory, person: PersonObserved, identity: ObservedIdentity, at: datetime) -> bool:
    moves = identity.moves
    return bool(moves) and all(directory.has_left(person.person_id, former, at) for former, _ in moves)


def _changed_after(
    directory: PersonDirectory, people: Iterable[PersonObserved | None], at: datetime
) -> PersonObserved | None:
    """The one of them of whom the newest change is known, if it is one after that instant."""
    found = [one for one in people if one is not None and _last_change(directory, one) > at]
    return max(found, key=lambda one: _last_change(directory, one), default=None)


def _without(former: Phone | None, addresses: Addresses, bsuid: Bsuid | None) -> Addresses:
    """The addresses of a newer change. Of two numbers, the one that was left is the one of Consonance."""
    known = addresses.replace(bsuid=addresses.bsuid or bsuid)
    if former is None or known.phone is None or known.wa_id is None or phone_key(former) != phone_key(known.phone):
        return known
    return known.replace(phone=known.wa_id, wa_id=None)


def _last_change(directory: PersonDirectory, person: PersonObserved) -> datetime:
    return max((one.until for one in directory.former(person.person_id)), default=_LONG_AGO)


def _bsuid_until(person: PersonObserved, at: datetime) -> Bsuid | None:
    """A BSUID that was first shown after that instant, where the person had left, is that of the next one there."""
    return None if person.user_since is not None and person.user_since > at else person.addresses.bsuid


def _sharing(
    directory: PersonDirectory, identity: ObservedIdentity, was_there: PersonObserved, person: PersonObserved
) -> list[PersonObserved]:
    """The other contacts whose account it was: at the former number, and not with another BSUID of their own."""
    former = was_there.addresses
    users = {None, former.bsuid, person.addresses.bsuid, identity.former_bsuid, identity.bsuid}
    there = directory.contacts_at(identity.former_phone, former.phone, former.wa_id)
    return [one for one in there if one.addresses.bsuid in users and one.person_id != person.person_id]


def _leave(
    directory: PersonDirectory, person_id: PersonId, identity: ObservedIdentity, left: Addresses, at: datetime
) -> None:
    """The person had the former addresses, and those in ``left``, until then; those that they have now stay theirs."""
    person = directory.get(person_id)
    kept = address_keys(person.addresses) if person is not None else []
    former = (identity.former_phone, identity.former_bsuid, left.phone, left.wa_id, left.bsuid)
    by_key = {address_key(address): address for address in reversed(former) if address}
    gone = [address for key, address in by_key.items() if key not in kept]
    directory.put_former(person_id, [FormerAddress(address=address, until=at) for address in gone])


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

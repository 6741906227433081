"""Who is this? Addresses seen together are one person's: a contact's, else a visitor's until a contact is matched.

What WhatsApp teaches is joined: a BSUID beside a known number, a changed number, a changed BSUID. Two contacts are
never joined: whom Consonance keeps apart stays apart.
"""

from datetime import datetime

from services.ingest.addresses import phone_key
from services.ingest.records import Sighting
from services.ingest.register import Register
from services.ingest.views import ContactView
from shared.contracts.contacts import PLACEHOLDER_NAME, Addresses, PersonObserved
from shared.contracts.ids import PersonId, TenantId, person_id_of_contact
from shared.contracts.vocabulary import PartyKind
from shared.contracts.whatsapp import IdentityChange
from shared.runtime.pseudonyms import Pseudonymizer


def recognise(register: Register, sighting: Sighting, stranger: PersonId, now: datetime) -> PersonId:
    """The person of a sighting; what it teaches is put into ``register``. Needs a BSUID or a number.

    ``stranger`` is the person id of the sighting if nobody is known at its addresses.
    """
    if sighting.change in {IdentityChange.NUMBER, IdentityChange.BSUID}:
        return _moved(register, sighting, stranger, now)
    named, numbered = register.by_bsuid(sighting.bsuid), register.by_phone(sighting.phone)
    person = _one_of(register, named, numbered)
    if person is None:
        return _meet(register, sighting, stranger, now)
    return _learn(register, person, sighting)


def addresses_of(sighting: Sighting) -> list[str]:
    """What the register must have been asked for before ``recognise``: BSUIDs, and numbers in their one spelling."""
    bsuids = [bsuid for bsuid in (sighting.bsuid, sighting.former_bsuid) if bsuid]
    phones = [phone_key(phone) for phone in (sighting.phone, sighting.former_phone) if phone]
    return [*bsuids, *phones]


def minted(sighting: Sighting, tenant: TenantId, pseudonyms: Pseudonymizer) -> PersonId:
    """The visitor somebody unknown at these addresses becomes."""
    return pseudonyms.visitor_id(tenant, sighting.bsuid or sighting.phone or "")


def introduce(
    register: Register, view: ContactView, before: ContactView | None, tenant: TenantId, now: datetime
) -> None:
    """A contact as Consonance has it now; a visitor at its number was this contact all along.

    The number WhatsApp taught us stays until Consonance says another than ``before``.
    """
    person_id = person_id_of_contact(tenant, view.contact_id)
    known = register.get(person_id)
    told_phone = before is None or before.phone != view.phone
    addresses = known.addresses if known else Addresses()
    stranger = register.by_phone(view.phone)
    person = PersonObserved(
        person_id=person_id,
        contact_id=view.contact_id,
        party=view.kind,
        display_name=view.name,
        country=view.country,
        language=view.language,
        zone=view.zone,
        roles=view.roles,
        addresses=Addresses(phone=view.phone if told_phone else addresses.phone, bsuid=addresses.bsuid),
        observed_at=known.observed_at if known else now,
        version=known.version if known else 0,
    )
    register.put(person)
    if stranger is not None and stranger.contact_id is None:
        register.merge(stranger, person)


def _moved(register: Register, sighting: Sighting, stranger: PersonId, now: datetime) -> PersonId:
    """Somebody's addresses became others; whoever was met under the new ones was the same person."""
    before = register.by_bsuid(sighting.former_bsuid) or register.by_phone(sighting.former_phone)
    after = register.by_bsuid(sighting.bsuid) or register.by_phone(sighting.phone)
    person = _one_of(register, before, after)
    if person is None:
        return _meet(register, sighting, stranger, now)
    addresses = Addresses(
        phone=sighting.phone or person.addresses.phone, bsuid=sighting.bsuid or person.addresses.bsuid
    )
    register.put(person.replace(addresses=addresses))
    return person.person_id


def _one_of(register: Register, one: PersonObserved | None, other: PersonObserved | None) -> PersonObserved | None:
    """The same person met under two addresses; a visitor among them is joined to the other."""
    if one is None or other is None or one.person_id == other.person_id:
        return one or other
    if one.contact_id is not None and other.contact_id is not None:
        return one
    if one.contact_id is None and other.contact_id is not None:
        return register.merge(one, other)
    return register.merge(other, one)


def _learn(register: Register, person: PersonObserved, sighting: Sighting) -> PersonId:
    """A BSUID belongs to whom it is seen with; a contact's number stays the one Consonance knows."""
    keeps_phone = person.contact_id is not None and person.addresses.phone is not None
    phone = person.addresses.phone if keeps_phone else sighting.phone or person.addresses.phone
    bsuid = person.addresses.bsuid
    owner = register.by_bsuid(sighting.bsuid)
    if sighting.bsuid is not None and (owner is None or owner.person_id == person.person_id):
        bsuid = sighting.bsuid
    name = _known_name(person)
    learnt = person.replace(addresses=Addresses(phone=phone, bsuid=bsuid), display_name=name or sighting.name)
    if learnt != person:
        register.put(learnt)
    return person.person_id


def _meet(register: Register, sighting: Sighting, stranger: PersonId, now: datetime) -> PersonId:
    """A visitor met before, whose addresses somebody else had since, is that visitor again."""
    before = register.get(stranger)
    met = PersonObserved(
        person_id=stranger,
        party=PartyKind.PERSON,
        display_name=sighting.name or _known_name(before),
        addresses=Addresses(phone=sighting.phone, bsuid=sighting.bsuid),
        observed_at=now,
        version=before.version if before else 0,
    )
    register.put(met)
    return met.person_id


def _known_name(person: PersonObserved | None) -> str | None:
    return None if person is None or person.display_name == PLACEHOLDER_NAME else person.display_name

"""The state of persons: topic ``contacts``, compacted. Each event is the full state of one; its version only rises."""

from typing import ClassVar

from shared.contracts.envelope import EventData, kinds_by_type
from shared.contracts.ids import Bsuid, ContactId, PersonId, Phone
from shared.contracts.values import Instant, NonEmptyStr, Value
from shared.contracts.vocabulary import PartyKind, Role

PLACEHOLDER_NAME = "WhatsApp visitor"
"""The display name of a person whose name is not known: for texts, never a value to store.

States written before names could be absent have it as ``display_name``.
"""


def is_real_name(display_name: str | None) -> bool:
    """Whether it is a person's name, not the placeholder, a number or an emoji in its place."""
    return display_name not in {None, PLACEHOLDER_NAME} and any(map(str.isalpha, display_name or ""))


class Addresses(Value):
    """Where WhatsApp reaches a person: an E.164 number with its +, a BSUID, or both.

    ``phone`` is the number to write to. ``wa_id`` is the number by which WhatsApp names the account, with a +, where
    that is another: it is known from WhatsApp, and answers may come from it.
    """

    phone: Phone | None = None
    bsuid: Bsuid | None = None
    wa_id: Phone | None = None


class PersonObserved(EventData):
    """A person as ingest knows them; without ``contact_id`` a visitor. Name, language and zone only where known.

    ``subdivision`` is the part of the country, as ISO 3166-2 has it after the hyphen, like SCT. ``user_since`` is since
    when the user with that BSUID is at the person's address, as WhatsApp showed.
    """

    kind: ClassVar[str] = "contacts.person.observed.v1"
    person_id: PersonId
    contact_id: ContactId | None = None
    party: PartyKind = PartyKind.PERSON
    display_name: NonEmptyStr | None = None
    country: str | None = None
    language: str | None = None
    zone: str | None = None
    roles: tuple[Role, ...] = ()
    addresses: Addresses = Addresses()
    merged_into: PersonId | None = None
    erased: bool = False
    observed_at: Instant
    version: int
    subdivision: str | None = None
    user_since: Instant | None = None


KINDS = kinds_by_type((PersonObserved,))

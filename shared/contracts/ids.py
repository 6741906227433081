"""The ids that cross services, and how deterministic ones are derived: the same facts always give the same id."""

import hashlib
from collections.abc import Iterable
from typing import Annotated, NewType

from msgspec import Meta

_IdText = Annotated[str, Meta(max_length=300)]
"""An index of PostgreSQL takes 2,704 bytes a row; no id of an outside system is near that, and ours are shorter."""

_IdNumber = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""The range of a bigint."""

TenantId = NewType("TenantId", str)
EventId = NewType("EventId", _IdText)
MessageId = NewType("MessageId", _IdText)
WriteId = NewType("WriteId", _IdText)
ChainId = NewType("ChainId", _IdText)
PersonId = NewType("PersonId", _IdText)
ContactId = NewType("ContactId", _IdNumber)
WorkId = NewType("WorkId", _IdNumber)
ProductId = NewType("ProductId", _IdNumber)
RuleId = NewType("RuleId", _IdText)
Revision = NewType("Revision", _IdText)
Line = NewType("Line", _IdText)
Phone = NewType("Phone", _IdText)
Bsuid = NewType("Bsuid", _IdText)
Wamid = NewType("Wamid", _IdText)

_DIGEST_BYTES = 16  # 128 bits: no two events of a publisher have the same id by chance


def derive_id(*parts: object) -> str:
    """32 hex characters for these parts, in this order; no two different lists of parts share a spelling."""
    return hashlib.blake2b(length_prefixed(parts), digest_size=_DIGEST_BYTES).hexdigest()


def length_prefixed(parts: Iterable[object]) -> bytes:
    """These parts as bytes, each after its length: what a hash of several words is made of."""
    return b"".join([len(spelled := str(part).encode()).to_bytes(4, "big") + spelled for part in parts])


def person_id_of_contact(tenant: TenantId, contact: ContactId) -> PersonId:
    """The id of the person who is this Consonance contact."""
    return PersonId("p" + derive_id(tenant, "contact", contact))


def partition_key(tenant: TenantId, *parts: object) -> str:
    """A partition key: everything about one work (or person, or record) has the same one."""
    return "/".join([tenant, *map(str, parts)])

"""The ids that cross services, and how deterministic ones are derived: the same facts always give the same id."""

import hashlib
from collections.abc import Iterable
from typing import Annotated, NewType

from msgspec import Meta

_Name = Annotated[str, Meta(max_length=300)]
"""An index of PostgreSQL takes 2,704 bytes a row; no id anybody gives us is near that, and ours are shorter."""

_Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""What a bigint holds."""

TenantId = NewType("TenantId", str)
EventId = NewType("EventId", _Name)
MessageId = NewType("MessageId", _Name)
WriteId = NewType("WriteId", _Name)
ChainId = NewType("ChainId", _Name)
PersonId = NewType("PersonId", _Name)
ContactId = NewType("ContactId", _Number)
WorkId = NewType("WorkId", _Number)
ProductId = NewType("ProductId", _Number)
RuleId = NewType("RuleId", _Name)
Revision = NewType("Revision", _Name)
Line = NewType("Line", _Name)
Phone = NewType("Phone", _Name)
Bsuid = NewType("Bsuid", _Name)
Wamid = NewType("Wamid", _Name)

_DIGEST_BYTES = 16  # 128 bits: no two of a publisher's events meet by chance


def derive(*parts: object) -> str:
    """32 hex characters for these parts, in this order; no two different lists of parts share a spelling."""
    return hashlib.blake2b(measured(parts), digest_size=_DIGEST_BYTES).hexdigest()


def measured(parts: Iterable[object]) -> bytes:
    """These parts as bytes, each after its length: what a hash of several words is made of."""
    spelled = [str(part).encode() for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in spelled)


def person_of_contact(tenant: TenantId, contact: ContactId) -> PersonId:
    """The person a Consonance contact stands for; known without asking anybody."""
    return PersonId("p" + derive(tenant, "contact", contact))


def key_of(tenant: TenantId, *parts: object) -> str:
    """A partition key: everything about one work (or person, or record) has the same one."""
    return "/".join([tenant, *map(str, parts)])

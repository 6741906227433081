"""The ids that cross services, and how deterministic ones are derived: the same facts always give the same id."""

import hashlib
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
    measured = b""
    for part in parts:
        spelled = str(part).encode()
        measured += len(spelled).to_bytes(4, "big") + spelled
    return hashlib.blake2b(measured, digest_size=_DIGEST_BYTES).hexdigest()


def person_of_contact(tenant: TenantId, contact: ContactId) -> PersonId:
    """The person a Consonance contact stands for; known without asking anybody."""
    return PersonId("p" + derive(tenant, "contact", contact))


def visitor(tenant: TenantId, address: str) -> PersonId:
    """A stranger, known only by the address (BSUID, else phone) they first wrote from."""
    return PersonId("v" + derive(tenant, "visitor", address))


def key_of(tenant: TenantId, *parts: object) -> str:
    """A partition key: everything about one work (or person, or record) has the same one."""
    return "/".join([tenant, *map(str, parts)])

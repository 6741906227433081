"""The ids that cross services, and how deterministic ones are derived: the same facts always give the same id."""

import hashlib
from typing import NewType

TenantId = NewType("TenantId", str)
EventId = NewType("EventId", str)
MessageId = NewType("MessageId", str)
WriteId = NewType("WriteId", str)
ChainId = NewType("ChainId", str)
PersonId = NewType("PersonId", str)
ContactId = NewType("ContactId", int)
WorkId = NewType("WorkId", int)
ProductId = NewType("ProductId", int)
RuleId = NewType("RuleId", str)
Revision = NewType("Revision", str)
Line = NewType("Line", str)
Phone = NewType("Phone", str)
Bsuid = NewType("Bsuid", str)
Wamid = NewType("Wamid", str)

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

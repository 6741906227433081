"""Keyed hashes that stand for what contains a phone number, wherever it would be kept or shown: in ids, keys and logs.

A wamid is base64 around the person's number, and a number has so few digits that a plain hash of it is found by trying
all of them. The key is one for a tenant's whole installation: another key gives other ids.
"""

import hmac
from dataclasses import dataclass, field

from shared.contracts.ids import PersonId, length_prefixed

_HEX = 32


@dataclass(frozen=True, slots=True)
class Pseudonymizer:
    """The same key and the same words always give the same pseudonym, in every process and after every restart."""

    key: bytes = field(repr=False)

    def hash(self, *parts: object) -> str:
        """32 hex characters for these parts, in this order."""
        return hmac.digest(self.key, length_prefixed(parts), "sha256").hex()[:_HEX]

    def for_wamid(self, wamid: str) -> str:
        """What stands for WhatsApp's id of a message."""
        return self.hash("wamid", wamid)

    def visitor_id(self, tenant: str, address: str) -> PersonId:
        """The person id of somebody known only by the address (BSUID, else phone) they first wrote from."""
        return PersonId("v" + self.hash(tenant, "visitor", address))

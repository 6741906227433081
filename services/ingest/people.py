"""Who people are, in PostgreSQL: read by address, written with a version that only rises."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.ingest.addresses import phone_key
from services.ingest.database import reachable
from services.ingest.register import Register
from shared.contracts.contacts import PersonObserved
from shared.contracts.ids import PersonId, TenantId
from shared.contracts.values import decode, encode
from shared.runtime.postgres import Connection, Pool, load_queries

queries = load_queries(__file__, "people.sql")


@dataclass(frozen=True, slots=True)
class People:
    """Addresses are BSUIDs, and numbers in their one spelling."""

    tenant: TenantId

    async def look(self, pool: Pool, addresses: Iterable[str], persons: Iterable[PersonId]) -> Register:
        with reachable():
            rows = await pool.fetch(queries.at_addresses, self.tenant, list(addresses), list(persons))
        return _register(rows)

    async def take(self, connection: Connection, addresses: Iterable[str], persons: Iterable[PersonId]) -> Register:
        """To be changed in this transaction: their rows are held until its end."""
        rows = await connection.fetch(queries.take_at_addresses, self.tenant, list(addresses), list(persons))
        return _register(rows)

    async def save(self, connection: Connection, changed: Sequence[PersonObserved]) -> None:
        await connection.execute(
            queries.save,
            self.tenant,
            [person.person_id for person in changed],
            [person.contact_id for person in changed],
            [person.addresses.bsuid for person in changed],
            [phone_key(person.addresses.phone) if person.addresses.phone else None for person in changed],
            [person.version for person in changed],
            [encode(person).decode() for person in changed],
        )


def _register(rows: Iterable[Mapping[str, str]]) -> Register:
    return Register(decode(PersonObserved, row["state"]) for row in rows)

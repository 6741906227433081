"""The door to what the dispatcher keeps of people: their addresses, and the windows their messages opened."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.contracts.contacts import PersonObserved
from shared.contracts.whatsapp import MessageReceived
from shared.runtime.postgres import Connection, load_queries

_sql = load_queries(__file__, "people.sql")


@dataclass(frozen=True, slots=True)
class People:
    tenant: str

    async def observe(self, connection: Connection, states: Collection[PersonObserved], now: datetime) -> None:
        """The newest state of each; messages that waited to hear of them wait no longer."""
        newest: dict[str, PersonObserved] = {}
        for state in states:
            if state.person_id not in newest or state.version >= newest[state.person_id].version:
                newest[state.person_id] = state
        rows = [_address_row(state) for state in newest.values()]
        await connection.execute(_sql.observe, self.tenant, *zip(*rows, strict=True))
        await connection.execute(_sql.release, self.tenant, list(newest), now)

    async def open_windows(self, connection: Connection, messages: Sequence[MessageReceived], now: datetime) -> None:
        """By WhatsApp's own timestamp, which never counts as later than ``now``; for all who share the address."""
        newest: dict[tuple[str, str], datetime] = {}
        for message in messages:
            for person_id in (message.person_id, *message.shared_with):
                place = (message.line, person_id)
                newest[place] = min(max(message.at, newest.get(place, message.at)), now)
        rows = [(line, person_id, opened_at) for (line, person_id), opened_at in sorted(newest.items())]
        await connection.execute(_sql.open_windows, self.tenant, *zip(*rows, strict=True))

    async def close_windows(self, connection: Connection, attempts: Collection[tuple[str, int]]) -> None:
        await connection.execute(_sql.close_windows, self.tenant, *zip(*attempts, strict=True))


def _address_row(state: PersonObserved) -> tuple[str, str | None, str | None, int]:
    addresses = state.addresses
    if state.erased:
        return state.person_id, None, None, state.version
    return state.person_id, addresses.phone or None, addresses.bsuid or None, state.version

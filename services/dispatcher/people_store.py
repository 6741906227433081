"""People and their customer service windows in PostgreSQL: addresses, merges, and the windows that messages opened."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.dispatcher.reasons import WAITS_OUTSIDE_WINDOWS
from shared.contracts.contacts import PersonObserved
from shared.contracts.whatsapp import MessageReceived
from shared.runtime.postgres import Connection, load_queries

QUERIES = load_queries(__file__, "people_store.sql")


@dataclass(frozen=True, slots=True)
class PeopleStore:
    """The tables ``people`` (their addresses) and ``windows`` (which their messages opened)."""

    tenant: str

    async def save(self, connection: Connection, states: Collection[PersonObserved], now: datetime) -> None:
        """Save the newest state of each person, follow merges, and release the messages that waited for them."""
        newest: dict[str, PersonObserved] = {}
        for state in states:
            if state.person_id not in newest or state.version >= newest[state.person_id].version:
                newest[state.person_id] = state
        rows = [_address_columns(state) for state in newest.values()]
        await connection.execute(QUERIES.save_people, self.tenant, *zip(*rows, strict=True))
        current = await self._follow_merges(connection, newest)
        await connection.execute(QUERIES.release_for_people, self.tenant, [*newest, *current], now)

    async def _follow_merges(self, connection: Connection, people: Mapping[str, PersonObserved]) -> Sequence[str]:
        """Move messages and windows of a former id to the current id; returns those ids."""
        split = await connection.fetch(QUERIES.were_merged, self.tenant, list(people))
        concerned = {person for person, state in people.items() if is_merged(state)}
        concerned.update(row["person_id"] for row in split)
        if not concerned:
            return ()
        rows = await connection.fetch(QUERIES.follow_merges, self.tenant, sorted(concerned))
        moved = [(row["former"], row["current"]) for row in rows if row["current"] is not None]
        if moved:
            columns = [*zip(*moved, strict=True)]
            await connection.execute(QUERIES.move_messages, self.tenant, *columns)
            await connection.execute(QUERIES.move_windows, self.tenant, *columns)
        return [current for _, current in moved]

    async def open_windows(self, connection: Connection, messages: Sequence[MessageReceived], now: datetime) -> None:
        """From WhatsApp's timestamp, but never later than ``now``; for every person who shares the address."""
        newest: dict[tuple[str, str], datetime] = {}
        for message in messages:
            for person_id in (message.person_id, *message.shared_with):
                key = (message.line, person_id)
                newest[key] = min(max(message.at, newest.get(key, message.at)), now)
        rows = [(line, person_id, opened_at) for (line, person_id), opened_at in sorted(newest.items())]
        await connection.execute(QUERIES.open_windows, self.tenant, *zip(*rows, strict=True))
        chats = zip(*((person_id, line) for line, person_id, _ in rows), strict=True)
        await connection.execute(
            QUERIES.release_for_windows, self.tenant, *map(list, chats), now, WAITS_OUTSIDE_WINDOWS
        )

    async def close_windows(self, connection: Connection, attempts: Collection[tuple[str, int]]) -> None:
        """Close the windows of sends that WhatsApp refused for a closed window; each is a message id and an attempt."""
        await connection.execute(QUERIES.close_windows, self.tenant, *zip(*attempts, strict=True))


def is_merged(state: PersonObserved) -> bool:
    """Whether the person is known by another id now."""
    return state.merged_into is not None


def _address_columns(state: PersonObserved) -> tuple[str, str | None, str | None, int, str | None]:
    addresses = state.addresses
    if state.erased:
        return state.person_id, None, None, state.version, state.merged_into
    return state.person_id, addresses.phone or None, addresses.bsuid or None, state.version, state.merged_into

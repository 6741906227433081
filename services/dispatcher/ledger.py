"""The ledger's door to PostgreSQL: where messages stand, how their attempts ended, what is still in doubt."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.dispatcher.announce import Origin
from services.dispatcher.standing import Ended, Standing
from services.dispatcher.states import Rank, Reason, State
from shared.contracts.ids import MessageId, PersonId, Wamid
from shared.contracts.messages import Resend, Wording
from shared.runtime.postgres import Connection, load_queries

_sql = load_queries(__file__, "ledger.sql")


@dataclass(frozen=True, slots=True)
class OpenSends:
    """Sends nobody has an answer to; instants are business time."""

    in_flight: int
    uncertain: int
    oldest_uncertain: datetime | None
    next_unproven: datetime | None


@dataclass(frozen=True, slots=True)
class Ledger:
    tenant: str

    async def load(self, connection: Connection, message_ids: Iterable[str]) -> dict[str, tuple[Standing, Origin]]:
        """Locked until the transaction ends."""
        rows = await connection.fetch(_sql.load, self.tenant, sorted(set(message_ids)))
        return {row["message_id"]: (_standing(row), _origin(row)) for row in rows}

    async def save(self, connection: Connection, standings: Sequence[Standing], now: datetime) -> None:
        columns = zip(*map(_columns, standings), strict=True)
        await connection.execute(_sql.save, self.tenant, now, *columns)

    async def end_attempts(
        self, connection: Connection, endings: Mapping[tuple[str, int], Ended], now: datetime
    ) -> None:
        rows = [
            (message_id, attempt, ended.ending.value, ended.wamid, ended.code)
            for (message_id, attempt), ended in endings.items()
        ]
        await connection.execute(_sql.end_attempts, self.tenant, now, *zip(*rows, strict=True))

    async def attempts_of(self, connection: Connection, wamids: Collection[str]) -> dict[str, tuple[str, int]]:
        rows = await connection.fetch(_sql.attempts_of_wamids, self.tenant, list(wamids))
        return {row["wamid"]: (row["message_id"], row["attempt"]) for row in rows}

    async def offering(self, connection: Connection, taps: Sequence[tuple[str, str, str | None]]) -> dict[int, str]:
        """Per tap (person, button, quoted wamid), by its place in ``taps``: the unproven message that offered it."""
        rows = await connection.fetch(_sql.offering, self.tenant, *map(list, zip(*taps, strict=True)))
        return {row["place"] - 1: row["message_id"] for row in rows}

    async def leases_ended(
        self, connection: Connection, machine: datetime, ours: Collection[str], at_most: int
    ) -> list[str]:
        rows = await connection.fetch(_sql.leases_ended, self.tenant, machine, list(ours), at_most)
        return [row["message_id"] for row in rows]

    async def unproven(
        self, connection: Connection, begun_before: datetime, machine: tuple[datetime, datetime], at_most: int
    ) -> list[str]:
        """Uncertain sends begun before a business instant and within a span of the machine's."""
        rows = await connection.fetch(_sql.unproven, self.tenant, begun_before, *machine, at_most)
        return [row["message_id"] for row in rows]

    async def open_sends(self, connection: Connection) -> OpenSends:
        return OpenSends(**await connection.fetchrow(_sql.open_sends, self.tenant))

    async def uncertain(self, connection: Connection, message_id: str | None = None) -> list[Any]:
        """All of them, or one: rows for a person to read."""
        rows: list[Any] = await connection.fetch(_sql.uncertain, self.tenant, message_id)
        return rows

    async def attempts(self, connection: Connection, message_id: str) -> list[Any]:
        rows: list[Any] = await connection.fetch(_sql.attempts, self.tenant, message_id)
        return rows


def _standing(row: Any) -> Standing:
    return Standing(
        message_id=MessageId(row["message_id"]),
        person_id=PersonId(row["person_id"]),
        line=row["line"],
        state=State(row["state"]),
        reason=Reason(row["reason"]) if row["reason"] else None,
        resend=Resend(row["resend"]),
        has_template=row["has_template"],
        expires_at=row["expires_at"],
        not_before=row["not_before"],
        hold_until=row["hold_until"],
        attempts=row["attempts"],
        wording=Wording(row["wording"]) if row["wording"] else None,
        template_only=row["template_only"],
        wamid=Wamid(row["wamid"]) if row["wamid"] else None,
        rank=Rank(row["rank"]),
        failed_attempt=row["failed_attempt"],
        failed_code=row["failed_code"],
        withdrawal=row["withdrawal"],
        failures=row["failures"],
        template=(row["template_name"], row["template_language"]) if row["has_template"] else None,
    )


def _origin(row: Any) -> Origin:
    return Origin(row["request_event"], row["correlation_id"], row["traceparent"])


def _columns(standing: Standing) -> tuple[Any, ...]:
    return (
        standing.message_id, standing.state.value, standing.reason.value if standing.reason else None,
        standing.not_before, standing.hold_until, standing.wamid, standing.rank.value, standing.failed_attempt,
        standing.failed_code, standing.template_only, standing.withdrawal, standing.failures,
    )  # fmt: skip

"""Holds in PostgreSQL: what a failed status stops is learned where it is read, and heard by whichever replica sends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.dispatcher.errors import Scope
from services.dispatcher.holds import Changes, Held, Hold, Holds, Runs, Target, held_by
from services.dispatcher.outcomes import Outcome
from services.dispatcher.setting_aside import surprised
from shared.runtime.clock import machine_now
from shared.runtime.postgres import Connection, load_queries
from shared.runtime.telemetry import get_logger
from shared.runtime.transaction import Transaction

HELD = "stet_dispatcher_held"
"""The channel that tells the sender of holds that another replica learned."""

log = get_logger()
_sql = load_queries(__file__, "hold_store.sql")
_KEPT_FOR = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class HoldStore:
    tenant: str

    async def load(self, connection: Connection) -> dict[Held, Hold]:
        return _read(await connection.fetch(_sql.load, self.tenant))

    async def write(self, connection: Connection, changes: Changes) -> None:
        if changes.kept:
            rows = [(*_key(held), *_columns(hold)) for held, hold in changes.kept.items()]
            await connection.execute(_sql.keep, self.tenant, *map(list, zip(*rows, strict=True)))
        if changes.over:
            ends = [(*_key(held), until) for held, until in changes.over.items()]
            await connection.execute(_sql.end, self.tenant, *map(list, zip(*ends, strict=True)))

    async def learn(self, tx: Transaction, failures: Sequence[tuple[Outcome, Target]]) -> None:
        """What statuses called failed: the table that the answers have, and the same holds."""
        concerned = {held for outcome, target in failures if (held := held_by(outcome, target)) is not None}
        if not concerned:
            return
        keys = map(list, zip(*map(_key, concerned), strict=True))
        holds = Holds()
        holds.remember(_read(await tx.connection.fetch(_sql.load_some, self.tenant, *keys)))
        for outcome, target in failures:
            holds.learn(outcome, target, tx.now, machine_now(), by_status=True)
        if changes := holds.changes():
            for held, hold in changes.kept.items():
                log.warning("hold.learned", scope=held.scope.value, code=hold.code, until=hold.until.isoformat())
            await self.write(tx.connection, changes)
            await tx.connection.execute("select pg_notify($1, '')", HELD)

    async def went_well(self, connection: Connection, held: Held, hold: Hold) -> bool:
        """Whether a good status came of an attempt that was begun after the hold."""
        template = (held.subject, held.detail) if held.scope is Scope.TEMPLATE else ("", "")
        line = held.subject if held.scope in {Scope.NUMBER, Scope.PAIR} else ""
        person = held.detail if held.scope is Scope.PAIR else ""
        return bool(
            await connection.fetchval(_sql.well, self.tenant, hold.since, hold.machine_since, line, person, *template)
        )

    async def forget(self, connection: Connection, now: datetime) -> None:
        await connection.execute(_sql.forget, self.tenant, now - _KEPT_FOR)


def _read(rows: Sequence[Mapping[str, Any]]) -> dict[Held, Hold]:
    """A hold of a kind that this version does not know is left alone."""
    found = {}
    for row in rows:
        try:
            held = Held(Runs(row["runs"]), Scope(row["scope"]), row["subject"], row["detail"])
        except ValueError as error:
            surprised("holds", error)
        else:
            found[held] = _hold(row)
    return found


def _hold(row: Mapping[str, Any]) -> Hold:
    return Hold(
        until=row["until"], wait=row["wait"], strikes=row["strikes"], since=row["since"],
        machine_since=row["machine_since"], code=row["code"], ends_early=row["ends_early"],
        by_operator=row["by_operator"], by_status=row["by_status"], fixed=row["fixed"],
    )  # fmt: skip


def _key(held: Held) -> tuple[str, str, str, str]:
    return held.runs.value, held.scope.value, held.subject, held.detail


def _columns(hold: Hold) -> tuple[Any, ...]:
    return (
        hold.until, hold.wait, hold.strikes, hold.since, hold.machine_since, hold.code, hold.ends_early,
        hold.by_operator, hold.by_status, hold.fixed,
    )  # fmt: skip

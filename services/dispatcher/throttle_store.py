"""Throttles in PostgreSQL: a replica that reads a failed status records its throttles and notifies the leader."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import astuple

from services.dispatcher.provider_responses import ErrorScope, SendOutcome
from services.dispatcher.throttles import (
    SendTarget,
    Throttle,
    ThrottleChanges,
    ThrottleClock,
    ThrottleKey,
    Throttles,
    throttle_key,
)
from shared.runtime.clock import machine_now
from shared.runtime.failures import record_loop_error
from shared.runtime.outbox import Transaction
from shared.runtime.postgres import Connection, load_queries
from shared.runtime.telemetry import get_logger

QUERIES = load_queries(__file__, "throttle_store.sql")
THROTTLED_CHANNEL = "stet_dispatcher_throttled"
"""Notifies the leader of throttles that another replica recorded."""

log = get_logger()
_KEPT_FOR = timedelta(days=7)
_OF_ACCOUNT = "@"


@dataclass(frozen=True, slots=True)
class ThrottleStore:
    """``accounts``: the WhatsApp business account of each line, where settings name it."""

    tenant: str
    accounts: Mapping[str, str] = field(default_factory=dict)

    async def load(self, connection: Connection) -> dict[ThrottleKey, Throttle]:
        return _read(await connection.fetch(QUERIES.load_throttles, self.tenant))

    async def save(self, connection: Connection, changes: ThrottleChanges) -> None:
        if changes.saved:
            rows = [(*_key_columns(key), *astuple(throttle)) for key, throttle in changes.saved.items()]
            await connection.execute(QUERIES.save_throttles, self.tenant, *map(list, zip(*rows, strict=True)))
        if changes.ended:
            ends = [(*_key_columns(key), until) for key, until in changes.ended.items()]
            await connection.execute(QUERIES.delete_throttles, self.tenant, *map(list, zip(*ends, strict=True)))

    async def record_errors(self, tx: Transaction, errors: Sequence[tuple[SendOutcome, SendTarget]]) -> None:
        """Trip the throttles of failed statuses, by the same table as those of responses."""
        keys = {key for outcome, target in errors if (key := throttle_key(outcome, target, self.accounts)) is not None}
        if not keys:
            return
        columns = map(list, zip(*map(_key_columns, keys), strict=True))
        throttles = Throttles(self.accounts)
        throttles.merge(_read(await tx.connection.fetch(QUERIES.lock_throttles, self.tenant, *columns)))
        for outcome, target in errors:
            throttles.record(outcome, target, tx.now, machine_now(), by_status=True)
        if changes := throttles.take_changes():
            for key, throttle in changes.saved.items():
                log.warning(
                    "throttle.tripped", scope=key.scope.value, code=throttle.code, until=throttle.until.isoformat()
                )
            await self.save(tx.connection, changes)
            await tx.connection.execute("select pg_notify($1, '')", THROTTLED_CHANNEL)

    async def has_succeeded_since(self, connection: Connection, key: ThrottleKey, throttle: Throttle) -> bool:
        """Whether an attempt that began after the throttle got a good status."""
        template = (key.subject, key.detail) if key.scope is ErrorScope.TEMPLATE else ("", "")
        person = key.detail if key.scope is ErrorScope.PAIR else ""
        return bool(
            await connection.fetchval(
                QUERIES.has_succeeded_since,
                self.tenant,
                throttle.since,
                throttle.machine_since,
                self._lines(key),
                person,
                *template,
            )
        )

    def _lines(self, key: ThrottleKey) -> list[str]:
        """The lines that it throttles; empty for all."""
        account = key.subject if key.scope is ErrorScope.ACCOUNT else key.account
        if account:
            return [line for line, of_line in self.accounts.items() if of_line == account]
        return [key.subject] if key.scope in {ErrorScope.NUMBER, ErrorScope.PAIR} else []

    async def delete_old(self, connection: Connection, now: datetime) -> None:
        await connection.execute(QUERIES.delete_old_throttles, self.tenant, now - _KEPT_FOR)


def _read(rows: Sequence[Mapping[str, Any]]) -> dict[ThrottleKey, Throttle]:
    """A throttle of a kind that this version does not know is ignored."""
    found = {}
    for row in rows:
        try:
            detail, _, account = row["detail"].partition(_OF_ACCOUNT)
            key = ThrottleKey(ThrottleClock(row["clock"]), ErrorScope(row["scope"]), row["subject"], detail, account)
        except ValueError as error:
            record_loop_error("throttles", error)
        else:
            found[key] = Throttle(*(row[name] for name in Throttle.__struct_fields__))
    return found


def _key_columns(key: ThrottleKey) -> tuple[str, str, str, str]:
    """The account of a template follows its language: a column of its own would be part of the primary key, by which an
    earlier version saves during a rollout.
    """
    detail = f"{key.detail}{_OF_ACCOUNT}{key.account}" if key.account else key.detail
    return key.clock.value, key.scope.value, key.subject, detail

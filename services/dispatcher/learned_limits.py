"""The leader's copy of the limits that WhatsApp reported: read every second, and applied where they changed."""

import time
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta

from services.dispatcher.account_limits import AccountLimits, StoredLimit, limits_in_force
from services.dispatcher.account_store import AccountStore
from services.dispatcher.rate_limits import NUMBER_RATE_LIMIT, PORTFOLIO_PERIOD, RateLimit, RateUsage
from shared.runtime.postgres import Connection
from shared.runtime.telemetry import get_logger

log = get_logger()

FetchDisplayNumber = Callable[[str], Awaitable[str | None]]
"""Asks WhatsApp for the digits of a line's display number; None where it does not say."""

_EVERY_SECONDS = 1.0
_RETRY_SECONDS = 60.0
_JUDGE_SECONDS = 60.0  # between two looks at all who wait, while refusals give places back one by one


class LearnedLimits:
    """``lines`` are those whose rate no setting gives.

    Reports on other accounts than ``ours`` concern other products of the same app; None where settings do not
    name the accounts of all lines.
    """

    def __init__(
        self,
        store: AccountStore,
        usage: RateUsage,
        lines: Collection[str],
        fetch_display_number: FetchDisplayNumber,
        ours: Collection[str] | None = None,
    ) -> None:
        self._ours = ours
        self.current = AccountLimits()
        self._store = store
        self._release = store.release_of_limited()
        self._usage = usage
        self._lines = lines
        self._fetch_display_number = fetch_display_number
        self._display_numbers: dict[str, str] = {}
        self._rows: list[StoredLimit] | None = None
        self._read_at = 0.0
        self._asked_at = 0.0
        self._judged_at = 0.0

    async def refresh(self, connection: Connection, business: datetime) -> None:
        """Once a second: read the limits; where they changed, apply them and plan the waiting messages again."""
        now = time.monotonic()
        if self._rows is None or now - self._read_at >= _EVERY_SECONDS:
            await self._read(connection, business, now)
        if now - self._judged_at >= _JUDGE_SECONDS and self._usage.portfolio.take_freed():
            self._judge_anew(business, now)
        await self._release.go_on(connection)

    async def _read(self, connection: Connection, business: datetime, now: float) -> None:
        rows = [
            row for row in await self._store.load_limits(connection) if self._ours is None or row.account in self._ours
        ]
        self._read_at = now
        if rows != self._rows:
            limits = limits_in_force(rows)
            if self._rows is None or limits != self.current:
                await self._apply(connection, limits, business)
            self._rows = rows
        await self._set_rates(now)

    async def _apply(self, connection: Connection, limits: AccountLimits, business: datetime) -> None:
        portfolio = self._usage.portfolio
        if limits.messaging is not None and portfolio.limit is None:
            since = business - PORTFOLIO_PERIOD - timedelta(minutes=1)
            for person_id, at in await self._store.people_outside_windows(connection, since):
                portfolio.record(person_id, at)
        if self._rows is not None or limits != AccountLimits():
            log.info(
                "limits.learned",
                people=limits.messaging,
                throughput=sorted(limits.throughput.values()),
                restrictions=sorted(kind.value for _, kind in limits.restrictions),
            )
        portfolio.limit = limits.messaging
        self.current = limits
        self._judge_anew(business, time.monotonic())

    def _judge_anew(self, business: datetime, now: float) -> None:
        """Those who wait, who are promised the places of now."""
        self._judged_at = now
        self._usage.portfolio.forget_promises()
        self._release.begin(business)

    async def _set_rates(self, now: float) -> None:
        if not self.current.throughput:
            return
        for line in self._lines:
            per_second = await self._throughput(line, now)
            if per_second is not None and per_second != self._usage.limits.number(line).count:
                log.info("rate.learned", line=line, per_second=per_second)
                self._usage.set_rate(line, RateLimit(per_second, NUMBER_RATE_LIMIT.per))

    async def _throughput(self, line: str, now: float) -> int | None:
        """The throughput of a line, found by its display number; the only report counts for the only line."""
        reported = self.current.throughput
        if len(self._lines) == 1 and len(reported) == 1:
            return next(iter(reported.values()))
        if line not in self._display_numbers and now - self._asked_at > _RETRY_SECONDS:
            for unknown in self._lines:
                if number := await self._fetch_display_number(unknown):
                    self._display_numbers[unknown] = number
            self._asked_at = now
        return reported.get(self._display_numbers.get(line, ""))

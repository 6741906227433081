"""Records which messages WhatsApp charges, from the ``pricing`` of statuses, and counts them by day.

WhatsApp charges a message when it is delivered, and says so with one of the statuses ``delivered`` and ``read``. Each
message is one narrow row for two months, so that a repeated status counts once; after that only the totals are left.
They name no person.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from msgspec import Struct

from services.dispatcher import metrics
from shared.clients.rate_card import ChargedMessages, RateCard, price_messages, spending_of
from shared.contracts.whatsapp import DeliveryStatus, StatusReported
from shared.runtime.clock import Clock
from shared.runtime.failures import repeat
from shared.runtime.outbox import Transaction
from shared.runtime.postgres import Connection, Pool, load_queries

QUERIES = load_queries(__file__, "charges.sql")

_CHARGED_WITH = frozenset({DeliveryStatus.DELIVERED, DeliveryStatus.READ, DeliveryStatus.PLAYED})
_NO_TYPE = "regular"  # a status that names a category and no type is taken as charged
_KEPT_FOR = timedelta(days=60)  # WhatsApp delivers within 30 days, and repeats a webhook for seven
_EVERY_SECONDS = 5.0
_BATCH = 5_000


@dataclass(frozen=True, slots=True)
class ChargeStore:
    """The tables ``charges`` and ``charge_totals``. Days are those of ``zone``, the tenant's."""

    tenant: str
    zone: ZoneInfo

    async def record(self, tx: Transaction, reports: Iterable[tuple[tuple[str, int], StatusReported]]) -> None:
        """Statuses with the message and the attempt of each. One without a price, or before the delivery, is none."""
        rows = [
            (*attempt, self.day_of(status.at), status.country or "", *_words(status))
            for attempt, status in reports
            if status.pricing_category and status.status in _CHARGED_WITH
        ]
        if not rows:
            return
        columns = map(list, zip(*rows, strict=True))
        new = await tx.connection.fetch(QUERIES.record_charges, self.tenant, *columns)
        counts = Counter((row["category"], row["pricing_type"]) for row in new)
        tx.on_commit(lambda: metrics.count_charged(counts))

    async def count(self, connection: Connection) -> int:
        """Add what is not counted yet to the totals of its day; returns how many messages that were, at most 5,000."""
        counted: int = await connection.fetchval(QUERIES.count_charges, self.tenant, _BATCH)
        return counted

    async def delete_old(self, connection: Connection, now: datetime) -> None:
        await connection.execute(QUERIES.delete_old_charges, self.tenant, self.day_of(now - _KEPT_FOR), _BATCH)

    async def charged(self, connection: Connection, first: date, last: date) -> list[ChargedMessages]:
        """The charges from the first day to the last, both included, in the order of the days."""
        rows = await connection.fetch(QUERIES.charged_messages, self.tenant, first, last)
        return [ChargedMessages(**row) for row in rows]

    def day_of(self, at: datetime) -> date:
        return at.astimezone(self.zone).date()


def month_of(now: datetime, zone: ZoneInfo) -> tuple[date, datetime]:
    """The first day of the month in this time zone, and the instant at which the next one begins."""
    first = now.astimezone(zone).date().replace(day=1)
    return first, datetime.combine(next_month(first), time(), zone)


def next_month(day: date) -> date:
    """The first day of the month after that of ``day``."""
    return (day.replace(day=1) + timedelta(days=31)).replace(day=1)


def _words(status: StatusReported) -> Sequence[str]:
    return (str(status.pricing_category).lower(), (status.pricing_type or _NO_TYPE).lower())


class BudgetTerms(Struct, frozen=True):
    """The rate card, and the budget of a month in its currency with the share from which it warns."""

    card: RateCard | None = None
    amount: Decimal | None = None
    warning_percent: int = 100


@dataclass(frozen=True, slots=True)
class ChargeCounter:
    """Runs in every replica: two never count the same message."""

    pool: Pool
    clock: Clock
    store: ChargeStore
    terms: BudgetTerms

    async def run(self) -> None:
        """Until the task is cancelled."""
        await repeat("charges", self.run_once, _EVERY_SECONDS)

    async def run_once(self) -> None:
        while await self.store.count(self.pool) == _BATCH:
            pass
        now = self.clock.now()
        await self.store.delete_old(self.pool, now)
        await self._update_gauges(now)

    async def _update_gauges(self, now: datetime) -> None:
        metrics.BUDGET_HELD.set(await self.pool.fetchval(QUERIES.count_budgeted, self.store.tenant))
        if self.terms.card is None:
            return
        first, end = month_of(now, self.store.zone)
        charged = await self.store.charged(self.pool, first, self.store.day_of(end) - timedelta(days=1))
        spending, amount = spending_of(price_messages(self.terms.card, charged)), self.terms.amount
        metrics.MONTH_COST.set(float(spending.cost))
        metrics.MONTH_UNPRICED.set(spending.unpriced)
        metrics.MONTH_BUDGET.set(float(amount or 0))
        is_near = amount is not None and spending.cost * 100 >= amount * self.terms.warning_percent
        metrics.BUDGET_WARNING.set(is_near)

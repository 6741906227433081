"""Costs of messages: the charges that statuses name, counted by day, and the month's budget.

WhatsApp charges a message when it is delivered, and says so in the ``pricing`` of one of the statuses ``delivered`` and
``read``. Each message is one narrow row for two months, so that a repeated status counts once; after that only the
totals are left. They name no person.

When the budget is used up, messages that are not critical wait for the next month. The leader keeps it in memory.
Charges that WhatsApp reported count as spent, at the prices of the rate card. A message under way counts with its
expected price, from its claim until a status says what it cost, but for a day at most.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from time import monotonic
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

from services.dispatcher import metrics
from services.dispatcher.releases import PortionedRelease
from shared.clients.rate_card import ChargedMessages, RateCard, Tally, price_messages, spending_of
from shared.contracts.messages import Lane, MessageForm
from shared.contracts.whatsapp import DeliveryStatus, StatusReported
from shared.runtime.clock import Clock
from shared.runtime.failures import repeat
from shared.runtime.outbox import Transaction
from shared.runtime.postgres import Connection, Pool, load_queries
from shared.runtime.telemetry import get_logger

log = get_logger()
QUERIES = load_queries(__file__, "charges.sql")

FREE_TEXT_CATEGORY = "service"
_TEMPLATE_CATEGORY = "utility"  # where neither Meta nor the template's file names one
_CHARGED_WITH = frozenset({DeliveryStatus.DELIVERED, DeliveryStatus.READ, DeliveryStatus.PLAYED})
_NO_TYPE = "regular"  # a status that names a category and no type is taken as charged
_KEPT_FOR = timedelta(days=60)  # WhatsApp delivers within 30 days, and repeats a webhook for seven
_TOTALS_SECONDS = 5.0
_BATCH = 5_000
_EVERY_SECONDS = 2.0
_ON_ITS_WAY_FOR = timedelta(days=1)
_MOST_ASKED = 5_000
_NOTABLE_SHARE = 100  # waiting messages are judged again once a hundredth of the budget is free again


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
        """Count charges again and again, until the task is cancelled."""
        await repeat("charges", self.run_once, _TOTALS_SECONDS)

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


class Sendable(Struct, frozen=True):
    """A message as the budget sees it: where it goes, what Meta will call it, and how much it matters."""

    country: str
    category: str
    lane: Lane
    mandatory: bool = False


@dataclass(slots=True)
class _ExpectedPrice:
    attempt: int
    price: Decimal
    since: datetime


class Budget:
    """``amount`` is for a month of the store's time zone, in the currency of ``card``; None: there is no budget."""

    def __init__(self, store: ChargeStore, card: RateCard | None, amount: Decimal | None) -> None:
        self._store = store
        self._release = PortionedRelease(QUERIES.release_budgeted, store.tenant)
        self._card = card
        self._amount = amount
        self._spent = Decimal(0)
        self._tally = Tally()
        self._month_end = datetime.min.replace(tzinfo=UTC)
        self._on_its_way: dict[str, _ExpectedPrice] = {}
        self._expected = Decimal(0)
        self._room_when_held: Decimal | None = Decimal(0)  # a new leader does not know which messages were held
        self._has_read = False
        self._read_at = 0.0

    @property
    def is_set(self) -> bool:
        return self._amount is not None and self._card is not None

    @property
    def committed(self) -> Decimal:
        """The amount spent in this month, with the expected prices of messages on their way."""
        return self._spent + self._expected

    def price(self, message: Sendable, now: datetime) -> Decimal | None:
        """None where the card does not know it."""
        if self._card is None:
            return None
        day = self._store.day_of(now)
        nth = self._tally.next_number(self._card, message.country, message.category, day)
        return self._card.price(message.country, message.category, day, nth)

    def hold_until(self, message: Sendable, now: datetime) -> datetime | None:
        """The beginning of the next month where the budget has no room for the message; None where it may go.

        A critical message, a mandatory one and one that costs nothing always go. One without a known price waits only
        once nothing is left.
        """
        if self._amount is None or self._card is None or message.lane is Lane.CRITICAL or message.mandatory:
            return None
        price = self.price(message, now)
        if price == 0 or now >= self._month_end:  # the figures are those of the month before
            return None
        if self.committed < self._amount if price is None else self.committed + price <= self._amount:
            return None
        if self._room_when_held is None:
            log.warning("budget.spent", until=self._month_end.isoformat())
        self._room_when_held = self._amount - self.committed
        return self._month_end

    def reserve(self, message_id: str, attempt: int, message: Sendable, now: datetime) -> None:
        """Count the expected price of a message that is on its way."""
        if not self.is_set:
            return
        self.release(message_id)
        price = self.price(message, now) or Decimal(0)
        self._on_its_way[message_id] = _ExpectedPrice(attempt, price, now)
        self._expected += price

    def release(self, message_id: str) -> None:
        """Count the message no more: WhatsApp has said what it costs, or it does not go."""
        if (known := self._on_its_way.pop(message_id, None)) is not None:
            self._expected -= known.price

    async def refresh(self, connection: Connection, now: datetime) -> None:
        """Every two seconds, and when the month changes: read what is spent, and release messages that may go again."""
        machine = monotonic()
        is_current = self._has_read and now < self._month_end and machine - self._read_at < _EVERY_SECONDS
        if not is_current and (self.is_set or not self._has_read):
            await self._read(connection, now)
            self._has_read, self._read_at = True, machine
        await self._release.go_on(connection)

    async def _read(self, connection: Connection, now: datetime) -> None:
        if self._amount is not None and self._card is not None:
            if not self._has_read:
                await self._load_on_its_way(connection, now)
            await self._settle(connection, now)
            await self._read_spent(connection, self._card, now)
        self._release_held(now)

    async def _load_on_its_way(self, connection: Connection, now: datetime) -> None:
        """Reserve the expected prices of sends that an earlier leader began."""
        for row in await connection.fetch(QUERIES.unsettled_sends, self._store.tenant, now - _ON_ITS_WAY_FOR):
            self.reserve(row["message_id"], row["attempt"], _sendable_of(row), now)

    async def _settle(self, connection: Connection, now: datetime) -> None:
        """Release the messages whose price WhatsApp has said. Called before the spent amount is read, so that no price
        is left out of both.
        """
        asked = dict(list(self._on_its_way.items())[:_MOST_ASKED])
        if not asked:
            return
        attempts = [one.attempt for one in asked.values()]
        rows = await connection.fetch(QUERIES.settled_sends, self._store.tenant, list(asked), attempts)
        settled = {row["message_id"] for row in rows}
        for message_id, one in asked.items():
            if message_id in settled or one.since < now - _ON_ITS_WAY_FOR:
                self.release(message_id)
            else:  # asked again after the others
                self._on_its_way[message_id] = self._on_its_way.pop(message_id)

    async def _read_spent(self, connection: Connection, card: RateCard, now: datetime) -> None:
        first, end = month_of(now, self._store.zone)
        charged = await self._store.charged(connection, first, self._store.day_of(end) - timedelta(days=1))
        self._tally = Tally.of(card, charged)
        self._spent, self._month_end = spending_of(self._tally.priced).cost, end

    def _release_held(self, now: datetime) -> None:
        if self._amount is None or self._card is None:
            self._release.begin(now)
            return
        room = self._amount - self.committed
        if self._room_when_held is not None and room > self._room_when_held + self._amount / _NOTABLE_SHARE:
            self._room_when_held = None
            self._release.begin(now)
            log.info("budget.freed")


def country_of(phone: str | None, bsuid: str | None) -> str:
    """Empty where neither tells."""
    from shared.clients.phone_numbers import country_of_address  # noqa: PLC0415 -- costly, and for a budget

    return country_of_address(phone, bsuid) or ""


def template_category(call: Mapping[str, Any], known: str | None) -> str:
    """The category that Meta charges a template by: its own word before that of the template's file."""
    return str(known or call.get("category") or _TEMPLATE_CATEGORY).lower()


def _sendable_of(row: Mapping[str, Any]) -> Sendable:
    is_text = row["wording"] == MessageForm.FREE_TEXT
    category = FREE_TEXT_CATEGORY if is_text else template_category({}, row["category"])
    return Sendable(country_of(row["phone"], row["bsuid"]), category, Lane.NORMAL)

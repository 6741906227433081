"""A month's budget holds what is not critical once it is spent, with the messages on their way."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.dispatcher.budget import QUERIES, Budget, ChargeStore, Sendable, month_of
from shared.clients.rate_card import RateCard, read_rate_card
from shared.contracts.messages import Lane
from shared.contracts.whatsapp import AccountReported
from tests.dev.whatsapp.simulator_under_test import ACCOUNT, RecordingWebhook, SimulatorUnderTest
from tests.services.dispatcher.dispatcher_under_test import (
    message_received,
    person_observed,
    running_dispatcher,
    send_request,
)

CARD = """
currency = "EUR"
[[rates]]
valid_from = 2026-10-01
[rates.markets.UK]
countries = ["GB"]
utility = 0.03
marketing = 0.10
service = 0
"""
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
UTILITY = Sendable("GB", "utility", Lane.NORMAL)


@pytest.fixture
def card(tmp_path: Path) -> RateCard:
    return read_rate_card(card_file(tmp_path))


def card_file(folder: Path) -> Path:
    path = folder / "rates.toml"
    path.write_text(CARD, encoding="utf-8")
    return path


class Database:
    """Answers the queries of a budget; ``charged`` are messages of category utility on the day of NOON."""

    def __init__(self) -> None:
        self.charged = 0
        self.settled: list[str] = []
        self.released = 0

    async def fetch(self, query: str, *_: object) -> list[dict[str, Any]]:
        if query == QUERIES.settled_sends:
            return [{"message_id": message_id} for message_id in self.settled]
        if query == QUERIES.charged_messages and self.charged:
            row = {"line": "main", "country": "GB", "category": "utility", "pricing_type": "regular", "rule": ""}
            return [{"day": NOON.date(), "messages": self.charged, **row}]
        return []

    async def fetchval(self, query: str, *_: object) -> int:
        """All that is held fits into one portion."""
        assert query == QUERIES.release_budgeted
        self.released += 1
        return 0


@pytest.fixture
def database() -> Database:
    return Database()


async def read_budget(database: Database, card: RateCard | None, amount: str | None, now: datetime = NOON) -> Budget:
    store = ChargeStore("penrose", ZoneInfo("Europe/London"))
    budget = Budget(store, card, None if amount is None else Decimal(amount))
    await budget.refresh(database, now)
    return budget


async def read_again(budget: Budget, database: Database, now: datetime = NOON) -> None:
    budget._read_at = 0.0
    await budget.refresh(database, now)


@pytest.mark.parametrize(
    ("message", "until"),
    [
        (UTILITY, DECEMBER),
        (Sendable("GB", "utility", Lane.BULK), DECEMBER),
        (Sendable("JP", "utility", Lane.NORMAL), DECEMBER),
        (Sendable("GB", "utility", Lane.CRITICAL), None),
        (Sendable("GB", "utility", Lane.NORMAL, mandatory=True), None),
        (Sendable("GB", "service", Lane.NORMAL), None),
    ],
)
async def test_a_spent_budget_holds_all_but_critical_mandatory_and_free_messages(
    database: Database, card: RateCard, message: Sendable, until: datetime | None
) -> None:
    database.charged = 3
    budget = await read_budget(database, card, "0.09")
    assert budget.hold_until(message, NOON) == until


async def test_a_message_goes_while_there_is_room_for_its_price(database: Database, card: RateCard) -> None:
    budget = await read_budget(database, card, "0.10")
    assert budget.hold_until(Sendable("GB", "marketing", Lane.NORMAL), NOON) is None
    budget.reserve("m1", 1, UTILITY, NOON)
    assert budget.hold_until(Sendable("GB", "marketing", Lane.NORMAL), NOON) == DECEMBER
    assert budget.hold_until(UTILITY, NOON) is None
    assert budget.hold_until(Sendable("JP", "utility", Lane.NORMAL), NOON) is None  # no price is known


async def test_a_message_on_its_way_counts_once_and_not_at_all_where_it_did_not_go(
    database: Database, card: RateCard
) -> None:
    budget = await read_budget(database, card, "0.06")
    budget.reserve("m1", 1, UTILITY, NOON)
    budget.reserve("m2", 1, UTILITY, NOON)
    budget.reserve("m2", 2, UTILITY, NOON)
    assert budget.committed == Decimal("0.06")
    assert budget.hold_until(UTILITY, NOON) == DECEMBER
    database.charged, database.settled = 1, ["m1"]
    await read_again(budget, database)
    assert (budget.committed, database.released) == (Decimal("0.06"), 1)  # the one of a new leader
    database.settled = ["m2"]
    await read_again(budget, database)
    assert (budget.committed, database.released) == (Decimal("0.03"), 2)
    assert budget.hold_until(UTILITY, NOON) is None


async def test_a_message_that_is_never_delivered_counts_for_a_day(database: Database, card: RateCard) -> None:
    budget = await read_budget(database, card, "1")
    budget.reserve("m1", 1, UTILITY, NOON)
    await read_again(budget, database, NOON + timedelta(hours=23))
    assert budget.committed == Decimal("0.03")
    await read_again(budget, database, NOON + timedelta(hours=25))
    assert budget.committed == 0


async def test_the_month_of_the_tenants_time_zone_counts(database: Database, card: RateCard) -> None:
    database.charged = 3
    end_of_summer = datetime(2026, 7, 31, 22, 59, tzinfo=UTC)  # 23:59 in London
    budget = await read_budget(database, card, "0.09", end_of_summer)
    assert budget.hold_until(Sendable("JP", "utility", Lane.NORMAL), end_of_summer) == datetime(
        2026, 7, 31, 23, tzinfo=UTC
    )
    assert budget.hold_until(Sendable("JP", "utility", Lane.NORMAL), end_of_summer + timedelta(minutes=1)) is None


@pytest.mark.parametrize(
    ("now", "first", "end"),
    [
        (datetime(2026, 12, 31, 23, 59, tzinfo=UTC), date(2026, 12, 1), datetime(2027, 1, 1, tzinfo=UTC)),
        (datetime(2027, 1, 31, tzinfo=UTC), date(2027, 1, 1), datetime(2027, 2, 1, tzinfo=UTC)),
        (datetime(2027, 2, 1, tzinfo=UTC), date(2027, 2, 1), datetime(2027, 3, 1, tzinfo=UTC)),
        (datetime(2027, 3, 1, tzinfo=UTC), date(2027, 3, 1), datetime(2027, 3, 31, 23, tzinfo=UTC)),
        (datetime(2027, 3, 31, 23, tzinfo=UTC), date(2027, 4, 1), datetime(2027, 4, 30, 23, tzinfo=UTC)),
    ],
)
def test_a_month_is_counted_from_its_first_midnight_in_london(now: datetime, first: date, end: datetime) -> None:
    assert month_of(now, ZoneInfo("Europe/London")) == (first, end)


async def test_without_a_budget_nothing_waits_and_what_waited_goes(database: Database, card: RateCard) -> None:
    budget = await read_budget(database, card, None)
    assert (budget.hold_until(UTILITY, NOON), database.released) == (None, 1)
    await read_again(budget, database)
    assert database.released == 1


@pytest.mark.integration
async def test_messages_held_by_the_budget_leave_after_a_raise_and_in_the_next_month(
    postgres_database: str, clock_file: Path, simulator: SimulatorUnderTest, webhook: RecordingWebhook, tmp_path: Path
) -> None:
    card: dict[str, Any] = {"rate_card": card_file(tmp_path)}
    people = [person_observed(f"p{number}", f"+44770090000{number}") for number in range(1, 7)]
    place = (postgres_database, clock_file, simulator, webhook)
    async with running_dispatcher(*place, monthly_budget=Decimal("0.05"), **card) as dispatcher:
        await dispatcher.handle(*people, message_received(dispatcher.clock.now(), "p5"), send_request("m1", "p1"))
        await dispatcher.wait_for_state("accepted", "m1")
        await dispatcher.handle(
            send_request("m2", "p2"),
            send_request("m3", "p3", lane=Lane.CRITICAL),
            send_request("m4", "p4", mandatory=True),
            send_request("m5", "p5"),
        )
        for message_id in ("m3", "m4", "m5"):
            await dispatcher.wait_for_state("accepted", message_id)
        await dispatcher.wait_for_reason("budget_spent", "m2")
        await dispatcher.handle_statuses()
    async with running_dispatcher(*place, monthly_budget=Decimal("0.13"), **card) as dispatcher:
        await dispatcher.wait_for_state("accepted", "m2")
        await dispatcher.handle(send_request("m6", "p6"))
        await dispatcher.wait_for_reason("budget_spent", "m6")
        dispatcher.clock.set(DECEMBER)
        await dispatcher.wait_for_state("accepted", "m6")


@pytest.mark.integration
async def test_a_new_leader_expects_the_price_of_the_category_that_meta_reports(
    postgres_database: str, clock_file: Path, simulator: SimulatorUnderTest, webhook: RecordingWebhook, card: RateCard
) -> None:
    """Of a message that an earlier leader sent, and of which no status has said yet what it cost."""
    async with running_dispatcher(postgres_database, clock_file, simulator, webhook) as at:
        value = {
            "message_template_name": "rights_request_v3", "message_template_language": "en",
            "previous_category": "UTILITY", "new_category": "MARKETING",
        }  # fmt: skip
        moved = AccountReported(account=ACCOUNT, field="template_category_update", value=value, at=at.clock.now())
        await at.handle(moved, person_observed(), send_request(marketing_consent=True))
        await at.wait_for_state("accepted")
        budget = Budget(ChargeStore(at.settings.tenant, ZoneInfo("Europe/London")), card, Decimal(1))
        async with at.pool.acquire() as connection:
            await budget.refresh(connection, at.clock.now())
        assert budget.committed == Decimal("0.10")

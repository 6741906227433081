"""The rate card prices what WhatsApp charges, and says what it does not know."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from shared.clients.rate_card import (
    ChargedMessages,
    RateCard,
    RateCardInvalid,
    price_messages,
    read_rate_card,
    spending_of,
)

CARD = """
currency = "EUR"

[[rates]]
valid_from = 2026-07-01
[rates.markets."United Kingdom"]
countries = ["GB"]
utility = 0.0200

[[rates]]
valid_from = 2026-10-01
[rates.markets."United Kingdom"]
countries = ["GB"]
utility = [{ from = 1, price = 0.03 }, { from = 11, price = 0.02 }]
service = 0.03
[rates.markets."North America"]
calling_codes = ["1"]
utility = 0.004
[rates.markets."Rest of Latin America"]
countries = ["DO"]
utility = 0.0113
[rates.markets.Other]
calling_codes = ["*"]
marketing = 0.06
"""


@pytest.fixture
def card(tmp_path: Path) -> RateCard:
    return read(tmp_path, CARD)


def read(folder: Path, text: str) -> RateCard:
    path = folder / "rates.toml"
    path.write_text(text, encoding="utf-8")
    return read_rate_card(path)


def charged(messages: int = 1, **changes: object) -> ChargedMessages:
    given = {
        "day": date(2026, 11, 24), "line": "main", "country": "GB", "category": "utility", "pricing_type": "regular",
        "rule": "stage", "messages": messages,
    }  # fmt: skip
    return ChargedMessages(**(given | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("country", "category", "day", "price"),
    [
        ("GB", "utility", date(2026, 9, 30), "0.02"),
        ("GB", "utility", date(2026, 10, 1), "0.03"),
        ("GB", "UTILITY", date(2027, 3, 1), "0.03"),
        ("US", "utility", date(2026, 10, 1), "0.004"),
        ("CA", "utility", date(2026, 10, 1), "0.004"),
        ("DO", "utility", date(2026, 10, 1), "0.0113"),
        ("JP", "marketing", date(2026, 10, 1), "0.06"),
        ("", "marketing", date(2026, 10, 1), "0.06"),
        ("GB", "utility", date(2026, 6, 30), None),
        ("GB", "marketing", date(2026, 10, 1), None),
        ("JP", "utility", date(2026, 10, 1), None),
        ("GB", "countries", date(2026, 10, 1), None),
    ],
)
def test_a_price_is_that_of_the_nearest_market_in_force(
    card: RateCard, country: str, category: str, day: date, price: str | None
) -> None:
    assert card.price(country, category, day) == (None if price is None else Decimal(price))


def test_a_volume_tier_begins_with_its_message_of_the_month(card: RateCard) -> None:
    assert card.price("GB", "utility", date(2026, 11, 1), nth=10) == Decimal("0.03")
    assert card.price("GB", "utility", date(2026, 11, 1), nth=11) == Decimal("0.02")
    days = [charged(8, day=date(2026, 11, 2)), charged(4, day=date(2026, 11, 3)), charged(3, day=date(2026, 12, 1))]
    assert [one.cost for one in price_messages(card, days)] == [Decimal("0.24"), Decimal("0.10"), Decimal("0.09")]


def test_free_messages_cost_nothing_and_fill_no_tier(card: RateCard) -> None:
    free = charged(100, day=date(2026, 11, 1), category="utility", pricing_type="free_entry_point")
    unknown = charged(1, pricing_type="free_of_a_new_kind", country="JP")
    found = price_messages(card, [free, charged(2), unknown])
    assert sorted(str(one.cost) for one in found) == ["0", "0", "0.06"]


def test_a_message_without_a_price_is_counted_and_is_in_no_sum(card: RateCard) -> None:
    spending = spending_of(price_messages(card, [charged(2), charged(3, country="JP"), charged(1, country="")]))
    assert (spending.cost, spending.messages, spending.unpriced) == (Decimal("0.06"), 6, 4)


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("EUR", "euro", "currency"),
        ("utility = 0.0200", "utilty = 0.0200", "utilty"),
        ("utility = 0.0200", "utility = -1", "greater than or equal to 0"),
        ("from = 11", "from = 1", "first tier begins with message 1"),
        ("2026-10-01", "2026-07-01", "valid from a later day"),
        ('["DO"]', '["GB"]', "in two markets: GB"),
        ('["DO"]', "[]", "without countries and calling codes"),
        ("[[rates]]", "[[rates]", "line"),
    ],
)
def test_a_wrong_card_is_refused_by_what_is_wrong(tmp_path: Path, before: str, after: str, sentence: str) -> None:
    with pytest.raises(RateCardInvalid, match=sentence):
        read(tmp_path, CARD.replace(before, after))


def test_a_card_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RateCardInvalid, match="no_card"):
        read_rate_card(tmp_path / "no_card.toml")

"""Totals and the forecast of what messages cost."""

from datetime import date, timedelta
from decimal import Decimal

from ops.cost_report import CostPart, Planned, forecast_month, totals_by, unpriced_by_market
from shared.clients.rate_card import ChargedMessages, PricedMessages

TODAY = date(2026, 11, 20)  # a Friday
NOTHING = Planned({}, {})


def priced(day: date = TODAY, messages: int = 1, cost: str | None = "1", **changes: str) -> PricedMessages:
    given = {"line": "main", "country": "GB", "category": "utility", "pricing_type": "regular", "rule": "stage"}
    charged = ChargedMessages(day=day, messages=messages, **(given | changes))
    return PricedMessages(charged, None if cost is None else Decimal(cost))


def ago(days: int) -> date:
    return TODAY - timedelta(days=days)


def test_totals_begin_with_the_most_expensive_and_name_what_has_no_name() -> None:
    found = totals_by(CostPart.RULE, [priced(), priced(cost="5", rule=""), priced(cost="2")])
    assert [(name, str(spending.cost), spending.messages) for name, spending in found] == [
        ("(none)", "5", 1),
        ("stage", "3", 2),
    ]


def test_messages_without_a_price_are_listed_by_market() -> None:
    found = unpriced_by_market([priced(), priced(cost=None, country="JP", messages=2), priced(cost=None, country="")])
    assert found == [("JP", "utility", 2), ("(none)", "utility", 1)]


def test_with_four_weeks_behind_it_a_day_costs_what_its_weekday_did() -> None:
    weeks = [priced(ago(days), cost="7" if ago(days).weekday() == 0 else "1") for days in range(1, 29)]
    found = forecast_month([*weeks, priced(cost="0.25")], NOTHING, TODAY)
    assert (found.days_left, found.history_days) == (10, 28)
    assert found.habit == Decimal("0.75") + 8 + 2 * 7  # the rest of today, and of ten days two Mondays
    assert found.spent == sum(one.cost or 0 for one in weeks if one.charged.day.month == 11) + Decimal("0.25")
    assert "the same weekdays" in found.method


def test_with_less_behind_it_a_day_costs_the_mean() -> None:
    found = forecast_month([priced(ago(2), cost="3"), priced(ago(1), cost="1")], NOTHING, TODAY)
    assert (found.history_days, found.habit) == (2, Decimal(2) * 11)
    assert "the mean day" in found.method


def test_waiting_and_due_messages_count_where_they_exceed_the_usual_number() -> None:
    recent = [priced(ago(1), messages=10, cost="1"), priced(ago(1), messages=1, cost="1", rule="royalty")]
    found = forecast_month(recent, Planned({"stage": 5, "new": 11}, {"royalty": 100}), TODAY)
    assert found.scheduled == Decimal("0.5") + 2 + 100
    assert found.cost == found.spent + found.scheduled
    assert (found.waiting, found.steps) == (16, 100)


def test_the_forecast_names_the_countries_that_it_leaves_out() -> None:
    unknown = [
        priced(ago(40), cost=None, country="US"),  # before the days that it rests on
        priced(ago(25), cost=None, country="JP"),
        priced(ago(1), cost=None, country="FR", messages=2),
        priced(cost=None, country="FR", category="marketing"),
    ]
    found = forecast_month([priced(ago(28)), *unknown], NOTHING, TODAY)
    assert list(found.unpriced.items()) == [("FR", 3), ("JP", 1)]


def test_without_history_nothing_is_expected() -> None:
    found = forecast_month([], Planned({"stage": 5}, {}), TODAY)
    assert (found.cost, found.history_days) == (Decimal(0), 0)

"""The totals of what messages cost in a period, and the forecast until the month ends. Pure."""

from calendar import monthrange
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum

from shared.clients.rate_card import PricedMessages, Spending, spending_of

_WEEK = 7
_HABIT_DAYS = 28
_NONE = "(none)"


class CostPart(StrEnum):
    """The ways to make totals."""

    CATEGORY = "category"
    COUNTRY = "country"
    RULE = "rule"
    LINE = "line"


_KEYS: Mapping[CostPart, Callable[[PricedMessages], str]] = {
    CostPart.CATEGORY: lambda one: one.charged.category,
    CostPart.COUNTRY: lambda one: one.charged.country,
    CostPart.RULE: lambda one: one.charged.rule,
    CostPart.LINE: lambda one: one.charged.line,
}


def totals_by(part: CostPart, priced: Iterable[PricedMessages]) -> list[tuple[str, Spending]]:
    """The most expensive first; an empty name, as of messages of no rule, is ``(none)``."""
    groups: defaultdict[str, list[PricedMessages]] = defaultdict(list)
    for one in priced:
        groups[_KEYS[part](one) or _NONE].append(one)
    totals = [(name, spending_of(group)) for name, group in groups.items()]
    return sorted(totals, key=lambda total: (-total[1].cost, -total[1].messages, total[0]))


def unpriced_by_market(priced: Iterable[PricedMessages]) -> list[tuple[str, str, int]]:
    """(country, category, messages) that the rate card does not know, the most first."""
    counts: defaultdict[tuple[str, str], int] = defaultdict(int)
    for one in priced:
        if one.cost is None:
            counts[one.charged.country or _NONE, one.charged.category] += one.charged.messages
    return sorted(((*key, count) for key, count in counts.items()), key=lambda found: (-found[2], found))


@dataclass(frozen=True, slots=True)
class Planned:
    """The known part of the rest of the month: messages that wait, and steps of chains that fall due, by rule."""

    waiting: Mapping[str, int]
    steps: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Forecast:
    """``habit`` and ``scheduled`` are two estimates of the rest of the month; the higher one counts.

    ``history_days`` are the days before today that ``habit`` rests on, 28 at most. ``unpriced`` are the messages of
    each country, of these days and of the month, whose price is not known: they are in no part of the forecast.
    """

    spent: Decimal
    habit: Decimal
    scheduled: Decimal
    days_left: int
    history_days: int
    waiting: int
    steps: int
    unpriced: Mapping[str, int] = field(default_factory=dict)

    @property
    def cost(self) -> Decimal:
        return self.spent + max(self.habit, self.scheduled)

    @property
    def method(self) -> str:
        days = "as the same weekdays" if self.history_days == _HABIT_DAYS else "as the mean day"
        return (
            "spent so far + the higher of two estimates of the rest of the month: each remaining day costs as much "
            f"{days} of the last {self.history_days} days; each message that waits, and each step that falls due "
            "counted as one message, costs the mean of its rule in these days"
        )


def forecast_month(priced: Sequence[PricedMessages], planned: Planned, today: date) -> Forecast:
    """``priced`` are the messages since 28 days before today, or since the first of its month, whichever is earlier."""
    first_of_month = today.replace(day=1)
    habit_days = [today - timedelta(days=count) for count in range(1, _HABIT_DAYS + 1)]
    costs: defaultdict[date, Decimal] = defaultdict(Decimal)
    for one in priced:
        costs[one.charged.day] += one.cost or 0
    oldest = min(costs, default=today)
    known = [day for day in habit_days if day >= oldest]
    last_of_month = monthrange(today.year, today.month)[1]
    left = [today + timedelta(days=count) for count in range(1, last_of_month - today.day + 1)]
    rest_of_today = max(_expected(costs, known, today) - costs[today], Decimal(0))
    return Forecast(
        spent=sum((cost for day, cost in costs.items() if first_of_month <= day <= today), Decimal(0)),
        habit=sum((_expected(costs, known, day) for day in left), rest_of_today),
        scheduled=_cost_of_planned([one for one in priced if one.charged.day in {*known, today}], planned),
        days_left=len(left),
        history_days=len(known),
        waiting=sum(planned.waiting.values()),
        steps=sum(planned.steps.values()),
        unpriced=_unpriced_by_country(one for one in priced if one.charged.day >= min(first_of_month, *known, today)),
    )


def _unpriced_by_country(priced: Iterable[PricedMessages]) -> Mapping[str, int]:
    """The most messages first."""
    counts: Counter[str] = Counter()
    for country, _, messages in unpriced_by_market(priced):
        counts[country] += messages
    return dict(counts.most_common())


def _expected(costs: Mapping[date, Decimal], known: Sequence[date], day: date) -> Decimal:
    """The expected cost of a day: the mean of the same weekday in four whole weeks; with less history, that of all
    days.
    """
    like = [one for one in known if one.weekday() == day.weekday()] if len(known) == _HABIT_DAYS else known
    return sum((costs.get(one, Decimal(0)) for one in like), Decimal(0)) / len(like) if like else Decimal(0)


def _cost_of_planned(recent: Sequence[PricedMessages], planned: Planned) -> Decimal:
    """A rule that sent nothing lately has the mean of all."""
    means = {name: _mean(spending) for name, spending in totals_by(CostPart.RULE, recent)}
    of_all = _mean(spending_of(recent))
    counts = [*planned.waiting.items(), *planned.steps.items()]
    return sum((means.get(rule or _NONE, of_all) * count for rule, count in counts), Decimal(0))


def _mean(spending: Spending) -> Decimal:
    priced = spending.messages - spending.unpriced
    return spending.cost / priced if priced else Decimal(0)

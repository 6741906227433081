"""``stet cost``: what messages cost in a period by the rate card, and what they will cost until the month ends."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

import typer

from ops.command_line import ExitCode, OutputFormat, print_error, print_json, print_lines, print_rows
from ops.command_settings import TenantSettings, load_command_settings, run
from ops.cost_report import CostPart, Forecast, Planned, forecast_month, totals_by, unpriced_by_market
from ops.database import operator_pool
from services.dispatcher.budget import ChargeStore, next_month
from services.dispatcher.settings import CostSettings
from shared.clients.rate_card import ChargedMessages, PricedMessages, price_messages, spending_of
from shared.runtime.postgres import Pool, load_queries

QUERIES = load_queries(__file__, "cost.sql")
_SCHEMA = "dispatcher"
_HISTORY = timedelta(days=28)
_DAY = "%Y-%m-%d"
_MONTH = "%Y-%m"
_YEARS_AHEAD = 100  # a later one is a typing error, and the last of the calendar has no month after it
_COLUMNS = {"name": "", "messages": "messages", "free": "free", "unpriced": "without price", "cost": "cost"}
_NO_CARD = "STET_RATE_CARD is not set: messages are counted, and have no cost (docs/operations/cost.md)"


class CostFormat(StrEnum):
    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


class CostCommandSettings(TenantSettings, CostSettings):
    """The database, whose rows are meant, and the rate card."""


@dataclass(frozen=True, slots=True)
class CostView:
    """The printed values. ``forecast`` is there for the month of today alone, and only with a rate card."""

    first: date
    last: date
    currency: str | None
    priced: Sequence[PricedMessages]
    forecast: Forecast | None = None


def cost_command(
    month: Annotated[
        datetime | None, typer.Option(formats=[_MONTH], help="The month; by default the one of today.")
    ] = None,
    since: Annotated[
        datetime | None, typer.Option("--from", formats=[_DAY], help="The first day of another period.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--until", formats=[_DAY], help="Its last day; by default today.")
    ] = None,
    output: Annotated[
        CostFormat, typer.Option("--format", help="Text for people, JSON (one object a line), or Markdown.")
    ] = CostFormat.TEXT,
) -> None:
    """Show what the messages of a month or a period cost, by category, country, rule and line.

    WhatsApp says which messages it charges, not how much: the prices are those of STET_RATE_CARD. For the month of
    today there is a forecast until its end, with its method. Days are those of STET_PUBLISHER_TIME_ZONE. Exit code 1
    where the card has no price for some message; such messages are counted, and are in no sum.
    """
    settings = load_command_settings(CostCommandSettings)
    today = settings.clock().now().astimezone(settings.zone).date()
    first, last = _period(month, since, until, today)

    async def command() -> int:
        async with operator_pool(settings, _SCHEMA) as pool:
            view = await _read(pool, settings, (first, last), today)
        _print(view, output)
        unknown = unpriced_by_market(view.priced)
        if view.currency is None:
            print_error(_NO_CARD)
            return ExitCode.FINE
        if unknown:
            named = ", ".join(f"{country} {category} ({count})" for country, category, count in unknown)
            print_error(f"STET_RATE_CARD has no price for: {named}; they are in no sum")
        return ExitCode.FINDINGS if unknown else ExitCode.FINE

    run(command())


def _period(month: datetime | None, since: datetime | None, until: datetime | None, today: date) -> tuple[date, date]:
    """Raises BadParameter where the options contradict each other."""
    if month is not None and (since is not None or until is not None):
        raise typer.BadParameter("--month is a period of its own: leave out --from and --until")
    if since is None and until is not None:
        raise typer.BadParameter("--until needs --from")
    if since is not None:
        last = until.date() if until else today
        if last < since.date():
            raise typer.BadParameter("--until is before --from")
        return since.date(), last
    first = month.date() if month else today.replace(day=1)
    if first.year > today.year + _YEARS_AHEAD:
        raise typer.BadParameter(f"{first:%Y-%m} lies too far ahead")
    return first, next_month(first) - timedelta(days=1)


async def _read(pool: Pool, settings: CostCommandSettings, period: tuple[date, date], today: date) -> CostView:
    """Whole months are read, so that volume tiers are counted from the first message of each."""
    first, last = period
    store = ChargeStore(settings.tenant, settings.zone)
    is_this_month = (first, last) == (today.replace(day=1), next_month(today) - timedelta(days=1))
    earliest = min(first, today - _HISTORY) if is_this_month else first
    charged = await store.charged(pool, earliest.replace(day=1), last)
    priced = _price(settings, charged)
    shown = [one for one in priced if first <= one.charged.day <= last]
    if settings.card is None:
        return CostView(first, last, None, shown)
    forecast = None
    if is_this_month:
        end = datetime.combine(next_month(today), time(), settings.zone)
        recent = [one for one in priced if one.charged.day >= earliest]
        forecast = forecast_month(recent, await _planned(pool, settings, end), today)
    return CostView(first, last, settings.card.currency, shown, forecast)


def _price(settings: CostCommandSettings, charged: Iterable[ChargedMessages]) -> Sequence[PricedMessages]:
    if settings.card is not None:
        return price_messages(settings.card, charged)
    return [PricedMessages(one, Decimal(0) if one.is_free else None) for one in charged]


async def _planned(pool: Pool, settings: CostCommandSettings, end: datetime) -> Planned:
    waiting = await pool.fetch(QUERIES.waiting, settings.tenant, end)
    steps = await pool.fetch(QUERIES.scheduled, settings.tenant, end)
    return Planned({row["rule"]: row["messages"] for row in waiting}, {row["rule"]: row["steps"] for row in steps})


# ------------------------------------------------------------------ output


def _print(view: CostView, output: CostFormat) -> None:
    parts = [(part, _rows(view, totals_by(part, view.priced))) for part in CostPart]
    (total,) = _rows(view, [("total", spending_of(view.priced))])
    if output is CostFormat.JSON:
        print_json(
            [_document("total", total, view), *(_document(part, row, view) for part, rows in parts for row in rows)]
        )
        if view.forecast is not None:
            print_json([_forecast_document(view.forecast, view.currency)])
        return
    title = f"{view.first} to {view.last}"
    if output is CostFormat.MARKDOWN:
        sys.stdout.write(_markdown(title, [total], "total"))
        sys.stdout.writelines(_markdown(f"By {part}", rows, part) for part, rows in parts if rows)
        sys.stdout.writelines(f"{line}\n" for line in _forecast_lines(view))
        return
    print_rows([total], {**_COLUMNS, "name": title}, OutputFormat.TEXT, empty="")
    for part, rows in parts:
        if rows:
            print_rows(rows, {**_COLUMNS, "name": part.value}, OutputFormat.TEXT, empty="")
    print_lines(_forecast_lines(view))


def _rows(view: CostView, totals: Iterable[tuple[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "messages": spending.messages,
            "free": spending.free,
            "unpriced": spending.unpriced,
            "cost": _amount(spending.cost, view.currency) if view.currency else "-",
            "exact": str(spending.cost) if view.currency else None,
        }
        for name, spending in totals
    ]


def _document(part: str, row: dict[str, Any], view: CostView) -> dict[str, Any]:
    counts = {name: row[name] for name in ("messages", "free", "unpriced")}
    period = {"from": view.first.isoformat(), "until": view.last.isoformat()}
    return {"part": part, "name": row["name"], **period, **counts, "cost": row["exact"], "currency": view.currency}


def _forecast_document(forecast: Forecast, currency: str | None) -> dict[str, Any]:
    numbers = {name: str(getattr(forecast, name)) for name in ("cost", "spent", "habit", "scheduled")}
    counts = {name: getattr(forecast, name) for name in ("days_left", "history_days", "waiting", "steps")}
    left_out = {"unpriced": dict(forecast.unpriced)}
    return {"part": "forecast", **numbers, "currency": currency, **counts, **left_out, "method": forecast.method}


def _forecast_lines(view: CostView) -> list[str]:
    if view.forecast is None:
        return []
    found = view.forecast
    known = f"{found.waiting} messages, {found.steps} steps"
    sums = {name: _amount(getattr(found, name), view.currency) for name in ("cost", "spent", "habit", "scheduled")}
    rest = f"the rest by habit {sums['habit']}, by what is scheduled {sums['scheduled']}: {known}"
    return [
        f"Forecast until {view.last}: {sums['cost']} (spent {sums['spent']}; {rest})",
        *_left_out(found),
        f"Method: {found.method}.",
    ]


def _left_out(forecast: Forecast) -> list[str]:
    if not forecast.unpriced:
        return []
    countries = ", ".join(
        f"{country} ({count} message{'' if count == 1 else 's'})" for country, count in forecast.unpriced.items()
    )
    return [f"Not in it, as STET_RATE_CARD has no price for them: {countries}."]


def _markdown(title: str, rows: Iterable[dict[str, Any]], first: str) -> str:
    headings = [first, *[heading for name, heading in _COLUMNS.items() if name != "name"]]
    lines = [f"## {title}", "", f"| {' | '.join(headings)} |", "|" + "---|" * len(headings)]
    lines += [f"| {' | '.join(_in_cell(row[name]) for name in _COLUMNS)} |" for row in rows]
    return "\n".join([*lines, "", ""])


def _in_cell(value: object) -> str:
    return str(value).replace("|", "\\|")


def _amount(cost: Decimal, currency: str | None) -> str:
    return f"{cost:,.2f} {currency}"

"""``stet cost`` on a real database."""

import asyncio
import json
from pathlib import Path

import asyncpg
import pytest
from typer.testing import CliRunner

from ops.__main__ import app

pytestmark = pytest.mark.integration
CHARGES = """
insert into dispatcher.charge_totals (tenant, day, line, country, category, pricing_type, rule, messages) values
    ('penrose', '2026-10-05', 'main', 'GB', 'utility', 'regular', 'greet', 100),
    ('penrose', '2026-10-06', 'main', 'JP', 'utility', 'regular', 'greet', 2),
    ('penrose', '2026-10-06', 'main', 'GB', 'service', 'free_customer_service', '', 7),
    ('penrose', '2026-11-01', 'main', 'GB', 'utility', 'regular', 'greet', 50),
    ('other', '2026-10-05', 'main', 'GB', 'utility', 'regular', 'greet', 1000)
"""
TODAY = """values
    ('penrose', current_date, 'main', 'FR', 'utility', 'regular', 'greet', 1),
    ('penrose', current_date, 'main', 'JP', 'utility', 'regular', 'greet', 2)
"""
CARD = """
currency = "EUR"
[[rates]]
valid_from = 2026-10-01
[rates.markets.UK]
countries = ["GB"]
utility = 0.03
"""


async def test_the_cost_of_messages_is_shown_by_part_with_the_prices_that_are_missing(
    postgres_database: str, stet: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await asyncpg.connect(postgres_database)
    await connection.execute(CHARGES)
    await connection.close()
    arguments = ["cost", "--month", "2026-10"]
    without = await asyncio.to_thread(stet.invoke, app, [*arguments, "--format", "json"])
    assert (without.exit_code, "STET_RATE_CARD is not set" in without.stderr) == (0, True)
    (tmp_path / "rates.toml").write_text(CARD, encoding="utf-8")
    monkeypatch.setenv("STET_RATE_CARD", str(tmp_path / "rates.toml"))
    shown = await asyncio.to_thread(stet.invoke, app, [*arguments, "--format", "json"])
    assert shown.exit_code == 1
    assert "STET_RATE_CARD has no price for: JP utility (2)" in shown.stderr
    rows = {(row["part"], row["name"]): row for row in map(json.loads, shown.stdout.splitlines())}
    total = rows["total", "total"]
    assert (total["cost"], total["messages"], total["free"], total["unpriced"]) == ("3.00", 109, 7, 2)
    assert {name for part, name in rows if part == "country"} == {"GB", "JP"}
    assert rows["rule", "greet"]["messages"] == 102
    markdown = await asyncio.to_thread(stet.invoke, app, [*arguments, "--format", "markdown"])
    assert "| service | 7 | 7 | 0 | 0.00 EUR |" in markdown.stdout
    month = await asyncio.to_thread(stet.invoke, app, ["cost"])
    assert "Forecast until" in month.stdout
    assert (await asyncio.to_thread(stet.invoke, app, [*arguments, "--from", "2026-10-01"])).exit_code == 2


async def test_the_forecast_names_the_countries_without_a_price(
    postgres_database: str, stet: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await asyncpg.connect(postgres_database)
    await connection.execute(CHARGES.partition("values")[0] + TODAY)
    await connection.close()
    (tmp_path / "rates.toml").write_text(CARD, encoding="utf-8")
    monkeypatch.setenv("STET_RATE_CARD", str(tmp_path / "rates.toml"))
    shown = await asyncio.to_thread(stet.invoke, app, ["cost"])
    assert "Not in it, as STET_RATE_CARD has no price for them: JP (2 messages), FR (1 message)." in " ".join(
        shown.stdout.split()
    )
    as_json = await asyncio.to_thread(stet.invoke, app, ["cost", "--format", "json"])
    assert json.loads(as_json.stdout.splitlines()[-1])["unpriced"] == {"JP": 2, "FR": 1}

"""The settings of what messages cost: read by the dispatcher, and by ``stet cost``."""

from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from shared.clients.rate_card import RateCard, read_rate_card
from shared.runtime.connection_settings import Settings
from shared.runtime.settings import TimeZoneName


class CostSettings(Settings):
    """The rate card, the budget, and the time zone whose days and months count."""

    house_zone: Annotated[
        TimeZoneName,
        Field(
            description="The publisher's time zone, an IANA name; its days and months count for costs and the budget."
        ),
    ] = "Europe/London"
    rate_card: Annotated[
        Path | None,
        Field(
            description=(
                "A TOML file with WhatsApp's prices by country and category (docs/operations/cost.md). Without it "
                "messages are counted and have no cost."
            ),
            examples=["/etc/stet/rates.toml"],
        ),
    ] = None

    monthly_budget: Annotated[
        Decimal | None,
        Field(
            gt=0,
            description=(
                "What messages may cost in a calendar month, in the currency of the rate card. When it is spent, "
                "messages that are not critical wait for the next month or a higher budget. Without it nothing waits."
            ),
            examples=["500"],
        ),
    ] = None
    budget_warning_percent: Annotated[
        int, Field(gt=0, le=100, description="The share of the budget from which `StetBudgetNearlySpent` warns.")
    ] = 80

    @field_validator("rate_card")
    @classmethod
    def _check_card(cls, path: Path | None) -> Path | None:
        if path is not None:
            read_rate_card(path)
        return path

    @model_validator(mode="after")
    def _check_budget(self) -> Self:
        if self.monthly_budget is not None and self.rate_card is None:
            raise ValueError("STET_MONTHLY_BUDGET also needs STET_RATE_CARD, which says what a message costs")
        return self

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.house_zone)

    @cached_property
    def card(self) -> RateCard | None:
        return None if self.rate_card is None else read_rate_card(self.rate_card)

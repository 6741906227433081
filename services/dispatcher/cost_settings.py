"""The settings of what messages cost: read by the dispatcher, and by ``stet cost``."""

from functools import cached_property
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, field_validator

from services.dispatcher.rate_card import RateCard, read_rate_card
from shared.runtime.connection_settings import Settings


class CostSettings(Settings):
    """The rate card, and the time zone whose days and months count."""

    house_zone: Annotated[
        str,
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

    @field_validator("house_zone")
    @classmethod
    def _check_zone(cls, zone: str) -> str:
        if zone not in available_timezones():
            raise ValueError("no such time zone")
        return zone

    @field_validator("rate_card")
    @classmethod
    def _check_card(cls, path: Path | None) -> Path | None:
        if path is not None:
            read_rate_card(path)
        return path

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.house_zone)

    @cached_property
    def card(self) -> RateCard | None:
        return None if self.rate_card is None else read_rate_card(self.rate_card)

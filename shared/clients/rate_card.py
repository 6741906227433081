"""The tenant's rate card: what WhatsApp charges for one message, by the country of its recipient and its category.

WhatsApp sends no amounts. It says of each message the category and whether it is charged; the price is on the card that
Meta publishes for each currency and changes on the first of a quarter (docs/reference/whatsapp.md, 7). The tenant keeps
the card as a TOML file: docs/operations/cost.md. Pure but for ``read_rate_card``.
"""

import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import groupby, pairwise
from pathlib import Path
from typing import Annotated, Self

from msgspec import Struct
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

_EVERYWHERE = "*"
_FREE = "free_"  # how Meta's words for what is not charged begin: free_customer_service, free_entry_point
_CATEGORIES = ("marketing", "utility", "authentication", "authentication_international", "service")


class RateCardInvalid(ValueError):
    """The file is no rate card; the sentence says where it is wrong."""


# ------------------------------------------------------------------ the file


def _as_tiers(price: object) -> object:
    return price if isinstance(price, list) else [{"from": 1, "price": price}]


class _Tier(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    first: Annotated[int, Field(alias="from", ge=1)]
    price: Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]


def _check_tiers(tiers: tuple[_Tier, ...]) -> tuple[_Tier, ...]:
    if not tiers or tiers[0].first != 1 or any(one.first >= other.first for one, other in pairwise(tiers)):
        raise ValueError("the first tier begins with message 1, each further one with a later message")
    return tiers


_Price = Annotated[tuple[_Tier, ...], BeforeValidator(_as_tiers), AfterValidator(_check_tiers)]


class _Market(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    countries: tuple[Annotated[str, Field(pattern=r"^[A-Z]{2}$")], ...] = ()
    calling_codes: tuple[Annotated[str, Field(pattern=r"^([1-9]\d{0,2}|\*)$")], ...] = ()
    marketing: _Price | None = None
    utility: _Price | None = None
    authentication: _Price | None = None
    authentication_international: _Price | None = None
    service: _Price | None = None

    @property
    def names(self) -> Iterable[str]:
        return (*self.countries, *self.calling_codes)


class _Rates(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    valid_from: date
    markets: Annotated[dict[str, _Market], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_markets(self) -> Self:
        named = Counter(name for market in self.markets.values() for name in market.names)
        if twice := sorted(name for name, times in named.items() if times > 1):
            raise ValueError(f"in two markets: {', '.join(twice)}")
        if empty := [name for name, market in self.markets.items() if not [*market.names]]:
            raise ValueError(f"without countries and calling codes: {', '.join(empty)}")
        return self


class _RateFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    source: str = ""
    rates: Annotated[tuple[_Rates, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if any(one.valid_from >= other.valid_from for one, other in pairwise(self.rates)):
            raise ValueError("rates: each is valid from a later day than the one before it")
        return self


def read_rate_card(path: Path) -> "RateCard":
    """Raises RateCardInvalid."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
        return RateCard(_RateFile.model_validate(document))
    except OSError as error:
        raise RateCardInvalid(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RateCardInvalid(f"{path}: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RateCardInvalid(f"{path}: {place or 'the file'}: {first['msg']}") from None


# ------------------------------------------------------------------ prices


class RateCard:
    """Prices of one message, in ``currency``. ``source`` says where they are from, where the file does."""

    def __init__(self, file: _RateFile) -> None:
        self.currency = file.currency
        self.source = file.source
        self._rates = file.rates
        self._markets = [
            {name: (title, market) for title, market in rates.markets.items() for name in market.names}
            for rates in file.rates
        ]

    @property
    def newest(self) -> date:
        """The day from which the newest prices of the card are valid."""
        return self._rates[-1].valid_from

    def market(self, country: str, day: date) -> str | None:
        """The market that a country belongs to on a day; None where the card does not know it."""
        found = self._find(country, day)
        return found[0] if found else None

    def price(self, country: str, category: str, day: date, nth: int = 1) -> Decimal | None:
        """The price of the ``nth`` message of the month in this market and category; None where the card has none."""
        tiers = self._tiers(country, category, day)
        return None if tiers is None else next(tier.price for tier in reversed(tiers) if tier.first <= nth)

    def cost(self, country: str, category: str, day: date, span: tuple[int, int]) -> Decimal | None:
        """The price of several messages together. ``span`` are the numbers of the first and the last of them in the
        month; None where the card has no price.
        """
        tiers = self._tiers(country, category, day)
        if tiers is None:
            return None
        first, last = span
        ends = [*(tier.first - 1 for tier in tiers[1:]), last]
        parts = (
            tier.price * max(min(end, last) - max(tier.first, first) + 1, 0)
            for tier, end in zip(tiers, ends, strict=True)
        )
        return sum(parts, Decimal(0))

    def _tiers(self, country: str, category: str, day: date) -> tuple[_Tier, ...] | None:
        found, name = self._find(country, day), category.lower().replace("-", "_")
        return getattr(found[1], name) if found and name in _CATEGORIES else None

    def _find(self, country: str, day: date) -> tuple[str, _Market] | None:
        """The market that names the country; else the one of its calling code; else the one of all other countries."""
        from shared.clients.phone_numbers import calling_code  # noqa: PLC0415 -- costly, and for a rate card

        in_force = sum(rates.valid_from <= day for rates in self._rates)
        if not in_force:
            return None
        markets = self._markets[in_force - 1]
        names = (country, str(calling_code(country)) if country else "", _EVERYWHERE)
        return next((markets[name] for name in names if name in markets), None)


class ChargedMessages(Struct, frozen=True):
    """Messages of one day, one number, one country, one category, one rule; ``country`` and ``rule`` may be empty.

    ``pricing_type`` is Meta's word: ``regular``, or what made them free.
    """

    day: date
    line: str
    country: str
    category: str
    pricing_type: str
    rule: str
    messages: int

    @property
    def is_free(self) -> bool:
        return self.pricing_type.startswith(_FREE)


class PricedMessages(Struct, frozen=True):
    """``cost`` is None where the card has no price for them."""

    charged: ChargedMessages
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class Tally:
    """Priced messages, and how many were charged in each month, market and category, which decides the next tier."""

    priced: Sequence[PricedMessages] = ()
    counts: Counter[tuple[int, int, str, str]] = field(default_factory=Counter)

    @classmethod
    def of(cls, card: RateCard, charged: Iterable[ChargedMessages]) -> "Tally":
        counts: Counter[tuple[int, int, str, str]] = Counter()
        return cls(_price_all(card, charged, counts), counts)

    def next_number(self, card: RateCard, country: str, category: str, day: date) -> int:
        """The number that one more message would have in its month, market and category."""
        return self.counts[day.year, day.month, _market_of(card, country, day), category] + 1


def price_messages(card: RateCard, charged: Iterable[ChargedMessages]) -> Sequence[PricedMessages]:
    """Price the messages, in the order of their days.

    Where the card has tiers, ``charged`` must begin with the first day of a month.

    Messages of one day that reach a further tier share its price with all others of that day.
    """
    return Tally.of(card, charged).priced


def _market_of(card: RateCard, country: str, day: date) -> str:
    return card.market(country, day) or f"({country})"


def _price_all(
    card: RateCard, charged: Iterable[ChargedMessages], counts: Counter[tuple[int, int, str, str]]
) -> list[PricedMessages]:
    """Adds to ``counts``."""

    def pool_of(one: ChargedMessages) -> tuple[date, str, str]:
        return one.day, _market_of(card, one.country, one.day), one.category

    priced = []
    for (day, market, category), group in groupby(sorted(charged, key=pool_of), key=pool_of):
        members = list(group)
        paid = sum(one.messages for one in members if not one.is_free)
        before = counts[day.year, day.month, market, category]
        counts[day.year, day.month, market, category] += paid
        priced += _price_pool(card, members, (before + 1, before + paid))
    return priced


def _price_pool(card: RateCard, members: Sequence[ChargedMessages], span: tuple[int, int]) -> list[PricedMessages]:
    first = members[0]
    cost = card.cost(first.country, first.category, first.day, span)
    paid = span[1] - span[0] + 1
    share = cost / paid if cost is not None and paid else None
    return [
        PricedMessages(one, Decimal(0) if one.is_free else None if share is None else share * one.messages)
        for one in members
    ]


class Spending(Struct, frozen=True):
    """``unpriced`` counts messages that WhatsApp charges and the card does not know; they are not in ``cost``."""

    cost: Decimal
    messages: int = 0
    free: int = 0
    unpriced: int = 0


def spending_of(priced: Iterable[PricedMessages]) -> Spending:
    cost, counts = Decimal(0), Counter[str]()
    for one in priced:
        cost += one.cost or 0
        kind = "free" if one.charged.is_free else "unpriced" if one.cost is None else "paid"
        counts[kind] += one.charged.messages
    return Spending(cost, counts.total(), counts["free"], counts["unpriced"])

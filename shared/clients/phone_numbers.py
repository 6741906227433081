"""Compares phone numbers, and finds the country that one belongs to. Numbers are E.164.

The number that a person typed and the one WhatsApp names the account by may differ. These national exceptions are data:
``national_numbers.toml``, with examples and sources. WhatsApp charges by the country of the recipient (Meta, "Pricing":
docs/reference/whatsapp.md, 7); countries are ISO 3166-1 alpha-2.
"""

import re
import tomllib
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import phonenumbers
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, NumberParseException, PhoneNumberType

from shared.contracts.ids import Phone

EXCEPTIONS_FILE = Path(__file__).with_name("national_numbers.toml")


class _Rewriting(NamedTuple):
    pattern: re.Pattern[str]
    replacement: str

    def apply(self, phone: str) -> str | None:
        match = self.pattern.fullmatch(phone)
        return None if match is None else match.expand(self.replacement)


def read_exceptions() -> list[dict[str, Any]]:
    """The countries of the file, as they are written there."""
    countries: list[dict[str, Any]] = tomllib.loads(EXCEPTIONS_FILE.read_text(encoding="utf-8"))["country"]
    return countries


@lru_cache(maxsize=1)
def _keys() -> tuple[_Rewriting, ...]:
    return tuple(_Rewriting(re.compile(one["written"]), one["key"]) for one in read_exceptions())


@lru_cache(maxsize=1)
def _renumberings() -> tuple[_Rewriting, ...]:
    pairs = (one["renumbered"] for one in read_exceptions() if "renumbered" in one)
    return tuple(_Rewriting(re.compile(old), new) for old, new in pairs)


@lru_cache(maxsize=1)
def _mixed_numbers() -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(one["mixed"]) for one in read_exceptions() if "mixed" in one)


@lru_cache(maxsize=65_536)
def phone_key(phone: str) -> str:
    """The one form of a number that has two: equal for both, and different for all others."""
    return next((key for one in _keys() if (key := one.apply(phone)) is not None), phone)


def renumbered(phone: str) -> str:
    """The form of today for a number of an earlier numbering plan; every other number as it is."""
    return next((new for one in _renumberings() if (new := one.apply(phone)) is not None), phone)


@lru_cache(maxsize=16_384)
def is_landline(phone: Phone) -> bool:
    """Whether a numbering plan gives it to landlines alone. Some plans, like that of the United States, do not say."""
    if any(pattern.fullmatch(phone) for pattern in _mixed_numbers()):
        return False
    return phonenumbers.number_type(phonenumbers.parse(phone)) == PhoneNumberType.FIXED_LINE


# ------------------------------------------------------------------ the country of a number

_BSUID_COUNTRY = re.compile(r"([A-Z]{2})\.")
_NO_GEOGRAPHICAL_ENTITY = "001"
_LONGEST_CALLING_CODE = 3


def country_of_address(phone: str | None, bsuid: str | None) -> str | None:
    """The country by the number, else by the first letters of the BSUID; None where neither names one."""
    if phone and (country := country_of_phone(phone)) is not None:
        return country
    match = _BSUID_COUNTRY.match(bsuid or "")
    return match[1] if match else None


def country_of_phone(phone: str) -> str | None:
    """None for a number that belongs to no country, as in satellite networks, and for a text that is no number."""
    digits, regions_of = phone.removeprefix("+"), _regions_by_calling_code()
    for length in range(1, _LONGEST_CALLING_CODE + 1):
        regions = regions_of.get(digits[:length])
        if regions is not None:
            region = regions[0] if len(regions) == 1 else _shared_code_country(f"+{digits}", regions[0])
            return None if region == _NO_GEOGRAPHICAL_ENTITY else region
    return None


@cache
def _regions_by_calling_code() -> Mapping[str, tuple[str, ...]]:
    return {str(code): regions for code, regions in COUNTRY_CODE_TO_REGION_CODE.items()}


def calling_code(country: str) -> int:
    """0 where the country has none."""
    return int(phonenumbers.country_code_for_region(country))


@lru_cache(maxsize=65_536)
def _shared_code_country(phone: str, main: str) -> str:
    """The country of a number whose calling code several countries share, such as +1, +7 and +44. ``main`` is the
    largest of them; it counts where the number does not tell.
    """
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(phone)) or main
    except NumberParseException:
        return main

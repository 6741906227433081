"""Compares phone numbers: the number that a person typed and the one WhatsApp names the account by may differ.

The national exceptions are data: ``national_numbers.toml``, with examples and sources. Numbers are E.164.
"""

import re
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import phonenumbers
from phonenumbers import PhoneNumberType

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

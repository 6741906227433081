"""The country of a WhatsApp account, by its number or its BSUID: WhatsApp charges by the country of the recipient.

Meta, "Pricing": docs/reference/whatsapp.md, 7. Numbers are E.164; countries are ISO 3166-1 alpha-2.
"""

import re
from collections.abc import Mapping
from functools import cache, lru_cache

import phonenumbers
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, NumberParseException

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

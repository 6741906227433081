"""Codes of countries, languages and time zones: which there are, and which one a wrong one was meant for."""

import re
from collections.abc import Mapping
from functools import cache
from zoneinfo import available_timezones

import phonenumbers
from babel import Locale, UnknownLocaleError
from babel.core import get_global
from babel.localedata import locale_identifiers

from services.rules.rulebook.faults import InvalidValue
from shared.clients.working_calendar import countries_with_zones

_LANGUAGE = re.compile(r"[a-z]{2,3}(_[A-Z][a-z]{3})?(_[A-Z]{2})?")
_MEANT = {"UK": "GB", "EL": "GR", "UNITED KINGDOM": "GB", "ENGLAND": "GB", "USA": "US"}
"""Common names of countries, and their codes."""


def check_country(code: str) -> str:
    """An ISO 3166 code, like GB. Raises InvalidValue."""
    if code not in _countries():
        meant = _MEANT.get(code.upper()) or _countries_by_name().get(code.casefold()) or _of_other_lists(code)
        sentence = f"“{code}” is no country; use its two capital letters of ISO 3166, like GB"
        raise InvalidValue(sentence, meant, {meant} & _countries())
    return code


_OF_COUNTRY = 2
"""Letters of a country's code."""


def check_language(code: str) -> str:
    """An ISO 639 code, perhaps with a country: en, en_GB. Raises InvalidValue."""
    if not is_language(code):
        if (known := meant_language(code)) is not None and is_language(known):
            raise InvalidValue(f"“{code}” names no country", known, (known,))
        language, _, country = code.partition("_")
        sentence = f"“{code}” is no language; use its code of ISO 639, like en or en_GB"
        meant = f"{language}_{_MEANT.get(country, country)}" if country else code.replace("-", "_")
        meant = _codes_by_name().get(code.casefold(), meant)
        right = {meant} & _languages() if country in _MEANT else _languages()
        raise InvalidValue(sentence, meant, right)
    return code


def check_zone(name: str) -> str:
    """An IANA time zone, like Europe/London. Raises InvalidValue."""
    if name not in _zones():
        meant = next((each for each in sorted(_zones()) if each.endswith(f"/{name}")), name)
        places = [each for each in _zones() if "/" in each and not each.startswith("Etc/")]
        raise InvalidValue(f"“{name}” is no time zone; write a place, like Europe/London", meant, places)
    return name


def _of_other_lists(code: str) -> str:
    """The code of the country whose code of three letters, or of an older list, this is; else the same one."""
    others = get_global("territory_aliases").get(code.upper(), ())
    return others[0] if len(others) == 1 else code.upper()


@cache
def _countries_by_name() -> Mapping[str, str]:
    """Codes of countries by their names in English and in the large languages beside it."""
    languages = ("nl", "pt", "it", "es", "de", "fr", "en")
    names = (Locale(language).territories for language in languages)
    return {each[code].casefold(): code for each in names for code in _countries() if code in each}


@cache
def _codes_by_name() -> Mapping[str, str]:
    """Codes of languages by their names in English and in themselves."""
    codes = [code for code in sorted(_languages()) if "_" not in code]
    own = {(Locale.parse(code).get_language_name() or "").casefold(): code for code in _NAMED & set(codes)}
    return {**own, **{Locale("en").languages.get(code, "").casefold(): code for code in codes}}


_NAMED = frozenset(
    {
        "bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "hr", "hu", "is", "it", "nl", "no", "pl", "pt",
        "ro", "sv",
    }
)  # fmt: skip
"""Languages whose own names are known; the names of the others are known in English."""


@cache
def _countries() -> frozenset[str]:
    return countries_with_zones() | frozenset(phonenumbers.SUPPORTED_REGIONS)


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def is_country(code: str) -> bool:
    """Whether this is a country's code of ISO 3166."""
    return code in _countries()


@cache
def is_language(code: str) -> bool:
    """Whether this is a language's code of ISO 639, perhaps with a country."""
    try:
        found = Locale.parse(code) if _LANGUAGE.fullmatch(code) else None
    except (UnknownLocaleError, ValueError):
        return False
    return found is not None and found.language == code.partition("_")[0]


def meant_language(code: str) -> str | None:
    """The language that a code with an unknown country was meant for, like en_GB by en_UK; None where it is known."""
    language, _, country = code.rpartition("_")
    if len(country) != _OF_COUNTRY or not language or country in _countries():
        return None
    meant = f"{language}_{_MEANT[country]}" if country in _MEANT else language
    return meant if meant in _languages() else language


@cache
def _languages() -> frozenset[str]:
    return frozenset(code for code in locale_identifiers() if _LANGUAGE.fullmatch(code))

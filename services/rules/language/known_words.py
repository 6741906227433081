"""Words that lists of the world keep: countries, their parts, languages, time zones. What is on no list is refused."""

import re
from collections.abc import Mapping
from functools import cache
from zoneinfo import available_timezones

import holidays
import phonenumbers
from babel import Locale, UnknownLocaleError
from babel.localedata import locale_identifiers

from services.rules.language.values import mapped, text
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.model import Location
from services.rules.rulebook.yaml_tree import MappingNode, Node
from shared.clients.working_calendar import countries_with_zones

_LANGUAGE = re.compile(r"[a-z]{2,3}(_[A-Z][a-z]{3})?(_[A-Z]{2})?")
_MEANT = {"UK": "GB", "EL": "GR", "UNITED KINGDOM": "GB", "ENGLAND": "GB", "USA": "US"}
"""Codes that people write for a country, and its own."""


def country(node: Node | None, report: FaultReport) -> str:
    """ISO 3166, like GB."""
    code = text(node, report)
    if node is not None and code:
        check_country(code, node.location, report)
    return code


def check_country(code: str, location: Location, report: FaultReport) -> None:
    if code not in _countries():
        meant = _MEANT.get(code.upper(), code.upper())
        sentence = f"“{code}” is no country; use its two capital letters of ISO 3166, like GB"
        report.unknown(location, sentence, meant, {meant} & _countries())


@cache
def _countries() -> frozenset[str]:
    return countries_with_zones() | frozenset(phonenumbers.SUPPORTED_REGIONS)


def subdivision(node: Node | None, country_code: str, report: FaultReport) -> str | None:
    """A part of the country with public holidays of its own."""
    written = text(node, report)
    if node is None or not written:
        return None
    known = holidays.list_supported_countries().get(country_code, [])
    if not _has_holidays(country_code, written):
        parts = f"there are {', '.join(known)}" if known else "none has public holidays of its own"
        sentence = f"“{written}” is no part of {country_code or 'the country'} with public holidays; {parts}"
        report.unknown(node.location, sentence, written.upper(), known)
    return written


def _has_holidays(country_code: str, written: str) -> bool:
    try:
        holidays.country_holidays(country_code, subdiv=written)
    except (NotImplementedError, AttributeError):
        return False
    return True


def zone(node: Node | None, report: FaultReport) -> str:
    """IANA, like Europe/London."""
    name = text(node, report)
    if node is not None and name and name not in _zones():
        meant = next((each for each in sorted(_zones()) if each.endswith(f"/{name}")), name)
        report.unknown(node.location, f"“{name}” is no time zone, like Europe/London", meant, _zones())
        return "UTC"
    return name or "UTC"


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def language(node: Node | None, report: FaultReport) -> str:
    """ISO 639, perhaps with a country: en, en_GB; nothing where it is none."""
    code = text(node, report)
    if node is None or not code:
        return ""
    check_language(code, node.location, report)
    return code if _is_language(code) else ""


def by_language(node: Node | None, report: FaultReport, what: str) -> Mapping[str, str]:
    """``{en: …, fr: …}``."""
    return {code: text(each, report) for code, each in language_keys(node, report, what).items()}


def language_keys(node: Node | None, report: FaultReport, what: str) -> Mapping[str, Node]:
    found = mapped(node, report, what)
    for code in found:
        if isinstance(node, MappingNode):
            check_language(code, node.keys[code], report)
    return found


def check_language(code: str, location: Location, report: FaultReport) -> None:
    if not _is_language(code):
        sentence = f"“{code}” is no language; use its code of ISO 639, like en or en_GB"
        report.unknown(location, sentence, code.replace("-", "_"), _languages())


@cache
def _is_language(code: str) -> bool:
    try:
        found = Locale.parse(code) if _LANGUAGE.fullmatch(code) else None
    except (UnknownLocaleError, ValueError):
        return False
    return found is not None and found.language == code.partition("_")[0]


@cache
def _languages() -> frozenset[str]:
    return frozenset(code for code in locale_identifiers() if _LANGUAGE.fullmatch(code))

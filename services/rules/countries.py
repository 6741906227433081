"""What is known of a country: its public holidays, its working week, its time zones."""

from datetime import date
from functools import lru_cache
from importlib import resources
from warnings import catch_warnings, simplefilter

import holidays
import phonenumbers
from phonenumbers import timezone

from shared.contracts.ids import Phone

WEEK = frozenset(range(7))
WORKWEEK = frozenset(range(5))
_NO_COUNTRY = (NotImplementedError, TypeError, AttributeError)
"""What the ``holidays`` library raises for names it does not know; it looks some up among its own modules."""

_HOLIDAYS_KNOWN = range(1900, 2101)
"""Beyond, nothing is announced, lunar calendars are not computed, and the library takes a second for one year."""

# zone.tab lists a country's zones in an order of geography first; these countries' people mostly live elsewhere.
_MOST_PEOPLE = {
    "AU": "Australia/Sydney",
    "BR": "America/Sao_Paulo",
    "CA": "America/Toronto",
    "MX": "America/Mexico_City",
    "RU": "Europe/Moscow",
    "UA": "Europe/Kyiv",
}


def zone_of(country: str | None, hint: str | None, house: str) -> str:
    """The zone a phone number hints at where it is one of the country's; else where most of the country live."""
    zones = _zones().get(country or "", ())
    if hint is not None and (hint in zones or not zones):
        return hint
    return _MOST_PEOPLE.get(country or "") or next(iter(zones), house)


@lru_cache(maxsize=4096)
def zone_hint(phone: Phone) -> str | None:
    """The zone of a number's area code, where it names one zone only; mobile numbers often name none."""
    try:
        zones = timezone.time_zones_for_number(phonenumbers.parse(phone))
    except phonenumbers.NumberParseException:
        return None
    known = [zone for zone in zones if zone != timezone.UNKNOWN_TIMEZONE]
    return known[0] if len(known) == 1 else None


@lru_cache(maxsize=1024)
def holidays_in(country: str | None, subdivision: str | None, year: int) -> frozenset[date]:
    """Public holidays; none for a country or a year that the ``holidays`` library does not know."""
    if country is None or year not in _HOLIDAYS_KNOWN:
        return frozenset()
    with catch_warnings():
        simplefilter("ignore")  # the library warns of years for which a country has announced nothing yet
        try:
            return frozenset(holidays.country_holidays(country, subdiv=subdivision, years=year))
        except _NO_COUNTRY:
            return frozenset()


@lru_cache(maxsize=512)
def workweek_in(country: str | None) -> frozenset[int]:
    """The days a country's offices open; Monday to Friday where unknown."""
    if country is None:
        return WORKWEEK
    try:
        return WEEK - frozenset(holidays.country_holidays(country).weekend)
    except _NO_COUNTRY:
        return WORKWEEK


def countries_with_zones() -> frozenset[str]:
    """ISO 3166, every country where somebody lives."""
    return frozenset(_zones())


@lru_cache(maxsize=1)
def _zones() -> dict[str, tuple[str, ...]]:
    """Country → its zones, in the order of the zone.tab that tzdata ships."""
    found: dict[str, tuple[str, ...]] = {}
    table = resources.files("tzdata").joinpath("zoneinfo", "zone.tab").read_text("utf-8")
    for row in table.splitlines():
        if row and not row.startswith("#"):
            country, _, zone = row.split("\t")[:3]
            found[country] = (*found.get(country, ()), zone)
    return found

"""Countries' public holidays and working weeks, from the library ``holidays``.

The library looks for a country's module when the country is asked for; Python first runs the ``__init__`` of their
package, which imports all 250: 8 MB and 40 ms of CPU of each process, for the one or two countries of a publisher. So
the package is put in place without its ``__init__`` before the first question. The library itself, 3 MB with the tables
of lunar calendars, is loaded by the first question too: ingest seldom asks any.
"""

import sys
from datetime import date
from functools import cache, lru_cache
from importlib.util import find_spec, module_from_spec
from typing import Any
from warnings import catch_warnings, simplefilter

MONDAY_TO_FRIDAY = frozenset(range(5))
"""Weekdays count from 0, which is Monday."""

_WEEK = frozenset(range(7))
_COUNTRIES = "holidays.countries"

_UNKNOWN_COUNTRY = (NotImplementedError, TypeError, AttributeError)
"""Raised by the library for names it does not know; it looks some up among its own modules."""

_YEARS_WITH_HOLIDAYS = range(1900, 2101)
"""Beyond, nothing is announced, lunar calendars are not computed, and the library takes a second for one year."""


@lru_cache(maxsize=1024)
def public_holidays(country: str | None, subdivision: str | None, year: int) -> frozenset[date]:
    """Public holidays; none for a country or a year that the library does not know."""
    if country is None or year not in _YEARS_WITH_HOLIDAYS:
        return frozenset()
    with catch_warnings():
        simplefilter("ignore")  # the library warns of years for which a country has announced nothing yet
        try:
            return frozenset(_of_country(country, subdivision, year))
        except _UNKNOWN_COUNTRY:
            return frozenset()


@lru_cache(maxsize=1024)
def has_subdivision(country: str | None, subdivision: str | None) -> bool:
    """Whether this part of a country is known to have public holidays of its own."""
    if country is None or subdivision is None:
        return False
    try:
        _of_country(country, subdivision)
    except _UNKNOWN_COUNTRY:
        return False
    return True


def subdivisions(country: str) -> list[str]:
    """The parts of a country that have public holidays of their own, in the library's order."""
    from holidays import list_supported_countries  # noqa: PLC0415 -- see above

    return list_supported_countries().get(country, [])


@lru_cache(maxsize=512)
def working_weekdays(country: str | None) -> frozenset[int]:
    """The days on which a country's offices open (0 = Monday); Monday to Friday where unknown."""
    if country is None:
        return MONDAY_TO_FRIDAY
    try:
        return _WEEK - frozenset(_of_country(country).weekend)
    except _UNKNOWN_COUNTRY:
        return MONDAY_TO_FRIDAY


def _of_country(country: str, subdivision: str | None = None, year: int | None = None) -> Any:
    from holidays import country_holidays  # noqa: PLC0415 -- see above

    _skip_other_countries()
    return country_holidays(country, subdiv=subdivision, years=year)


@cache
def _skip_other_countries() -> None:
    spec = find_spec(_COUNTRIES)
    if spec is not None:  # always, as the registry of the library names modules of this package
        sys.modules.setdefault(_COUNTRIES, module_from_spec(spec))

"""Single values as neighbours write them, judged before anything is made of them: names, days, countries, languages.

A value is what it says, absent, or ``Unread``: then it counts as absent and somebody is told, with the record, the
field and the reason.
"""

import re
import unicodedata
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

import phonenumbers
from babel import Locale, UnknownLocaleError
from babel.localedata import locale_identifiers

from shared.contracts.values import is_plausible_date

LONGEST_PERSON_NAME = 200

_NO_NAMES = frozenset(
    {
        "contact", "desconocido", "dummy", "inconnu", "inconnue", "n / a", "n.a", "n/a", "name", "nil", "no name",
        "noname", "none", "not applicable", "not available", "not known", "null", "placeholder", "sconosciuto", "tba",
        "tbc", "tbd", "to be announced", "to be confirmed", "to be decided", "unbekannt", "undefined", "unknown",
        "unknown author", "unknown contact", "unknown name", "unknown unknown", "unnamed", "user", "visitor",
        "whatsapp user", "whatsapp visitor",
    }
)  # fmt: skip
"""What systems and people put where they have no name; what has no letter at all is none either."""

_OTHER_SPELLINGS = {"UK": "GB", "EL": "GR"}
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}([_-][A-Za-z0-9]{2,8})*")


class Unread(NamedTuple):
    """``value`` may be personal: it is kept with the parked row and stands in no sentence and no log."""

    field: str
    sentence: str
    value: Any


def person_name(value: Any) -> str | None:
    """A name to address somebody by; None for a placeholder, and for what is no text.

    Everything of one webhook is from a few people.
    """
    return _person_name(value) if isinstance(value, str) else None


@lru_cache(maxsize=4096)
def _person_name(value: str) -> str | None:
    shown = "".join(letter for letter in value if unicodedata.category(letter) != "Cc")
    name = " ".join(shown.split())[:LONGEST_PERSON_NAME].rstrip()
    bare = name.casefold().strip(" .,:;!?*-_()[]<>\"'")
    return None if bare in _NO_NAMES or name == "NA" or not any(map(str.isalpha, bare)) else name


def day_of(value: Any) -> date | None:
    """A date as ISO 8601 has it, alone or before a time of day; one that means that none is known is None.

    Raises ValueError for what is neither.
    """
    if value is None or value in ("", "0000-00-00"):
        return None
    if not isinstance(value, str):
        raise ValueError("it is no date")  # noqa: TRY004 -- callers tell of ValueError
    written, _, time_of_day = value.strip().partition("T")
    try:
        day = date.fromisoformat(written)
    except ValueError:
        raise ValueError("it is no date") from None
    if time_of_day and not time_of_day[:2].isdigit():
        raise ValueError("it is no date")
    return day if is_plausible_date(day) else None


def country_of(value: str) -> str | None:
    """ISO 3166's two letters, also where somebody wrote UK; None for what is no country."""
    code = value.strip().upper()
    code = _OTHER_SPELLINGS.get(code, code)
    return code if code in phonenumbers.SUPPORTED_REGIONS else None


def language_of(value: str) -> str | None:
    """A language's code (``fr``, ``pt-BR``), also where somebody wrote its English name; None for what is none."""
    written = value.strip()
    named = _languages().get(written.casefold())
    if named is not None:
        return named
    if _LANGUAGE.fullmatch(written) is None:
        return None
    base = written.replace("-", "_").partition("_")[0].lower()
    return written if base in _codes() else None


@lru_cache(maxsize=1)
def _codes() -> frozenset[str]:
    return frozenset(identifier.partition("_")[0] for identifier in locale_identifiers())


@lru_cache(maxsize=1)
def _languages() -> Mapping[str, str]:
    """Languages by what English calls them."""
    try:
        names = Locale("en").languages
    except UnknownLocaleError:
        return {}
    return {str(name).casefold(): str(code) for code, name in names.items() if len(str(code)) == 2}

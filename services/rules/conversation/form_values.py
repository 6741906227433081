"""Reads what a person writes into a typed field of a form, and writes it as the record keeps it.

What is kept does not depend on the language: an ISBN of 13 digits, a date as 2027-03-19, a number with a point, a phone
number as +441632960001, an e-mail address in its normal form. ``display_value`` shows it to the person again.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache

import phonenumbers
from babel import Locale
from babel.dates import format_date
from babel.numbers import NumberFormatError, format_decimal, get_group_symbol, parse_decimal
from stdnum import isbn
from stdnum.exceptions import ValidationError

from services.rules.conversation.rendering import locale_of
from services.rules.rulebook.model import FieldKind
from shared.contracts.values import is_plausible_date


@dataclass(frozen=True, slots=True)
class Place:
    """The language and the country that decide how a person writes dates, numbers and phone numbers."""

    language: str
    country: str | None = None

    @property
    def locale(self) -> Locale:
        return locale_of(self.language, self.country)


NO_PLACE = Place("en")
_LONGEST_READ = 200
"""Characters; a longer text is no such value."""
_LARGEST = Decimal(10) ** 15


def read_value(kind: FieldKind, text: str, place: Place) -> str | None:
    """The value as the record keeps it; None where the text is none of this kind."""
    reader = _READERS.get(kind)
    if reader is None:
        return text
    return reader(" ".join(text.split()), place) if len(text) <= _LONGEST_READ else None


def display_value(kind: FieldKind, value: str, place: Place) -> str:
    """A value as the person reads it, so that a day and a month that were mixed up are seen."""
    match kind:
        case FieldKind.DATE:
            return str(format_date(date.fromisoformat(value), format="long", locale=place.locale))
        case FieldKind.NUMBER:
            return str(format_decimal(Decimal(value), locale=place.locale, decimal_quantization=False))
        case FieldKind.PHONE:
            return _international(phonenumbers.parse(value))
        case _:
            return value


def example_value(kind: FieldKind, place: Place) -> str:
    """A value of this kind as the person would write it."""
    if kind is not FieldKind.PHONE:
        return display_value(kind, _EXAMPLES[kind], place)
    found = phonenumbers.example_number(place.country) if place.country else None
    return display_value(kind, _EXAMPLES[kind], place) if found is None else _international(found)


_EXAMPLES: Mapping[FieldKind, str] = {
    FieldKind.ISBN: "9781784420017",
    FieldKind.DATE: "2027-03-19",
    FieldKind.NUMBER: "1250.5",
    FieldKind.EMAIL: "maud@example.org",
    FieldKind.PHONE: "+441212345678",
}


def _international(number: phonenumbers.PhoneNumber) -> str:
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)


# ------------------------------------------------------------------ each kind


def _read_isbn(text: str, _place: Place) -> str | None:
    """Reads ten or thirteen digits; an ISBN of ten becomes one of thirteen."""
    try:
        return str(isbn.to_isbn13(isbn.validate(_ISBN_PREFIX.sub("", text))))
    except ValidationError:
        return None


_ISBN_PREFIX = re.compile(r"isbn(?:-1[03])?[: ]*", re.IGNORECASE)


def _read_email(text: str, _place: Place) -> str | None:
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415 -- most forms ask for none

    try:
        return str(validate_email(text.removeprefix("mailto:"), check_deliverability=False).normalized)
    except EmailNotValidError:
        return None


def _read_number(text: str, place: Place) -> str | None:
    group = get_group_symbol(place.locale)
    written = _SPACE_IN_NUMBER.sub(group, text) if group.isspace() else text
    try:
        number = parse_decimal(written.replace("−", "-"), locale=place.locale, strict=True)
    except NumberFormatError:
        return None
    return f"{number:f}" if number.is_finite() and abs(number) <= _LARGEST else None


_SPACE_IN_NUMBER = re.compile(r"(?<=\d)\s(?=\d)")


def _read_phone(text: str, place: Place) -> str | None:
    try:
        number = phonenumbers.parse(text, place.country)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


# ------------------------------------------------------------------ dates


def _read_date(text: str, place: Place) -> str | None:
    """Reads a date with its year: ``2027-03-19``, ``19/3/2027`` in the order of the country, or ``19 March 2027``."""
    found = _iso_date(text) or _written_date(text, place)
    return found.isoformat() if found is not None and is_plausible_date(found) else None


def _iso_date(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if "-" in text else None
    except ValueError:
        return None


def _written_date(text: str, place: Place) -> date | None:
    """Read with two different default days: where the results differ, the text lacks a part of the date."""
    from dateutil.parser import ParserError, parse  # noqa: PLC0415 -- most forms ask for no date

    months = _month_names(place.locale)
    kept = (_ORDINAL.sub(r"\1", word) for word in text.split() if not _is_filler(word))
    words = " ".join(months.get(word.casefold().strip(".,"), word) for word in kept)
    try:
        found = {
            parse(words, default=default, dayfirst=_day_comes_first(place.locale), ignoretz=True).date()
            for default in (datetime(2001, 1, 1), datetime(2004, 2, 2))  # noqa: DTZ001 -- only the dates are read
        }
    except (ParserError, OverflowError, ValueError, TypeError):
        return None
    return found.pop() if len(found) == 1 else None


_ORDINAL = re.compile(r"^(\d{1,2})(?:er|º|ª|°)$", re.IGNORECASE)
_FILLERS = frozenset({"de", "del", "der", "den", "le", "of", "the", "am", "på", "di", "do"})


def _is_filler(word: str) -> bool:
    return word.casefold().strip(".,") in _FILLERS


@lru_cache(maxsize=64)
def _month_names(locale: Locale) -> Mapping[str, str]:
    """The names of months in a language, and the English ones that the parser knows."""
    english = Locale.parse("en").months["format"]["abbreviated"]
    names = [
        locale.months[context][width] for context in ("format", "stand-alone") for width in ("wide", "abbreviated")
    ]
    return {name.casefold().strip("."): english[number] for table in names for number, name in table.items()}


@lru_cache(maxsize=64)
def _day_comes_first(locale: Locale) -> bool:
    pattern = str(locale.date_formats["short"].pattern)
    return pattern.find("d") < pattern.find("M")


_READERS: Mapping[FieldKind, Callable[[str, Place], str | None]] = {
    FieldKind.ISBN: _read_isbn,
    FieldKind.DATE: _read_date,
    FieldKind.EMAIL: _read_email,
    FieldKind.NUMBER: _read_number,
    FieldKind.PHONE: _read_phone,
}

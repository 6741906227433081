"""Judges what a person sends to a form: the value that a text stands for, and whether a file is accepted.

A typed value is kept in one form, whatever the language: an ISBN of 13 digits, a date as 2027-03-19, a number with a
point, a phone number as +441632960001, an e-mail address in its normal form. ``display_value`` shows it to the person
again. A refusal names the text that tells the person what would be accepted. Sending it is the part of ``forms.py``.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import assert_never

import phonenumbers
from babel import Locale
from babel.numbers import NumberFormatError, format_decimal, get_group_symbol, parse_decimal

from services.rules.conversation.absence_text import Leave, UnclearLeave, read_absence
from services.rules.conversation.fact_values import FileReport
from services.rules.conversation.rendering import format_day, locale_of
from services.rules.rulebook.model import FieldKind, FieldText, Form, FormField
from shared.clients.file_types import is_one_of
from shared.clients.phone_numbers import renumbered
from shared.contracts.intents import has_words, is_automatic_reply, is_unmistakable_code, normalize_words
from shared.contracts.values import is_plausible_date
from shared.contracts.whatsapp import Media, MediaRefusal

# ------------------------------------------------------------------ typed values


@dataclass(frozen=True, slots=True)
class Place:
    """The language and the country that decide how a person writes dates, numbers and phone numbers."""

    language: str
    country: str | None = None

    @property
    def locale(self) -> Locale:
        return locale_of(self.language, self.country)


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
            return format_day(date.fromisoformat(value), place.locale)
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
    from stdnum import isbn  # noqa: PLC0415 -- few forms ask for one
    from stdnum.exceptions import ValidationError  # noqa: PLC0415 -- as above

    try:
        return str(isbn.to_isbn13(isbn.validate(_ISBN_PREFIX.sub("", text))))
    except ValidationError:
        return None


_ISBN_PREFIX = re.compile(r"isbn(?:-1[03])?[: ]*", re.IGNORECASE)


def _read_email(text: str, _place: Place) -> str | None:
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415 -- most forms ask for none

    try:
        return str(validate_email(text.strip("<>.,;").removeprefix("mailto:"), check_deliverability=False).normalized)
    except EmailNotValidError:
        return None


def _read_number(text: str, place: Place) -> str | None:
    group = get_group_symbol(place.locale)
    written = _SPACE_IN_NUMBER.sub(group, text) if group.isspace() else text
    written = written.replace("'", "’") if group == "’" else written
    try:
        number = parse_decimal(written.replace("−", "-"), locale=place.locale, strict=True)
    except NumberFormatError:
        return None
    return f"{number:f}" if number.is_finite() and abs(number) <= _LARGEST else None


_SPACE_IN_NUMBER = re.compile(r"(?<=\d)\s(?=\d)")


def _read_phone(text: str, place: Place) -> str | None:
    try:
        written = phonenumbers.parse(text, place.country)
        phone = renumbered(phonenumbers.format_number(written, phonenumbers.PhoneNumberFormat.E164))
        is_valid = phonenumbers.is_valid_number(phonenumbers.parse(phone))
    except phonenumbers.NumberParseException:
        return None
    return phone if is_valid else None


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
    """Read with two different default days: where the results differ, the text lacks a part of the date.

    A date that begins with its year goes on with the month in every country.
    """
    from dateutil.parser import ParserError, parse  # noqa: PLC0415 -- most forms ask for no date

    months = _month_names(place.locale)
    kept = (_ORDINAL.sub(r"\1", word) for word in text.split() if not _is_filler(word, place.locale))
    words = " ".join(months.get(word.casefold().strip(".,"), word) for word in kept)
    day_first = _day_comes_first(place.locale) and _YEAR_FIRST.match(words) is None
    try:
        found = {
            parse(words, default=default, dayfirst=day_first, ignoretz=True).date()
            for default in (datetime(2001, 1, 1), datetime(2004, 2, 2))  # noqa: DTZ001 -- only the dates are read
        }
    except (ParserError, OverflowError, ValueError, TypeError):
        return None
    return found.pop() if len(found) == 1 else None


_ORDINAL = re.compile(r"^(\d{1,2})(?:er|º|ª|°)$", re.IGNORECASE)
_YEAR_FIRST = re.compile(r"(?:19|20|21)\d\d(?!\d{1,3}$)")
_FILLERS = frozenset({"de", "del", "der", "den", "le", "el", "of", "the", "am", "på", "di", "do"})


def _is_filler(word: str, locale: Locale) -> bool:
    return (plain := word.casefold().strip(".,")) in _FILLERS or plain in _weekday_names(locale)


@lru_cache(maxsize=64)
def _weekday_names(locale: Locale) -> frozenset[str]:
    """Those that are no month's, as the Spanish “mar” is, for “martes” and “marzo”."""
    names = (locale.days["format"][width].values() for width in ("wide", "abbreviated"))
    return frozenset(name.casefold().strip(".") for group in names for name in group) - _month_names(locale).keys()


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


# ------------------------------------------------------------------ answers

CONTENT_TYPES: Mapping[str, frozenset[str]] = {
    "pdf": frozenset({"application/pdf", "application/x-pdf"}),
    "doc": frozenset({"application/msword"}),
    "docx": frozenset({"application/vnd.openxmlformats-officedocument.wordprocessingml.document"}),
    "odt": frozenset({"application/vnd.oasis.opendocument.text"}),
    "rtf": frozenset({"application/rtf", "application/x-rtf", "text/rtf", "text/richtext"}),
    "txt": frozenset({"text/plain"}),
    "md": frozenset({"text/markdown", "text/x-markdown"}),
    "html": frozenset({"text/html"}),
    "epub": frozenset({"application/epub+zip"}),
    "xls": frozenset({"application/vnd.ms-excel"}),
    "xlsx": frozenset({"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}),
    "csv": frozenset({"text/csv"}),
    "ppt": frozenset({"application/vnd.ms-powerpoint"}),
    "pptx": frozenset({"application/vnd.openxmlformats-officedocument.presentationml.presentation"}),
    "jpg": frozenset({"image/jpeg", "image/jpg"}),
    "jpeg": frozenset({"image/jpeg", "image/jpg"}),
    "png": frozenset({"image/png"}),
    "tif": frozenset({"image/tiff"}),
    "tiff": frozenset({"image/tiff"}),
    "mp3": frozenset({"audio/mpeg", "audio/mp3"}),
    "mp4": frozenset({"video/mp4"}),
    "zip": frozenset({"application/zip", "application/x-zip-compressed"}),
}
"""Extension → the content types of such a file: https://www.iana.org/assignments/media-types"""
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """``say`` is the built-in template that tells the person what would be accepted."""

    say: str
    words: Mapping[str, str] = field(default_factory=dict)


ASK_AGAIN = Refusal("")
"""The question itself says what is accepted."""


def read_answer(asked: FormField, text: str, words: FieldText | None, place: Place) -> str | None:
    """The value that a text stands for; None where it does not fit the field, or consists of emoji only.

    Options are answered by title, number or name; a typed value is read as people of ``place`` write it.
    """
    if not has_words(text) or length_refusal(asked, text) is not None:
        return None
    if not asked.choose:
        return None if asked.document else read_value(asked.kind, text, place)
    titles = words.options if words else {}
    texts = {name: titles.get(name, name).casefold() for name in asked.choose}
    by_number = {str(n): name for n, name in enumerate(asked.choose, start=1)}
    matches = (n for n in asked.choose if text == n or text.casefold() == texts[n])
    return by_number.get(text.rstrip(".")) or next(matches, None)


_QUOTES = ('""', "“”", "„“", "””", "«»", "»«", "‹›", "››", "‘’", "''", "「」", "『』")
_LONGEST_TITLE = 3
"""In words: “Out of office” may be a title, and machines write more."""


def unquoted(text: str) -> str | None:
    """The text within quotation marks, by which a person says that it is the answer; None for a text without them."""
    text = text.strip()
    inner = text[1:-1].strip()
    return inner if f"{text[:1]}{text[-1:]}" in _QUOTES and inner else None


def takes_any_text(asked: FormField) -> bool:
    """Whether what a machine wrote would fit, too."""
    return asked.kind is FieldKind.TEXT and not asked.choose and not asked.document


def reads_as_machine_text(text: str, today: date) -> bool:
    """Whether a machine sends such texts: a login code, a notice of an absence, or the greeting of a business."""
    if is_unmistakable_code(text):
        return True
    absence = read_absence(text, today, dict)
    is_long = len(normalize_words(text)) > _LONGEST_TITLE
    is_notice = absence is UnclearLeave.UNTIL_WHEN or is_automatic_reply(text)
    return isinstance(absence, Leave) or (is_notice and is_long)


def length_refusal(asked: FormField, text: str) -> Refusal | None:
    if asked.longest is None or len(text) <= asked.longest:
        return None
    return Refusal("form_too_long", {"length": str(len(text)), "most": str(asked.longest)})


def file_field(form: Form) -> FormField | None:
    """The field for files, if any; validation allows one at most."""
    return next((each for each in form.fields if each.document), None)


def file_refusal(form: Form, media: Media, report: FileReport | None = None) -> Refusal | None:
    """Why the form cannot accept this file, or None: it has no field for files, or not for this kind or size.

    ``report`` is what ingest said of the file, where it has been fetched already.
    """
    asked = file_field(form)
    if asked is None:
        return Refusal("form_no_file")
    if not _is_one_of(asked.document, media):
        return Refusal("form_wrong_file", {"kinds": accepted_kinds(form)})
    return _size_refusal(asked, media.size) if report is None else fetched_file_refusal(form, asked, report)


def _size_refusal(asked: FormField, size: int | None) -> Refusal | None:
    if asked.max_mb is None or size is None or size <= asked.max_mb * _MEGABYTE:
        return None
    return Refusal("form_large_file", {"most": str(asked.max_mb)})


def fetched_file_refusal(form: Form, asked: FormField, report: FileReport) -> Refusal | None:
    """Why a file that was fetched is not taken: it is not kept, of another kind, or larger than the field allows."""
    match report.refusal:
        case None if not _has_content_of(asked, report.mime):
            return Refusal("form_wrong_file", {"kinds": accepted_kinds(form)})
        case None:
            return _size_refusal(asked, report.size)
        case MediaRefusal.TOO_LARGE:
            kept = None if report.most_bytes is None else report.most_bytes // _MEGABYTE
            limits = [most for most in (asked.max_mb, kept) if most is not None]
            return Refusal("form_large_file", {"most": str(min(limits))}) if limits else ASK_AGAIN
        case MediaRefusal.WRONG_TYPE:
            return Refusal("form_wrong_file", {"kinds": accepted_kinds(form)})
        case MediaRefusal.INFECTED:
            return Refusal("form_unsafe_file")
        case MediaRefusal.EMPTY | MediaRefusal.HASH_MISMATCH | MediaRefusal.EXPIRED:
            return Refusal("form_broken_file")
    assert_never(report.refusal)


def accepted_kinds(form: Form) -> str:
    asked = file_field(form)
    return ", ".join(kind.upper() for kind in asked.document) if asked else ""


def _is_one_of(kinds: tuple[str, ...], media: Media) -> bool:
    """Judges by name or by content type, because many devices send names without an extension."""
    _, dot, extension = (media.filename or "").strip().lower().rpartition(".")
    content = (media.mime or "").partition(";")[0].strip().lower()
    return (bool(dot) and extension in kinds) or any(content in CONTENT_TYPES.get(kind, frozenset()) for kind in kinds)


def _has_content_of(asked: FormField, mime: str | None) -> bool:
    """Whether the content is of a kind that the field takes: a file may have another content than its name says.

    True where the type of the file, or the types of a kind that the field takes, are unknown.
    """
    if mime is None or any(kind not in CONTENT_TYPES for kind in asked.document):
        return True
    return is_one_of(mime, {each for kind in asked.document for each in CONTENT_TYPES[kind]})

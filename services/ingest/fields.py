"""Reads single fields from outside: names, days, countries, languages, numbers, texts.

A value that cannot be read counts as absent. It is reported with its record, its field and the reason; the value itself
is kept only with the parked row. Each such value is reported once: the snapshot of the record keeps digests of those
reported.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import phonenumbers
from babel import Locale, UnknownLocaleError
from babel.localedata import locale_identifiers
from phonenumbers import Leniency, PhoneNumber, PhoneNumberType, ValidationResult

from services.ingest.records import InvalidInput, to_parkable_json
from shared.clients.phone_numbers import renumbered
from shared.contracts.errors import Malformed
from shared.contracts.ids import Bsuid, Phone, derive_id
from shared.contracts.values import JsonObject, is_plausible_date

T = TypeVar("T")

MAX_PERSON_NAME_LENGTH = 200
UNREAD_VALUE = "unread_value"
"""The reason under which a field that cannot be read is parked."""

_PLACEHOLDER_NAMES = frozenset(
    {
        "contact", "desconocido", "dummy", "inconnu", "inconnue", "n / a", "n.a", "n/a", "name", "nil", "no name",
        "noname", "none", "not applicable", "not available", "not known", "null", "placeholder", "sconosciuto", "tba",
        "tbc", "tbd", "to be announced", "to be confirmed", "to be decided", "unbekannt", "undefined", "unknown",
        "unknown author", "unknown contact", "unknown name", "unknown unknown", "unnamed", "user", "visitor",
        "whatsapp user", "whatsapp visitor",
    }
)  # fmt: skip
"""Placeholders that systems and people write where a name is missing. Text without a letter is no name either."""

_COUNTRY_ALIASES = {"UK": "GB", "EL": "GR"}
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}([_-][A-Za-z0-9]{2,8})*")
_WHATSAPP_PHONE = re.compile(r"\+?[1-9][0-9]{5,14}")
_PLAIN_PHONE = re.compile(r" ?\+?[0-9 ().-]{6,20}")  # one number and nothing else, which needs no searching
_PHONE_RUN = re.compile(r"\+?[0-9][0-9 .-]{5,18}[0-9]")  # digits within a text, with what stands between them
_MAX_PHONE_FIELD_LENGTH = 250  # characters of a phone field that are searched; searching takes time
_BSUID = re.compile(r"[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}")
_MAX_BSUID_LENGTH = 160  # country code, a dot, "ENT." and up to 128 characters, with room

_MAX_ID = 2**63 - 1
_MAX_TEXT_LENGTH = 20_000
_MAX_ITEMS = 1_000
_MAX_UNREADABLE = 50
_MAX_QUOTED_LENGTH = 40


# ------------------------------------------------------------------ single values


def parse_person_name(value: Any) -> str | None:
    """A person's name; None for a placeholder and for a value that is no text."""
    return _parse_person_name(value) if isinstance(value, str) else None


@lru_cache(maxsize=4096)  # the updates of one webhook are from a few people
def _parse_person_name(value: str) -> str | None:
    shown = "".join(letter for letter in value if unicodedata.category(letter) != "Cc")
    name = " ".join(shown.split())[:MAX_PERSON_NAME_LENGTH].rstrip()
    bare = name.casefold().strip(" .,:;!?*-_()[]<>\"'")
    return None if bare in _PLACEHOLDER_NAMES or name == "NA" or not any(map(str.isalpha, bare)) else name


def parse_day(value: Any) -> date | None:
    """A date in ISO 8601, alone or before a time of day; None for a date that means that none is known.

    Raises ValueError for all other values.
    """
    if value is None or value in ("", "0000-00-00"):
        return None
    if not isinstance(value, str):
        raise ValueError("it is no date")  # noqa: TRY004 -- callers report ValueError
    written, _, time_of_day = value.strip().partition("T")
    try:
        day = date.fromisoformat(written)
    except ValueError:
        raise ValueError("it is no date") from None
    if time_of_day and not time_of_day[:2].isdigit():
        raise ValueError("it is no date")
    return day if is_plausible_date(day) else None


def parse_country(value: str) -> str | None:
    """The two letters of ISO 3166, also for UK and EL; None for a value that is no country."""
    code = value.strip().upper()
    code = _COUNTRY_ALIASES.get(code, code)
    return code if code in phonenumbers.SUPPORTED_REGIONS else None


def parse_language(value: str) -> str | None:
    """A language's code (``fr``, ``pt-BR``), also for its English name; None for a value that is no language."""
    written = value.strip()
    named = _language_names().get(written.casefold())
    if named is not None:
        return named
    if _LANGUAGE.fullmatch(written) is None:
        return None
    base = written.replace("-", "_").partition("_")[0].lower()
    return written if base in _language_codes() else None


@lru_cache(maxsize=1)
def _language_codes() -> frozenset[str]:
    return frozenset(identifier.partition("_")[0] for identifier in locale_identifiers())


@lru_cache(maxsize=1)
def _language_names() -> Mapping[str, str]:
    """Codes of languages by their English names."""
    try:
        names = Locale("en").languages
    except UnknownLocaleError:
        return {}
    return {str(name).casefold(): str(code) for code, name in names.items() if len(str(code)) == 2}


# ------------------------------------------------------------------ phone numbers and BSUIDs


def parse_whatsapp_phone(value: Any) -> Phone | None:
    """A webhook's ``from`` or ``wa_id``: E.164 without its plus. None where it is missing, empty or masked."""
    if not isinstance(value, str) or _WHATSAPP_PHONE.fullmatch(value) is None:
        return None
    return Phone("+" + value.removeprefix("+"))


def parse_bsuid(value: Any) -> Bsuid | None:
    """The value of a field for BSUIDs; None for a phone number. Forms that Meta may add are accepted as they are."""
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_BSUID_LENGTH:
        return None
    return None if _WHATSAPP_PHONE.fullmatch(value) else Bsuid(value)


def has_bsuid_shape(value: Any) -> bool:
    """Whether it is a BSUID, wherever it stands: country, dot and letters or digits; of a parent with ENT.

    https://developers.facebook.com/documentation/business-messaging/whatsapp/business-scoped-user-ids
    """
    return isinstance(value, str) and _BSUID.fullmatch(value) is not None


class WhatsAppAddresses(NamedTuple):
    bsuid: Bsuid | None
    phone: Phone | None


def parse_addresses(bsuids: Iterable[Any], phones: Iterable[Any]) -> WhatsAppAddresses:
    """The first BSUID and the first number of fields for either: each is known by its shape, also in a wrong field."""
    bsuids, phones = tuple(bsuids), tuple(phones)
    bsuid = _first(parse_bsuid, bsuids) or _first(_parse_stray_bsuid, phones)
    phone = _first(parse_whatsapp_phone, phones) or _first(parse_whatsapp_phone, bsuids)
    return WhatsAppAddresses(bsuid, phone)


def _parse_stray_bsuid(value: Any) -> Bsuid | None:
    return Bsuid(value) if has_bsuid_shape(value) else None


def _first(parse: Callable[[Any], T | None], values: Iterable[Any]) -> T | None:
    for value in values:
        if (found := parse(value)) is not None:
            return found
    return None


@lru_cache(maxsize=16_384)
def find_phone(written: str, country: str | None) -> Phone | None:
    """The first number in the phone field of a contact record, whatever text is around it: notes, extensions.

    ``country`` (ISO 3166) reads a number without its prefix.
    """
    if _PLAIN_PHONE.fullmatch(written):
        number = _parse_phone(written, country)
        return None if number is None else _to_e164(number)
    matches = phonenumbers.PhoneNumberMatcher(written[:_MAX_PHONE_FIELD_LENGTH], country, leniency=Leniency.POSSIBLE)
    usable = (match.number for match in matches if _is_complete(match.number))
    number = next(usable, None) or _find_renumbered(written, country) or _parse_phone(written, country)
    return None if number is None else _to_e164(number)


def _find_renumbered(written: str, country: str | None) -> PhoneNumber | None:
    """The first number of an earlier numbering plan: the matcher knows the plans of today alone."""
    runs = (_parse_phone(run[0], country) for run in _PHONE_RUN.finditer(written[:_MAX_PHONE_FIELD_LENGTH]))
    return next((one for one in runs if one is not None and renumbered(_as_written(one)) != _as_written(one)), None)


def _to_e164(number: PhoneNumber) -> Phone:
    return Phone(renumbered(_as_written(number)))


def _as_written(number: PhoneNumber) -> str:
    """E.164, by the numbering plan of the person who wrote it."""
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def _parse_phone(written: str, country: str | None) -> PhoneNumber | None:
    """The whole text as one number: the matcher does not find every number that stands alone."""
    try:
        number = phonenumbers.parse(written[:_MAX_PHONE_FIELD_LENGTH], country)
    except phonenumbers.NumberParseException:
        return None
    return number if _is_complete(number) else None


def _is_complete(number: PhoneNumber) -> bool:
    """Long enough to be called from abroad: a number without its area code reaches no telephone."""
    written = _as_written(number)
    return renumbered(written) != written or any(
        phonenumbers.is_possible_number_for_type_with_reason(number, kind) == ValidationResult.IS_POSSIBLE
        for kind in (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE)
    )


# ------------------------------------------------------------------ fields of a record


class UnreadableField(NamedTuple):
    """``value`` may be personal: it is kept with the parked row, and never used in a sentence or a log."""

    field: str
    sentence: str
    value: Any


@dataclass(slots=True)
class FieldReader:
    """Reads fields of one record and collects those that cannot be read. ``path`` is the prefix of their names."""

    unreadable: list[UnreadableField] = field(default_factory=list)
    path: str = ""

    def within(self, name: str) -> "FieldReader":
        """A reader for an inner object, which adds to the same collection."""
        return replace(self, path=f"{self.path}{name}.")

    def report(self, name: str, sentence: str, value: Any) -> None:
        if len(self.unreadable) < _MAX_UNREADABLE:
            self.unreadable.append(UnreadableField(self.path + name, sentence, value))

    def digests(self) -> tuple[str, ...]:
        """One for each unreadable field: equal as long as field and value are."""
        return tuple(sorted({_digest(one) for one in self.unreadable}))

    def text(self, node: JsonObject, name: str, at: str = "") -> str | None:
        """None where there is none; a number is read as text. ``at`` is the path of ``node`` in reports."""
        value = node.get(name)
        if isinstance(value, str) and len(value) <= _MAX_TEXT_LENGTH:
            return value.replace("\0", "") or None
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        if value is not None:
            is_too_long = isinstance(value, str)
            sentence = f"it is longer than {_MAX_TEXT_LENGTH:,} characters" if is_too_long else "it is no text"
            self.report(f"{at}.{name}" if at else name, sentence, value)
        return None

    def texts(self, node: JsonObject, name: str) -> list[str]:
        """The texts of a list."""
        found = self._items(node, name)
        return [item.replace("\0", "") for item in found if self._check(isinstance(item, str), name, "no text", item)]

    def objects(self, node: JsonObject, name: str, limit: int = _MAX_ITEMS) -> list[JsonObject]:
        """The objects of a list."""
        found = self._items(node, name, limit)
        return [item for item in found if self._check(isinstance(item, dict), name, "no object", item)]

    def day(self, node: JsonObject, name: str) -> date | None:
        return self._parse(parse_day, node.get(name), name)

    def id(self, node: Any, name: str) -> int | None:
        """The ``id`` of an object; ``name`` is its path in reports."""
        return self._parse(parse_record_id, node.get("id") if isinstance(node, dict) else None, name)

    def name_of(self, node: JsonObject) -> str:
        """The name of a nested object in reports."""
        number = node.get("id", node.get("sequenceNumber"))
        return str(number)[:20] if isinstance(number, int | str) else "?"

    def quote(self, value: str) -> str:
        """A short form of a value that is not personal, for a sentence."""
        return value[:_MAX_QUOTED_LENGTH] if value.isprintable() else "?"

    def _items(self, node: JsonObject, name: str, limit: int = _MAX_ITEMS) -> list[Any]:
        listed = node.get(name)
        if isinstance(listed, list):
            if len(listed) > limit:
                self.report(name, f"only the first {limit:,} are read", len(listed))
            return listed[:limit]
        if listed is not None:
            self.report(name, "it is no list", listed)
        return []

    def _check(self, fits: bool, name: str, sentence: str, item: Any) -> bool:  # noqa: FBT001 -- the result of a test
        if not fits:
            self.report(name, f"an item of it is {sentence}", item)
        return fits

    def _parse(self, parse: Callable[[Any], T], value: Any, name: str) -> T | None:
        try:
            return parse(value)
        except ValueError as fault:
            self.report(name, str(fault), value)
            return None


def objects_in(value: Any) -> list[JsonObject]:
    """The objects of a list, without a report: for a list that was read before."""
    return [item for item in value[:_MAX_ITEMS] if isinstance(item, dict)] if isinstance(value, list) else []


def required_id(node: JsonObject, record: str) -> int:
    """The id of a record. Raises Malformed."""
    try:
        return parse_record_id(node.get("id"))
    except ValueError as fault:
        raise Malformed(f"{record}.id: {fault}") from None


def parse_record_id(value: Any) -> int:
    """An id as GraphQL gives it: a number, or its digits. Raises ValueError."""
    if value is None:
        raise ValueError("it is missing")
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_ID:
        raise ValueError("it is no number of a record")
    return value


def to_invalid_inputs(
    record: str, unreadable: list[UnreadableField], reported: tuple[str, ...]
) -> Iterator[InvalidInput]:
    """The fields to park: those not reported before. ``record`` names their record (``contact 801``)."""
    for one in unreadable:
        if _digest(one) not in reported:
            document = {"record": record, "field": one.field, "value": one.value}
            yield InvalidInput(to_parkable_json(document), UNREAD_VALUE, f"{record}: {one.field}: {one.sentence}")


def _digest(unreadable: UnreadableField) -> str:
    return derive_id(unreadable.field, unreadable.sentence, to_parkable_json(unreadable.value))

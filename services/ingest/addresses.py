"""Where WhatsApp reaches somebody, read from what webhooks and contact records hold; nothing here guesses a person."""

import re
from functools import lru_cache
from typing import Any

import phonenumbers
from phonenumbers import Leniency, PhoneNumber, PhoneNumberType, ValidationResult

from shared.contracts.ids import Bsuid, Phone

_DIGITS = re.compile(r"\+?[1-9][0-9]{5,14}")
_PLAIN = re.compile(r" ?\+?[0-9 ().-]{6,20}")  # one number and nothing else, which needs no searching
_LONGEST_FIELD = 250  # characters of a phone field that are looked at; looking takes time
_MAX_BSUID = 160  # country code, a dot, "ENT." and up to 128 characters, with room


def phone_of_whatsapp(value: Any) -> Phone | None:
    """A webhook's ``from`` or ``wa_id``: E.164 without its plus; may be missing, empty or masked."""
    if not isinstance(value, str) or _DIGITS.fullmatch(value) is None:
        return None
    return Phone("+" + value.removeprefix("+"))


def bsuid_of(value: Any) -> Bsuid | None:
    return Bsuid(value) if isinstance(value, str) and 0 < len(value) <= _MAX_BSUID else None


@lru_cache(maxsize=16_384)
def phone_of_contact(written: str, country: str | None) -> Phone | None:
    """The first number in what somebody typed into a contact record, whatever stands around it: notes, extensions.

    ``country`` (ISO 3166) reads a number without its prefix.
    """
    if _PLAIN.fullmatch(written):
        number = _whole(written, country)
        return None if number is None else _spelled(number)
    numbers = phonenumbers.PhoneNumberMatcher(written[:_LONGEST_FIELD], country, leniency=Leniency.POSSIBLE)
    usable = (found.number for found in numbers if _is_complete(found.number))
    number = next(usable, None) or _whole(written, country)
    return None if number is None else _spelled(number)


def _spelled(number: PhoneNumber) -> Phone:
    return Phone(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def _whole(written: str, country: str | None) -> PhoneNumber | None:
    """For what is a number by itself and yet not found as one in a text."""
    try:
        number = phonenumbers.parse(written[:_LONGEST_FIELD], country)
    except phonenumbers.NumberParseException:
        return None
    return number if _is_complete(number) else None


def _is_complete(number: PhoneNumber) -> bool:
    """Long enough to be called from anywhere: a number without its area code never reaches anybody."""
    return any(
        phonenumbers.is_possible_number_for_type_with_reason(number, kind) == ValidationResult.IS_POSSIBLE
        for kind in (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE)
    )


def phone_key(phone: str) -> str:
    """One spelling for numbers WhatsApp writes in two ways: Brazil's ninth digit, Mexico's 1, Argentina's 9."""
    if phone.startswith("+521") and len(phone) == len("+5215512345678"):
        return "+52" + phone[4:]
    if phone.startswith("+549") and len(phone) == len("+5491123456789"):
        return "+54" + phone[4:]
    if phone.startswith("+55") and len(phone) == len("+5511912345678") and phone[5] == "9":
        return phone[:5] + phone[6:]
    return phone

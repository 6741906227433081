"""Where WhatsApp reaches somebody, read from what webhooks and contact records hold; nothing here guesses a person."""

import re
from typing import Any

import phonenumbers

from shared.ids import Bsuid, Phone

_DIGITS = re.compile(r"\+?[1-9][0-9]{5,14}")
_MAX_BSUID = 160  # country code, a dot, "ENT." and up to 128 characters, with room


def phone_of_whatsapp(value: Any) -> Phone | None:
    """A webhook's ``from`` or ``wa_id``: E.164 without its plus; may be missing, empty or masked."""
    if not isinstance(value, str) or _DIGITS.fullmatch(value) is None:
        return None
    return Phone("+" + value.removeprefix("+"))


def bsuid_of(value: Any) -> Bsuid | None:
    return Bsuid(value) if isinstance(value, str) and 0 < len(value) <= _MAX_BSUID else None


def phone_of_contact(written: str, country: str | None) -> Phone | None:
    """What somebody typed into a contact record; ``country`` (ISO 3166) reads a number without its prefix."""
    try:
        number = phonenumbers.parse(written, country)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return Phone(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def phone_key(phone: str) -> str:
    """One spelling for numbers WhatsApp writes in two ways: Brazil's ninth digit, Mexico's 1, Argentina's 9."""
    if phone.startswith("+521") and len(phone) == len("+5215512345678"):
        return "+52" + phone[4:]
    if phone.startswith("+549") and len(phone) == len("+5491123456789"):
        return "+54" + phone[4:]
    if phone.startswith("+55") and len(phone) == len("+5511912345678") and phone[5] == "9":
        return phone[:5] + phone[6:]
    return phone

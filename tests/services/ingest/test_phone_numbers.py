"""Numbers that people write in one way and WhatsApp in another, by the examples of the data itself."""

from urllib.parse import urlsplit

import phonenumbers
import pytest

from services.ingest.fields import find_phone, has_bsuid_shape, parse_addresses, parse_bsuid
from shared.clients.phone_numbers import is_landline, phone_key, read_exceptions, renumbered
from shared.contracts.ids import Bsuid, Phone

SAME = [pytest.param(*pair, id=pair[0]) for one in read_exceptions() for pair in one["same"]]
APART = [pytest.param(*pair, id=pair[0]) for one in read_exceptions() for pair in one["apart"]]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_two_forms_of_one_number_have_one_key(one: str, other: str) -> None:
    assert phone_key(one) == phone_key(other)


@pytest.mark.parametrize(("one", "other"), APART)
def test_numbers_that_only_look_alike_have_keys_of_their_own(one: str, other: str) -> None:
    assert phone_key(one) != phone_key(other)


@pytest.mark.parametrize("one", read_exceptions(), ids=lambda one: one["name"])
def test_every_exception_has_examples_and_public_sources(one: dict[str, list[str]]) -> None:
    assert one["same"]
    assert one["apart"]
    assert all(urlsplit(source).scheme == "https" for source in one["sources"])


def test_no_landline_of_a_country_with_exceptions_has_the_key_of_a_mobile_number() -> None:
    """By the numbering plans of phonenumbers; Mexico and Argentina give a national number once, to either."""
    for country in ("BR", "CI", "BJ", "GA", "VN", "GB", "FR", "DE", "IT", "ES", "PT"):
        fixed, mobile = (
            phonenumbers.example_number_for_type(country, kind)
            for kind in (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE)
        )
        e164 = phonenumbers.PhoneNumberFormat.E164
        written = [phonenumbers.format_number(one, e164) for one in (fixed, mobile) if one is not None]
        assert phone_key(written[0]) != phone_key(written[1])
        assert is_landline(Phone(written[0]))
        assert not is_landline(Phone(written[1]))


@pytest.mark.parametrize(
    ("written", "country", "number"),
    [
        ("07 12 34 56", "CI", "+2250707123456"),
        ("+225 44 12 34 56", None, "+2250544123456"),
        ("97 12 34 56", "BJ", "+2290197123456"),
        ("+229 01 97 12 34 56", None, "+2290197123456"),
        ("+52 1 55 1234 5678", None, "+525512345678"),
        ("+52 (1) 55 1234 5678", "MX", "+525512345678"),
        ("044 55 1234 5678", "MX", "+525512345678"),
        ("045 55 1234 5678", "MX", "+525512345678"),
        ("01 55 1234 5678", "MX", "+525512345678"),
        ("cell: +52 1 55 1234 5678 (after 5)", None, "+525512345678"),
        ("Tel. 044 55 1234 5678", "MX", "+525512345678"),
        ("07 12 34 56", "GA", "+24177123456"),
        ("077 12 34 56", "GA", "+24177123456"),
        ("+241 06 12 34 56", None, "+24166123456"),
        ("01 12 34 56", "GA", "+24111123456"),
        ("0168 123 4567", "VN", "+84381234567"),
        ("+84 199 123 4567 (Zalo)", None, "+84591234567"),
    ],
)
def test_a_number_of_an_earlier_numbering_plan_is_read_as_it_is_today(
    written: str, country: str | None, number: str
) -> None:
    assert find_phone(written, country) == number
    assert renumbered(number) == number


@pytest.mark.parametrize("written", ["invoice 01 2026 1130 1234", "see ISBN 978-1-86197-876-9", "room 104, floor 5"])
def test_other_digits_in_a_text_are_no_number_of_an_earlier_plan(written: str) -> None:
    assert {find_phone(written, country) for country in ("MX", "GA", "VN", "CI", "BJ", None)} == {None}


def test_a_bsuid_is_known_by_its_shape_wherever_it_stands() -> None:
    bsuid = "US.13491208655302741918"
    assert parse_addresses((), (bsuid,)) == (bsuid, None)
    assert parse_addresses(("", None), (bsuid, "447700900123")) == (bsuid, "+447700900123")
    assert parse_addresses(("447700900123",), ()) == (None, "+447700900123")
    assert parse_addresses(("US.ENT.abc123",), ("",)) == ("US.ENT.abc123", None)
    assert parse_bsuid("447700900123") is None
    assert parse_bsuid("user.5f2c9e") == Bsuid("user.5f2c9e")
    assert not has_bsuid_shape("447700900123")


def test_a_number_that_may_be_a_mobile_written_without_its_9_is_no_landline() -> None:
    assert phonenumbers.number_type(phonenumbers.parse("+541112345678")) == phonenumbers.PhoneNumberType.FIXED_LINE
    assert not is_landline(Phone("+541112345678"))

"""The country of an address, by which WhatsApp charges."""

import pytest

from shared.clients.phone_numbers import calling_code, country_of_address


@pytest.mark.parametrize(
    ("phone", "bsuid", "country"),
    [
        ("+447700900123", None, "GB"),
        ("447700900123", "FR.1", "GB"),
        ("+491701234567", None, "DE"),
        ("+353861234567", None, "IE"),
        ("+12025550123", None, "US"),
        ("+18095550123", None, "DO"),
        ("+16135550123", None, "CA"),
        ("+77011234567", None, "KZ"),
        ("+79161234567", None, "RU"),
        ("+4412", None, "GB"),
        (None, "US.13491208655302741918", "US"),
        (None, "GB.ENT.11815799212886844830", "GB"),
        ("+870773111632", None, None),
        ("+999123", "not a bsuid", None),
        ("", "", None),
        (None, None, None),
    ],
)
def test_the_number_tells_before_the_bsuid(phone: str | None, bsuid: str | None, country: str | None) -> None:
    assert country_of_address(phone, bsuid) == country


def test_a_country_has_one_calling_code() -> None:
    assert (calling_code("GB"), calling_code("DO"), calling_code("ZZ")) == (44, 1, 0)

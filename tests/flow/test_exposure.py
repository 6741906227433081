"""The search for personal data finds it in every spelling; otherwise finding nothing would prove nothing."""

import base64

import pytest

from dev.spellings import stands_in
from tests.flow.exposure import Exposure

_NUMBER = "447700900123"


@pytest.mark.parametrize(
    "text",
    [
        _NUMBER.encode(),
        f"+{_NUMBER}".encode(),
        _NUMBER.encode().hex().encode(),
        *(base64.b64encode(b"\x1c\x18\x0c"[:before] + _NUMBER.encode() + b"\x15\x02") for before in range(4)),
    ],
)
def test_a_number_is_found_in_every_spelling(text: bytes) -> None:
    exposure = Exposure({"a log": b"before " + text + b" after"}, {"number": frozenset({_NUMBER})})
    assert exposure.leaks("number") == ["a log"]


@pytest.mark.parametrize("before", range(4))
def test_another_number_that_begins_alike_is_not_found(before: int) -> None:
    other = base64.b64encode(b"\x1c\x18\x0c"[:before] + b"447700900122" + b"\x15\x02")
    assert not stands_in(b"before " + other + b" after", _NUMBER)


def test_a_number_that_a_text_does_not_contain_is_not_found() -> None:
    assert not stands_in(b"a keyed hash: 8b357ee2ea0f9949bfea0a63eb2438a5", _NUMBER)

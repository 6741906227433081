"""The search for what is personal finds it in every spelling, or its silence would say nothing."""

import base64

import pytest

from tests.flow.exposure import Exposure, spellings_of

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


def test_what_is_not_there_is_not_found() -> None:
    assert not any(spelling in b"a keyed hash: 8b357ee2ea0f9949bfea0a63eb2438a5" for spelling in spellings_of(_NUMBER))

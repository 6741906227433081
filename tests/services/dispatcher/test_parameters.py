"""Cleaning: what Meta would refuse is repaired or refused here."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.parameters import Unsendable, clean_parameter, clean_parameters, clean_text
from services.dispatcher.states import Reason


@pytest.mark.parametrize(
    ("given_value", "cleaned"),
    [
        ("  The\nLong\tWay     Home ", "The Long Way Home"),
        ("non\u00a0breaking\u2003space", "non breaking space"),
        ("\u202eevil\u202c \u200btext\ufeff", "evil text"),
        ("\x00null", "null"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("نامه\u200cها", "نامه\u200cها"),
    ],
)
def test_clean_parameter(given_value: str, cleaned: str) -> None:
    assert clean_parameter(given_value) == cleaned


@pytest.mark.parametrize("nothing", ["", "  \n", "\u200b\u200d", "\u00a0"])
def test_an_empty_parameter_is_refused(nothing: str) -> None:
    with pytest.raises(Unsendable) as refused:
        clean_parameter(nothing)
    assert refused.value.why is Reason.EMPTY_TEXT


def test_parameters_share_the_length_of_a_body() -> None:
    with pytest.raises(Unsendable) as refused:
        clean_parameters({"one": "x" * 600, "two": "y" * 600})
    assert refused.value.why is Reason.TEXT_TOO_LONG


@given(st.text(max_size=300))
def test_a_cleaned_parameter_obeys_meta(value: str) -> None:
    try:
        cleaned = clean_parameter(value)
    except Unsendable:
        return
    assert not re.search(r"[\n\t\r\x00]|\s{2,}", cleaned)
    assert cleaned == cleaned.strip() != ""


def test_free_text_keeps_its_lines() -> None:
    assert clean_text("One\nTwo\x00\u202e\n", 4096) == "One\nTwo"

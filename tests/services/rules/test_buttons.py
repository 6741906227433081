"""A button id is ours, signed and opaque; one that is not answers nothing."""

import pytest

from services.rules import buttons
from shared.contracts.ids import MessageId, derive_id

KEY = b"k" * 32
MESSAGE = MessageId(derive_id("a message"))


def test_a_tap_brings_back_what_was_minted() -> None:
    assert buttons.read((KEY,), buttons.mint((KEY,), MESSAGE, "approve")) == (MESSAGE, "approve")


def test_a_button_fits_whatsapp() -> None:
    assert len(buttons.mint((KEY,), MESSAGE, "a" * 40)) <= 256


@pytest.mark.parametrize(
    "forged",
    [
        "",
        "approve",
        f"s1.{MESSAGE}.approve",
        buttons.mint((KEY,), MESSAGE, "approve").replace("approve", "decline"),
        buttons.mint((KEY,), MESSAGE, "approve").replace(MESSAGE, derive_id("another")),
        buttons.mint((KEY,), MESSAGE, "approve").replace("s1.", "s2."),
        buttons.mint((b"x" * 32,), MESSAGE, "approve"),
        buttons.mint((KEY,), MESSAGE, "approve") + ".approve",
        f"s1.{MESSAGE}.approve.ünsigned",
    ],
)
def test_a_forged_button_answers_nothing(forged: str) -> None:
    assert buttons.read((KEY,), forged) is None


def test_a_claim_is_only_a_claim() -> None:
    assert buttons.claimed(f"s1.{MESSAGE}.approve.forged") == MESSAGE
    assert buttons.claimed("anything") is None


def test_a_new_key_signs_while_the_buttons_of_the_old_one_still_count() -> None:
    new, old = b"n" * 32, b"o" * 32
    sent_before, sent_now = buttons.mint((old,), MESSAGE, "approve"), buttons.mint((new, old), MESSAGE, "approve")
    assert buttons.read((new, old), sent_before) == buttons.read((new, old), sent_now) == (MESSAGE, "approve")
    assert buttons.read((new,), sent_now) == (MESSAGE, "approve")
    assert buttons.read((new,), sent_before) is None

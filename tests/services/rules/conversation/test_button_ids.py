"""A button id is signed; a forged or foreign one answers nothing."""

import pytest

from services.rules.conversation import button_ids
from shared.contracts.ids import MessageId, derive_id

KEY = b"k" * 32
MESSAGE = MessageId(derive_id("a message"))


def test_a_tap_brings_back_the_signed_button_id() -> None:
    assert button_ids.read_button_id((KEY,), button_ids.sign_button_id((KEY,), MESSAGE, "approve")) == (
        MESSAGE,
        "approve",
    )


def test_a_button_fits_whatsapp() -> None:
    assert len(button_ids.sign_button_id((KEY,), MESSAGE, "a" * 40)) <= 256


@pytest.mark.parametrize(
    "forged",
    [
        "",
        "approve",
        f"s1.{MESSAGE}.approve",
        button_ids.sign_button_id((KEY,), MESSAGE, "approve").replace("approve", "decline"),
        button_ids.sign_button_id((KEY,), MESSAGE, "approve").replace(MESSAGE, derive_id("another")),
        button_ids.sign_button_id((KEY,), MESSAGE, "approve").replace("s1.", "s2."),
        button_ids.sign_button_id((b"x" * 32,), MESSAGE, "approve"),
        button_ids.sign_button_id((KEY,), MESSAGE, "approve") + ".approve",
        f"s1.{MESSAGE}.approve.ünsigned",
    ],
)
def test_a_forged_button_answers_nothing(forged: str) -> None:
    assert button_ids.read_button_id((KEY,), forged) is None


def test_a_claim_is_only_a_claim() -> None:
    assert button_ids.claimed_message(f"s1.{MESSAGE}.approve.forged") == MESSAGE
    assert button_ids.claimed_message("anything") is None


def test_a_new_key_signs_while_the_buttons_of_the_old_one_still_count() -> None:
    new, old = b"n" * 32, b"o" * 32
    sent_before, sent_now = (
        button_ids.sign_button_id((old,), MESSAGE, "approve"),
        button_ids.sign_button_id((new, old), MESSAGE, "approve"),
    )
    assert (
        button_ids.read_button_id((new, old), sent_before)
        == button_ids.read_button_id((new, old), sent_now)
        == (MESSAGE, "approve")
    )
    assert button_ids.read_button_id((new,), sent_now) == (MESSAGE, "approve")
    assert button_ids.read_button_id((new,), sent_before) is None

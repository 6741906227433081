"""Request bodies and cleaned texts; test_whatsapp_client.py sends the bodies to the simulator."""

import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.payload import (
    MessageContent,
    RecipientAddress,
    UnsendableContent,
    build_body,
    clean_parameter,
    clean_parameters,
    clean_text,
)
from services.dispatcher.reasons import MessageReason
from shared.contracts.messages import MessageForm, format_callback, parse_callback, parse_recipient
from tests.services.dispatcher.builders import REACHED, TEMPLATE

_BUTTONS = (("id-yes", "Approve"), ("id-no", "Decline"))


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
def test_a_parameter_becomes_one_line_of_visible_text(given_value: str, cleaned: str) -> None:
    assert clean_parameter(given_value) == cleaned


@pytest.mark.parametrize("nothing", ["", "  \n", "\u200b\u200d", "\u00a0"])
def test_an_empty_parameter_is_refused(nothing: str) -> None:
    with pytest.raises(UnsendableContent) as refused:
        clean_parameter(nothing)
    assert refused.value.message_reason is MessageReason.EMPTY_TEXT


def test_parameters_share_the_length_of_a_body() -> None:
    with pytest.raises(UnsendableContent) as refused:
        clean_parameters({"one": "x" * 600, "two": "y" * 600})
    assert refused.value.message_reason is MessageReason.TEXT_TOO_LONG


@given(st.text(max_size=300))
def test_a_cleaned_parameter_obeys_meta(value: str) -> None:
    try:
        cleaned = clean_parameter(value)
    except UnsendableContent:
        return
    assert not re.search(r"[\n\t\r\x00]|\s{2,}", cleaned)
    assert cleaned == cleaned.strip() != ""


def test_free_text_keeps_its_lines() -> None:
    assert clean_text("One\nTwo\x00\u202e\n", 4096) == "One\nTwo"


def _body(
    content: MessageContent, wording: MessageForm = MessageForm.FREE_TEXT, address: RecipientAddress = REACHED
) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(build_body(content, wording, address, "m1.1"))
    return document


def test_a_text_goes_to_a_number_with_its_plus() -> None:
    body = _body(MessageContent("Hello", reply_to="wamid.Q"))
    assert body["to"] == "+441632960001"
    assert body["text"]["body"] == "Hello"
    assert body["context"] == {"message_id": "wamid.Q"}
    assert body["biz_opaque_callback_data"] == "m1.1"


def test_a_person_known_by_bsuid_is_the_recipient() -> None:
    body = _body(MessageContent("Hello"), address=RecipientAddress(None, "GB.123"))
    assert body["recipient"] == "GB.123"
    assert "to" not in body


def test_buttons_inside_the_window_carry_our_ids() -> None:
    body = _body(MessageContent("Agree?", _BUTTONS))
    assert [button["reply"]["id"] for button in body["interactive"]["action"]["buttons"]] == ["id-yes", "id-no"]


def test_a_template_names_its_parameters_and_carries_our_ids() -> None:
    components = _body(MessageContent("x", _BUTTONS, TEMPLATE), MessageForm.TEMPLATE)["template"]["components"]
    assert components[0]["parameters"] == [{"type": "text", "parameter_name": "title", "text": "The Long Way"}]
    assert [part["parameters"][0]["payload"] for part in components[1:]] == ["id-yes", "id-no"]
    assert [part["index"] for part in components[1:]] == ["0", "1"]


@pytest.mark.parametrize(
    ("content", "wording", "reason"),
    [
        (MessageContent(" \n"), MessageForm.FREE_TEXT, MessageReason.EMPTY_TEXT),
        (MessageContent("x" * 4097), MessageForm.FREE_TEXT, MessageReason.TEXT_TOO_LONG),
        (MessageContent("x" * 1025, _BUTTONS), MessageForm.FREE_TEXT, MessageReason.TEXT_TOO_LONG),
        (
            MessageContent("x", [(str(n), str(n)) for n in range(4)]),
            MessageForm.FREE_TEXT,
            MessageReason.BUTTONS_NOT_SENDABLE,
        ),
        (
            MessageContent("x", [("a", "Same"), ("b", "Same")]),
            MessageForm.FREE_TEXT,
            MessageReason.BUTTONS_NOT_SENDABLE,
        ),
        (MessageContent("x", [("a", "t" * 21)]), MessageForm.FREE_TEXT, MessageReason.BUTTONS_NOT_SENDABLE),
        (MessageContent("x", [("p" * 129, "Yes")], TEMPLATE), MessageForm.TEMPLATE, MessageReason.BUTTONS_NOT_SENDABLE),
        (
            MessageContent("x", (), TEMPLATE | {"parameters": {"title": "\t"}}),
            MessageForm.TEMPLATE,
            MessageReason.EMPTY_TEXT,
        ),
        (MessageContent("x"), MessageForm.TEMPLATE, MessageReason.NO_TEMPLATE),
    ],
)
def test_content_that_whatsapp_would_refuse_is_not_sent(
    content: MessageContent, wording: MessageForm, reason: MessageReason
) -> None:
    with pytest.raises(UnsendableContent) as refused:
        _body(content, wording)
    assert refused.value.message_reason is reason


def test_a_callback_names_its_attempt_and_its_person() -> None:
    assert parse_callback(format_callback("a.b", 12)) == ("a.b", 12)
    assert parse_recipient(format_callback("a.b", 12)) is None
    callback = format_callback("a.b", 12, "p1", 7)
    assert (parse_callback(callback), parse_recipient(callback)) == (("a.b", 12), ("p1", 7))


@pytest.mark.parametrize("foreign", [None, "", "order-77", "a.", ".1", "a.x", "a.-1", "a.99999999999"])
def test_a_foreign_callback_is_ignored(foreign: str | None) -> None:
    assert parse_callback(foreign) is None
    assert parse_recipient(foreign) is None

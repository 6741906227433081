"""Request bodies and cleaned texts; test_whatsapp_client.py sends the bodies to the simulator."""

import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from services.dispatcher.payload import (
    ContentDocument,
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
_DOCUMENT = ContentDocument("document-1", "statement.pdf", media_id="media-1", mime="application/pdf")
_NODE = {"id": "media-1", "filename": "statement.pdf"}


@pytest.mark.parametrize(
    ("given_value", "cleaned"),
    [
        ("  The\nLong\tWay     Home ", "The Long Way Home"),
        ("The Long Way     Home", "The Long Way Home"),
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


@pytest.mark.parametrize(
    ("content", "wording"),
    [
        (MessageContent("x" * 4096), MessageForm.FREE_TEXT),
        (MessageContent("x" * 1024, _BUTTONS), MessageForm.FREE_TEXT),
        (MessageContent("x", [(str(n), "t" * 19 + str(n)) for n in range(3)]), MessageForm.FREE_TEXT),
        (MessageContent("x", [("p" * 128, "Yes")], TEMPLATE), MessageForm.TEMPLATE),
        (MessageContent("x", (), TEMPLATE | {"parameters": {"a": "x" * 1000, "b": "y" * 24}}), MessageForm.TEMPLATE),
        (MessageContent("x" * 1024, document=_DOCUMENT), MessageForm.FREE_TEXT),
    ],
)
def test_content_at_whatsapps_limits_is_sent(content: MessageContent, wording: MessageForm) -> None:
    assert _body(content, wording)


def test_one_button_that_cannot_be_sent_is_enough_to_refuse_a_message() -> None:
    for title in ("t" * 21, " "):
        with pytest.raises(UnsendableContent):
            _body(MessageContent("x", [("a", "Yes"), ("b", title)]))


def test_a_document_stands_above_the_text_or_the_buttons() -> None:
    alone = _body(MessageContent("Read this", document=_DOCUMENT))
    assert (alone["type"], alone["document"]) == ("document", {**_NODE, "caption": "Read this"})
    asked = _body(MessageContent("Agree?", _BUTTONS, document=_DOCUMENT))["interactive"]
    assert asked["header"] == {"type": "document", "document": _NODE}
    assert "header" not in _body(MessageContent("Agree?", _BUTTONS))["interactive"]


def test_a_caption_is_shorter_than_a_text() -> None:
    with pytest.raises(UnsendableContent):
        _body(MessageContent("x" * 1025, document=_DOCUMENT))


_HEADED = TEMPLATE | {"header": "document"}


@pytest.mark.parametrize(
    ("call", "document", "header"),
    [
        (_HEADED, _DOCUMENT, [{"type": "document", "document": _NODE}]),
        (TEMPLATE, None, None),
        (TEMPLATE, replace(_DOCUMENT, optional=True), None),
    ],
)
def test_a_template_with_a_header_carries_the_document(
    call: dict[str, Any], document: ContentDocument | None, header: list[dict[str, Any]] | None
) -> None:
    components = _body(MessageContent("x", (), call, document=document), MessageForm.TEMPLATE)["template"]["components"]
    assert [part["parameters"] for part in components if part["type"] == "header"] == ([header] if header else [])


@pytest.mark.parametrize(
    ("call", "document"), [(_HEADED, None), (TEMPLATE, _DOCUMENT), (_HEADED, replace(_DOCUMENT, media_id=None))]
)
def test_a_template_and_a_document_that_do_not_fit_are_not_sent(
    call: dict[str, Any], document: ContentDocument | None
) -> None:
    with pytest.raises(UnsendableContent) as refused:
        _body(MessageContent("x", (), call, document=document), MessageForm.TEMPLATE)
    assert refused.value.message_reason is MessageReason.DOCUMENT_NOT_SENDABLE


def test_a_callback_names_its_attempt_and_its_person() -> None:
    assert parse_callback(format_callback("a.b", 12)) == ("a.b", 12)
    assert parse_recipient(format_callback("a.b", 12)) is None
    callback = format_callback("a.b", 12, "p1", 7)
    assert (parse_callback(callback), parse_recipient(callback)) == (("a.b", 12), ("p1", 7))


@pytest.mark.parametrize("foreign", [None, "", "order-77", "a.", ".1", "a.x", "a.-1", "a.99999999999"])
def test_a_foreign_callback_is_ignored(foreign: str | None) -> None:
    assert parse_callback(foreign) is None
    assert parse_recipient(foreign) is None

"""The request bodies; that WhatsApp would take them is proved against the simulator in test_whatsapp.py."""

from typing import Any

import orjson
import pytest

from services.dispatcher.parameters import Unsendable
from services.dispatcher.payload import Address, Spoken, body_of, callback_of, read_callback
from services.dispatcher.states import Reason
from shared.contracts.messages import Wording
from tests.services.dispatcher.making import REACHED, TEMPLATE

_BUTTONS = (("id-yes", "Approve"), ("id-no", "Decline"))


def _body(spoken: Spoken, wording: Wording = Wording.FREE_TEXT, address: Address = REACHED) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(body_of(spoken, wording, address, "m1.1"))
    return document


def test_a_text_goes_to_a_number_with_its_plus() -> None:
    body = _body(Spoken("Hello", reply_to="wamid.Q"))
    assert body["to"] == "+441632960001"
    assert body["text"]["body"] == "Hello"
    assert body["context"] == {"message_id": "wamid.Q"}
    assert body["biz_opaque_callback_data"] == "m1.1"


def test_a_person_known_by_bsuid_is_the_recipient() -> None:
    body = _body(Spoken("Hello"), address=Address(None, "GB.123"))
    assert body["recipient"] == "GB.123"
    assert "to" not in body


def test_buttons_inside_the_window_carry_our_ids() -> None:
    body = _body(Spoken("Agree?", _BUTTONS))
    assert [button["reply"]["id"] for button in body["interactive"]["action"]["buttons"]] == ["id-yes", "id-no"]


def test_a_template_names_its_parameters_and_carries_our_ids() -> None:
    components = _body(Spoken("x", _BUTTONS, TEMPLATE), Wording.TEMPLATE)["template"]["components"]
    assert components[0]["parameters"] == [{"type": "text", "parameter_name": "title", "text": "The Long Way"}]
    assert [part["parameters"][0]["payload"] for part in components[1:]] == ["id-yes", "id-no"]
    assert [part["index"] for part in components[1:]] == ["0", "1"]


@pytest.mark.parametrize(
    ("spoken", "wording", "reason"),
    [
        (Spoken(" \n"), Wording.FREE_TEXT, Reason.EMPTY_TEXT),
        (Spoken("x" * 4097), Wording.FREE_TEXT, Reason.TEXT_TOO_LONG),
        (Spoken("x" * 1025, _BUTTONS), Wording.FREE_TEXT, Reason.TEXT_TOO_LONG),
        (Spoken("x", [(str(n), str(n)) for n in range(4)]), Wording.FREE_TEXT, Reason.BUTTONS_NOT_SENDABLE),
        (Spoken("x", [("a", "Same"), ("b", "Same")]), Wording.FREE_TEXT, Reason.BUTTONS_NOT_SENDABLE),
        (Spoken("x", [("a", "t" * 21)]), Wording.FREE_TEXT, Reason.BUTTONS_NOT_SENDABLE),
        (Spoken("x", [("p" * 129, "Yes")], TEMPLATE), Wording.TEMPLATE, Reason.BUTTONS_NOT_SENDABLE),
        (Spoken("x", (), TEMPLATE | {"parameters": {"title": "\t"}}), Wording.TEMPLATE, Reason.EMPTY_TEXT),
        (Spoken("x"), Wording.TEMPLATE, Reason.NO_TEMPLATE),
    ],
)
def test_what_would_fail_is_not_sent(spoken: Spoken, wording: Wording, reason: Reason) -> None:
    with pytest.raises(Unsendable) as refused:
        _body(spoken, wording)
    assert refused.value.why is reason


def test_a_callback_says_which_attempt() -> None:
    assert read_callback(callback_of("a.b", 12)) == ("a.b", 12)


@pytest.mark.parametrize("foreign", [None, "", "order-77", "a.", ".1", "a.x", "a.-1", "a.99999999999"])
def test_a_foreign_callback_says_nothing(foreign: str | None) -> None:
    assert read_callback(foreign) is None

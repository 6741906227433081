"""``plan`` as a table: what is known of a message, its person and its number, and the verdict."""

from datetime import timedelta
from typing import Any

import pytest

from services.dispatcher.limits import Limits
from services.dispatcher.payload import Spoken
from services.dispatcher.plan import Drop, Send, TemplateState, Verdict, Wait, plan
from services.dispatcher.states import Reason
from shared.contracts.messages import Wording
from tests.services.dispatcher.making import NOON, REACHED, history, queued, seconds

_FREE, _TEMPLATE = Send(Wording.FREE_TEXT, REACHED), Send(Wording.TEMPLATE, REACHED)
_DAY = timedelta(days=1)
_UNTEMPLATED = {"spoken": Spoken("Hello")}

_CASES: list[tuple[str, dict[str, Any], dict[str, Any], Verdict]] = [
    ("an open window takes free text", {}, {}, _FREE),
    ("without a window the template goes", {}, {"window_opened_at": None}, _TEMPLATE),
    (
        "a window within the margin of closing is closed",
        {},
        {"window_opened_at": NOON - _DAY + seconds(120)},
        _TEMPLATE,
    ),
    ("a window is open until the margin", {}, {"window_opened_at": NOON - _DAY + seconds(121)}, _FREE),
    ("a window that failed is not trusted", {"template_only": True}, {}, _TEMPLATE),
    ("no window and no template", _UNTEMPLATED, {"window_opened_at": None}, Drop(Reason.NO_TEMPLATE)),
    ("its time is over", {"expires_at": NOON}, {}, Drop(Reason.EXPIRED)),
    ("nobody configured the line", {}, {"line_known": False}, Drop(Reason.UNKNOWN_LINE)),
    ("a known person without an address", {}, {"address": None}, Drop(Reason.NO_ADDRESS)),
    (
        "an unknown person is waited for",
        {},
        {"person_known": False, "address": None},
        Wait(NOON + timedelta(minutes=10), Reason.UNKNOWN_PERSON),
    ),
    (
        "an unknown person is not waited for long",
        {"requested_at": NOON - timedelta(minutes=10)},
        {"person_known": False, "address": None},
        Drop(Reason.NO_ADDRESS),
    ),
    (
        "a paused template waits",
        {},
        {"window_opened_at": None, "template": TemplateState.PAUSED},
        Wait(NOON + timedelta(hours=1), Reason.TEMPLATE_PAUSED),
    ),
    ("a paused template does not matter inside the window", {}, {"template": TemplateState.PAUSED}, _FREE),
    (
        "a disabled template is given up",
        {},
        {"window_opened_at": None, "template": TemplateState.DISABLED},
        Drop(Reason.TEMPLATE_DISABLED),
    ),
    (
        "a template WhatsApp refused for now",
        {},
        {"window_opened_at": None, "template_held_until": NOON + seconds(60)},
        Wait(NOON + seconds(60), Reason.TEMPLATE_HELD),
    ),
    (
        "a number told to slow down",
        {},
        {"number_held_until": NOON + seconds(4)},
        Wait(NOON + seconds(4), Reason.NUMBER_HELD),
    ),
    ("a hold that is over", {}, {"number_held_until": NOON}, _FREE),
    (
        "a person told to wait for",
        {},
        {"pair_held_until": NOON + seconds(16)},
        Wait(NOON + seconds(16), Reason.PAIR_HELD),
    ),
    ("a number at its rate", {}, {"number_sends": [NOON] * 80}, Wait(NOON + seconds(1), Reason.NUMBER_RATE)),
    ("a person after a burst", {}, {"pair_sends": [NOON] * 45}, Wait(NOON + seconds(270), Reason.PAIR_RATE)),
    (
        "no wait outlasts the message",
        {"expires_at": NOON + seconds(100)},
        {"pair_sends": [NOON] * 45},
        Wait(NOON + seconds(100), Reason.PAIR_RATE),
    ),
]


@pytest.mark.parametrize(
    ("message", "known", "verdict"), [case[1:] for case in _CASES], ids=[case[0] for case in _CASES]
)
def test_plan(message: dict[str, Any], known: dict[str, Any], verdict: Verdict) -> None:
    assert plan(queued(**message), history(**known), Limits(), NOON) == verdict


def test_lifted_limits_ignore_the_rates_and_nothing_else() -> None:
    busy = history(number_sends=[NOON] * 80, pair_sends=[NOON] * 45)
    assert plan(queued(), busy, Limits(lifted=True), NOON) == _FREE
    assert plan(queued(expires_at=NOON), busy, Limits(lifted=True), NOON) == Drop(Reason.EXPIRED)

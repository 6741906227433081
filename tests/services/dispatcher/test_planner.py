"""The planner as a table: a message, the knowledge about its person and number, and the expected plan."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from services.dispatcher.payload import MessageContent
from services.dispatcher.planner import DropMessage, Postpone, SendNow, SendPlan, opens_window, plan_send
from services.dispatcher.rate_limits import SendLimits
from services.dispatcher.reasons import MessageReason
from services.dispatcher.templates import TemplateState
from shared.contracts.ids import Line, PersonId, Wamid
from shared.contracts.messages import MessageForm
from shared.contracts.whatsapp import MessageKind, MessageReceived
from tests.services.dispatcher.builders import NOON, REACHED, queued_message, seconds, send_context

_FREE, _TEMPLATE = SendNow(MessageForm.FREE_TEXT, REACHED), SendNow(MessageForm.TEMPLATE, REACHED)
_DAY = timedelta(days=1)
_UNTEMPLATED = {"content": MessageContent("Hello")}
_OFFER = {"name": "new_titles_v1", "language": "en", "parameters": {}, "category": "marketing"}
_UNWANTED = {"content": MessageContent("New this spring", template=_OFFER)}
_WANTED = {"content": MessageContent("New this spring", template={**_OFFER, "marketing_consent": True})}

_CASES: list[tuple[str, dict[str, Any], dict[str, Any], SendPlan]] = [
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
    ("an offer to a person who agreed to offers goes as free text", _WANTED, {}, _FREE),
    (
        "and to another person waits for the consent, inside the window too",
        _UNWANTED,
        {"template": TemplateState.RECATEGORISED},
        Postpone(NOON + timedelta(hours=1), MessageReason.TEMPLATE_RECATEGORISED),
    ),
    (
        "a template that Meta alone calls marketing is free text inside the window",
        {},
        {"template": TemplateState.RECATEGORISED},
        _FREE,
    ),
    ("no window and no template", _UNTEMPLATED, {"window_opened_at": None}, DropMessage(MessageReason.NO_TEMPLATE)),
    ("its time is over", {"expires_at": NOON}, {}, DropMessage(MessageReason.EXPIRED)),
    (
        "its time ended while an operator paused its template",
        {"expires_at": NOON},
        {"is_template_paused_by_operator": True},
        DropMessage(MessageReason.EXPIRED_WHILE_PAUSED),
    ),
    ("a known person without an address", {}, {"address": None}, DropMessage(MessageReason.NO_ADDRESS)),
    (
        "an unknown person is waited for",
        {},
        {"person_known": False, "address": None},
        Postpone(NOON + timedelta(minutes=10), MessageReason.UNKNOWN_PERSON),
    ),
    (
        "an unknown person is not waited for long",
        {"requested_at": NOON - timedelta(minutes=10)},
        {"person_known": False, "address": None},
        DropMessage(MessageReason.NO_ADDRESS),
    ),
    (
        "a paused template waits",
        {},
        {"window_opened_at": None, "template": TemplateState.PAUSED},
        Postpone(NOON + timedelta(hours=1), MessageReason.TEMPLATE_PAUSED),
    ),
    *(
        (
            f"a template that is {state} waits",
            {},
            {"window_opened_at": None, "template": state},
            Postpone(NOON + timedelta(hours=1), reason),
        )
        for state, reason in [
            (TemplateState.PENDING, MessageReason.TEMPLATE_PENDING),
            (TemplateState.REJECTED, MessageReason.TEMPLATE_REJECTED),
            (TemplateState.MISSING, MessageReason.TEMPLATE_MISSING),
            (TemplateState.RECATEGORISED, MessageReason.TEMPLATE_RECATEGORISED),
            (TemplateState.DISABLED, MessageReason.TEMPLATE_DISABLED),
        ]
    ),
    ("a paused template does not matter inside the window", {}, {"template": TemplateState.PAUSED}, _FREE),
    (
        "a spent budget holds a template until the next month, or the message's expiry",
        {},
        {"window_opened_at": None, "budget_until": NOON + timedelta(days=30)},
        Postpone(NOON + timedelta(days=2), MessageReason.BUDGET_SPENT),
    ),
    (
        "a spent budget holds free text",
        {},
        {"budget_until": NOON + seconds(60)},
        Postpone(NOON + seconds(60), MessageReason.BUDGET_SPENT),
    ),
    (
        "a template WhatsApp refused for now",
        {},
        {"window_opened_at": None, "template_throttled_until": NOON + seconds(60)},
        Postpone(NOON + seconds(60), MessageReason.TEMPLATE_THROTTLED),
    ),
    (
        "a template WhatsApp takes again",
        {},
        {"window_opened_at": None, "template_throttled_until": NOON},
        _TEMPLATE,
    ),
    (
        "marketing to a country where Meta delivers none waits, and is looked at again in an hour",
        {},
        {"window_opened_at": None, "is_marketing_paused": True},
        Postpone(NOON + timedelta(hours=1), MessageReason.MARKETING_PAUSED),
    ),
    (
        "marketing to a person who gets enough waits for the day that Meta names",
        {},
        {"window_opened_at": None, "marketing_limited_until": NOON + seconds(60)},
        Postpone(NOON + seconds(60), MessageReason.MARKETING_LIMIT),
    ),
    (
        "marketing goes once the day is over",
        {},
        {"window_opened_at": None, "marketing_limited_until": NOON},
        _TEMPLATE,
    ),
    (
        "neither matters inside the window, where free text goes",
        {},
        {"is_marketing_paused": True, "marketing_limited_until": NOON + seconds(60)},
        _FREE,
    ),
    (
        "a template that an operator paused waits",
        {},
        {"window_opened_at": None, "is_template_paused_by_operator": True},
        Postpone(NOON + timedelta(hours=1), MessageReason.PAUSED_BY_OPERATOR),
    ),
    (
        "a template that an operator paused does not matter inside the window",
        {},
        {"is_template_paused_by_operator": True},
        _FREE,
    ),
    (
        "a document that can never be had",
        {},
        {"document_refusal": MessageReason.DOCUMENT_REFUSED},
        DropMessage(MessageReason.DOCUMENT_REFUSED),
    ),
    (
        "a document that WhatsApp does not have yet",
        {},
        {"document_awaited_until": NOON + seconds(5)},
        Postpone(NOON + seconds(5), MessageReason.DOCUMENT_PENDING),
    ),
    (
        "a restriction of what a business begins holds a template",
        {},
        {"window_opened_at": None, "template_restricted_until": NOON + seconds(60)},
        Postpone(NOON + seconds(60), MessageReason.ACCOUNT_RESTRICTED),
    ),
    ("and does not hold an answer", {}, {"template_restricted_until": NOON + seconds(60)}, _FREE),
    (
        "a restriction of answers holds free text",
        {},
        {"free_text_restricted_until": NOON + seconds(60)},
        Postpone(NOON + seconds(60), MessageReason.ACCOUNT_RESTRICTED),
    ),
    (
        "and does not hold a template",
        {},
        {"window_opened_at": None, "free_text_restricted_until": NOON + seconds(60)},
        _TEMPLATE,
    ),
    (
        "the day's people hold a template",
        {},
        {"window_opened_at": None, "portfolio_free_at": NOON + seconds(60)},
        Postpone(NOON + seconds(60), MessageReason.PORTFOLIO_LIMIT),
    ),
    (
        "quiet hours hold free text until the next opening",
        {"open_hours": [NOON - timedelta(hours=3), NOON, NOON + timedelta(hours=15)]},
        {},
        Postpone(NOON + timedelta(hours=15), MessageReason.QUIET_HOURS),
    ),
    (
        "after the last hours a message waits for its expiry",
        {"open_hours": [NOON - timedelta(hours=3), NOON]},
        {"window_opened_at": None},
        Postpone(NOON + timedelta(days=2), MessageReason.QUIET_HOURS),
    ),
    ("within its hours a message goes", {"open_hours": [NOON, NOON + seconds(1)]}, {}, _FREE),
    (
        "a throttled number waits",
        {},
        {"number_throttled_until": NOON + seconds(4)},
        Postpone(NOON + seconds(4), MessageReason.NUMBER_THROTTLED),
    ),
    ("a hold that is over", {}, {"number_throttled_until": NOON}, _FREE),
    (
        "a throttled pair waits",
        {},
        {"pair_throttled_until": NOON + seconds(16)},
        Postpone(NOON + seconds(16), MessageReason.PAIR_THROTTLED),
    ),
    (
        "a number at its rate",
        {},
        {"number_sends": [NOON] * 80},
        Postpone(NOON + seconds(1), MessageReason.NUMBER_RATE),
    ),
    (
        "a person after a burst",
        {},
        {"pair_sends": [NOON] * 45},
        Postpone(NOON + seconds(270), MessageReason.PAIR_RATE),
    ),
    (
        "no wait outlasts the message",
        {"expires_at": NOON + seconds(100)},
        {"pair_sends": [NOON] * 45},
        Postpone(NOON + seconds(100), MessageReason.PAIR_RATE),
    ),
]


@pytest.mark.parametrize(
    ("message", "known", "expected"), [case[1:] for case in _CASES], ids=[case[0] for case in _CASES]
)
def test_the_planner_decides_by_its_table(message: dict[str, Any], known: dict[str, Any], expected: SendPlan) -> None:
    assert plan_send(queued_message(**message), send_context(**known), SendLimits(), NOON) == expected


def test_lifted_limits_ignore_the_rates_and_nothing_else() -> None:
    busy = send_context(number_sends=[NOON] * 80, pair_sends=[NOON] * 45)
    assert plan_send(queued_message(), busy, SendLimits(lifted=True), NOON) == _FREE
    assert plan_send(queued_message(expires_at=NOON), busy, SendLimits(lifted=True), NOON) == DropMessage(
        MessageReason.EXPIRED
    )


@pytest.mark.parametrize("kind", MessageKind)
def test_a_message_or_a_call_opens_the_window_and_a_change_to_a_message_does_not(kind: MessageKind) -> None:
    message = MessageReceived(
        line=Line("main"), person_id=PersonId("p1"), message_id=Wamid("wamid.in"), message_kind=kind, at=NOON
    )
    changes = {MessageKind.REACTION, MessageKind.EDIT, MessageKind.REVOKE}
    assert opens_window(message) is (kind not in changes)
    assert not opens_window(replace(message, in_group=True))

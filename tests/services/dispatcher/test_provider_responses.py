"""The error table against a separate copy of Meta's list of codes, and the parsing of responses."""

import re
from datetime import timedelta

import pytest

from services.dispatcher.provider_responses import (
    ERROR_POLICIES,
    ErrorAction,
    ErrorScope,
    SendAccepted,
    SendError,
    SendOutcome,
    SendUncertain,
    error_class,
    error_policy,
    parse_response,
)
from services.dispatcher.reasons import MessageReason
from shared.contracts.ids import Wamid
from tests.infrastructure import ROOT

# code: what Meta's table asks for. R retry, N throttle number, T throttle recipient, P recipient, M message, W window,
# O operator
_META = {
    **dict.fromkeys((0, 190, 3, 10, *range(200, 300), 131005, 131048, 131064, 33, 368, 131031, 131037, 131042), "O"),
    **dict.fromkeys((131045, 133000, 133005, 133006, 133008, 133009, 133010, 133015, 133016, 131063), "O"),
    **dict.fromkeys((131036, 134100, 134101, 134102, 131055), "O"),
    **dict.fromkeys((1, 2, 131057, 131016, 133004, 131000, 135000), "R"),
    **dict.fromkeys((4, 80007, 130429), "N"),
    131056: "T",
    **dict.fromkeys((130497, 130403, 131026, 131050, 137000), "P"),
    **dict.fromkeys((132001, 132007, 132068, 132069, 132015, 132016), "O"),
    131047: "W",
    **dict.fromkeys((100, 130472, 131008, 131009, 131021, 131049, 131051, 131052, 131053, 131062), "M"),
    **dict.fromkeys((132000, 132005, 132012, 132018), "M"),
}
_ACTIONS = {
    "R": ErrorAction.RETRY,
    "N": ErrorAction.THROTTLE_NUMBER,
    "T": ErrorAction.THROTTLE_PAIR,
    "P": ErrorAction.REFUSE_PERSON,
    "M": ErrorAction.REFUSE_MESSAGE,
    "W": ErrorAction.USE_TEMPLATE,
    "O": ErrorAction.OPERATOR,
}

_HTML = b"<html>Bad gateway</html>"
_PAGE = ROOT / "docs" / "reference" / "whatsapp.md"
_CONSEQUENCES = {
    "stop all sends": (ErrorAction.OPERATOR, ErrorScope.ACCOUNT),
    "stop the account": (ErrorAction.OPERATOR, ErrorScope.BUSINESS_ACCOUNT),
    "stop the number": (ErrorAction.OPERATOR, ErrorScope.NUMBER),
    "hold the template": (ErrorAction.OPERATOR, ErrorScope.TEMPLATE),
    "uncertain: the message": (ErrorAction.RETRY, ErrorScope.MESSAGE),
    "uncertain; the number": (ErrorAction.RETRY, ErrorScope.NUMBER),
    "slow down all numbers": (ErrorAction.THROTTLE_NUMBER, ErrorScope.ACCOUNT),
    "slow down the numbers of the account": (ErrorAction.THROTTLE_NUMBER, ErrorScope.BUSINESS_ACCOUNT),
    "slow down the number": (ErrorAction.THROTTLE_NUMBER, ErrorScope.NUMBER),
    "only this person": (ErrorAction.THROTTLE_PAIR, ErrorScope.PAIR),
    "fail the message, no retry": (ErrorAction.REFUSE_PERSON, ErrorScope.MESSAGE),
    "fail the message; no marketing": (ErrorAction.REFUSE_MESSAGE, ErrorScope.MARKETING),
    "fail the message": (ErrorAction.REFUSE_MESSAGE, ErrorScope.MESSAGE),
    "send it again as a template": (ErrorAction.USE_TEMPLATE, ErrorScope.MESSAGE),
    "retry": (ErrorAction.RETRY, ErrorScope.MESSAGE),
}
_OF_ONE_PERSON = {130472}  # the page words them like a person who cannot be reached; the next message may go


def _documented() -> dict[int, tuple[ErrorAction, ErrorScope]]:
    """The consequence of each code by the table of the reference page."""
    section = _PAGE.read_text("utf-8").partition("## 4. Error codes")[2].partition("## 5.")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("|")]
    found, consequence = dict[int, tuple[ErrorAction, ErrorScope]](), ""
    for codes, _, _, follows in rows[2:]:
        consequence = consequence if follows == "the same" else follows
        known = next(known for word, known in _CONSEQUENCES.items() if consequence.startswith(word))
        for first, last in re.findall(r"\b(\d+)(?: to (\d+))?", codes.partition(" with subcode")[0]):
            found |= dict.fromkeys(range(int(first), int(last or first) + 1), known)
    return found


def test_every_documented_code_has_its_action() -> None:
    assert {code: policy.action for code, policy in ERROR_POLICIES.items()} == {
        code: _ACTIONS[w] for code, w in _META.items()
    }


def test_the_page_says_of_every_code_what_follows() -> None:
    followed = {code: (policy.action, policy.scope) for code, policy in ERROR_POLICIES.items()}
    followed |= dict.fromkeys(_OF_ONE_PERSON, _CONSEQUENCES["fail the message, no retry"])
    assert _documented() == followed


def test_only_faults_of_metas_servers_are_ambiguous() -> None:
    assert {code for code, policy in ERROR_POLICIES.items() if policy.ambiguous} == {
        1,
        2,
        131000,
        131016,
        131057,
        133004,
    }


@pytest.mark.parametrize("code", [4, 80007, 130429, 131056])
def test_throttles_are_safe_to_repeat(code: int) -> None:
    assert not error_policy(code).ambiguous


@pytest.mark.parametrize(
    ("code", "scope"),
    [
        (4, ErrorScope.ACCOUNT),
        (80007, ErrorScope.BUSINESS_ACCOUNT),
        (131042, ErrorScope.BUSINESS_ACCOUNT),
        (130429, ErrorScope.NUMBER),
        (131056, ErrorScope.PAIR),
        (190, ErrorScope.ACCOUNT),
        (131031, ErrorScope.NUMBER),
        (132001, ErrorScope.TEMPLATE),
        (132007, ErrorScope.TEMPLATE),
        (132015, ErrorScope.TEMPLATE),
        (131026, ErrorScope.MESSAGE),
        (131049, ErrorScope.MARKETING),
    ],
)
def test_an_error_stops_its_scope_and_no_more(code: int, scope: ErrorScope) -> None:
    assert error_policy(code).scope is scope


def test_a_missing_object_is_the_operators_a_bad_parameter_the_messages() -> None:
    assert error_policy(100, 33).action is ErrorAction.OPERATOR
    assert error_policy(100).action is ErrorAction.REFUSE_MESSAGE


def test_an_undocumented_code_fails_the_message_or_leaves_it_uncertain() -> None:
    assert error_policy(999_999).action is ErrorAction.REFUSE_MESSAGE
    assert error_policy(999_999, http_status=500).ambiguous
    assert error_class(999_999) == "undocumented"


@pytest.mark.parametrize("code", ['"²"', '"12345678901"', "2147483648", "-2147483649", "true", "null", "1.5", "[]"])
def test_a_code_that_no_attempt_can_be_stored_with_is_none(code: str) -> None:
    outcome = parse_response(400, b'{"error":{"code":%s}}' % code.encode())
    assert isinstance(outcome, SendError)
    assert outcome.code is None


def _with_wamid(wamid: str) -> bytes:
    return b'{"messages":[{"id":"%s"}]}' % wamid.encode()


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b'{"messages":[{"id":"wamid.A","message_status":"accepted"}]}', SendAccepted(Wamid("wamid.A"))),
        (200, b'{"messages":[]}', SendUncertain(MessageReason.UNREADABLE_ANSWER)),
        (200, b"", SendUncertain(MessageReason.UNREADABLE_ANSWER)),
        (400, b'{"error":{"code":130429}}', SendError(130429, error_policy(130429))),
        (429, b'{"error":{"code":131056}}', SendError(131056, error_policy(131056))),
        (503, b'{"error":{"code":131047}}', SendError(131047, error_policy(131047))),
        (503, b'{"error":{"code":999999}}', SendError(999_999, error_policy(999_999, http_status=503))),
        (400, b'{"error":{"code":100,"error_subcode":33}}', SendError(100, error_policy(100, 33))),
        (400, b'{"error":{"code":"130429"}}', SendError(130429, error_policy(130429))),
        (200, b'{"messages":[{"id":""}]}', SendUncertain(MessageReason.UNREADABLE_ANSWER)),
        (200, b'{"messages":[{"id":"wamid.\\u0000"}]}', SendUncertain(MessageReason.UNREADABLE_ANSWER)),
        (200, _with_wamid("w" * 1024), SendAccepted(Wamid("w" * 1024))),
        (200, _with_wamid("w" * 1025), SendUncertain(MessageReason.UNREADABLE_ANSWER)),
        (500, _HTML, SendUncertain(MessageReason.SERVER_ERROR)),
        (502, _HTML, SendUncertain(MessageReason.SERVER_ERROR)),
        (500, b"[]", SendUncertain(MessageReason.SERVER_ERROR)),
    ],
)
def test_a_response_is_parsed_to_its_outcome(status: int, body: bytes, outcome: SendOutcome) -> None:
    assert parse_response(status, body) == outcome


@pytest.mark.parametrize(
    ("status", "action"), [(404, ErrorAction.OPERATOR), (302, ErrorAction.OPERATOR), (429, ErrorAction.THROTTLE_NUMBER)]
)
def test_a_response_that_is_not_whatsapps_keeps_the_queue(status: int, action: ErrorAction) -> None:
    outcome = parse_response(status, _HTML, timedelta(seconds=3))
    assert isinstance(outcome, SendError)
    assert outcome.policy.action is action
    assert outcome.retry_after == timedelta(seconds=3)


def test_a_message_that_is_held_for_quality_is_accepted_and_held() -> None:
    body = b'{"messages":[{"id":"wamid.one","message_status":"held_for_quality_assessment"}]}'
    taken = body.replace(b"held_for_quality_assessment", b"accepted")
    assert parse_response(200, body) == SendAccepted(Wamid("wamid.one"), is_held=True)
    assert parse_response(200, taken) == SendAccepted(Wamid("wamid.one"))

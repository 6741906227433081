"""The error table against a separate copy of Meta's list of codes, and the parsing of responses."""

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


def test_every_documented_code_has_its_action() -> None:
    assert {code: policy.action for code, policy in ERROR_POLICIES.items()} == {
        code: _ACTIONS[w] for code, w in _META.items()
    }


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
        (80007, ErrorScope.ACCOUNT),
        (130429, ErrorScope.NUMBER),
        (131056, ErrorScope.PAIR),
        (190, ErrorScope.ACCOUNT),
        (131031, ErrorScope.NUMBER),
        (132001, ErrorScope.TEMPLATE),
        (132007, ErrorScope.TEMPLATE),
        (132015, ErrorScope.TEMPLATE),
        (131026, ErrorScope.MESSAGE),
    ],
)
def test_an_error_stops_its_scope_and_no_more(code: int, scope: ErrorScope) -> None:
    assert error_policy(code).scope is scope


def test_a_missing_object_is_the_operators_a_bad_parameter_the_messages() -> None:
    assert error_policy(100, 33).action is ErrorAction.OPERATOR
    assert error_policy(100).action is ErrorAction.REFUSE_MESSAGE


def test_an_undocumented_code_fails_the_message_or_leaves_it_uncertain() -> None:
    assert error_policy(999_999).action is ErrorAction.REFUSE_MESSAGE
    assert error_policy(999_999, http_status=503).ambiguous
    assert error_class(999_999) == "undocumented"


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b'{"messages":[{"id":"wamid.A","message_status":"accepted"}]}', SendAccepted(Wamid("wamid.A"))),
        (200, b'{"messages":[]}', SendUncertain(MessageReason.UNREADABLE_ANSWER)),
        (200, b"", SendUncertain(MessageReason.UNREADABLE_ANSWER)),
        (400, b'{"error":{"code":130429}}', SendError(130429, error_policy(130429))),
        (429, b'{"error":{"code":131056}}', SendError(131056, error_policy(131056))),
        (503, b'{"error":{"code":131047}}', SendError(131047, error_policy(131047))),
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

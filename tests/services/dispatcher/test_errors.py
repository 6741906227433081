"""The error table against Meta's list of codes, kept here apart from it."""

import pytest

from services.dispatcher.errors import FAULTS, Action, Scope, code_class, fault_of

# code: what Meta's table asks for. R retry, N throttle number, T throttle recipient, P recipient, L template,
# M message, W window, O operator
_META = {
    **dict.fromkeys((0, 190, 3, 10, *range(200, 300), 131005, 131048, 131064, 33, 368, 131031, 131037, 131042), "O"),
    **dict.fromkeys((131045, 133000, 133005, 133006, 133008, 133009, 133010, 133015, 133016, 131063), "O"),
    **dict.fromkeys((131036, 134100, 134101, 134102, 131055), "O"),
    **dict.fromkeys((1, 2, 131057, 131016, 133004, 131000, 135000), "R"),
    **dict.fromkeys((4, 80007, 130429), "N"),
    131056: "T",
    **dict.fromkeys((130497, 130403, 131026, 131050, 137000), "P"),
    **dict.fromkeys((132001, 132007, 132016, 132068, 132069), "L"),
    132015: "O",
    131047: "W",
    **dict.fromkeys((100, 130472, 131008, 131009, 131021, 131049, 131051, 131052, 131053, 131062), "M"),
    **dict.fromkeys((132000, 132005, 132012, 132018), "M"),
}
_ACTIONS = {
    "R": Action.RETRY,
    "N": Action.THROTTLE_NUMBER,
    "T": Action.THROTTLE_PAIR,
    "P": Action.REFUSE_PERSON,
    "L": Action.REFUSE_TEMPLATE,
    "M": Action.REFUSE_MESSAGE,
    "W": Action.USE_TEMPLATE,
    "O": Action.OPERATOR,
}


def test_every_documented_code_has_its_action() -> None:
    assert {code: fault.action for code, fault in FAULTS.items()} == {code: _ACTIONS[w] for code, w in _META.items()}


def test_only_the_servers_own_trouble_is_ambiguous() -> None:
    assert {code for code, fault in FAULTS.items() if fault.ambiguous} == {1, 2, 131000, 131016, 131057, 133004}


@pytest.mark.parametrize("code", [4, 80007, 130429, 131056])
def test_throttles_are_safe_to_repeat(code: int) -> None:
    assert not fault_of(code).ambiguous


@pytest.mark.parametrize(
    ("code", "scope"),
    [
        (4, Scope.ACCOUNT),
        (80007, Scope.ACCOUNT),
        (130429, Scope.NUMBER),
        (131056, Scope.PAIR),
        (190, Scope.ACCOUNT),
        (131031, Scope.NUMBER),
        (132015, Scope.TEMPLATE),
        (131026, Scope.MESSAGE),
    ],
)
def test_an_error_stops_its_scope_and_no_more(code: int, scope: Scope) -> None:
    assert fault_of(code).scope is scope


def test_a_missing_object_is_the_operators_a_bad_parameter_the_messages() -> None:
    assert fault_of(100, 33).action is Action.OPERATOR
    assert fault_of(100).action is Action.REFUSE_MESSAGE


def test_an_undocumented_code_fails_the_message_or_leaves_it_in_doubt() -> None:
    assert fault_of(999_999).action is Action.REFUSE_MESSAGE
    assert fault_of(999_999, http_status=503).ambiguous
    assert code_class(999_999) == "undocumented"

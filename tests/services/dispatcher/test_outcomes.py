"""Reading WhatsApp's answers."""

from datetime import timedelta

import pytest

from services.dispatcher.errors import Action, fault_of
from services.dispatcher.outcomes import Doubtful, Faulted, Outcome, Taken, read_answer
from services.dispatcher.states import Reason
from shared.contracts.ids import Wamid

_HTML = b"<html>Bad gateway</html>"


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b'{"messages":[{"id":"wamid.A","message_status":"accepted"}]}', Taken(Wamid("wamid.A"))),
        (200, b'{"messages":[]}', Doubtful(Reason.UNREADABLE_ANSWER)),
        (200, b"", Doubtful(Reason.UNREADABLE_ANSWER)),
        (400, b'{"error":{"code":130429}}', Faulted(130429, fault_of(130429))),
        (429, b'{"error":{"code":131056}}', Faulted(131056, fault_of(131056))),
        (503, b'{"error":{"code":131047}}', Faulted(131047, fault_of(131047))),
        (502, _HTML, Doubtful(Reason.SERVER_ERROR)),
        (500, b"[]", Doubtful(Reason.SERVER_ERROR)),
    ],
)
def test_read_answer(status: int, body: bytes, outcome: Outcome) -> None:
    assert read_answer(status, body) == outcome


@pytest.mark.parametrize(
    ("status", "action"), [(404, Action.OPERATOR), (302, Action.OPERATOR), (429, Action.THROTTLE_NUMBER)]
)
def test_an_answer_that_is_not_whatsapps_keeps_the_queue(status: int, action: Action) -> None:
    outcome = read_answer(status, _HTML, timedelta(seconds=3))
    assert isinstance(outcome, Faulted)
    assert outcome.fault.action is action
    assert outcome.wait == timedelta(seconds=3)

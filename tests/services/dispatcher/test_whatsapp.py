"""The client: what certainly did not leave, what may have left, and what WhatsApp says."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from services.dispatcher.errors import Action
from services.dispatcher.outcomes import Doubtful, Faulted, Taken, Unsent
from services.dispatcher.payload import Address, Spoken, body_of
from services.dispatcher.states import Reason
from services.dispatcher.whatsapp import Endpoint, WhatsApp, _asked_to_wait
from shared.contracts.messages import Wording
from tests.dev.whatsapp.stand import MAIN, TOKEN, Stand
from tests.services.dispatcher.making import REACHED

_CALL = {"name": "rights_request_v3", "language": "en", "parameters": {"person": "Ada", "title": "Home"}}
_BUTTONS = (("id-yes", "Approve"), ("id-no", "Decline"))


def _endpoint(url: str, token: str = TOKEN, seconds: float = 5) -> Endpoint:
    return Endpoint(url, "v25.0", token, {"main": MAIN}, timedelta(seconds=seconds))


def _body(wording: Wording = Wording.TEMPLATE, address: Address = REACHED) -> bytes:
    return body_of(Spoken("Agree?", _BUTTONS, _CALL), wording, address, "m1.1")


def _always() -> bool:
    return True


@pytest.fixture
async def whatsapp(stand: Stand) -> AsyncIterator[WhatsApp]:
    async with WhatsApp(_endpoint(stand.url, seconds=1), 4) as whatsapp:
        yield whatsapp


@pytest.mark.parametrize("address", [REACHED, Address(None, "GB.12345")])
async def test_what_we_build_whatsapp_takes(whatsapp: WhatsApp, stand: Stand, address: Address) -> None:
    await stand.tell("people", {"id": "wren", "bsuid": "GB.12345"})
    assert isinstance(await whatsapp.send("main", _body(address=address), _always), Taken)
    assert isinstance(await whatsapp.send("main", _body(Wording.FREE_TEXT, address), _always), Taken | Faulted)


async def test_without_a_lease_nothing_is_written(whatsapp: WhatsApp, stand: Stand) -> None:
    assert await whatsapp.send("main", _body(), lambda: False) == Unsent(Reason.LEASE_ENDED)
    assert await stand.ask("messages") == []


async def test_a_connection_nobody_accepts_carried_nothing() -> None:
    async with WhatsApp(_endpoint("http://127.0.0.1:9"), 4) as whatsapp:
        assert await whatsapp.send("main", _body(), _always) == Unsent(Reason.NOT_REACHED)


@pytest.mark.parametrize("kind", ["timeout_after_accept", "timeout_before", "refuse_connection"])
async def test_once_written_no_answer_is_doubt(whatsapp: WhatsApp, stand: Stand, kind: str) -> None:
    await stand.tell("faults", {"kind": kind, "seconds": 10})
    assert await whatsapp.send("main", _body(), _always) == Doubtful(Reason.NO_ANSWER)


async def test_a_revoked_token_is_the_operators(stand: Stand) -> None:
    async with WhatsApp(_endpoint(stand.url, token="revoked"), 4) as whatsapp:  # noqa: S106 -- made up
        outcome = await whatsapp.send("main", _body(), _always)
    assert isinstance(outcome, Faulted)
    assert (outcome.code, outcome.fault.action) == (190, Action.OPERATOR)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"Retry-After": "7"}, timedelta(seconds=7)),
        ({"Retry-After": "soon"}, None),
        (
            {"X-Business-Use-Case-Usage": '{"1":[{"estimated_time_to_regain_access":3}]}'},
            timedelta(minutes=3),
        ),
        ({"X-Business-Use-Case-Usage": '{"1":[{"estimated_time_to_regain_access":0}]}'}, None),
        ({"X-Business-Use-Case-Usage": "[]"}, None),
    ],
)
def test_how_long_whatsapp_asks_to_wait(headers: dict[str, str], wait: timedelta | None) -> None:
    assert _asked_to_wait(headers) == wait

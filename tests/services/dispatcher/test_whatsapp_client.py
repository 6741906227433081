"""The client tells apart a request that never left, one that may have left, and WhatsApp's own errors."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from services.dispatcher.payload import MessageContent, RecipientAddress, build_body
from services.dispatcher.provider_responses import ErrorAction, SendAccepted, SendError, SendNotStarted, SendUncertain
from services.dispatcher.reasons import MessageReason
from services.dispatcher.whatsapp_client import WhatsAppClient, WhatsAppEndpoint, _parse_wait
from shared.contracts.messages import MessageForm
from tests.dev.whatsapp.simulator_under_test import MAIN, TOKEN, SimulatorUnderTest
from tests.services.dispatcher.builders import REACHED

_CALL = {"name": "rights_request_v3", "language": "en", "parameters": {"person": "Ada", "title": "Home"}}
_BUTTONS = (("id-yes", "Approve"), ("id-no", "Decline"))


def _endpoint(url: str, token: str = TOKEN, seconds: float = 5) -> WhatsAppEndpoint:
    return WhatsAppEndpoint(url, "v25.0", token, {"main": MAIN}, timedelta(seconds=seconds))


def _body(wording: MessageForm = MessageForm.TEMPLATE, address: RecipientAddress = REACHED) -> bytes:
    return build_body(MessageContent("Agree?", _BUTTONS, _CALL), wording, address, "m1.1")


def _always() -> bool:
    return True


@pytest.fixture
async def whatsapp(simulator: SimulatorUnderTest) -> AsyncIterator[WhatsAppClient]:
    async with WhatsAppClient(_endpoint(simulator.url, seconds=1), 4) as whatsapp:
        yield whatsapp


@pytest.mark.parametrize("address", [REACHED, RecipientAddress(None, "GB.12345")])
async def test_whatsapp_accepts_the_bodies_that_we_build(
    whatsapp: WhatsAppClient, simulator: SimulatorUnderTest, address: RecipientAddress
) -> None:
    await simulator.tell("people", {"id": "wren", "bsuid": "GB.12345"})
    assert isinstance(await whatsapp.send("main", _body(address=address), _always), SendAccepted)
    assert isinstance(
        await whatsapp.send("main", _body(MessageForm.FREE_TEXT, address), _always), SendAccepted | SendError
    )


async def test_without_a_lease_nothing_is_written(whatsapp: WhatsAppClient, simulator: SimulatorUnderTest) -> None:
    assert await whatsapp.send("main", _body(), lambda: False) == SendNotStarted(MessageReason.LEASE_ENDED)
    assert await simulator.ask("messages") == []


async def test_a_refused_connection_carried_nothing() -> None:
    async with WhatsAppClient(_endpoint("http://127.0.0.1:9"), 4) as whatsapp:
        assert await whatsapp.send("main", _body(), _always) == SendNotStarted(MessageReason.NOT_REACHED)


@pytest.mark.parametrize("kind", ["timeout_after_accept", "timeout_before", "refuse_connection"])
async def test_a_written_request_without_a_response_is_uncertain(
    whatsapp: WhatsAppClient, simulator: SimulatorUnderTest, kind: str
) -> None:
    await simulator.tell("faults", {"kind": kind, "seconds": 10})
    assert await whatsapp.send("main", _body(), _always) == SendUncertain(MessageReason.NO_ANSWER)


async def test_a_revoked_token_is_the_operators(simulator: SimulatorUnderTest) -> None:
    async with WhatsAppClient(_endpoint(simulator.url, token="revoked"), 4) as whatsapp:  # noqa: S106 -- made up
        outcome = await whatsapp.send("main", _body(), _always)
    assert isinstance(outcome, SendError)
    assert (outcome.code, outcome.policy.action) == (190, ErrorAction.OPERATOR)


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
def test_the_wait_that_whatsapp_asks_for_is_read_from_its_headers(
    headers: dict[str, str], wait: timedelta | None
) -> None:
    assert _parse_wait(headers) == wait

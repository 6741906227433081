"""Sends over a real socket: answers, refusals, and what reaches the person."""

import asyncio
import hashlib
import hmac
from datetime import timedelta

import pytest

from shared.runtime.clock import DevelopmentClock
from tests.dev.whatsapp.simulator_under_test import (
    ACCOUNT,
    MAIN,
    SECRET,
    TOKEN,
    Answer,
    RecordingWebhook,
    SimulatorUnderTest,
    asking,
    filled,
    payload,
    templated,
    text,
)

ANA = "+447700900123"
ASK = templated(ANA, "rights_request_v3", filled(person="Ana", title="Dune"), payload(0, "yes-1"))


async def open_window(simulator: SimulatorUnderTest, who: str = ANA) -> None:
    await simulator.tell("inbound", {"from": who, "text": "Hello"})


async def test_an_accepted_template_answers_as_meta_does(simulator: SimulatorUnderTest) -> None:
    answer = await simulator.send(ASK)
    assert answer.status == 200
    assert answer.body["contacts"] == [{"input": ANA, "wa_id": ANA[1:]}]
    assert answer.body["messages"] == [{"id": answer.wamid, "message_status": "accepted"}]


async def test_a_send_ends_sent_and_delivered_with_its_callback_data(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    answer = await simulator.send({**ASK, "biz_opaque_callback_data": "m1/1"})
    await simulator.rest()
    assert webhook.words(answer.wamid) == ["sent", "delivered"]
    assert {status["biz_opaque_callback_data"] for status in webhook.statuses()} == {"m1/1"}
    assert {status["recipient_id"] for status in webhook.statuses()} == {ANA[1:]}


async def test_the_envelope_names_account_and_line(simulator: SimulatorUnderTest, webhook: RecordingWebhook) -> None:
    await simulator.send(ASK)
    await simulator.rest()
    assert f'"id":"{ACCOUNT}"'.encode() in webhook.bodies[0]
    assert next(webhook.values())["metadata"] == {"display_phone_number": "15550783881", "phone_number_id": MAIN}


async def test_a_wrong_token_is_401_with_code_190(simulator: SimulatorUnderTest) -> None:
    answer = await simulator.send(ASK, bearer="stolen")
    assert (answer.status, answer.code) == (401, 190)
    assert answer.body["error"]["type"] == "OAuthException"


async def test_an_unknown_number_is_code_100_with_subcode_33(simulator: SimulatorUnderTest) -> None:
    answer = await simulator.send(ASK, line="999")
    assert (answer.status, answer.code, answer.body["error"]["error_subcode"]) == (400, 100, 33)


async def test_a_missing_template_is_404(simulator: SimulatorUnderTest) -> None:
    answer = await simulator.send(templated(ANA, "nothing"))
    assert (answer.status, answer.code) == (404, 132001)


async def test_the_sending_number_cannot_be_written_to(simulator: SimulatorUnderTest) -> None:
    assert (await simulator.send(text("+15550783881"))).code == 131021


async def test_text_outside_the_window_is_accepted_and_then_fails(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    answer = await simulator.send(text(ANA))
    await simulator.rest()
    assert answer.status == 200
    assert webhook.words(answer.wamid) == ["failed"]
    assert webhook.statuses()[0]["errors"][0]["code"] == 131047


async def test_text_inside_the_window_arrives(simulator: SimulatorUnderTest, webhook: RecordingWebhook) -> None:
    await open_window(simulator)
    answer = await simulator.send(text(ANA))
    await simulator.rest()
    assert webhook.words(answer.wamid) == ["sent", "delivered"]


async def test_the_window_closes_after_a_day_of_business_time(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook, clock: DevelopmentClock
) -> None:
    await open_window(simulator)
    clock.set(clock.now() + timedelta(hours=24))
    answer = await simulator.send(asking(ANA, "Yes"))
    await simulator.rest()
    assert webhook.words(answer.wamid) == ["failed"]


async def test_a_template_needs_no_window(simulator: SimulatorUnderTest) -> None:
    await simulator.send(ASK)
    assert [message["statuses"] for message in await simulator.ask("messages")] == [["sent", "delivered"]]


async def test_the_pair_rate_holds_until_business_time_moves(
    simulator: SimulatorUnderTest, clock: DevelopmentClock
) -> None:
    codes = [(await simulator.send(ASK)).code for _ in range(46)]
    assert codes == [None] * 45 + [131056]
    clock.set(clock.now() + timedelta(seconds=6))
    assert (await simulator.send(ASK)).status == 200


async def test_the_number_rate_is_80_a_second(simulator: SimulatorUnderTest) -> None:
    bodies = [{**ASK, "to": f"+4477009{place:05d}"} for place in range(81)]
    answers = await asyncio.gather(*map(simulator.send, bodies))
    refused = [(answer.status, answer.code) for answer in answers if answer.status != 200]
    assert refused == [(400, 130429)]


async def test_a_send_to_a_person_without_whatsapp_fails_by_webhook(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    await simulator.tell("people", {"id": "ben", "phone": "+447700900999", "on_whatsapp": False})
    answer = await simulator.send({**ASK, "to": "+447700900999"})
    await simulator.rest()
    assert (webhook.words(answer.wamid), webhook.statuses()[0]["errors"][0]["code"]) == (["failed"], 131026)


async def test_a_read_receipt_is_for_a_message_we_got(simulator: SimulatorUnderTest) -> None:
    said = await simulator.tell("inbound", {"from": ANA, "text": "Hello"})
    receipt = {"messaging_product": "whatsapp", "status": "read", "message_id": said["wamid"]}
    assert (await simulator.send(receipt)).body == {"success": True}
    assert (await simulator.send({**receipt, "message_id": "wamid.other"})).code == 131009


async def test_the_listing_shows_what_the_person_saw(simulator: SimulatorUnderTest) -> None:
    answer = await simulator.send({**ASK, "biz_opaque_callback_data": "m1/1"})
    (message,) = await simulator.ask("messages", person=ANA)
    assert message["wamid"] == answer.wamid
    assert message["text"] == "Hello Ana, may we use Dune? Thank you."
    assert message["buttons"] == [{"id": "yes-1", "title": "Approve"}, {"id": "Decline", "title": "Decline"}]
    assert (message["template"], message["language"], message["line"]) == ("rights_request_v3", "en", MAIN)


async def test_the_counts_show_what_was_sent_twice(simulator: SimulatorUnderTest) -> None:
    for callback in ("m1/1", "m2/1", "m1/1"):
        await simulator.send({**ASK, "biz_opaque_callback_data": callback})
    await simulator.send(ASK, bearer="stolen")
    counts = await simulator.ask("counts")
    assert (counts["sends"], counts["repeated_callbacks"]) == (3, {"m1/1": 2})
    assert counts["errors"]["answer"] == {"190": 1}


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'"x"'])
async def test_an_invalid_body_is_code_100(simulator: SimulatorUnderTest, body: bytes) -> None:
    url = f"{simulator.url}/v25.0/{MAIN}/messages"
    async with simulator.session.post(url, data=body, headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (400, 100)


async def call(simulator: SimulatorUnderTest, method: str, path: str, **query: str) -> Answer:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with simulator.session.request(
        method, f"{simulator.url}/v25.0/{path}", headers=headers, params=query
    ) as answer:
        return Answer(answer.status, await answer.json())


async def test_an_account_sends_webhooks_to_a_subscribed_app_alone(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    path = f"{ACCOUNT}/subscribed_apps"
    own = (await call(simulator, "GET", "app")).body["id"]
    listed = await call(simulator, "GET", path)
    assert [entry["whatsapp_business_api_data"]["id"] for entry in listed.body["data"]] == [own]
    assert (await call(simulator, "DELETE", path)).body == {"success": True}
    assert (await call(simulator, "GET", path)).body == {"data": []}
    await simulator.send(ASK)
    await simulator.rest()
    assert webhook.bodies == []
    await call(simulator, "POST", path)
    answer = await simulator.send(ASK)
    await simulator.rest()
    assert {status["id"] for status in webhook.statuses()} == {answer.wamid}
    assert (await call(simulator, "GET", "1/subscribed_apps")).code == 100


async def test_a_proof_of_another_app_secret_is_code_100(simulator: SimulatorUnderTest) -> None:
    proof = hmac.new(SECRET.encode(), TOKEN.encode(), hashlib.sha256).hexdigest()
    assert (await call(simulator, "GET", MAIN, appsecret_proof=proof)).status == 200
    refused = await call(simulator, "GET", MAIN, appsecret_proof="0" * 64)
    assert (refused.status, refused.code) == (400, 100)
    assert refused.body["error"]["message"] == "Invalid appsecret_proof provided in the API argument"

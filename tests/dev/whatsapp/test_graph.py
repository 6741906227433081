"""Sends over a real socket: answers, refusals, and what reaches the person."""

import asyncio
from datetime import timedelta

import pytest

from shared.runtime.clock import DevelopmentClock
from tests.dev.whatsapp.stand import ACCOUNT, MAIN, TOKEN, Hook, Stand, asking, filled, payload, templated, text

ANA = "+447700900123"
ASK = templated(ANA, "rights_request_v3", filled(person="Ana", title="Dune"), payload(0, "yes-1"))


async def open_window(stand: Stand, who: str = ANA) -> None:
    await stand.tell("say", {"from": who, "text": "Hello"})


async def test_an_accepted_template_answers_as_meta_does(stand: Stand) -> None:
    answer = await stand.send(ASK)
    assert answer.status == 200
    assert answer.body["contacts"] == [{"input": ANA, "wa_id": ANA[1:]}]
    assert answer.body["messages"] == [{"id": answer.wamid, "message_status": "accepted"}]


async def test_a_send_ends_sent_and_delivered_with_its_callback_data(stand: Stand, hook: Hook) -> None:
    answer = await stand.send({**ASK, "biz_opaque_callback_data": "m1/1"})
    await stand.rest()
    assert hook.words(answer.wamid) == ["sent", "delivered"]
    assert {status["biz_opaque_callback_data"] for status in hook.statuses()} == {"m1/1"}
    assert {status["recipient_id"] for status in hook.statuses()} == {ANA[1:]}


async def test_the_envelope_names_account_and_line(stand: Stand, hook: Hook) -> None:
    await stand.send(ASK)
    await stand.rest()
    assert f'"id":"{ACCOUNT}"'.encode() in hook.bodies[0]
    assert next(hook.values())["metadata"] == {"display_phone_number": "15550783881", "phone_number_id": MAIN}


async def test_a_wrong_token_is_401_with_code_190(stand: Stand) -> None:
    answer = await stand.send(ASK, bearer="stolen")
    assert (answer.status, answer.code) == (401, 190)
    assert answer.body["error"]["type"] == "OAuthException"


async def test_an_unknown_number_is_code_100_with_subcode_33(stand: Stand) -> None:
    answer = await stand.send(ASK, line="999")
    assert (answer.status, answer.code, answer.body["error"]["error_subcode"]) == (400, 100, 33)


async def test_a_missing_template_is_404(stand: Stand) -> None:
    answer = await stand.send(templated(ANA, "nothing"))
    assert (answer.status, answer.code) == (404, 132001)


async def test_the_sending_number_cannot_be_written_to(stand: Stand) -> None:
    assert (await stand.send(text("+15550783881"))).code == 131021


async def test_text_outside_the_window_is_accepted_and_then_fails(stand: Stand, hook: Hook) -> None:
    answer = await stand.send(text(ANA))
    await stand.rest()
    assert answer.status == 200
    assert hook.words(answer.wamid) == ["failed"]
    assert hook.statuses()[0]["errors"][0]["code"] == 131047


async def test_text_inside_the_window_arrives(stand: Stand, hook: Hook) -> None:
    await open_window(stand)
    answer = await stand.send(text(ANA))
    await stand.rest()
    assert hook.words(answer.wamid) == ["sent", "delivered"]


async def test_the_window_closes_after_a_day_of_business_time(
    stand: Stand, hook: Hook, clock: DevelopmentClock
) -> None:
    await open_window(stand)
    clock.set(clock.now() + timedelta(hours=24))
    answer = await stand.send(asking(ANA, "Yes"))
    await stand.rest()
    assert hook.words(answer.wamid) == ["failed"]


async def test_a_template_needs_no_window(stand: Stand) -> None:
    await stand.send(ASK)
    assert [message["statuses"] for message in await stand.ask("messages")] == [["sent", "delivered"]]


async def test_the_pair_rate_holds_until_business_time_moves(stand: Stand, clock: DevelopmentClock) -> None:
    codes = [(await stand.send(ASK)).code for _ in range(46)]
    assert codes == [None] * 45 + [131056]
    clock.set(clock.now() + timedelta(seconds=6))
    assert (await stand.send(ASK)).status == 200


async def test_the_number_rate_is_80_a_second(stand: Stand) -> None:
    bodies = [{**ASK, "to": f"+4477009{place:05d}"} for place in range(81)]
    answers = await asyncio.gather(*map(stand.send, bodies))
    refused = [(answer.status, answer.code) for answer in answers if answer.status != 200]
    assert refused == [(400, 130429)]


async def test_somebody_not_on_whatsapp_fails_by_webhook(stand: Stand, hook: Hook) -> None:
    await stand.tell("people", {"id": "ben", "phone": "+447700900999", "on_whatsapp": False})
    answer = await stand.send({**ASK, "to": "+447700900999"})
    await stand.rest()
    assert (hook.words(answer.wamid), hook.statuses()[0]["errors"][0]["code"]) == (["failed"], 131026)


async def test_a_read_receipt_is_for_a_message_we_got(stand: Stand) -> None:
    said = await stand.tell("say", {"from": ANA, "text": "Hello"})
    receipt = {"messaging_product": "whatsapp", "status": "read", "message_id": said["wamid"]}
    assert (await stand.send(receipt)).body == {"success": True}
    assert (await stand.send({**receipt, "message_id": "wamid.other"})).code == 131009


async def test_the_listing_shows_what_the_person_saw(stand: Stand) -> None:
    answer = await stand.send({**ASK, "biz_opaque_callback_data": "m1/1"})
    (message,) = await stand.ask("messages", person=ANA)
    assert message["wamid"] == answer.wamid
    assert message["text"] == "Hello Ana, may we use Dune? Thank you."
    assert message["buttons"] == [{"id": "yes-1", "title": "Approve"}, {"id": "Decline", "title": "Decline"}]
    assert (message["template"], message["language"], message["line"]) == ("rights_request_v3", "en", MAIN)


async def test_the_counts_show_what_was_sent_twice(stand: Stand) -> None:
    for callback in ("m1/1", "m2/1", "m1/1"):
        await stand.send({**ASK, "biz_opaque_callback_data": callback})
    await stand.send(ASK, bearer="stolen")
    counts = await stand.ask("counts")
    assert (counts["sends"], counts["repeated_callbacks"]) == (3, {"m1/1": 2})
    assert counts["errors"]["answer"] == {"190": 1}


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'"x"'])
async def test_a_body_that_is_no_request_is_code_100(stand: Stand, body: bytes) -> None:
    url = f"{stand.url}/v25.0/{MAIN}/messages"
    async with stand.session.post(url, data=body, headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (400, 100)

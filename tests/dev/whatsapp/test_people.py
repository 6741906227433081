"""People known by BSUID only: their messages, and how they arrive."""

import base64
from typing import Any

from tests.dev.whatsapp.simulator_under_test import (
    ACQUISITIONS,
    RecordingWebhook,
    SimulatorUnderTest,
    asking,
    envelope,
    filled,
    listing,
    payload,
    templated,
)

NORA = {"id": "nora", "bsuid": "NO.13491208655302741918", "name": "Nora", "username": "nora.writes", "country": "NO"}
ANA = "+447700900123"
APPROVE = (filled(person="Ana", title="Dune"), payload(0, "yes-1"), payload(1, "no-1"))


async def last(simulator: SimulatorUnderTest, webhook: RecordingWebhook, **say: Any) -> dict[str, Any]:
    said = await simulator.tell("inbound", {"from": ANA, **say})
    assert "wamid" in said, said
    await simulator.rest()
    return next(message for message in webhook.messages() if message["id"] == said["wamid"])


async def test_a_person_without_a_number_shows_none_in_one_of_two_ways(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    await simulator.tell("people", NORA)
    for _ in range(20):
        await simulator.tell("inbound", {"from": "nora", "text": "Hei"})
    await simulator.rest()
    assert {message.get("from", "absent") for message in webhook.messages()} == {"", "absent"}
    assert {message["from_user_id"] for message in webhook.messages()} == {NORA["bsuid"]}
    contacts = [contact for value in webhook.values() for contact in value["contacts"]]
    assert {contact.get("wa_id", "") for contact in contacts} == {""}
    assert {contact["profile"]["username"] for contact in contacts} == {"nora.writes"}


async def test_a_send_by_bsuid_reaches_the_person_without_a_number(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    await simulator.tell("people", NORA)
    await simulator.tell("inbound", {"from": "nora", "text": "Hei"})
    answer = await simulator.send(asking("", "Yes", recipient=NORA["bsuid"]))
    await simulator.rest()
    assert answer.body["contacts"] == [{"input": NORA["bsuid"], "user_id": NORA["bsuid"]}]
    statuses = webhook.statuses(answer.wamid)
    assert {status.get("recipient_id", "") for status in statuses} == {""}
    assert {status["recipient_user_id"] for status in statuses} == {NORA["bsuid"]}


async def test_an_unknown_bsuid_cannot_be_reached(simulator: SimulatorUnderTest) -> None:
    assert (await simulator.send(asking("", "Yes", recipient="US.1"))).code == 131026


async def test_a_bsuid_in_place_of_the_number_is_dropped_silently(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    await simulator.tell("people", NORA)
    answer = await simulator.send(envelope(str(NORA["bsuid"]), type="text", text={"body": "Hei"}))
    await simulator.rest()
    assert answer.status == 200
    assert webhook.statuses() == []
    assert (await simulator.ask("counts"))["dropped_silently"] == 1


async def test_a_tap_on_a_template_brings_back_payload_text_and_context(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    sent = await simulator.send(templated(ANA, "rights_request_v3", *APPROVE))
    tapped = await last(simulator, webhook, kind="tap", button="Decline")
    assert tapped["button"] == {"payload": "no-1", "text": "Decline"}
    assert tapped["context"] == {"from": "15550783881", "id": sent.wamid}


async def test_a_tap_on_reply_buttons_brings_back_id_and_title(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    await last(simulator, webhook, text="Hello")
    sent = await simulator.send(asking(ANA, "Yes", "No"))
    tapped = await last(simulator, webhook, kind="tap", button="id-No")
    assert tapped["interactive"] == {"type": "button_reply", "button_reply": {"id": "id-No", "title": "No"}}
    assert tapped["context"]["id"] == sent.wamid


async def test_a_tap_on_a_list_brings_back_the_row(simulator: SimulatorUnderTest, webhook: RecordingWebhook) -> None:
    await last(simulator, webhook, text="Hello")
    await simulator.send(listing(ANA, "Poetry", "Crime"))
    tapped = await last(simulator, webhook, kind="tap", button="Crime")
    row = {"id": "row-Crime", "title": "Crime", "description": "more"}
    assert tapped["interactive"] == {"type": "list_reply", "list_reply": row}


async def test_a_tap_takes_the_newest_message_that_offers_the_button(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    await last(simulator, webhook, text="Hello")
    await simulator.send(asking(ANA, "Yes", "No"))
    newer = await simulator.send(asking(ANA, "Yes", "Later"))
    await simulator.send(asking(ANA, "Take"))
    assert (await last(simulator, webhook, kind="tap", button="Yes"))["context"]["id"] == newer.wamid


async def test_a_message_that_never_arrived_cannot_be_tapped(simulator: SimulatorUnderTest) -> None:
    await simulator.send(asking(ANA, "Yes"))  # outside the window
    assert (
        "no message that offers"
        in (await simulator.tell("inbound", {"from": ANA, "kind": "tap", "button": "Yes"}))["error"]
    )


async def test_an_older_message_can_be_tapped_by_name(simulator: SimulatorUnderTest, webhook: RecordingWebhook) -> None:
    await last(simulator, webhook, text="Hello")
    older = await simulator.send(asking(ANA, "Yes"))
    await simulator.send(asking(ANA, "Yes"))
    tapped = await last(simulator, webhook, kind="tap", button="Yes", message=older.wamid)
    assert tapped["context"]["id"] == older.wamid


async def test_a_document_carries_name_type_id_and_base64_digest(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    document = (await last(simulator, webhook, kind="document", filename="novel.pdf"))["document"]
    assert (document["filename"], document["mime_type"]) == ("novel.pdf", "application/pdf")
    assert document["id"].isdecimal()
    assert len(base64.b64decode(document["sha256"], validate=True)) == 32


async def test_an_image_may_have_a_caption(simulator: SimulatorUnderTest, webhook: RecordingWebhook) -> None:
    assert (await last(simulator, webhook, kind="image", text="Cover"))["image"]["caption"] == "Cover"


async def test_a_reaction_points_at_the_newest_message(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    sent = await simulator.send(templated(ANA, "rights_request_v3", *APPROVE))
    reacted = await last(simulator, webhook, kind="reaction", text="👍")
    assert reacted["reaction"] == {"message_id": sent.wamid, "emoji": "👍"}


async def test_a_quoting_text_has_the_quoted_message_as_context(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    sent = await simulator.send(templated(ANA, "rights_request_v3", *APPROVE))
    assert (await last(simulator, webhook, text="Which one?", quoted=True))["context"]["id"] == sent.wamid
    assert "context" not in await last(simulator, webhook, text="Never mind")


async def test_writing_reads_what_came_before_on_that_line_only(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    ask = templated(ANA, "rights_request_v3", *APPROVE)
    here, there = await simulator.send(ask), await simulator.send(ask, line=ACQUISITIONS)
    await last(simulator, webhook, text="Hello", line="main")
    assert webhook.words(here.wamid) == ["sent", "delivered", "read"]
    assert webhook.words(there.wamid) == ["sent", "delivered"]


async def test_replies_of_people_can_be_listed(simulator: SimulatorUnderTest, webhook: RecordingWebhook) -> None:
    said = await last(simulator, webhook, text="Hello", line="acquisitions")
    (reply,) = await simulator.ask("replies", person=ANA)
    assert (reply["wamid"], reply["line"], reply["text"]) == (said["id"], ACQUISITIONS, {"body": "Hello"})


async def test_an_invalid_command_is_answered_with_the_reason(simulator: SimulatorUnderTest) -> None:
    assert (
        "no message that offers"
        in (await simulator.tell("inbound", {"from": ANA, "kind": "tap", "button": "X"}))["error"]
    )
    assert "nobody is called" in (await simulator.tell("inbound", {"from": "zoe"}))["error"]
    assert "no line" in (await simulator.tell("inbound", {"from": ANA, "line": "sales"}))["error"]
    assert "colour" in (await simulator.tell("people", {"id": "x", "colour": "red"}))["error"]

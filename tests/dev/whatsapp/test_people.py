"""People known by BSUID only: their messages, and how they arrive."""

import base64
from typing import Any

from tests.dev.whatsapp.stand import ACQUISITIONS, Hook, Stand, asking, envelope, filled, listing, payload, templated

NORA = {"id": "nora", "bsuid": "NO.13491208655302741918", "name": "Nora", "username": "nora.writes", "country": "NO"}
ANA = "+447700900123"
APPROVE = (filled(person="Ana", title="Dune"), payload(0, "yes-1"), payload(1, "no-1"))


async def last(stand: Stand, hook: Hook, **say: Any) -> dict[str, Any]:
    said = await stand.tell("say", {"from": ANA, **say})
    assert "wamid" in said, said
    await stand.rest()
    return next(message for message in hook.messages() if message["id"] == said["wamid"])


async def test_a_person_without_a_number_shows_none_in_one_of_two_ways(stand: Stand, hook: Hook) -> None:
    await stand.tell("people", NORA)
    for _ in range(20):
        await stand.tell("say", {"from": "nora", "text": "Hei"})
    await stand.rest()
    assert {message.get("from", "absent") for message in hook.messages()} == {"", "absent"}
    assert {message["from_user_id"] for message in hook.messages()} == {NORA["bsuid"]}
    contacts = [contact for value in hook.values() for contact in value["contacts"]]
    assert {contact.get("wa_id", "") for contact in contacts} == {""}
    assert {contact["profile"]["username"] for contact in contacts} == {"nora.writes"}


async def test_a_send_by_bsuid_reaches_the_person_without_a_number(stand: Stand, hook: Hook) -> None:
    await stand.tell("people", NORA)
    await stand.tell("say", {"from": "nora", "text": "Hei"})
    answer = await stand.send(asking("", "Yes", recipient=NORA["bsuid"]))
    await stand.rest()
    assert answer.body["contacts"] == [{"input": NORA["bsuid"], "user_id": NORA["bsuid"]}]
    statuses = hook.statuses(answer.wamid)
    assert {status.get("recipient_id", "") for status in statuses} == {""}
    assert {status["recipient_user_id"] for status in statuses} == {NORA["bsuid"]}


async def test_an_unknown_bsuid_cannot_be_reached(stand: Stand) -> None:
    assert (await stand.send(asking("", "Yes", recipient="US.1"))).code == 131026


async def test_a_bsuid_where_the_number_belongs_is_lost_without_a_word(stand: Stand, hook: Hook) -> None:
    await stand.tell("people", NORA)
    answer = await stand.send(envelope(str(NORA["bsuid"]), type="text", text={"body": "Hei"}))
    await stand.rest()
    assert answer.status == 200
    assert hook.statuses() == []
    assert (await stand.ask("counts"))["dropped_silently"] == 1


async def test_a_tap_on_a_template_brings_back_payload_text_and_context(stand: Stand, hook: Hook) -> None:
    sent = await stand.send(templated(ANA, "rights_request_v3", *APPROVE))
    tapped = await last(stand, hook, kind="tap", button="Decline")
    assert tapped["button"] == {"payload": "no-1", "text": "Decline"}
    assert tapped["context"] == {"from": "15550783881", "id": sent.wamid}


async def test_a_tap_on_reply_buttons_brings_back_id_and_title(stand: Stand, hook: Hook) -> None:
    await last(stand, hook, text="Hello")
    sent = await stand.send(asking(ANA, "Yes", "No"))
    tapped = await last(stand, hook, kind="tap", button="id-No")
    assert tapped["interactive"] == {"type": "button_reply", "button_reply": {"id": "id-No", "title": "No"}}
    assert tapped["context"]["id"] == sent.wamid


async def test_a_tap_on_a_list_brings_back_the_row(stand: Stand, hook: Hook) -> None:
    await last(stand, hook, text="Hello")
    await stand.send(listing(ANA, "Poetry", "Crime"))
    tapped = await last(stand, hook, kind="tap", button="Crime")
    row = {"id": "row-Crime", "title": "Crime", "description": "more"}
    assert tapped["interactive"] == {"type": "list_reply", "list_reply": row}


async def test_a_tap_takes_the_newest_message_that_offers_the_button(stand: Stand, hook: Hook) -> None:
    await last(stand, hook, text="Hello")
    await stand.send(asking(ANA, "Yes", "No"))
    newer = await stand.send(asking(ANA, "Yes", "Later"))
    await stand.send(asking(ANA, "Take"))
    assert (await last(stand, hook, kind="tap", button="Yes"))["context"]["id"] == newer.wamid


async def test_what_never_arrived_cannot_be_tapped(stand: Stand) -> None:
    await stand.send(asking(ANA, "Yes"))  # outside the window
    assert "no message that offers" in (await stand.tell("say", {"from": ANA, "kind": "tap", "button": "Yes"}))["error"]


async def test_an_older_message_can_be_tapped_by_name(stand: Stand, hook: Hook) -> None:
    await last(stand, hook, text="Hello")
    older = await stand.send(asking(ANA, "Yes"))
    await stand.send(asking(ANA, "Yes"))
    tapped = await last(stand, hook, kind="tap", button="Yes", message=older.wamid)
    assert tapped["context"]["id"] == older.wamid


async def test_a_document_carries_name_type_id_and_base64_digest(stand: Stand, hook: Hook) -> None:
    document = (await last(stand, hook, kind="document", filename="novel.pdf"))["document"]
    assert (document["filename"], document["mime_type"]) == ("novel.pdf", "application/pdf")
    assert document["id"].isdecimal()
    assert len(base64.b64decode(document["sha256"], validate=True)) == 32


async def test_an_image_may_have_a_caption(stand: Stand, hook: Hook) -> None:
    assert (await last(stand, hook, kind="image", text="Cover"))["image"]["caption"] == "Cover"


async def test_a_reaction_points_at_the_newest_message(stand: Stand, hook: Hook) -> None:
    sent = await stand.send(templated(ANA, "rights_request_v3", *APPROVE))
    reacted = await last(stand, hook, kind="reaction", text="👍")
    assert reacted["reaction"] == {"message_id": sent.wamid, "emoji": "👍"}


async def test_a_quoting_text_has_the_quoted_message_as_context(stand: Stand, hook: Hook) -> None:
    sent = await stand.send(templated(ANA, "rights_request_v3", *APPROVE))
    assert (await last(stand, hook, text="Which one?", quoted=True))["context"]["id"] == sent.wamid
    assert "context" not in await last(stand, hook, text="Never mind")


async def test_writing_reads_what_came_before_on_that_line_only(stand: Stand, hook: Hook) -> None:
    ask = templated(ANA, "rights_request_v3", *APPROVE)
    here, there = await stand.send(ask), await stand.send(ask, line=ACQUISITIONS)
    await last(stand, hook, text="Hello", line="main")
    assert hook.words(here.wamid) == ["sent", "delivered", "read"]
    assert hook.words(there.wamid) == ["sent", "delivered"]


async def test_what_people_said_can_be_listed(stand: Stand, hook: Hook) -> None:
    said = await last(stand, hook, text="Hello", line="acquisitions")
    (reply,) = await stand.ask("replies", person=ANA)
    assert (reply["wamid"], reply["line"], reply["text"]) == (said["id"], ACQUISITIONS, {"body": "Hello"})


async def test_a_command_that_makes_no_sense_is_answered_with_the_reason(stand: Stand) -> None:
    assert "no message that offers" in (await stand.tell("say", {"from": ANA, "kind": "tap", "button": "X"}))["error"]
    assert "nobody is called" in (await stand.tell("say", {"from": "zoe"}))["error"]
    assert "no line" in (await stand.tell("say", {"from": ANA, "line": "sales"}))["error"]
    assert "colour" in (await stand.tell("people", {"id": "x", "colour": "red"}))["error"]

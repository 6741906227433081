"""Documents that go with messages: fetched from a host, checked, uploaded once, and sent with them or not at all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from services.dispatcher.document_transfer import DocumentSource, WhatsAppUploads
from services.dispatcher.documents import DocumentPreparer
from shared.clients.public_hosts import AllowedHosts
from shared.contracts.messages import AttachedDocument, TemplateCall, TemplateHeader
from shared.runtime.clock import machine_now
from tests.services.dispatcher.dispatcher_under_test import (
    BUTTONS,
    DispatcherUnderTest,
    message_received,
    person_observed,
    send_request,
    template_update,
    wait_until,
)

pytestmark = pytest.mark.integration

PDF = b"%PDF-1.7\n" + b"A proof of the first sheet. " * 9000
COVER = {"name": "proof_ready_v1", "language": "en", "body": "The proof is ready", "header": "document"}
CALL = TemplateCall(name="proof_ready_v1", language="en", header=TemplateHeader.DOCUMENT)
PLAIN = {"name": "proof_plain_v1", "language": "en", "body": "The proof is ready, without a file"}


@dataclass
class FileHost:
    """A host of the publisher: files by path, and the answers that it gives first."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    answers: list[int] = field(default_factory=list)
    requests: int = 0

    async def get(self, request: web.Request) -> web.Response:
        self.requests += 1
        if self.answers:
            return web.Response(status=self.answers.pop(0), headers={"Location": "http://127.0.0.1:1/"})
        content = self.files.get(request.path)
        return web.Response(status=404) if content is None else web.Response(body=content)


@asynccontextmanager
async def file_host() -> AsyncIterator[FileHost]:
    host = FileHost()
    app = web.Application()
    app.add_routes([web.get("/{path:.*}", host.get)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield host
    await runner.cleanup()


@dataclass
class Sending:
    dispatcher: DispatcherUnderTest
    host: FileHost

    def attached(self, path: str = "/proof.pdf", **changes: Any) -> AttachedDocument:
        document = AttachedDocument(address=f"{self.host.url}{path}", name="Winter Ferries: proof")
        return document.replace(**changes)

    async def counts(self) -> dict[str, int]:
        found: dict[str, int] = (await self.dispatcher.simulator.ask("counts"))["media"]
        return found


@pytest.fixture
async def sending(dispatcher: DispatcherUnderTest) -> AsyncIterator[Sending]:
    await dispatcher.simulator.tell("templates", COVER)
    await dispatcher.simulator.tell("templates", PLAIN)
    async with (
        file_host() as host,
        DocumentSource(AllowedHosts((host.url,))) as source,
        WhatsAppUploads(dispatcher.settings.endpoint()) as uploads,
    ):
        host.files["/proof.pdf"] = PDF
        store = dispatcher.parts.handler.documents
        preparer = DocumentPreparer(dispatcher.pool, dispatcher.clock, store, source, uploads, 1_000_000)
        preparing = asyncio.create_task(preparer.run())
        yield Sending(dispatcher, host)
        preparing.cancel()


async def test_one_upload_serves_templates_and_free_text(sending: Sending) -> None:
    at, attached = sending.dispatcher, sending.attached()
    opened = message_received(at.clock.now(), "p2")
    await at.handle(person_observed(), person_observed("p2", "+441632960002"), opened)
    await at.handle(
        send_request(template=CALL, document=attached),
        send_request("m2", "p2", template=CALL, document=attached),
        send_request("m3", "p2", template=CALL, document=attached, buttons=BUTTONS),
    )
    for message in ("m1", "m2", "m3"):
        await at.wait_for_state("accepted", message)
    sent = {message["type"]: message for message in await at.sent()}
    assert {kind: message["document"]["filename"] for kind, message in sent.items()} == dict.fromkeys(
        ("template", "document", "interactive"), "Winter Ferries: proof.pdf"
    )
    assert (await sending.counts())["uploads"] == 1


async def test_another_address_with_the_same_content_is_not_uploaded_again(sending: Sending) -> None:
    sending.host.files["/copy.pdf"] = PDF
    at = sending.dispatcher
    await at.handle(person_observed(), send_request(template=CALL, document=sending.attached()))
    await at.wait_for_state("accepted")
    at.advance_clock(timedelta(minutes=1))
    await at.handle(send_request("m2", template=CALL, document=sending.attached("/copy.pdf")))
    await at.wait_for_state("accepted", "m2")
    assert (await sending.counts())["uploads"] == 1


async def test_a_host_that_is_away_is_waited_for(sending: Sending) -> None:
    sending.host.answers = [503]
    at = sending.dispatcher
    await at.handle(person_observed(), send_request(template=CALL, document=sending.attached()))
    await at.wait_for_reason("document_pending")

    async def is_postponed() -> bool:  # the lease of an attempt is longer
        query = "select due_at < now() + interval '1 minute' from documents where attempts = 1"
        return bool(await at.pool.fetchval(query))

    await wait_until(is_postponed)
    await at.pool.execute("update documents set due_at = requested_at")
    await at.wait_for_state("accepted")


@pytest.mark.parametrize(
    ("path", "content", "answer", "reason"),
    [
        ("/gone.pdf", None, None, "document_missing"),
        ("/moved.pdf", PDF, 302, "document_not_allowed"),
        ("/program.pdf", b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff" + b"\0" * 90, None, "document_wrong_type"),
        ("/large.pdf", b"%PDF-1.7\n" + b"x" * 1_000_000, None, "document_too_large"),
        ("http://other.example/proof.pdf", None, None, "document_not_allowed"),
    ],
)
async def test_a_message_never_goes_without_its_document(
    sending: Sending, path: str, content: bytes | None, answer: int | None, reason: str
) -> None:
    if content is not None:
        sending.host.files[path] = content
    sending.host.answers = [answer] if answer else []
    address = path if path.startswith("http") else f"{sending.host.url}{path}"
    at = sending.dispatcher
    await at.handle(person_observed(), send_request(template=CALL, document=sending.attached(address=address)))
    await at.wait_for_state("dropped")
    assert [event["data"]["reason"] for event in await at.events()] == [reason]
    assert await at.sent() == []


async def test_an_optional_document_that_cannot_be_had_leaves_the_text(sending: Sending) -> None:
    at = sending.dispatcher
    plain = TemplateCall(name="proof_plain_v1", language="en")
    attached = sending.attached("/gone.pdf", optional=True)
    await at.handle(person_observed(), send_request(template=CALL, fallback=plain, document=attached))
    await at.wait_for_state("accepted")
    (message,) = await at.sent()
    assert (message["template"], message.get("document")) == ("proof_plain_v1", None)


async def test_an_optional_document_is_not_waited_for_longer_than_a_quarter_of_an_hour(sending: Sending) -> None:
    sending.host.answers = [503] * 50
    at = sending.dispatcher
    plain = TemplateCall(name="proof_plain_v1", language="en")
    attached = sending.attached(optional=True)
    await at.handle(person_observed(), send_request(template=CALL, fallback=plain, document=attached))
    await at.wait_for_reason("document_pending")
    at.advance_clock(timedelta(minutes=15))
    await at.wait_for_state("accepted")
    assert [message["template"] for message in await at.sent()] == ["proof_plain_v1"]


async def test_a_document_that_is_given_up_leaves_its_message_waiting_for_the_fallback(sending: Sending) -> None:
    """Its own template is usable, and no reason to plan it again and again."""
    at = sending.dispatcher
    plain = TemplateCall(name="proof_plain_v1", language="en")
    paused = template_update(at.clock.now(), "PAUSED")
    paused = paused.replace(value={**paused.value, "message_template_name": plain.name})
    approved = paused.replace(value={**paused.value, "event": "APPROVED", "message_template_name": CALL.name})
    attached = sending.attached("/gone.pdf", optional=True)
    await at.handle(paused, approved, person_observed())

    async def knows_both() -> bool:
        return len(at.parts.leader.templates.known.templates) == 2

    await wait_until(knows_both)
    await at.handle(send_request(template=CALL, fallback=plain, document=attached))
    await at.wait_for_reason("template_paused")
    await at.wait_until_idle()
    row = "select xmin::text || coalesce(reason, '') from messages"
    before = await at.pool.fetchval(row)
    await at.parts.reconciler.release_crossed(at.parts.sender.moment())
    assert await at.pool.fetchval(row) == before
    again = paused.replace(value={**paused.value, "event": "APPROVED"}, at=at.advance_clock(timedelta(seconds=1)))
    await at.handle(again)
    await at.wait_for_state("accepted")


async def test_a_document_is_tried_again_only_as_long_as_a_message_needs_it(sending: Sending) -> None:
    sending.host.answers = [503] * 50
    at, store = sending.dispatcher, sending.dispatcher.parts.handler.documents
    await at.handle(person_observed(), send_request(template=CALL, document=sending.attached()))
    await at.wait_for_reason("document_pending")
    tomorrow = machine_now() + timedelta(days=2)
    await store.delete_old(at.pool, tomorrow)
    assert await at.pool.fetchval("select count(*) from documents") == 1
    at.advance_clock(timedelta(days=60))
    await at.wait_for_state("dropped")
    await store.delete_old(at.pool, tomorrow)
    assert await at.pool.fetchval("select count(*) from documents") == 0

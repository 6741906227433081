"""The response to each valid and invalid request, over real sockets, from a real process."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from shared.contracts.consonance import DateChanged, WorkBlocked
from shared.contracts.contacts import PersonObserved
from shared.contracts.envelope import Event
from shared.contracts.topics import (
    CONSONANCE_EVENTS,
    CONTACTS,
    WHATSAPP_ACCOUNT,
    WHATSAPP_MESSAGES,
    WHATSAPP_STATUSES,
    Topic,
    parked_topic,
)
from shared.contracts.whatsapp import MessageReceived, WebhookConfirmed
from tests.services.ingest.payloads import PSEUDONYMS, messages, status, statuses, text, webhook
from tests.services.ingest.service import (
    NEXT_APP_SECRET,
    VERIFY_TOKEN,
    IngestProcess,
    WebhookClient,
    signed,
    signed_event,
)
from tests.services.ingest.test_cloudevents import blocked, moved

pytestmark = pytest.mark.integration
MEBIBYTE = 1024 * 1024


def fresh() -> str:
    return f"wamid.{uuid.uuid4().hex}"


async def wait_for(
    service: IngestProcess, topic: Topic, wanted: Callable[[Event], bool], count: int = 1
) -> list[Event]:
    """Waits for ``count`` such events; the result has more where too many were published."""
    async with asyncio.timeout(10):
        while len(events := [event for event in await service.read(topic) if wanted(event)]) < count:
            await asyncio.sleep(0.05)
    return events


async def test_a_hundred_statuses_in_one_body_are_a_hundred_records(
    running_ingest: IngestProcess, post: WebhookClient
) -> None:
    wamids = [fresh() for _ in range(100)]
    assert await post.webhook(webhook(statuses(*map(status, wamids)))) == 200
    events = await running_ingest.read(WHATSAPP_STATUSES)
    assert set(map(PSEUDONYMS.for_wamid, wamids)) <= {event.partitionkey for event in events}


async def test_a_message_is_on_its_persons_key_and_the_person_on_contacts(
    running_ingest: IngestProcess, post: WebhookClient
) -> None:
    wamid = fresh()
    assert await post.webhook(webhook(messages(text(wamid, from_user_id=f"GB.{wamid}")))) == 200
    (event,) = [
        event for event in await running_ingest.read(WHATSAPP_MESSAGES) if event.id == PSEUDONYMS.for_wamid(wamid)
    ]
    assert isinstance(event.data, MessageReceived)
    person = event.data.person_id
    (state,) = await wait_for(running_ingest, CONTACTS, lambda one: getattr(one.data, "person_id", "") == person)
    assert isinstance(state.data, PersonObserved)
    assert state.data.display_name is None
    assert event.traceparent is not None


@pytest.mark.parametrize(
    ("headers", "answer"),
    [({}, 401), ({"X-Hub-Signature-256": "sha256=00"}, 401), (None, 200)],
)
async def test_only_signed_webhooks_are_accepted(
    running_ingest: IngestProcess, post: WebhookClient, headers: dict[str, str] | None, answer: int
) -> None:
    wamid = fresh()
    assert await post.webhook(webhook(statuses(status(wamid))), headers) == answer
    published = [event.partitionkey for event in await running_ingest.read(WHATSAPP_STATUSES)]
    assert published.count(PSEUDONYMS.for_wamid(wamid)) == (answer == 200)


async def test_the_next_secret_is_already_valid(post: WebhookClient) -> None:
    body = webhook(statuses(status(fresh())))
    assert await post.webhook(body, signed(body, NEXT_APP_SECRET)) == 200


async def test_an_update_to_another_number_is_counted_and_not_published(
    running_ingest: IngestProcess, post: WebhookClient
) -> None:
    other = {"phone_number_id": "9999", "display_phone_number": "442070009999"}
    stop, ours, about = fresh(), fresh(), fresh()
    changes = [
        messages(text(stop, body="STOP"), metadata=other),
        statuses(status(about), metadata=other),
        messages(text(ours)),
    ]
    assert await post.webhook(webhook(*changes)) == 200
    published = {event.id for event in await running_ingest.read(WHATSAPP_MESSAGES)}
    assert (PSEUDONYMS.for_wamid(ours) in published, PSEUDONYMS.for_wamid(stop) in published) == (True, False)
    keys = {event.partitionkey for event in await running_ingest.read(WHATSAPP_STATUSES)}
    assert PSEUDONYMS.for_wamid(about) not in keys
    async with post.session.get(f"{running_ingest.health_url}/metrics") as answer:
        assert 'stet_updates_received_total{kind="other_number",service="ingest"} 2.0' in await answer.text()
    assert '"phone_number_id":"9999"' in running_ingest.child.log.read_text()


async def test_a_wrong_signature_is_reported_with_readiness_and_once_in_the_log(
    running_ingest: IngestProcess, post: WebhookClient
) -> None:
    body = webhook(statuses(status(fresh())))
    assert [await post.webhook(body, signed(body, "wrong")) for _ in range(30)] == [401] * 30
    assert await post.webhook(body) == 200
    async with post.session.post(f"{post.url}/consonance/events", data=body) as answer:
        assert answer.status == 401
    async with post.session.get(f"{running_ingest.health_url}/readyz") as answer:
        ready = (await answer.text()).splitlines()
        assert (answer.status, ready[0]) == (200, "ready")
    assert [line.partition(":")[0] for line in ready[1:]] == ["WhatsApp webhook", "Consonance events"]
    assert "STET_WHATSAPP_APP_SECRETS" in ready[1]
    assert "STET_CONSONANCE_WEBHOOK_SECRETS" in ready[2]
    log = running_ingest.child.log.read_text()
    assert 1 <= log.count('"event":"signature.rejected"') <= 4


async def test_rejections_are_counted(running_ingest: IngestProcess, post: WebhookClient) -> None:
    await post.webhook(b"{}", {})
    async with post.session.get(f"{running_ingest.health_url}/metrics") as answer:
        counted = 'stet_requests_rejected_total{endpoint="whatsapp",reason="signature",service="ingest"} '
        (line,) = [line for line in (await answer.text()).splitlines() if line.startswith(counted)]
    assert float(line.removeprefix(counted)) > 0


@pytest.mark.parametrize(("size", "answer"), [(3 * MEBIBYTE, 200), (3 * MEBIBYTE + 1, 413)])
async def test_a_body_over_three_mebibytes_is_not_read(post: WebhookClient, size: int, answer: int) -> None:
    body = b" " * (size - 2) + b"{}"
    assert await post.webhook(body) == answer


async def test_a_large_body_without_a_length_is_not_read(post: WebhookClient) -> None:
    async def endless() -> Any:
        for _ in range(60):
            yield b" " * 100_000

    address = f"{post.url}/whatsapp/webhook"
    async with post.session.post(address, data=endless(), headers={"X-Hub-Signature-256": "x"}) as answer:
        assert answer.status == 413


@pytest.mark.parametrize("body", [b"not json", b"[1,2]", b'{"object":"page","entry":[{"id":1}]}', b'{"error":{}}'])
async def test_a_body_that_is_no_webhook_is_accepted_and_parked_once(
    running_ingest: IngestProcess, post: WebhookClient, body: bytes
) -> None:
    body += b" " * (uuid.uuid4().int % 5000)
    assert [await post.webhook(body) for _ in range(2)] == [200, 200]
    async with asyncio.timeout(10):
        while (kept := await running_ingest.read_raw(parked_topic("ingest"))).count(body) == 0:
            await asyncio.sleep(0.05)
    assert kept.count(body) == 1


async def test_an_invalid_update_is_parked_and_the_others_are_published(
    running_ingest: IngestProcess, post: WebhookClient
) -> None:
    good, bad = [fresh(), fresh()], fresh()
    body = webhook(statuses(status(good[0]), {"id": bad, "status": "sent"}, status(good[1])))
    assert await post.webhook(body) == 200
    assert set(map(PSEUDONYMS.for_wamid, good)) <= {
        event.partitionkey for event in await running_ingest.read(WHATSAPP_STATUSES)
    }
    async with asyncio.timeout(10):
        while not [raw for raw in await running_ingest.read_raw(parked_topic("ingest")) if bad.encode() in raw]:
            await asyncio.sleep(0.05)


async def test_an_old_message_and_a_repeated_one_are_accepted(
    running_ingest: IngestProcess, post: WebhookClient
) -> None:
    wamid = fresh()
    body = webhook(messages(text(wamid, timestamp="1763395200")))
    assert [await post.webhook(body) for _ in range(2)] == [200, 200]
    repeated = [
        event for event in await running_ingest.read(WHATSAPP_MESSAGES) if event.id == PSEUDONYMS.for_wamid(wamid)
    ]
    assert len({(event.source, event.id, event.partitionkey) for event in repeated}) == 1


@pytest.mark.parametrize(
    ("token", "mode", "answer"),
    [(VERIFY_TOKEN, "subscribe", 200), ("wrong", "subscribe", 403), (VERIFY_TOKEN, "x", 403)],
)
async def test_the_challenge_is_returned_for_the_right_token(
    post: WebhookClient, token: str, mode: str, answer: int
) -> None:
    query = {"hub.mode": mode, "hub.challenge": "1158201444", "hub.verify_token": token}
    async with post.session.get(f"{post.url}/whatsapp/webhook", params=query) as got:
        assert got.status == answer
        assert (await got.text() == "1158201444") == (answer == 200)


@pytest.mark.parametrize(
    ("method", "path", "answer"),
    [
        ("GET", "/", 404),
        ("POST", "/whatsapp", 404),
        ("PUT", "/whatsapp/webhook", 405),
        ("GET", "/consonance/events", 405),
    ],
)
async def test_other_paths_and_methods_are_rejected(post: WebhookClient, method: str, path: str, answer: int) -> None:
    async with post.session.request(method, post.url + path) as got:
        assert got.status == answer


async def test_a_pushed_event_is_published_once(running_ingest: IngestProcess, post: WebhookClient) -> None:
    event = blocked(id=fresh())
    assert [await post.events(event) for _ in range(2)] == [(202, {"accepted": 1}), (200, {"accepted": 0})]
    (taken,) = [one for one in await running_ingest.read(CONSONANCE_EVENTS) if one.id == event["id"]]
    assert isinstance(taken.data, WorkBlocked)


async def test_a_signed_body_is_not_accepted_again_under_an_id_from_headers(
    running_ingest: IngestProcess, post: WebhookClient
) -> None:
    event = blocked(id=fresh())
    body = orjson.dumps(event)
    forged = {"ce-id": fresh(), "ce-type": event["type"], "ce-source": event["source"], "ce-specversion": "1.0"}
    codes = []
    for more in ({}, forged, {"Ce-Id": forged["ce-id"]}, {}):
        headers = signed_event(body) | more
        async with post.session.post(f"{post.url}/consonance/events", data=body, headers=headers) as answer:
            codes.append(answer.status)
    assert codes == [202, 400, 400, 200]
    assert forged["ce-id"] not in {one.id for one in await running_ingest.read(CONSONANCE_EVENTS)}


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [({"specversion": "2"}, "specversion: "), ({"data": {}}, "data.work: "), ({"type": "x"}, "type: ")],
)
async def test_an_invalid_pushed_event_is_rejected_with_the_name_of_its_field(
    post: WebhookClient, wrong: Any, fault: str
) -> None:
    code, answer = await post.events(blocked(**wrong))
    assert code == 400
    assert answer["faults"][0].startswith(fault)


async def test_the_valid_events_of_a_batch_are_published_and_the_invalid_one_is_named(
    running_ingest: IngestProcess, post: WebhookClient
) -> None:
    good = blocked(id=fresh())
    code, answer = await post.events([good, blocked(data={})], "application/cloudevents-batch+json")
    assert (code, answer["accepted"]) == (400, 1)
    assert answer["faults"][0].startswith("[1].data.")
    assert good["id"] in {event.id for event in await running_ingest.read(CONSONANCE_EVENTS)}


async def test_an_event_that_is_twice_in_a_batch_is_published_once(
    running_ingest: IngestProcess, post: WebhookClient
) -> None:
    first, second = blocked(id=fresh()), blocked(id=fresh())
    answer = await post.events([first, second, first], "application/cloudevents-batch+json")
    assert answer == (202, {"accepted": 2})
    published = [event.id for event in await running_ingest.read(CONSONANCE_EVENTS)]
    assert (published.count(first["id"]), published.count(second["id"])) == (1, 1)


async def test_an_id_too_long_for_an_index_is_rejected_before_it_is_published(
    running_ingest: IngestProcess, post: WebhookClient
) -> None:  # fmt: skip
    event = blocked(id=fresh() + "x" * 3_000)
    assert [(await post.events(event))[0] for _ in range(2)] == [400, 400]
    assert event["id"] not in {one.id for one in await running_ingest.read(CONSONANCE_EVENTS)}
    await wait_until_parked_once(running_ingest, event["id"])


async def test_a_move_to_an_unreadable_date_is_published_and_the_field_is_parked(
    running_ingest: IngestProcess, post: WebhookClient
) -> None:  # fmt: skip
    event = moved(new_due="31/12/2027", reason=fresh()) | {"id": fresh()}
    assert [code for code, _ in [await post.events(event) for _ in range(2)]] == [202, 200]
    (taken,) = [one for one in await running_ingest.read(CONSONANCE_EVENTS) if one.id == event["id"]]
    assert isinstance(taken.data, DateChanged)
    assert taken.data.new_due is None
    await wait_until_parked_once(running_ingest, event["id"])


async def wait_until_parked_once(service: IngestProcess, text_in_it: str) -> None:
    async with asyncio.timeout(10):
        while not (
            kept := [raw for raw in await service.read_raw(parked_topic("ingest")) if text_in_it.encode() in raw]
        ):
            await asyncio.sleep(0.05)
    assert len(kept) == 1


@pytest.mark.parametrize("body", [b"", b"{", b'"x"'])
async def test_a_body_that_is_no_event_is_rejected(post: WebhookClient, body: bytes) -> None:
    async with post.session.post(f"{post.url}/consonance/events", data=body, headers=signed_event(body)) as answer:
        assert answer.status == 400


async def test_unsigned_events_are_rejected(post: WebhookClient) -> None:
    async with post.session.post(f"{post.url}/consonance/events", data=orjson.dumps(blocked())) as answer:
        assert answer.status == 401


async def test_the_coverage_is_published_repeatedly(running_ingest: IngestProcess) -> None:
    """On a busy machine a late heartbeat opens a gap, so three in a row are enough."""
    async with asyncio.timeout(40):
        while True:
            published = [event.data for event in await running_ingest.read(WHATSAPP_ACCOUNT)]
            wholes = [one for one in published if isinstance(one, WebhookConfirmed)]
            assert [whole.until for whole in wholes] == sorted(whole.until for whole in wholes)
            if max(Counter(whole.since for whole in wholes).values(), default=0) >= 3:
                return
            await asyncio.sleep(0.2)


async def test_many_concurrent_senders_are_all_answered(post: WebhookClient) -> None:
    bodies = [webhook(messages(text(fresh(), sender=f"4477009{number:05}"))) for number in range(200)]
    assert set(await asyncio.gather(*map(post.webhook, bodies))) == {200}


async def test_a_sender_rejected_while_it_sends_still_gets_the_reason(running_ingest: IngestProcess) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", running_ingest.port)
    length = 5 * MEBIBYTE
    writer.write(b"POST /whatsapp/webhook HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length)
    for _ in range(5):
        writer.write(b" " * MEBIBYTE)
        await writer.drain()
        await asyncio.sleep(0.05)
    assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    writer.close()


async def test_a_sender_that_disconnects_does_not_affect_others(
    running_ingest: IngestProcess, post: WebhookClient
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", running_ingest.port)
    writer.write(b"POST /whatsapp/webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
    await writer.drain()
    writer.close()
    assert await post.webhook(webhook(statuses(status(fresh())))) == 200
    assert await reader.read(0) == b""

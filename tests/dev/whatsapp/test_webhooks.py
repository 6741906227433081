"""Delivery: signed bytes, redelivery until 200, and every kind of disorder."""

import base64
import hashlib
import hmac
import json
import re
from collections import Counter
from pathlib import Path

from shared.runtime.clock import DevelopmentClock
from tests.dev.whatsapp.simulator_under_test import (
    MAIN,
    RIGHTS_REQUEST,
    SECRET,
    RecordingWebhook,
    SimulatorUnderTest,
    filled,
    payload,
    recording_webhook,
    running_simulator,
    templated,
    until,
)

ANA = "+447700900123"


def ask(place: int) -> dict[str, object]:
    filling = filled(person="Ana", title="Dune")
    return templated(f"+4477009{place:05d}", "rights_request_v3", filling, payload(0, "y"))


def ranks(webhook: RecordingWebhook) -> dict[str, list[str]]:
    heard: dict[str, list[str]] = {}
    for status in webhook.statuses():
        heard.setdefault(status["id"], []).append(status["status"])
    return heard


async def test_the_signature_is_over_the_bytes_as_they_arrive(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    await simulator.tell("inbound", {"from": ANA, "text": "Zoë – 👍"})
    await simulator.rest()
    expected = hmac.new(SECRET.encode(), webhook.bodies[0], hashlib.sha256).hexdigest()
    assert webhook.signatures == [f"sha256={expected}"]
    assert webhook.messages()[0]["text"]["body"] == "Zoë – 👍"


async def test_the_bytes_are_ascii_with_escapes(simulator: SimulatorUnderTest, webhook: RecordingWebhook) -> None:
    await simulator.tell("inbound", {"from": ANA, "text": "Zoë 👍"})
    await simulator.rest()
    assert b"Zo\\u00eb \\ud83d\\udc4d" in webhook.bodies[0]
    assert webhook.bodies[0].isascii()


async def test_a_body_is_posted_again_until_it_is_answered_200(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    webhook.answers = [503, 500, 401, 204, 302]
    await simulator.tell("inbound", {"from": ANA, "text": "Hello"})
    await simulator.rest()
    assert len(webhook.bodies) == 6
    assert len(set(webhook.bodies)) == 1
    counts = (await simulator.ask("counts"))["webhooks"]
    assert (counts["redelivered"], counts["refused"], counts["delivered"]) == (5, 5, 1)


async def test_updates_wait_for_a_webhook_that_is_away(
    webhook: RecordingWebhook, clock_file: Path, clock: DevelopmentClock
) -> None:
    async with recording_webhook() as away:
        pass  # its port is closed now
    async with running_simulator(away, clock_file) as simulator:
        await simulator.tell("inbound", {"from": ANA, "text": "Hello"})
        assert (await simulator.ask("idle"))["busy"] == ["webhooks: 1"]
        await simulator.tell("settings", {"webhook_url": webhook.url})
        await simulator.rest()
    assert [message["text"]["body"] for message in webhook.messages()] == ["Hello"]
    assert {message["timestamp"] for message in webhook.messages()} == {str(int(clock.now().timestamp()))}


async def test_without_disorder_order_is_kept_even_through_refusals(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    webhook.answers = [503, 503]
    for number in range(30):
        await simulator.tell("inbound", {"from": ANA, "text": str(number)})
    await simulator.rest()
    accepted = [*dict.fromkeys(message["text"]["body"] for message in webhook.messages())]
    assert accepted == [str(number) for number in range(30)]


async def test_disorder_loses_nothing_and_does_everything_meta_does(webhook: RecordingWebhook) -> None:
    async with running_simulator(webhook, disorder=1.0, per_second=1000) as simulator:
        await simulator.tell("templates", RIGHTS_REQUEST)
        wamids = {(await simulator.send(ask(place))).wamid for place in range(200)}
        await simulator.rest()
    heard = ranks(webhook)
    assert set(heard) == wamids
    assert all("sent" in words and {"delivered", "read"} & set(words) for words in heard.values())
    assert any("delivered" not in words for words in heard.values()), "delivered is sometimes skipped"
    assert any(words.index("sent") > 0 for words in heard.values()), "order is sometimes lost"
    assert any(len(words) > len(set(words)) for words in heard.values()), "updates are sometimes repeated"
    assert max(Counter(webhook.bodies).values()) > 1, "bodies are sometimes delivered again after a 200"


async def test_disorder_puts_several_updates_and_changes_in_one_body(webhook: RecordingWebhook) -> None:
    async with running_simulator(webhook, disorder=1.0, per_second=1000) as simulator:
        await simulator.tell("templates", RIGHTS_REQUEST)
        for place in range(100):
            await simulator.send(ask(place))
        await simulator.rest()
    assert max(len(json.loads(body)["entry"][0]["changes"]) for body in webhook.bodies) > 1
    assert any("contacts" not in value for value in webhook.values()), "contacts are optional in statuses"


async def test_updates_collected_while_the_webhook_is_away_come_in_few_bodies(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    await simulator.tell("settings", {"webhook_url": "http://127.0.0.1:1/away"})
    for place in range(60):
        await simulator.send(ask(place))
    await simulator.tell("settings", {"webhook_url": webhook.url})
    await simulator.rest()
    assert len(webhook.bodies) < 20
    assert max(len(value["statuses"]) for value in webhook.values()) > 20
    assert len(webhook.statuses()) == 120


async def test_the_context_of_a_template_tap_is_sometimes_missing(webhook: RecordingWebhook) -> None:
    async with running_simulator(webhook, disorder=1.0, per_second=1000) as simulator:
        await simulator.tell("templates", RIGHTS_REQUEST)
        for place in range(40):
            await simulator.send(ask(place))
            await simulator.tell("inbound", {"from": f"4477009{place:05d}", "kind": "tap", "button": "y"})
        await simulator.rest()
    assert {"context" in message for message in webhook.messages()} == {True, False}


async def test_the_same_seed_gives_the_same_ids_and_disorder() -> None:
    arrivals = []
    for _ in range(2):
        async with running_simulator(None, disorder=1.0, per_second=1000, seed=11) as simulator:
            await simulator.tell("templates", RIGHTS_REQUEST)
            for place in range(20):
                await simulator.send(ask(place))
            arrivals.append([(it["wamid"], it["statuses"]) for it in await simulator.ask("messages")])
    assert arrivals[0] == arrivals[1]
    assert len({wamid for wamid, _ in arrivals[0]}) == 20


async def test_the_handshake_needs_the_right_token(simulator: SimulatorUnderTest, webhook: RecordingWebhook) -> None:
    assert await simulator.tell("verify") == {"verified": True}
    async with running_simulator(webhook, verify_token="guess") as other:  # noqa: S106 -- a wrong one, of no use
        assert await other.tell("verify") == {"verified": False}


async def test_a_reset_forgets_messages_people_and_what_was_undelivered(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    webhook.answers = [503] * 1000
    await simulator.tell("inbound", {"from": ANA, "text": "Hello"})
    await until(lambda: webhook.bodies)
    await simulator.tell("reset")
    posted = len(webhook.bodies)
    assert (await simulator.rest())["counter"] == 0
    assert await simulator.ask("messages") == []
    assert (await simulator.send(ask(1), line=MAIN)).code == 132001
    assert len(webhook.bodies) <= posted + 1


async def test_a_wamid_is_base64_around_the_persons_number_as_metas_are(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook
) -> None:
    await simulator.tell("inbound", {"from": ANA, "text": "Hello"})
    await simulator.rest()
    inbound = base64.b64decode(webhook.messages()[0]["id"].removeprefix("wamid."))
    assert re.fullmatch(rb"\x1c\x18\x0c447700900123\x15\x02\x00\x12\x18\x14[0-9A-F]{20}\x00", inbound)
    await simulator.tell("inbound", {"from": ANA, "text": "Hello"})
    await simulator.rest()
    assert len({message["id"] for message in webhook.messages()}) == 2

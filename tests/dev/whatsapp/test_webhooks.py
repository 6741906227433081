"""Delivery: signed bytes, redelivery until 200, and every kind of disorder."""

import base64
import hashlib
import hmac
import json
import re
from collections import Counter
from pathlib import Path

from shared.runtime.clock import DevelopmentClock
from tests.dev.whatsapp.stand import (
    MAIN,
    RIGHTS_REQUEST,
    SECRET,
    Hook,
    Stand,
    filled,
    listening,
    payload,
    standing,
    templated,
    until,
)

ANA = "+447700900123"


def ask(place: int) -> dict[str, object]:
    filling = filled(person="Ana", title="Dune")
    return templated(f"+4477009{place:05d}", "rights_request_v3", filling, payload(0, "y"))


def ranks(hook: Hook) -> dict[str, list[str]]:
    heard: dict[str, list[str]] = {}
    for status in hook.statuses():
        heard.setdefault(status["id"], []).append(status["status"])
    return heard


async def test_the_signature_is_over_the_bytes_as_they_arrive(stand: Stand, hook: Hook) -> None:
    await stand.tell("say", {"from": ANA, "text": "Zoë – 👍"})
    await stand.rest()
    expected = hmac.new(SECRET.encode(), hook.bodies[0], hashlib.sha256).hexdigest()
    assert hook.signatures == [f"sha256={expected}"]
    assert hook.messages()[0]["text"]["body"] == "Zoë – 👍"


async def test_the_bytes_are_ascii_with_escapes(stand: Stand, hook: Hook) -> None:
    await stand.tell("say", {"from": ANA, "text": "Zoë 👍"})
    await stand.rest()
    assert b"Zo\\u00eb \\ud83d\\udc4d" in hook.bodies[0]
    assert hook.bodies[0].isascii()


async def test_a_body_is_posted_again_until_it_is_answered_200(stand: Stand, hook: Hook) -> None:
    hook.answers = [503, 500, 401, 204, 302]
    await stand.tell("say", {"from": ANA, "text": "Hello"})
    await stand.rest()
    assert len(hook.bodies) == 6
    assert len(set(hook.bodies)) == 1
    counts = (await stand.ask("counts"))["webhooks"]
    assert (counts["redelivered"], counts["refused"], counts["delivered"]) == (5, 5, 1)


async def test_updates_wait_for_a_webhook_that_is_away(hook: Hook, clock_file: Path, clock: DevelopmentClock) -> None:
    async with listening() as away:
        pass  # its port is closed now
    async with standing(away, clock_file) as stand:
        await stand.tell("say", {"from": ANA, "text": "Hello"})
        assert (await stand.ask("idle"))["busy"] == ["webhooks: 1"]
        await stand.tell("settings", {"webhook_url": hook.url})
        await stand.rest()
    assert [message["text"]["body"] for message in hook.messages()] == ["Hello"]
    assert {message["timestamp"] for message in hook.messages()} == {str(int(clock.now().timestamp()))}


async def test_without_disorder_order_is_kept_even_through_refusals(stand: Stand, hook: Hook) -> None:
    hook.answers = [503, 503]
    for number in range(30):
        await stand.tell("say", {"from": ANA, "text": str(number)})
    await stand.rest()
    accepted = [*dict.fromkeys(message["text"]["body"] for message in hook.messages())]
    assert accepted == [str(number) for number in range(30)]


async def test_disorder_loses_nothing_and_does_everything_meta_does(hook: Hook) -> None:
    async with standing(hook, disorder=1.0, per_second=1000) as stand:
        await stand.tell("templates", RIGHTS_REQUEST)
        wamids = {(await stand.send(ask(place))).wamid for place in range(200)}
        await stand.rest()
    heard = ranks(hook)
    assert set(heard) == wamids
    assert all("sent" in words and {"delivered", "read"} & set(words) for words in heard.values())
    assert any("delivered" not in words for words in heard.values()), "delivered is sometimes skipped"
    assert any(words.index("sent") > 0 for words in heard.values()), "order is sometimes lost"
    assert any(len(words) > len(set(words)) for words in heard.values()), "updates are sometimes repeated"
    assert max(Counter(hook.bodies).values()) > 1, "bodies are sometimes delivered again after a 200"


async def test_disorder_puts_several_updates_and_changes_in_one_body(hook: Hook) -> None:
    async with standing(hook, disorder=1.0, per_second=1000) as stand:
        await stand.tell("templates", RIGHTS_REQUEST)
        for place in range(100):
            await stand.send(ask(place))
        await stand.rest()
    assert max(len(json.loads(body)["entry"][0]["changes"]) for body in hook.bodies) > 1
    assert any("contacts" not in value for value in hook.values()), "contacts are optional in statuses"


async def test_what_gathers_while_the_webhook_is_away_comes_in_few_bodies(stand: Stand, hook: Hook) -> None:
    await stand.tell("settings", {"webhook_url": "http://127.0.0.1:1/away"})
    for place in range(60):
        await stand.send(ask(place))
    await stand.tell("settings", {"webhook_url": hook.url})
    await stand.rest()
    assert len(hook.bodies) < 20
    assert max(len(value["statuses"]) for value in hook.values()) > 20
    assert len(hook.statuses()) == 120


async def test_the_context_of_a_template_tap_is_sometimes_missing(hook: Hook) -> None:
    async with standing(hook, disorder=1.0, per_second=1000) as stand:
        await stand.tell("templates", RIGHTS_REQUEST)
        for place in range(40):
            await stand.send(ask(place))
            await stand.tell("say", {"from": f"4477009{place:05d}", "kind": "tap", "button": "y"})
        await stand.rest()
    assert {"context" in message for message in hook.messages()} == {True, False}


async def test_the_same_seed_gives_the_same_ids_and_fates() -> None:
    fates = []
    for _ in range(2):
        async with standing(None, disorder=1.0, per_second=1000, seed=11) as stand:
            await stand.tell("templates", RIGHTS_REQUEST)
            for place in range(20):
                await stand.send(ask(place))
            fates.append([(it["wamid"], it["statuses"]) for it in await stand.ask("messages")])
    assert fates[0] == fates[1]
    assert len({wamid for wamid, _ in fates[0]}) == 20


async def test_the_handshake_needs_the_right_token(stand: Stand, hook: Hook) -> None:
    assert await stand.tell("verify") == {"verified": True}
    async with standing(hook, verify_token="guess") as other:  # noqa: S106 -- a wrong one, of no use to anybody
        assert await other.tell("verify") == {"verified": False}


async def test_a_reset_forgets_messages_people_and_what_was_undelivered(stand: Stand, hook: Hook) -> None:
    hook.answers = [503] * 1000
    await stand.tell("say", {"from": ANA, "text": "Hello"})
    await until(lambda: hook.bodies)
    await stand.tell("reset")
    posted = len(hook.bodies)
    assert (await stand.rest())["counter"] == 0
    assert await stand.ask("messages") == []
    assert (await stand.send(ask(1), line=MAIN)).code == 132001
    assert len(hook.bodies) <= posted + 1


async def test_a_wamid_is_base64_around_the_persons_number_as_metas_are(stand: Stand, hook: Hook) -> None:
    await stand.tell("say", {"from": ANA, "text": "Hello"})
    await stand.rest()
    inbound = base64.b64decode(hook.messages()[0]["id"].removeprefix("wamid."))
    assert re.fullmatch(rb"\x1c\x18\x0c447700900123\x15\x02\x00\x12\x18\x14[0-9A-F]{20}\x00", inbound)
    await stand.tell("say", {"from": ANA, "text": "Hello"})
    await stand.rest()
    assert len({message["id"] for message in hook.messages()}) == 2

"""What WhatsApp's errors stop: the right scope, for the right time, and never the queue."""

from datetime import timedelta
from pathlib import Path

import pytest

from services.dispatcher.metrics import TOKEN_REFUSED
from shared.contracts.envelope import EventData
from shared.contracts.messages import Resend
from tests.dev.whatsapp.stand import Hook, Stand
from tests.services.dispatcher.house import House, at_work, person, request, template_said, until

pytestmark = pytest.mark.integration


async def _fault(house: House, code: int, count: int = 1, **match: str) -> None:
    fault = {"kind": "error_code", "code": code, "count": count}
    await house.stand.tell("faults", fault | ({"match": match} if match else {}))


def _two_people() -> tuple[EventData, ...]:
    return person(), person("p2", "+441632960002"), request(), request("m2", "p2")


async def test_a_throttled_person_waits_and_the_others_do_not(house: House) -> None:
    await _fault(house, 131056, 2, to="+441632960001")
    await house.hear(*_two_people())
    await house.until_state("accepted", "m2")
    await house.rest()
    assert (await house.parts.watch.idle()).next_due == house.clock.now() + timedelta(seconds=1)
    house.later(timedelta(seconds=1))
    await house.rest()
    assert (await house.parts.watch.idle()).next_due == house.clock.now() + timedelta(seconds=4)
    house.later(timedelta(seconds=4))
    await house.until_state("accepted")


async def test_a_throttled_number_waits_and_its_neighbour_does_not(house: House) -> None:
    await _fault(house, 130429)
    await house.hear(person(), request())
    await house.rest()
    await house.hear(request("m2", "p1", line="acquisitions"))
    await house.until_state("accepted", "m2")
    assert await house.state() == "waiting"
    house.later(timedelta(seconds=1))
    await house.until_state("accepted")


async def test_a_throttled_account_stops_every_number(house: House) -> None:
    await _fault(house, 80007)
    await house.hear(person(), request())
    await house.rest()
    await house.hear(request("m2", "p1", line="acquisitions"))
    await house.rest()
    assert await house.sent() == []
    house.later(timedelta(seconds=1))
    await house.until_state("accepted", "m2")


async def test_a_revoked_token_stops_all_sends_and_keeps_the_queue(
    postgres_database: str, clock_file: Path, stand: Stand, hook: Hook
) -> None:
    async with at_work(postgres_database, clock_file, stand, hook, whatsapp_token="revoked-token") as house:  # noqa: S106 -- made up
        await house.hear(person(), *(request(f"m{number}") for number in range(20)))
        await until(lambda: _stopped(house))
        await house.rest()
        assert await house.state("m19") == "waiting"
        assert (await house.parts.watch.token()).startswith("STET_WHATSAPP_TOKEN: ")
        assert TOKEN_REFUSED._value.get() == 1
        assert sum((await stand.ask("counts"))["errors"]["answer"].values()) <= 2
    async with at_work(postgres_database, clock_file, stand, hook) as repaired:
        await repaired.rest()
        assert len(await repaired.sent()) == 20
        assert (await repaired.parts.watch.token(), TOKEN_REFUSED._value.get()) == ("", 0)


async def _stopped(house: House) -> bool:
    return house.parts.sender.holds.awaits_operator("main", house.parts.sender.moment().machine)


async def test_a_503_is_doubt_and_the_number_slows_down(house: House) -> None:
    await house.stand.tell("faults", {"kind": "http_503"})
    await house.hear(person(), request(resend=Resend.IF_UNPROVEN), request("m2"))
    await house.until_state("uncertain")
    await house.until_state("accepted", "m2")
    assert [message["biz_opaque_callback_data"] for message in await house.sent()] == ["m2.1"]


async def test_a_provider_out_of_reach_keeps_the_queue(
    postgres_database: str, clock_file: Path, stand: Stand, hook: Hook
) -> None:
    async with at_work(postgres_database, clock_file, Stand("http://127.0.0.1:9", stand.session), hook) as house:
        await house.hear(person(), request())
        await until(lambda: _refused(house))
    async with at_work(postgres_database, clock_file, stand, hook) as house:
        await house.until_state("accepted")
        assert await house.told() == ["accepted"]


async def _refused(house: House) -> bool:
    return bool(await house.pool.fetchval("select exists (select from attempts where ending = 'not_written')"))


@pytest.mark.parametrize(
    ("code", "reason"), [(131026, "unreachable"), (132001, "template_refused"), (100, "message_refused")]
)
async def test_a_plain_refusal_fails_the_message(house: House, code: int, reason: str) -> None:
    await _fault(house, code)
    await house.hear(person(), request())
    await house.until_state("failed")
    told = (await house.events())[-1]["data"]
    assert (told["code"], told["reason"]) == (code, reason)


async def test_a_paused_template_holds_back_only_its_own_messages(house: House) -> None:
    await house.hear(template_said(house.clock.now(), "PAUSED"))
    await house.stand.tell("say", {"from": "+441632960001", "line": "acquisitions", "kind": "text", "text": "Hello"})
    await house.hear(person(), request(), request("m2", template=None, expires_at=house.clock.now()))
    await house.rest()
    assert (await house.state(), await house.state("m2")) == ("waiting", "dropped")
    await house.hear(template_said(house.clock.now(), "APPROVED"))
    await house.until_state("accepted")


async def test_a_disabled_template_drops_its_messages(house: House) -> None:
    await house.hear(template_said(house.clock.now(), "DISABLED"), person(), request())
    await house.until_state("dropped")
    assert (await house.events())[-1]["data"]["reason"] == "template_disabled"

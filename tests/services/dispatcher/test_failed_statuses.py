"""Errors that WhatsApp tells only later, by a failed status: the same holds as for those of an answer."""

import os
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from shared.contracts.ids import Wamid
from shared.contracts.whatsapp import Status, StatusReported
from shared.runtime.clock import machine_now
from tests.dev.whatsapp.stand import Hook, Stand
from tests.services.dispatcher.house import House, at_work, person, request, until

pytestmark = pytest.mark.integration
_CASES = Path(os.environ.get("STET_CASES", "../shared/cases"))
_MINUTE = timedelta(minutes=1)
_LOCKED = 131031


async def _fail(house: House, code: int, message_id: str = "m1", attempt: int = 1) -> None:
    """The send was accepted; then a status says that it failed."""
    await house.until_state("accepted", message_id)
    wamid = await house.pool.fetchval("select wamid from messages where message_id = $1", message_id)
    await house.hear(
        StatusReported(
            wamid=Wamid(wamid),
            status=Status.FAILED,
            at=house.clock.now(),
            code=code,
            callback=f"{message_id}.{attempt}",
        )
    )


async def _sends(house: House) -> list[str]:
    return [message["biz_opaque_callback_data"] for message in await house.sent()]


async def _stopped(house: House) -> bool:
    return house.parts.sender.holds.awaits_operator("main", house.parts.sender.moment().machine)


@pytest.mark.parametrize("code", [131031, 131042, 131048, 368, 190, 131045])
async def test_an_account_level_error_stops_the_number_whichever_way_it_comes(house: House, code: int) -> None:
    await house.hear(person(), person("p2", "+441632960002"), request())
    await _fail(house, code)
    await until(lambda: _stopped(house))
    await house.hear(request("m2", "p2"))
    house.later(10 * _MINUTE)
    await house.rest()
    assert await _sends(house) == ["m1.1"]
    assert (await house.state(), await house.state("m2")) == ("waiting", "waiting")


def _code_of_case() -> int:
    webhook = orjson.loads((_CASES / "13-failed-status-account-locked" / "webhook.json").read_bytes())
    status = webhook["entry"][0]["changes"][0]["value"]["statuses"][0]
    return int(status["errors"][0]["code"])


@pytest.mark.skipif(not _CASES.is_dir(), reason="STET_CASES names no folder of inputs that failed")
async def test_the_case_of_a_locked_account_is_not_sent_again_every_minute(house: House) -> None:
    await house.hear(person(), request())
    await _fail(house, _code_of_case())
    await until(lambda: _stopped(house))
    for _ in range(30):
        house.later(_MINUTE)
        await house.rest()
    assert await _sends(house) == ["m1.1"]


@pytest.mark.parametrize(("code", "others"), [(130429, 0), (80007, 0), (131056, 1)])
async def test_a_throttle_slows_its_scope_whichever_way_it_comes(house: House, code: int, others: int) -> None:
    await house.hear(person(), person("p2", "+441632960002"), request())
    await _fail(house, code)
    await until(lambda: _knows_holds(house))
    await house.hear(request("m2"), request("m3", "p2"))
    await house.rest()
    assert len(await _sends(house)) == 1 + others
    house.later(_MINUTE)
    await house.rest()
    assert (await _sends(house))[1 + others] == ("m3.1" if not others else "m1.2") or others == 0


async def _knows_holds(house: House) -> bool:
    return house.parts.sender.holds.probing("main") or bool(house.parts.sender.holds.by_status())


async def test_one_send_is_tried_after_the_wait_and_a_good_status_opens_the_queue(
    postgres_database: str, clock_file: Path, stand: Stand, hook: Hook
) -> None:
    async with at_work(postgres_database, clock_file, stand, hook) as house:
        await house.hear(*(person(f"p{n}", f"+44163296000{n}") for n in range(4)), request("m0", "p0"))
        await _fail(house, _LOCKED, "m0")
        await house.hear(*(request(f"m{n}", f"p{n}") for n in range(1, 4)))
        house.later(2 * _MINUTE)
        await until(lambda: _stopped(house))
    async with at_work(postgres_database, clock_file, stand, hook) as restarted:
        await until(lambda: _sent_so_many(restarted, 2))
        await restarted.rest()
        assert len(await _sends(restarted)) == 2
        await restarted.hear_statuses()
        await until(lambda: _sent_so_many(restarted, 4))


async def _sent_so_many(house: House, count: int) -> bool:
    return len(await house.sent()) == count


async def test_a_replica_that_only_reads_tells_the_one_that_sends(
    house: House, postgres_database: str, clock_file: Path, stand: Stand, hook: Hook
) -> None:
    await house.hear(person(), request())
    await house.until_state("accepted")
    async with at_work(postgres_database, clock_file, stand, hook) as reader:
        await _fail(reader, _LOCKED)
        await until(lambda: _stopped(house))
        await house.hear(request("m2"))
        await house.rest()
    assert await _sends(house) == ["m1.1"]


async def test_an_unknown_code_fails_its_message_and_stops_nothing(house: House) -> None:
    await house.hear(person(), request())
    await _fail(house, 987_654)
    await house.until_state("failed")
    assert (await house.events())[-1]["data"]["reason"] == "message_refused"
    await house.hear(request("m2"))
    await house.until_state("accepted", "m2")


async def test_the_pause_after_doubt_survives_a_restart(
    postgres_database: str, clock_file: Path, stand: Stand, hook: Hook
) -> None:
    async with at_work(postgres_database, clock_file, stand, hook, send_timeout_seconds=1) as house:
        await stand.tell("faults", {"kind": "timeout_before", "seconds": 30})
        await house.hear(person(), person("p2", "+441632960002"), request())
        await house.until_state("uncertain")
        await house.pool.execute("update holds set until = $1, strikes = 5", machine_now() + timedelta(hours=1))
    async with at_work(postgres_database, clock_file, stand, hook) as restarted:
        await until(lambda: _owns(restarted))
        await restarted.hear(request("m2", "p2"))
        assert restarted.parts.sender.holds.stopped("main", machine_now() + timedelta(minutes=59))
        assert await restarted.state("m2") == "waiting"


async def _owns(house: House) -> bool:
    return house.parts.sender.claims is not None


async def test_sends_that_a_predecessor_left_without_an_answer_slow_the_next_owner_down(house: House) -> None:
    await house.stop()
    await house.hear(*(person(f"p{n}", f"+44163296000{n}") for n in range(2)), request("m0", "p0"), request("m1", "p1"))
    await house.pool.execute(
        "update messages set state = 'intent', attempts = 1, wording = 'template', lease_until = $1"
        " where message_id = 'm0'",
        machine_now() + _MINUTE,
    )
    await house.start()
    await until(lambda: _owns(house))
    assert house.parts.sender.holds.probing("main")
    await house.until_state("accepted", "m1")
    assert not house.parts.sender.holds.probing("main")

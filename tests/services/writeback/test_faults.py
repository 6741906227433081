"""When Consonance misbehaves: nothing is claimed that is not seen, and nothing is written twice."""

import asyncio

import pytest

from services.writeback import intake
from services.writeback.gate import Pause
from tests.services.writeback.desk import Desk, at_desk
from tests.services.writeback.samples import metadata, pitch, request

pytestmark = pytest.mark.integration


async def test_errors_beside_a_200_are_no_success_and_are_tried_again(desk: Desk) -> None:
    await desk.fault("ok_with_errors", operation="SetWorkSubtitle")
    await desk.ask(request(metadata()))
    await desk.heard("verified", "approved")
    assert len(await desk.log("updateWork")) == 1


async def test_a_refusal_in_the_payload_becomes_a_task_with_its_words(desk: Desk) -> None:
    await desk.fault("ok_with_errors", operation="SetWorkSubtitle", place="payload", message="is too odd")
    await desk.ask(request(metadata()))
    await desk.heard("manual")
    (task,) = await desk.pool.fetch("select reason, said from tasks")
    assert (task["reason"], task["said"]) == ("refused", '["base: is too odd"]')


async def test_a_write_that_landed_without_an_answer_is_verified_and_not_repeated(desk: Desk) -> None:
    await desk.fault("write_then_timeout", operation="CreateAcquisition", seconds=0.2)
    await desk.ask(request(pitch(), "w1", "acquisitions/PITCH-7", None))
    await desk.heard("verified")
    assert len(await desk.log("createAcquisition")) == 1


async def test_what_may_still_land_is_unknown_until_it_does(desk: Desk) -> None:
    await desk.fault("latency", operation="SetWorkSubtitle", seconds=1.6)
    await desk.ask(request(metadata()))
    await desk.heard("unknown", "verified", "approved")
    assert len(await desk.log("updateWork")) == 1


async def test_what_never_landed_is_unknown_and_then_written(postgres_database: str) -> None:
    async with at_desk(postgres_database, may_land=0.5) as desk:
        await desk.fault("http_503", operation="SetWorkSubtitle")
        await desk.ask(request(metadata()))
        await desk.heard("unknown", "verified", "approved")
        assert len(await desk.log("updateWork")) == 1


async def test_while_consonance_is_down_the_queue_keeps_everything(desk: Desk) -> None:
    await desk.fault("http_503", count=None)
    await desk.ask(*(request(metadata(), f"w{n}") for n in range(20)))
    await desk.until(lambda: paused(desk, Pause.DOWN))
    assert (await desk.ledger.backlog()).moving == 20
    await desk.stand.tell("DELETE", "faults")
    await desk.until(lambda: finished(desk))
    assert await desk.said() == ["verified", "approved"] + ["already_applied", "approved"] * 19


async def test_a_revoked_key_pauses_everything_until_it_is_good_again(desk: Desk) -> None:
    await desk.fault("revoked_key", count=None)
    await desk.ask(request(metadata()))
    await desk.until(lambda: paused(desk, Pause.KEY_REFUSED))
    assert await desk.said() == []
    await desk.stand.tell("DELETE", "faults")
    await desk.heard("verified", "approved")


async def test_a_schema_that_changed_is_looked_at_again(desk: Desk) -> None:
    refused = "Cannot query field 'subtitle' on type 'Work'."
    await desk.fault("ok_with_errors", operation="ReadWorkSubtitle", message=refused)
    await desk.ask(request(metadata()))
    await desk.heard("verified", "approved")


async def test_a_record_that_cannot_be_read_goes_to_a_person(desk: Desk) -> None:
    await desk.fault("ok_with_errors", operation="ReadWorkSubtitle", count=None)
    async with asyncio.timeout(30):
        await desk.ask(request(metadata()))
        await desk.heard("manual")
    assert (await desk.events())[0]["data"]["detail"] == "unreadable"


async def paused(desk: Desk, pause: Pause) -> bool:
    return desk.gate.pause is pause


async def finished(desk: Desk) -> bool:
    return (await desk.ledger.backlog()).moving == 0


async def test_one_failed_read_after_many_looks_asks_no_person(desk: Desk) -> None:
    await desk.fault("ok_with_errors", operation="ReadWorkSubtitle")
    async with desk.pool.acquire() as connection, connection.transaction():
        await intake.enqueue(connection, [request(metadata())])
        await connection.execute("update writes set looks = 9")
    await desk.heard("verified", "approved")


async def test_one_failed_read_back_after_a_late_write_asks_no_person(desk: Desk) -> None:
    await desk.fault("ok_with_errors", operation="SetWorkSubtitle")  # the attempt fails, so the next one waits
    async with desk.pool.acquire() as connection, connection.transaction():
        await intake.enqueue(connection, [request(metadata())])
        await connection.execute("update writes set looks = 9")
    await desk.until(lambda: attempted(desk))
    await desk.fault("ok_with_errors", operation="ReadWorkSubtitle")
    await desk.heard("verified", "approved")


async def attempted(desk: Desk) -> bool:
    return bool(await desk.pool.fetchval("select attempts from writes"))

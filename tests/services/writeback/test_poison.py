"""One write or answer that surprises is put off with a reason; the others go on, and so does the process."""

import asyncio
from typing import Any

import pytest

from services.writeback import intake
from services.writeback.gate import Pause
from services.writeback.report import Report
from shared.runtime.clock import SystemClock
from shared.runtime.telemetry import counter
from tests.services.writeback.desk import Desk
from tests.services.writeback.samples import metadata, pitch, request

pytestmark = pytest.mark.integration


def _put_off() -> float:
    found = counter("stet_writeback_set_aside_total", "Writes that surprised and were put off", "reason")
    return float(
        sum(sample.value for metric in found.collect() for sample in metric.samples if sample.name.endswith("_total"))
    )


async def _ask_two(desk: Desk, poison: str) -> None:
    """Two writes of two lanes; the first is no write of any version."""
    asked = [request(metadata(), "w1"), request(pitch(), "w2", "acquisitions/R1", None)]
    async with desk.pool.acquire() as connection, connection.transaction():
        await intake.enqueue(connection, asked)
        await connection.execute("update writes set request = $1 where record = 'works/61421'", poison)


@pytest.mark.parametrize("poison", ["null", "[]", "{}", '{"write_id": 5}'])
async def test_a_write_that_cannot_be_read_is_put_off_and_the_others_go_on(desk: Desk, poison: str) -> None:
    before = _put_off()
    await _ask_two(desk, poison)
    await desk.heard("verified")
    assert _put_off() > before


async def test_a_write_that_cannot_even_be_put_off_ends_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(desk.ledger, "set_aside", fails)
    await _ask_two(desk, "{}")
    await desk.heard("verified")


async def test_an_introspection_that_cannot_be_read_is_waited_out(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, left = desk.queue._consonance.fetch_schema, [2]

    async def spoilt() -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise TypeError
        return await whole()

    monkeypatch.setattr(desk.queue._consonance, "fetch_schema", spoilt)
    await desk.ask(request(metadata()))
    await desk.heard("verified", "approved")
    assert left[0] < 0


async def test_the_report_goes_on_after_an_error_of_any_kind(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.writeback.report._EVERY", 0.01)
    asked = [0]

    async def fails() -> Any:
        asked[0] += 1
        raise ValueError

    monkeypatch.setattr(desk.ledger, "backlog", fails)
    running = asyncio.create_task(Report(desk.ledger, desk.queue, SystemClock()).run())
    await desk.until(lambda: _at_least(asked, 3))
    assert not running.done()
    running.cancel()


async def _at_least(asked: list[int], times: int) -> bool:
    return asked[0] >= times


async def test_a_refused_key_is_named_until_it_is_accepted(desk: Desk) -> None:
    await desk.fault("revoked_key", count=None)
    await desk.ask(request(metadata()))
    await desk.until(lambda: _refused(desk))
    assert (await desk.consonance.key_detail()).startswith("STET_CONSONANCE_KEY: ")
    await desk.stand.tell("DELETE", "faults")
    await desk.heard("verified", "approved")
    assert await desk.consonance.key_detail() == ""


async def _refused(desk: Desk) -> bool:
    return desk.gate.pause is Pause.KEY_REFUSED

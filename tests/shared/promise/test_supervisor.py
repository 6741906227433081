"""A task that fails is started again and says so, and nothing else notices; what no restart mends ends the process."""

import aiohttp
import pytest

from tests.shared.promise.testbed import DeliveryTestbed, SampleService, event, until

pytestmark = pytest.mark.integration


async def metric(sample: SampleService, line: str) -> bool:
    address = f"http://127.0.0.1:{sample.command.environment['STET_HEALTH_PORT']}/metrics"
    async with aiohttp.ClientSession() as session, session.get(address) as answer:
        return line in (await answer.text()).splitlines()


async def test_a_task_that_fails_is_started_again_while_the_others_go_on(testbed: DeliveryTestbed) -> None:
    sample = await testbed.sample(SAMPLE_FAILURES="error,group,ends,cancelled")
    await until(lambda: sample.has_logged("shaky.works"))
    assert await metric(sample, 'stet_task_restarts_total{service="rules",task="shaky"} 4.0')
    assert await metric(sample, 'stet_task_restarts_total{service="rules",task="consumer"} 0.0')
    assert await sample.has_logged('"event":"task.restarted"')
    await testbed.produce([event("person-1", 1)])
    await until(lambda: testbed.reached(1))
    assert sample.alive


@pytest.mark.parametrize(("fault", "code"), [("misconfigured", 2), ("fenced", 1)])
async def test_a_fault_that_no_restart_mends_ends_the_process(testbed: DeliveryTestbed, fault: str, code: int) -> None:
    sample = await testbed.sample(SAMPLE_FAILURES=f"error,{fault}")
    assert await sample.ended() == code


async def test_a_consumer_that_meets_a_surprise_reads_on_where_it_was(testbed: DeliveryTestbed) -> None:
    """The table takes no rows, an error that was not foreseen: even parking fails. Mended, everything is read."""
    await testbed.run_sql("alter table rules.parked add constraint takes_nothing check (false)")
    await testbed.produce([event("person-1", 1), event("person-1", 2, "unfit"), event("person-1", 3)])
    sample = await testbed.sample()
    await until(lambda: sample.has_logged('"task":"consumer"'))
    await testbed.run_sql("alter table rules.parked drop constraint takes_nothing")
    await until(testbed.all_read)
    assert [event_id for event_id, _ in await testbed.effects()] == ["person-1#000001", "person-1#000003"]
    assert sample.alive

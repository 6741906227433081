"""The cost of traces: ingest and rules with the default share recorded and sent, beside the same without a collector.

The two processes of ingest run side by side and are measured in turns; those of rules, which would share partitions,
one after the other.
"""

from collections.abc import AsyncIterator
from functools import partial

from bench.environment import BenchEnvironment, bench_environment, free_port
from bench.ingest import measure_load
from bench.results import BenchResult, compare_with_floor, measure_in_turns
from bench.rules import NOW, EventStream, measure_events
from dev.ports import LOOPBACK

_TARGET = 0.9
"""Traces may cost a tenth."""

_EVENTS_PER_SECOND = 5_000
_RULES = 50
_ROUNDS_OF_RULES = 3


async def measure(seconds: float) -> AsyncIterator[BenchResult]:
    async with bench_environment(NOW) as environment:
        port = free_port()
        await environment.start_tool("trace_sink", port=port)
        traced = {"STET_OTLP_ENDPOINT": f"http://{LOOPBACK}:{port}"}
        yield await _measure_ingest(environment, traced, seconds)
        yield await _measure_rules(environment, traced, seconds)


async def _measure_ingest(environment: BenchEnvironment, traced: dict[str, str], seconds: float) -> BenchResult:
    layout = environment.layout
    secret, number = layout.secrets.whatsapp_app_secret, layout.lines["main"]
    ports = []
    for settings in (traced, {}):
        ports.append(free_port())
        await environment.start_beside("ingest", ports[-1], settings)
    ours, floor = (
        partial(measure_load, port, secret=secret, number=number, seconds=seconds, statuses=1) for port in ports
    )
    return compare_with_floor(
        "traces: signed webhooks, beside none recorded", await measure_in_turns(ours, floor), _TARGET
    )


async def _measure_rules(environment: BenchEnvironment, traced: dict[str, str], seconds: float) -> BenchResult:
    stream, count = EventStream(environment), int(_EVENTS_PER_SECOND * seconds)
    await stream.write_people_and_works()
    medians = await measure_in_turns(
        partial(measure_events, stream, (count, _RULES), traced),
        partial(measure_events, stream, (count, _RULES), {}),
        _ROUNDS_OF_RULES,
    )
    return compare_with_floor(f"traces: events, {_RULES} rules, beside none recorded", medians, _TARGET)

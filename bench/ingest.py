"""Ingest beside a bare ASGI handler: signed webhooks per second, and statuses per second in large bodies."""

from collections.abc import AsyncIterator
from functools import partial
from urllib.parse import urlsplit

from bench.environment import bench_environment, free_port, run_tool
from bench.results import BenchResult, compare_with_floor, measure_in_turns

_TARGET = 0.7
_LARGE = 100


async def measure(seconds: float) -> AsyncIterator[BenchResult]:
    async with bench_environment() as environment:
        layout, floor_port = environment.layout, free_port()
        secret, number = layout.secrets.whatsapp_app_secret, layout.lines["main"]
        await environment.start_service("ingest")
        await environment.start_tool("floor_ingest", "--kafka", environment.kafka, "--secret", secret, port=floor_port)
        ingest_port = urlsplit(layout.ingest_url).port or 0
        load = partial(measure_load, secret=secret, number=number, seconds=seconds)
        medians = await measure_in_turns(partial(load, ingest_port, statuses=1), partial(load, floor_port, statuses=1))
        yield compare_with_floor("ingest: signed one-status webhooks", medians, _TARGET)
        medians = await measure_in_turns(
            partial(load, ingest_port, statuses=_LARGE), partial(load, floor_port, statuses=_LARGE)
        )
        yield compare_with_floor(f"ingest: statuses, {_LARGE} a body", medians, _TARGET)


async def measure_load(port: int, *, secret: str, number: str, statuses: int, seconds: float) -> float:
    """Webhooks per second, times their statuses, that a process of ingest accepts at this port."""
    measured = await run_tool(
        "webhook_load",
        "--port",
        str(port),
        "--secret",
        secret,
        "--number",
        number,
        "--statuses",
        str(statuses),
        "--seconds",
        str(seconds),
    )
    return float(measured["webhooks"] * statuses / measured["seconds"])

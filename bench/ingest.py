"""Ingest beside a bare ASGI handler: signed webhooks per second, and statuses per second in large bodies.

Beside no floor: messages of unknown senders per second.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from statistics import median
from urllib.parse import urlsplit

from bench.environment import bench_environment, free_port, run_tool
from bench.results import ROUNDS, BenchResult, compare_with_floor, measure_in_turns

_TARGET = 0.7
_TARGET_BY_CONNECTIONS = 0.85
_CONNECTIONS = (4, 32, 256)
_LARGE = 100
_TARGET_SENDERS = 1_500
_SENDERS = 1_000_000
"""More than write in one round: each round has its own."""


async def measure(seconds: float) -> AsyncIterator[BenchResult]:
    async with bench_environment() as environment:
        layout, floor_port = environment.layout, free_port()
        secret, number = layout.secrets.whatsapp_app_secret, layout.lines["main"]
        await environment.start_service("ingest")
        await environment.start_tool("floor_ingest", "--kafka", environment.kafka, "--secret", secret, port=floor_port)
        ingest_port = urlsplit(layout.ingest_url).port or 0
        load = partial(measure_load, secret=secret, number=number, seconds=seconds)

        async def compare(name: str, target: float, **options: int) -> BenchResult:
            ours, floor = (partial(load, port, **options) for port in (ingest_port, floor_port))
            return compare_with_floor(f"ingest: {name}", await measure_in_turns(ours, floor), target)

        yield await compare("signed one-status webhooks", _TARGET)
        for connections in _CONNECTIONS:
            name = f"signed one-status webhooks, {connections} connections"
            yield await compare(name, _TARGET_BY_CONNECTIONS, connections=connections)
        yield await compare(f"statuses, {_LARGE} a body", _TARGET, statuses=_LARGE)
        yield await _measure_unknown_senders(partial(load, ingest_port))


async def _measure_unknown_senders(load: Callable[..., Awaitable[float]]) -> BenchResult:
    """Each sender makes a person in the database, so no floor without one is the measure."""
    rates = [await load(first_sender=place * _SENDERS) for place in range(ROUNDS + 1)][1:]  # the first is warm-up
    rate = median(rates)
    met = rate >= _TARGET_SENDERS
    return BenchResult("ingest: messages of unknown senders", "–", f"{rate:,.0f}", None, f"≥ {_TARGET_SENDERS:,}", met)


async def measure_load(port: int, *, secret: str, number: str, seconds: float, statuses: int = 1, **more: int) -> float:
    """Webhooks per second, times their statuses, that a process of ingest accepts at this port.

    ``more`` are the other options of bench/webhook_load.py.
    """
    options = {"port": port, "secret": secret, "number": number, "statuses": statuses, "seconds": seconds, **more}
    arguments = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    measured = await run_tool("webhook_load", *arguments)
    return float(measured["webhooks"] * statuses / measured["seconds"])

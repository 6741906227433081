"""Ingest beside a bare ASGI handler: signed webhooks per second with the CPU of one, and statuses per second in large
bodies.

Beside no floor: messages of unknown senders per second.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from urllib.parse import urlsplit

from bench.environment import bench_environment, cpu_seconds, free_port, run_tool
from bench.results import ROUNDS, BenchResult, compare_with_floor, measure_in_turns
from dev.processes import Child

_TARGET = 0.7
_TARGET_BY_CONNECTIONS = 0.85
_CONNECTIONS = (4, 32, 256)
_LARGE = 100
_TARGET_SENDERS = 1_500
_SENDERS = 1_000_000
"""More than write in one round: each round has its own."""


@dataclass(frozen=True)
class _Server:
    """Ingest or its floor; ``cpu`` has the seconds of CPU that a status cost it in each round."""

    process: Child
    port: int
    load: Callable[..., Awaitable[float]]
    seconds: float
    cpu: list[float] = field(default_factory=list)

    async def measure(self, **options: int) -> float:
        pids = {"server": self.process.pid}
        before = cpu_seconds(pids)["server"]
        rate = await self.load(self.port, **options)
        self.cpu.append((cpu_seconds(pids)["server"] - before) / (rate * self.seconds))
        return rate

    @property
    def microseconds(self) -> float:
        return 1e6 * median(self.cpu[-ROUNDS:])


async def measure(seconds: float) -> AsyncIterator[BenchResult]:
    async with bench_environment() as environment:
        layout, floor_port = environment.layout, free_port()
        secret, number = layout.secrets.whatsapp_app_secret, layout.lines["main"]
        process = await environment.start_service("ingest")
        arguments = ("--kafka", environment.kafka, "--secret", secret)
        floor_process = await environment.start_tool("floor_ingest", *arguments, port=floor_port)
        ingest_port = urlsplit(layout.ingest_url).port or 0
        load = partial(measure_load, secret=secret, number=number, seconds=seconds)
        ours, floor = _Server(process, ingest_port, load, seconds), _Server(floor_process, floor_port, load, seconds)

        async def compare(name: str, target: float, **options: int) -> BenchResult:
            rates = await measure_in_turns(partial(ours.measure, **options), partial(floor.measure, **options))
            return compare_with_floor(f"ingest: {name}", rates, target)

        yield await compare("signed one-status webhooks", _TARGET)
        for connections in _CONNECTIONS:
            name = f"signed one-status webhooks, {connections} connections"
            yield await compare(name, _TARGET_BY_CONNECTIONS, connections=connections)
            yield _cpu_result(f"ingest: CPU of one, {connections} connections", ours, floor)
        yield await compare(f"statuses, {_LARGE} a body", _TARGET, statuses=_LARGE)
        yield _cpu_result(f"ingest: CPU of one status, {_LARGE} a body", ours, floor)
        yield await _measure_unknown_senders(partial(load, ingest_port))


def _cpu_result(name: str, ours: _Server, floor: _Server) -> BenchResult:
    """Of the server's own process. Other work of the machine changes it much less than the rates."""
    mine, other = ours.microseconds, floor.microseconds
    return BenchResult(name, f"{other:.0f} µs", f"{mine:.0f} µs", other / mine)


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

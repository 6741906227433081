"""Ingest beside a bare ASGI handler: signed webhooks per second, and statuses per second in large bodies."""

from collections.abc import AsyncIterator
from functools import partial
from urllib.parse import urlsplit

from bench.ground import free_port, ground, once
from bench.rounds import take_turns
from bench.table import Row, against_floor

_MIN_RATIO = 0.7
_BATCH = 100


async def measure(seconds: float) -> AsyncIterator[Row]:
    async with ground() as footing:
        layout, floor_port = footing.layout, free_port()
        secret, number = layout.secrets.whatsapp_app_secret, layout.lines["main"]
        await footing.service("ingest")
        await footing.tool("floor_ingest", "--kafka", footing.kafka, "--secret", secret, port=floor_port)
        ingest_port = urlsplit(layout.ingest_url).port or 0
        load = partial(_measure_load, secret=secret, number=number, seconds=seconds)
        rounds = await take_turns(partial(load, ingest_port, statuses=1), partial(load, floor_port, statuses=1))
        yield against_floor("ingest: signed one-status webhooks", rounds, _MIN_RATIO)
        rounds = await take_turns(
            partial(load, ingest_port, statuses=_BATCH),
            partial(load, floor_port, statuses=_BATCH),
        )
        yield against_floor(f"ingest: statuses, {_BATCH} a body", rounds, _MIN_RATIO)


async def _measure_load(port: int, *, secret: str, number: str, statuses: int, seconds: float) -> float:
    result = await once(
        "load", "--port", str(port), "--secret", secret, "--number", number,
        "--statuses", str(statuses), "--seconds", str(seconds),
    )  # fmt: skip
    return float(result["webhooks"] * statuses / result["seconds"])

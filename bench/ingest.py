"""Ingest beside a bare ASGI handler: signed webhooks a second, and statuses a second in large bodies."""

from collections.abc import AsyncIterator
from functools import partial
from urllib.parse import urlsplit

from bench.ground import free_port, ground, once
from bench.rounds import take_turns
from bench.table import Row, against_floor

_WANTED = 0.7
_LARGE = 100


async def measure(seconds: float) -> AsyncIterator[Row]:
    async with ground() as footing:
        layout, port = footing.layout, free_port()
        secret, number = layout.secrets.whatsapp_app_secret, layout.lines["main"]
        await footing.service("ingest")
        await footing.tool("floor_ingest", "--kafka", footing.kafka, "--secret", secret, port=port)
        door = urlsplit(layout.ingest_url).port or 0
        load = partial(_loaded, secret=secret, number=number, seconds=seconds)
        rounds = await take_turns(partial(load, door, statuses=1), partial(load, port, statuses=1))
        yield against_floor("ingest: signed one-status webhooks", rounds, _WANTED)
        rounds = await take_turns(partial(load, door, statuses=_LARGE), partial(load, port, statuses=_LARGE))
        yield against_floor(f"ingest: statuses, {_LARGE} a body", rounds, _WANTED)


async def _loaded(port: int, *, secret: str, number: str, statuses: int, seconds: float) -> float:
    found = await once(
        "load", "--port", str(port), "--secret", secret, "--number", number,
        "--statuses", str(statuses), "--seconds", str(seconds),
    )  # fmt: skip
    return float(found["webhooks"] * statuses / found["seconds"])

"""A million events through rules, and how much memory its process has meanwhile: flat, or not."""

from collections.abc import AsyncIterator
from statistics import median

import psutil
from rich.console import Console

from bench.ground import ground, until
from bench.rules import NOW, Reading, settled, start
from bench.table import Row

_MILLION = 1_000_000
_LOT = 50_000
_RULES = 50
_GROWTH = 1.1  # from the first quarter of the way to the last
_A_QUARTER = 5  # lots; what is fetched and not yet read makes any single reading differ by a tenth


async def measure() -> AsyncIterator[Row]:
    console = Console(stderr=True)
    async with ground(NOW) as footing:
        reading = Reading(footing)
        await reading.known()
        ours = await start(footing, _RULES)
        await settled(reading, ours, _RULES)
        process, seen = psutil.Process(ours.pid), []
        for done in range(_LOT, _MILLION + 1, _LOT):
            await reading.more(_LOT, _RULES)
            await until(lambda: reading.read("rules"), reading.written, ours, seconds=600)
            await reading.relayed(ours)
            seen.append(process.memory_info().rss / 2**20)
            console.print(f"  {done:,} events: {seen[-1]:.0f} MiB", highlight=False)
    first, last = median(seen[1 : 1 + _A_QUARTER]), median(seen[-_A_QUARTER:])
    what = "rules: memory over a million events"
    yield Row(what, f"{first:.0f} MiB", f"{last:.0f} MiB", last / first, f"≤ {_GROWTH}", last / first <= _GROWTH)

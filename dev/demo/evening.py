"""``make demo`` from the first line to the last: a stack of its own, the eight stories, what is told of them."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

from rich.console import Console
from rich.status import Status

from dev.demo.performance import POLLED_BY_HAND, Performance, perform
from dev.demo.stories import STORIES
from dev.demo.story import BEGINS
from dev.demo.telling import spell, tell
from dev.stack import Stack
from shared.contracts.errors import StetError

_NAME = "demo"


def main() -> int:
    console = Console()
    began = time.monotonic()
    try:
        performance = asyncio.run(_evening(console, began))
    except StetError as failure:
        console.print(str(failure), style="red", markup=False, highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; everything it started has ended")
        return 130
    tell(console, performance)
    console.print(f"{len(STORIES)} stories in {time.monotonic() - began:.0f} s", highlight=False)
    return 0 if performance.as_told else 1


async def _evening(console: Console, began: float) -> Performance:
    with console.status("setting up") as status:

        def say(line: str) -> None:
            console.print(f"{time.monotonic() - began:5.1f} s  {line}", style="dim", highlight=False)

        async with Stack.open(_NAME, BEGINS, POLLED_BY_HAND, say) as stack:
            say("the stories are played side by side, on a clock that jumps to what is due next")
            performance = await perform(stack, STORIES, watch=_progress(status))
            status.update("ending")
        return performance


def _progress(status: Status) -> Callable[[datetime], None]:
    return lambda now: status.update(f"it is {spell(now)}")

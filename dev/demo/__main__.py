"""``make demo``: plays the eight stories on a stack of its own, then erases a person.

Exits 0 only if every story ended as expected, and nothing of the person is left.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

import typer
from rich.console import Console
from rich.status import Status

from dev.demo.erasure import ErasedPerson, erase_named
from dev.demo.report import format_time, print_erasure, print_result
from dev.demo.runner import POLLED_ON_REQUEST, DemoResult, play_stories
from dev.demo.stories import STORIES
from dev.demo.stories.pitch import PITCH, STRANGER
from dev.demo.story import STARTS_AT
from dev.stack import Stack
from shared.contracts.errors import StetError

_STACK = "demo"


def main() -> None:
    """Play the eight stories on a stack of its own, then erase a person; exits 0 only if all end as expected."""
    raise typer.Exit(_run())


def _run() -> int:
    """Return the exit code."""
    console = Console()
    started = time.monotonic()
    try:
        result, erased = asyncio.run(_play(console, started))
    except StetError as failure:
        console.print(str(failure), style="red", markup=False, highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; every process that it started has ended")
        return 130
    print_result(console, result)
    print_erasure(console, erased)
    console.print(f"{len(STORIES)} stories in {time.monotonic() - started:.0f} s", highlight=False)
    return 0 if result.passed and erased.is_gone else 1


async def _play(console: Console, started: float) -> tuple[DemoResult, ErasedPerson]:
    with console.status("setting up") as status:

        def report(line: str) -> None:
            console.print(f"{time.monotonic() - started:5.1f} s  {line}", style="dim", highlight=False)

        async with Stack.open(_STACK, STARTS_AT, POLLED_ON_REQUEST, report) as stack:
            report("playing the stories side by side, on a clock that jumps to the next due time")
            result = await play_stories(stack, STORIES, on_instant=_show_time(status))
            report("erasing the stranger of the pitch, as stet erase does, and letting a day pass")
            erased = await erase_named(stack, STRANGER, (PITCH,))
            status.update("stopping")
        return result, erased


def _show_time(status: Status) -> Callable[[datetime], None]:
    return lambda now: status.update(f"it is {format_time(now)}")


if __name__ == "__main__":
    typer.run(main)

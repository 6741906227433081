"""``make up``: a stack on the real clock that runs until it is interrupted; ``stack.json`` says how to reach it."""

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import orjson
from rich.console import Console

from dev.stack import Stack, StackOptions, announcement
from shared.contracts.errors import StetError

_WATCH_SECONDS = 0.5


def main(name: str, options: StackOptions | None = None) -> int:
    """Run the stack called ``name`` ("" for the default one); returns the exit code."""
    console = Console(stderr=True)
    try:
        asyncio.run(_up(name, options, console))
    except StetError as failure:
        console.print(str(failure), style="red", markup=False, highlight=False)
        return 1
    return 0


async def _up(name: str, options: StackOptions | None, console: Console) -> None:
    _cancel_on_signals()
    began = time.monotonic()

    def report(line: str) -> None:
        console.print(f"{time.monotonic() - began:5.1f} s  {line}", highlight=False)

    with suppress(asyncio.CancelledError):
        async with Stack.open(name, options=options, report=report) as stack:
            with _announced(name, stack) as place:
                report(f"ready: {place}; Ctrl-C stops it")
                await _watch(stack)
    report("stopped")


async def _watch(stack: Stack) -> None:
    """Watch the processes until cancelled. Raises ProcessFailed when one ends by itself."""
    while True:
        stack.check()
        await asyncio.sleep(_WATCH_SECONDS)


@contextmanager
def _announced(name: str, stack: Stack) -> Iterator[Path]:
    """Keep the stack's document in place while it runs; only its owner may read it, as it holds the run's secrets."""
    place = announcement(name)
    draft = place.with_suffix(".draft")
    draft.touch(mode=0o600)
    draft.write_bytes(orjson.dumps(stack.document(), option=orjson.OPT_INDENT_2))
    draft.replace(place)
    try:
        yield place
    finally:
        place.unlink(missing_ok=True)


def _cancel_on_signals() -> None:
    task = asyncio.current_task()
    if task is not None:
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(name, task.cancel)

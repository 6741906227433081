"""``make alerts``: causes every failure in a stack of its own, and prints which alerts fired after how many seconds."""

import asyncio

import typer
from rich.console import Console
from rich.table import Table

from dev.demo.stories import STORIES
from dev.demo.story import london
from dev.observability.failures import FAILING_STACK, QUICK_ROUNDS, SLOW_ROUNDS
from dev.observability.failures.run import FailureReport, FailureResult, cause_failures
from dev.observability.observed_stack import ObservedStack
from dev.observability.prometheus import Firing

_MORNING = london(6, 1, 10, 10)  # a Tuesday after the stories, when people may be written to


def main() -> None:
    """Cause every failure in a stack of its own, and see in a real Prometheus which alerts fire."""
    raise typer.Exit(_run())


def _run() -> int:
    """Return the exit code."""
    report = asyncio.run(_cause_all())
    table = Table("failure", "alerts that fired", "after, s", box=None)
    for result in report.results:
        table.add_row(result.failure.name, *_cells(result))
    console = Console()
    console.print(table)
    for alert in sorted(report.lingering):
        console.print(f"{_shown(alert)} still fires a minute after its cause was gone")
    console.print("every alert fired as expected" if report.passed else "not every alert fired as expected")
    return 0 if report.passed else 1


async def _cause_all() -> FailureReport:
    async with ObservedStack.open("alerts", FAILING_STACK) as observed:
        await observed.play(STORIES)
        await observed.stack.virtual_clock.run_until(_MORNING)
        return await cause_failures(observed, (*QUICK_ROUNDS, *SLOW_ROUNDS))


def _cells(result: FailureResult) -> tuple[str, str]:
    fired = sorted(result.seconds.items())
    missing = [(f"{_shown(alert)}: did not fire", "") for alert in sorted(result.missing)]
    before = [(f"{_shown(alert)}: fired before", "") for alert in sorted(result.before)]
    rows = [(_shown(alert), f"{seconds:.0f}") for alert, seconds in fired] + missing + before
    return "\n".join(row[0] for row in rows), "\n".join(row[1] for row in rows)


def _shown(alert: Firing) -> str:
    name, service = alert
    return f"{name} ({service})" if service else name


if __name__ == "__main__":
    typer.run(main)

"""The result of a run as a table: step, result, minutes; and the memory of each pod."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class StepResult:
    step: str
    passed: bool
    sentence: str
    seconds: float


@dataclass
class Progress:
    """Prints one line at a time, with the seconds since the start."""

    console: Console
    began: float = field(default_factory=time.monotonic)

    def __call__(self, line: str) -> None:
        self.console.print(
            f"{time.monotonic() - self.began:7.1f} s  {line}", markup=False, highlight=False, soft_wrap=True
        )


def print_result(console: Console, results: Sequence[StepResult], memory: Mapping[str, Sequence[float]]) -> None:
    table = Table("step", "", "result")
    table.add_column("minutes", justify="right")
    for result in results:
        mark = Text("passed", style="green") if result.passed else Text("failed", style="bold red")
        table.add_row(result.step, mark, Text(result.sentence), f"{result.seconds / 60:.1f}")
    total = sum(result.seconds for result in results)
    table.add_section()
    table.add_row("all", "", "", f"{total / 60:.1f}")
    console.print(table)
    if memory:
        console.print(_memory_table(memory))


def _memory_table(memory: Mapping[str, Sequence[float]]) -> Table:
    table = Table("workload", title="memory of the pods, under load where there was some", title_justify="left")
    table.add_column("pods", justify="right")
    table.add_column("MiB each", justify="right")
    for workload, sizes in memory.items():
        table.add_row(workload, str(len(sizes)), ", ".join(f"{size:.0f}" for size in sorted(sizes)))
    return table

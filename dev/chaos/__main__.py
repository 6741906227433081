"""``python -m dev.chaos``: one run and its judgement.

Exit codes: 0 the promise held, 1 it was broken (the run's folder is kept and named), 2 the run failed.
"""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from dev.chaos.checks.verdict import judge
from dev.chaos.report import show
from dev.chaos.run import run_chaos
from shared.contracts.errors import StetError


def main(
    *,
    seed: Annotated[int, typer.Option(help="Of the order of the faults and of the load.")] = 1,
    minutes: Annotated[float, typer.Option(help="How long faults are caused.", min=0.1)] = 2.0,
    name: Annotated[str, typer.Option(help="Of the stack; two runs at a time need two.")] = "chaos",
    earlier: Annotated[
        Path | None, typer.Option("--judge", metavar="FOLDER", help="Judge the files of an earlier run once more.")
    ] = None,
) -> None:
    """Kill and freeze everything under load, then judge the delivery promise."""
    try:
        folder = earlier or asyncio.run(run_chaos(name, seed, minutes))
    except (StetError, OSError, RuntimeError) as failure:
        typer.echo(f"the run failed: {failure}", err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(show(judge(folder), folder))


if __name__ == "__main__":
    typer.run(main)

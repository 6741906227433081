"""``make cluster``: builds the images and tries them on a real Kubernetes; a table at the end says what was seen.

Exit codes: 0 every step passed, 1 a step failed or could not be tried, 2 a wrong argument.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dev.cluster.node import DEFAULT_NODE, ClusterNode
from dev.cluster.report import Progress, print_result
from dev.cluster.run import ClusterRun, ClusterStep
from dev.stack import RUN
from shared.contracts.errors import StetError

_WIDTH = 160  # columns of a log file


def main(
    node: Annotated[Path, typer.Option(envvar="NODE", help="The script that makes a node.")] = DEFAULT_NODE,
    context: Annotated[str, typer.Option(help="A cluster of the kubeconfig, which has the images, instead.")] = "",
    only: Annotated[
        list[ClusterStep] | None,
        typer.Option(metavar="STEP", help=f"Only this step, of {', '.join(ClusterStep)}; may be repeated."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the pods and the node running.")] = False,  # noqa: FBT002
    seed: Annotated[int, typer.Option(help="Of the people, the works and the load.")] = 1,
) -> None:
    """Try overlays/local for real: stories, policies, new rules, killed pods, a rollout under load, a restore."""
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    try:
        run = ClusterRun(RUN / "cluster", Progress(console), None if context else ClusterNode(node), context, seed)
    except StetError as failure:
        console.print(str(failure), style="red", markup=False, highlight=False)
        sys.exit(1)
    passed = False
    try:
        passed = run.run(only or list(ClusterStep))
    except KeyboardInterrupt:
        console.print("interrupted")
    finally:
        print_result(console, run.results, run.memory)
        if not keep:
            run.end()
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    typer.run(main)

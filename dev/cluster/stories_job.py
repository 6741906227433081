"""``python -m dev.cluster.stories_job POD=ADDRESS…``: plays the eight stories of the demo on the pods of a namespace.

It runs in a pod beside them and moves the clock that they share. Exit code 1: a story did not end as expected.
"""

import asyncio
import sys
from typing import Annotated

import typer
from rich.console import Console

from dev.cluster.in_cluster import CLOCK, ClusterStack, PodAddresses, neighbours
from dev.demo.report import print_result
from dev.demo.runner import DemoResult, play_stories
from dev.demo.stories import STORIES
from shared.contracts.errors import StetError
from shared.runtime.clock import DevelopmentClock

_WIDTH = 160  # columns: nothing tells this process how wide the terminal at the other end is


def main(pods: Annotated[list[str], typer.Argument(metavar="POD=ADDRESS…")]) -> None:
    console = Console(width=_WIDTH, force_terminal=False)
    addresses = PodAddresses(dict(_pair(pod) for pod in pods))
    stack = ClusterStack(addresses, neighbours(), DevelopmentClock(CLOCK))
    try:
        result = asyncio.run(_play(stack))
    except StetError as failure:
        console.print(str(failure), markup=False, highlight=False)
        sys.exit(1)
    print_result(console, result)
    sys.exit(0 if result.passed else 1)


def _pair(pod: str) -> tuple[str, str]:
    name, _, address = pod.partition("=")
    return name, address


async def _play(stack: ClusterStack) -> DemoResult:
    return await play_stories(stack, STORIES)


if __name__ == "__main__":
    typer.run(main)

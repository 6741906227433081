"""``python -m dev.cluster.load_job run FOLDER``: the load of a chaos run on the pods of a namespace, and its recording.

It runs in a pod beside them. ``FOLDER`` holds the rules of the run; the load ends when the file ``stop`` appears in it.
``templates FOLDER`` registers the templates of those rules with the WhatsApp simulator.
"""

import asyncio
import logging
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated

import orjson
import typer

from dev.chaos.drain import drain
from dev.chaos.load import LoadGenerator
from dev.chaos.population import Population, draw_population
from dev.chaos.recorder import RunLog, TopicRecorder, recording, save_tables
from dev.cluster.in_cluster import WHATSAPP_URL, ClusterStack, PodAddresses, neighbours
from dev.templates import register_templates

PEOPLE, WORKS = 200, 200
STARTED, STOP, LEFT = "started", "stop", "left.json"
_STILL_SECONDS = 180.0  # without a change, after which the rest is given up
_DRAIN_SECONDS = 600.0
_POLL_SECONDS = 0.5


app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)


@app.command("templates")
def register(folder: Annotated[Path, typer.Argument(help="It has the folder rules.")]) -> None:
    asyncio.run(register_templates(WHATSAPP_URL, folder / "rules"))


@app.command()
def run(
    folder: Annotated[Path, typer.Argument(help="It has the folder rules; the files of the run are written to it.")],
    seed: Annotated[int, typer.Option(help="Of people, works and load.")],
    at: Annotated[datetime, typer.Option(formats=["%Y-%m-%dT%H:%M:%S%z"], help="When the population was drawn.")],
) -> None:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    began = time.time()
    left = asyncio.run(_run(folder, seed, draw_population(seed, at, PEOPLE, WORKS)))
    (folder / LEFT).write_bytes(orjson.dumps({"began": began, "left": left}))
    sys.exit(0)


async def _run(folder: Path, seed: int, population: Population) -> dict[str, int]:
    stack = ClusterStack(PodAddresses(), neighbours())
    layout = stack.layout
    journal = RunLog(folder / "journal.jsonl")
    load = LoadGenerator(population, seed, journal, layout.consonance_url, layout.whatsapp_url)
    await load.prepare()
    async with recording(stack.neighbours.kafka_bootstrap, folder) as recorder:
        await _load(load, recorder, folder)
        left = await drain(stack, recorder, _STILL_SECONDS, _DRAIN_SECONDS)
    await save_tables(stack, folder)
    return left


async def _load(load: LoadGenerator, recorder: TopicRecorder, folder: Path) -> None:
    """Generate load until the file ``stop`` appears; a load that fails ends the run."""
    loading = asyncio.ensure_future(load.run())
    (folder / STARTED).touch()
    while not (folder / STOP).exists() and not loading.done():
        await asyncio.sleep(_POLL_SECONDS)
    load.ending.set()
    await loading
    counts = ", ".join(f"{number} {kind}" for kind, number in sorted(load.journal.counts.items()))
    print(f"the load is over: {counts}, {recorder.records} records so far", flush=True)


if __name__ == "__main__":
    app()

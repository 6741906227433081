"""``python -m dev.broker``: the broker of ``make up`` as a server of its own, for a container or a pod."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from dev.foreground import run_in_foreground
from dev.kafka import EmbeddedKafka, Listener


def main(
    data: Annotated[Path, typer.Option(help="The folder of its data; it is made where it is missing.")],
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Where clients come in; the controller has the next port, on loopback.")
    ] = 9092,
    advertise: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="How clients reach it (default: localhost and the port).")
    ] = None,
) -> None:
    """Run one Apache Kafka broker until SIGTERM. It has neither encryption nor users: for development alone."""
    broker = EmbeddedKafka(data, listener=Listener(host, port, advertise or f"localhost:{port}"))
    asyncio.run(broker.prepare())
    sys.exit(run_in_foreground(broker.command))


if __name__ == "__main__":
    typer.run(main)

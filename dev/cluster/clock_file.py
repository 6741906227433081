"""``python -m dev.cluster.clock_file FILE INSTANT``: makes the clock that all pods share, unless it is there."""

import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from shared.runtime.clock import DevelopmentClock


def main(
    file: Annotated[Path, typer.Argument(help="Its path on a volume that all pods mount.")],
    instant: Annotated[datetime, typer.Argument(formats=["%Y-%m-%dT%H:%M:%S%z"], help="Where business time starts.")],
) -> None:
    draft = file.with_name(f".{file.name}.{os.uname().nodename}")
    DevelopmentClock.create(draft, instant)
    with suppress(FileExistsError):
        os.link(draft, file)  # complete the moment it exists
    draft.unlink()


if __name__ == "__main__":
    typer.run(main)

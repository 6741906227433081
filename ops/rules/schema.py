"""``stet rules schema KIND``: the JSON Schema of a kind of rule file."""

import json
import sys
from typing import Annotated

import typer
from pydantic import TypeAdapter

from ops.command_line import ExitCode, print_error
from services.rules.scenario.folder_check import FILE_KINDS


def schema_command(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"One of {', '.join(FILE_KINDS)}.")],
) -> None:
    """Print the JSON Schema of a kind of file, by which an editor completes its keys."""
    if kind not in FILE_KINDS:
        sentence = f"there is no kind of file “{kind}”; there are {', '.join(FILE_KINDS)}"
        raise typer.Exit(print_error(sentence, code=ExitCode.CANNOT_RUN))
    schema = TypeAdapter(FILE_KINDS[kind]).json_schema()
    sys.stdout.write(f"{json.dumps(schema, indent=2, ensure_ascii=False)}\n")

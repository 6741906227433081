"""``stet rules schema [KIND]``: the JSON Schemas of the rule files."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ops.command_line import ExitCode, print_error, print_lines
from ops.rules.folder import refuse_unwritable, require_folder
from services.rules.analysis.reference import FILE_KINDS, json_schema, write_schemas


def schema_command(
    kind: Annotated[str | None, typer.Argument(metavar="KIND", help=f"One of {', '.join(FILE_KINDS)}.")] = None,
    *,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FOLDER", help="Write all of them below a folder of rules.")
    ] = None,
) -> None:
    """Print the JSON Schema of a kind of file, by which an editor completes its keys.

    With --write, those of all kinds are written into FOLDER/.schema; the first line of a rule file may name its own.
    """
    if write is not None:
        with refuse_unwritable():
            print_lines(map(str, write_schemas(require_folder(write))))
        return
    if kind is None or kind not in FILE_KINDS:
        fault = "say the kind of file" if kind is None else f"there is no kind of file “{kind}”"
        sentence = f"{fault}; there are {', '.join(FILE_KINDS)}"
        raise typer.Exit(print_error(sentence, code=ExitCode.CANNOT_RUN))
    sys.stdout.write(f"{json.dumps(json_schema(kind), indent=2, ensure_ascii=False)}\n")

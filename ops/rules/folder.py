"""The folder of rules that a verb is about: an argument of every verb that reads rule files."""

from pathlib import Path
from typing import Annotated

import typer

from ops.command_line import ExitCode, print_error

RuleFolder = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER",
        envvar="STET_RULES_DIR",
        show_envvar=False,
        show_default=False,
        help="Where the rule files are (default: STET_RULES_DIR, else rules).",
    ),
]
DEFAULT_FOLDER = Path("rules")


def require_folder(folder: Path) -> Path:
    """Exits with code 2 where there is no such folder."""
    if not folder.is_dir():
        raise typer.Exit(print_error(f"{folder}: there is no such folder", code=ExitCode.CANNOT_RUN))
    return folder

"""``stet rules comment FILE…``: one comment on the pull request of this pipeline, updated at each run."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ops.command_line import ExitCode, print_error
from ops.rules.forges import ForgeName, forge_of, write_comment
from shared.contracts.errors import Misconfigured, Unavailable
from shared.runtime.telemetry import configure_command_logs


def comment_command(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="What to post: Markdown files, joined in this order; - reads.")
    ],
    forge: Annotated[
        ForgeName | None, typer.Option("--forge", help="Whose pipeline this is; found by itself in CI.")
    ] = None,
    marker: Annotated[
        str, typer.Option("--marker", metavar="NAME", help="Tells several comments of one pull request apart.")
    ] = "rules",
) -> None:
    """Post Markdown as one comment on the pull request of this pipeline, or update the one that is there.

    The token is GITHUB_TOKEN (it may write pull requests) or GITLAB_TOKEN (a project token with the scope `api`); the
    rest is in the variables that every pipeline has. Exit code 2 where the forge refuses it.
    """
    configure_command_logs()
    try:
        texts = [text for file in files if (text := _text_of(file).strip())]
        written = asyncio.run(write_comment(forge_of(os.environ, forge), marker, *texts))
    except (Misconfigured, Unavailable) as error:
        raise typer.Exit(print_error(str(error), code=ExitCode.CANNOT_RUN)) from None
    sys.stdout.write(f"the comment was {written}\n" if written != "unchanged" else "the comment says this already\n")


def _text_of(file: Path) -> str:
    """Raises Misconfigured for a file that cannot be read."""
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
    except OSError as error:
        raise Misconfigured(str(file), f"it cannot be read: {error.strerror}") from None

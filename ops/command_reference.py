"""Writes the reference of all commands: the part of docs/operations/command-line.md that a test keeps equal to them."""

import inspect
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ops.lazy_commands import LazyCommand, LazyCommands

PATH = Path(__file__).resolve().parents[1] / "docs" / "operations" / "command-line.md"
MARK = "<!-- What follows is written by `stet command-reference --write`. -->\n"


def command_reference_command(
    write: Annotated[bool, typer.Option("--write", help="Write it into docs/operations/command-line.md.")] = False,
) -> None:
    """Print the reference of all commands as Markdown."""
    from ops.__main__ import COMMANDS  # noqa: PLC0415 -- it lists this command too

    text = reference_markdown(COMMANDS)
    if write:
        PATH.write_text(PATH.read_text("utf-8").partition(MARK)[0] + MARK + text, "utf-8")
    else:
        typer.echo(text, nl=False)


def reference_markdown(commands: tuple[LazyCommand, ...]) -> str:
    return "\n".join(line for entry in commands for line in _described(entry))


def _described(entry: LazyCommand) -> Iterator[str]:
    for words, command in commands_of(entry):
        yield from ("", f"##{'#' * len(words)} stet {' '.join(words)}", "", inspect.cleandoc(command.help or ""))
        if not isinstance(command, TyperGroup):
            yield from _parameters(command)
    yield ""


def commands_of(entry: LazyCommand) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The command of this name and, where it is a group, every group and command below it, with the words to type."""
    yield from _with_subcommands((entry.name,), entry.load())


def _with_subcommands(words: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, command
    if isinstance(command, LazyCommands):
        for name, lazy in command.known.items():
            yield from _with_subcommands((*words, name), lazy.load())
    elif isinstance(command, TyperGroup):
        for name, below in command.commands.items():
            yield from _with_subcommands((*words, name), below)


def _parameters(command: Any) -> Iterator[str]:
    rows = [_row(parameter) for parameter in command.params if parameter.name != "help"]
    if rows:
        yield from ("", "| | |", "|---|---|", *rows)


def _row(parameter: Any) -> str:
    is_option = parameter.opts[0].startswith("-")
    names = ", ".join([*parameter.opts, *parameter.secondary_opts]) if is_option else parameter.metavar
    values = "" if getattr(parameter, "is_flag", False) else _values(parameter) if is_option else ""
    needed = " Required." if parameter.required else _default(parameter)
    name = f"{names or parameter.name.upper()}{values}".replace("|", "\\|")
    return f"| `{name}` | {parameter.help or ''}{needed} |"


def _default(parameter: Any) -> str:
    """The number that counts where the option is left out; other defaults are said by its help."""
    number = isinstance(parameter.default, int) and not isinstance(parameter.default, bool)
    return f" Default: {parameter.default}." if number else ""


def _values(parameter: Any) -> str:
    """The words an option takes, or what stands for its value."""
    annotation = parameter.type_descriptor.annotation
    if parameter.metavar is None and isinstance(annotation, type) and issubclass(annotation, Enum):
        return " {" + ",".join(str(member.value) for member in annotation) + "}"
    return f" {parameter.metavar or parameter.name.upper()}"

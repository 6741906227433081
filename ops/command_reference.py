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
        PATH.write_text(PATH.read_text().partition(MARK)[0] + MARK + text)
    else:
        typer.echo(text, nl=False)


def reference_markdown(commands: tuple[LazyCommand, ...]) -> str:
    return "\n".join(line for entry in commands for line in _described(entry))


def _described(entry: LazyCommand) -> Iterator[str]:
    loaded = entry.load()
    yield from ("", f"### stet {entry.name}", "", inspect.cleandoc(loaded.help or ""))
    if not isinstance(loaded, TyperGroup):
        yield from _parameters(loaded)
    for name, command in _subcommands(loaded):
        yield from ("", f"#### stet {entry.name} {name}", "", inspect.cleandoc(command.help or ""))
        yield from _parameters(command)
    yield ""


def _subcommands(loaded: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(loaded, LazyCommands):
        yield from ((name, command.load()) for name, command in loaded.known.items())
    elif isinstance(loaded, TyperGroup):
        yield from loaded.commands.items()


def _parameters(command: Any) -> Iterator[str]:
    rows = [_row(parameter) for parameter in command.params if parameter.name != "help"]
    if rows:
        yield from ("", "| | |", "|---|---|", *rows)


def _row(parameter: Any) -> str:
    is_option = parameter.opts[0].startswith("-")
    names = ", ".join([*parameter.opts, *parameter.secondary_opts]) if is_option else parameter.metavar
    values = "" if getattr(parameter, "is_flag", False) else _values(parameter) if is_option else ""
    needed = " Required." if parameter.required else ""
    return f"| `{names or parameter.name.upper()}{values}` | {parameter.help or ''}{needed} |"


def _values(parameter: Any) -> str:
    """The words an option takes, or what stands for its value."""
    annotation = parameter.type_descriptor.annotation
    if parameter.metavar is None and isinstance(annotation, type) and issubclass(annotation, Enum):
        return " {" + ",".join(str(member.value) for member in annotation) + "}"
    return f" {parameter.metavar or parameter.name.upper()}"

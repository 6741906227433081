"""Commands that are imported when they are called: one that needs no broker does not wait for its client to load."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """``attribute`` of the module ``ops.<module>`` (by default ``app`` of one named like the command).

    It is a group (``typer.Typer``) or the function of a command. ``sentence`` is the first of its help.
    """

    name: str
    sentence: str
    panel: str
    module: str = ""
    attribute: str = "app"

    def load(self) -> Any:
        target = getattr(import_module(f"ops.{self.module or self.name.replace('-', '_')}"), self.attribute)
        if isinstance(target, typer.Typer):
            group = typer.main.get_group(target)
            group.name = self.name
            return group
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(self.name)(target)
        return typer.main.get_command(alone)

    def summary(self) -> TyperCommand:
        """The sentence about the command in the help of the whole."""
        return TyperCommand(self.name, help=self.sentence, rich_help_panel=self.panel)


class LazyCommands(TyperGroup):
    """The group of all commands."""

    known: ClassVar[Mapping[str, LazyCommand]] = {}
    _is_helping = False

    @classmethod
    def of(cls, commands: Iterable[LazyCommand]) -> type["LazyCommands"]:
        return type("StetCommands", (cls,), {"known": {command.name: command for command in commands}})

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 -- typer calls it so
        return list(self.known)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 -- typer calls it so
        command = self.known.get(cmd_name)
        if command is None:
            return None
        return command.summary() if self._is_helping else command.load()

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._is_helping = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._is_helping = False

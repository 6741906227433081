"""Commands that are imported when they are called: one that needs no broker does not wait for its client to load."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

from ops.command_line import check_text, end_without_reader


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
            return _prepared(group)
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(self.name)(target)
        return _prepared(typer.main.get_command(alone))

    def summary(self) -> TyperCommand:
        """The sentence about the command in the help of the whole."""
        return TyperCommand(self.name, help=self.sentence, rich_help_panel=self.panel)


def _prepared(command: Any) -> Any:
    """Make each paragraph of its help one line, which the terminal breaks, and check its values; and so below it.

    typer keeps the line breaks of all paragraphs but the first.
    """
    if command.help:
        command.help = "\n\n".join(" ".join(part.split()) for part in command.help.split("\n\n"))
    for parameter in command.params:
        if parameter.callback is None:
            parameter.callback = _checked
    for below in getattr(command, "commands", {}).values():
        _prepared(below)
    return command


_LARGEST = 2**63 - 1  # of a number in PostgreSQL


def _checked(ctx: Any, param: Any, value: Any) -> Any:  # noqa: ARG001 -- typer calls it so
    """Raises BadParameter for a text or a number that no setting, id or column can be."""
    for one in value if isinstance(value, list | tuple) else [value]:
        if isinstance(one, str) and one != param.default:
            check_text(one)
        elif isinstance(one, int) and abs(one) > _LARGEST:
            raise typer.BadParameter(f"it is at most {_LARGEST}")
    return value


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

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Names the nearest command in place of an unknown one; typer looks among those that are loaded."""
        name = args[0]
        near = get_close_matches(name, self.known, 1)
        if name not in self.known and near:
            ctx.fail(f"There is no command “{name}” (did you mean “{near[0]}”?)")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """An argument that is refused is said without words of programming."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = _in_plain_words(error.message)
            raise
        except BrokenPipeError:
            end_without_reader()

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._is_helping = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._is_helping = False


_NOT_ONE_OF = re.compile(r"(?:Value error, )?'(.*)' is not one of (.+?)\.?", re.DOTALL)


_NUMBERS = {
    "Input should be a valid integer": "a whole number belongs here",
    "Input should be a valid number": "a number belongs here",
}
_NO_DATE = re.compile(r"(?:Value error, )?'(.*)' does not match the formats? '(.*)'\.?", re.DOTALL)
_DATES = {"%Y-%m": "a month, as in 2027-03", "%Y-%m-%d": "a day, as in 2027-03-31"}
_BOUND = re.compile(r"Input should be (greater|less) than or equal to (\S+)")
_BOUNDS = {"greater": "it is at least", "less": "it is at most"}


def _in_plain_words(message: str) -> str:
    found = _NOT_ONE_OF.fullmatch(message)
    if found is None:
        plain = next((plain for said, plain in _NUMBERS.items() if message.startswith(said)), None)
        bound, date = _BOUND.match(message), _NO_DATE.fullmatch(message)
        if date is not None and date[2] in _DATES:
            return f"“{date[1]}” is no date: write {_DATES[date[2]]}"
        return plain or (f"{_BOUNDS[bound[1]]} {bound[2]}" if bound else message.removeprefix("Value error, "))
    known = found[2].replace("'", "").split(", ")
    near = get_close_matches(found[1], known, 1)
    hint = f" (did you mean “{near[0]}”?)" if near else ""
    return f"“{found[1]}” is none of {', '.join(known)}{hint}"

"""Shared by all commands: exit codes, errors, and output as text or JSON. It loads no client of a neighbour.

Exit codes: 0 done, or nothing found that is wrong · 1 something was found (or not found): the command says what ·
2 the command cannot run: a wrong argument or setting, or a neighbour that cannot be reached, named on standard error.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

_WIDTH_OF_A_PIPE = 160  # where no terminal says how wide it is


class ExitCode(IntEnum):
    FINE = 0
    FINDINGS = 1
    CANNOT_RUN = 2


class OutputFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


Format = Annotated[OutputFormat, typer.Option("--format", help="Text for people, or JSON: one object a line.")]


Days = Annotated[
    int | None,
    typer.Option("--days", min=1, max=3650, help="Read only the last so many days of the topics."),
]


class Service(StrEnum):
    INGEST = "ingest"
    RULES = "rules"
    DISPATCHER = "dispatcher"
    WRITEBACK = "writeback"


def check_text(value: str, if_blank: str = "it is empty") -> None:
    """Raises BadParameter for a value of the command line that names nothing, or that no column can hold."""
    if not value.strip():
        raise typer.BadParameter(if_blank)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter(f"“{printable(os.fsencode(value))}” is no text in UTF-8") from None


def command_group(sentence: str, kind: type[TyperGroup] | None = None) -> typer.Typer:
    """A group of commands; ``sentence`` is its help."""
    return typer.Typer(
        cls=kind or TyperGroup,
        help=sentence,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )


# ------------------------------------------------------------------ output


READER_GONE = 141
"""The exit code where the reader of the output has closed it, like “head”: shells give it to a program that SIGPIPE
ended. It is neither a finding nor an error.
"""


def end_without_reader() -> NoReturn:
    """End the command, as the program that read its output has ended."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered goes nowhere
    raise SystemExit(READER_GONE)


class _Screen(Console):
    def on_broken_pipe(self) -> None:
        end_without_reader()


def console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal, or as COLUMNS says; with colours on a terminal alone."""
    made = _Screen(stderr=stderr, highlight=False, emoji=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = _WIDTH_OF_A_PIPE
    return made


def print_rows(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], output: OutputFormat, *, empty: str
) -> None:
    """Rows as a table; each as a block of lines where the terminal is too narrow for that. JSON has every field.

    ``columns`` are the fields that text shows, with their headings; ``empty`` is the text where there are no rows.
    """
    if output is OutputFormat.JSON:
        print_json(rows)
        return
    screen = console()
    cells = [[_cell(row[name]) for name in columns] for row in rows]
    table = Table(*columns.values())
    for row in cells:
        table.add_row(*row)
    if not rows:
        screen.print(empty, markup=False)
    elif Measurement.get(screen, screen.options.update(max_width=10_000), table).maximum <= screen.width:
        screen.print(table)
    else:
        _print_blocks(screen, list(columns.values()), cells)


def _print_blocks(screen: Console, headings: Sequence[str], rows: Iterable[Sequence[Text]]) -> None:
    for number, row in enumerate(rows):
        screen.print(*([""] if number else []), *map(_labelled, headings, row), sep="\n", overflow="fold")


def _labelled(heading: str, value: Text) -> Text:
    return Text.assemble((f"{heading}: ", "bold"), value)


def print_fields(fields: Mapping[str, Any], output: OutputFormat) -> None:
    """One thing, a line for each of its fields."""
    if output is OutputFormat.JSON:
        print_json([fields])
    else:
        console().print(*(_labelled(name, _cell(value)) for name, value in fields.items()), sep="\n", overflow="fold")


def print_lines(lines: Iterable[str]) -> None:
    screen = console()
    for line in lines:
        print_line(screen, line)


def print_line(screen: Console, line: str, style: str = "") -> None:
    """One that is too long for a terminal, or for COLUMNS, goes on below its own indent; to a file it goes whole."""
    if not screen.is_terminal and "COLUMNS" not in os.environ:
        screen.print(Text(line, style), soft_wrap=True)
        return
    text = line.lstrip(" ")
    screen.print(Padding(Text(text, style, overflow="fold"), (0, 0, 0, len(line) - len(text)), expand=False))


def print_result(sentence: str, fields: Mapping[str, Any], output: OutputFormat) -> None:
    """The result of a change: a sentence, or its fields as JSON."""
    if output is OutputFormat.JSON:
        print_json([fields])
    else:
        print_lines([sentence])


def print_json(rows: Iterable[Mapping[str, Any]]) -> None:
    sys.stdout.writelines(f"{json.dumps(dict(row), default=_jsonable, ensure_ascii=False)}\n" for row in rows)


def print_error(sentence: str, *, code: int = ExitCode.FINDINGS) -> int:
    """Print a sentence on standard error; returns ``code``."""
    Console(stderr=True, highlight=False).print(sentence, markup=False, soft_wrap=True)
    return code


def _cell(value: object) -> Text:
    if value is None or value == "":
        return Text("-")
    if isinstance(value, datetime):
        return Text(f"{value:%Y-%m-%d %H:%M:%S}Z")
    if isinstance(value, (list, tuple)):
        return Text(", ".join(map(str, value)) or "-")
    return Text(printable(str(value)))


def age_of(since: datetime, now: datetime) -> str:
    """The time since an instant in its largest unit: 3 d, 5 h, 12 min, 4 s."""
    passed = now - since
    for name, unit in (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1))):
        if passed >= unit:
            return f"{passed // unit} {name}"
    return f"{max(0, int(passed.total_seconds()))} s"


def _jsonable(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return printable(value) if isinstance(value, bytes) else str(value)


def printable(raw: bytes | str) -> str:
    """The text without characters that would control a terminal."""
    text = raw.decode(errors="backslashreplace") if isinstance(raw, bytes) else raw
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)

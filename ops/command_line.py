"""Shared by all commands: settings, exit codes, errors, and output as text or JSON.

Exit codes: 0 done, or nothing found that is wrong · 1 something was found (or not found): the command says what ·
2 the command cannot run: a wrong argument or setting, or a neighbour that cannot be reached, named on standard error.
"""

import asyncio
import errno
import json
import logging
import os
import socket
import ssl
import sys
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from pydantic import Field
from pydantic_settings import BaseSettings
from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from ops.environment import stack_advice
from shared.contracts.errors import Misconfigured
from shared.contracts.ids import TenantId
from shared.runtime.clock import Clock, DevelopmentClock, SystemClock
from shared.runtime.connection_settings import KafkaSettings, PostgresSettings
from shared.runtime.settings import load_settings

S = TypeVar("S", bound=BaseSettings)
_NOT_SET = "not set"  # as load_settings says it of a setting that lacks
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
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


class CommandSettings(PostgresSettings):
    """The settings of commands that need the database alone."""

    development_clock: Annotated[
        Path | None, Field(description="The file of a virtual clock, for development and tests on loopback alone.")
    ] = None

    def clock(self) -> Clock:
        return SystemClock() if self.development_clock is None else DevelopmentClock(self.development_clock)


class TenantSettings(CommandSettings):
    """The database, and whose rows of it are meant."""

    tenant: Annotated[TenantId, Field(min_length=1, description="Your name in every envelope, key and row.")]


class OperatorSettings(KafkaSettings, TenantSettings):
    """The broker and the database, and whose rows are meant."""


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


def load_command_settings(settings: type[S]) -> S:
    """Read settings, or exit with code 2 and the name of the wrong one."""
    try:
        return load_settings(settings)
    except Misconfigured as error:
        advice = stack_advice() if _NOT_SET in str(error) else ""
        raise typer.Exit(print_error(f"{error}{advice}", code=ExitCode.CANNOT_RUN)) from None


def run(command: Coroutine[Any, Any, int]) -> None:
    """Run a command and exit with its code; what keeps it from running is named with its setting."""
    for client in ("aiokafka", "asyncpg"):
        logging.getLogger(client).addHandler(logging.NullHandler())  # the error says it; each attempt need not
    try:
        code = asyncio.run(command)
    except BrokenPipeError:
        end_without_reader()  # a neighbour that hangs up is another error of its client
    except Exception as error:
        sentence = _neighbour_fault(error)
        if sentence is None:
            raise
        code = print_error(sentence, code=ExitCode.CANNOT_RUN)
    raise typer.Exit(code)


def _neighbour_fault(error: Exception) -> str | None:
    """The setting or the file, and what is wrong with it; None for an error of ours."""
    import asyncpg  # noqa: PLC0415 -- the help of a command need not load the clients of its neighbours
    from aiokafka.errors import KafkaError  # noqa: PLC0415

    if isinstance(error, Misconfigured):
        return str(error)
    if isinstance(error, KafkaError):
        return str(broker_away(error))
    if isinstance(error, OSError):
        return _system_fault(error)
    if isinstance(error, (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.UndefinedFunctionError)):
        advice = "run stet migrate, or use the stet of the version that serves"
        return f"STET_POSTGRES_DSN: its schemas are of another version ({error}): {advice}"
    if isinstance(error, (asyncpg.PostgresError, asyncpg.InterfaceError)):
        advice = next((then for refused, then in _database_advice().items() if isinstance(error, refused)), "")
        return f"STET_POSTGRES_DSN: {error}{advice and f'; {advice}'}"
    return None


def _database_advice() -> Mapping[type[Exception], str]:
    """The remedy for an error of PostgreSQL, whose own words say what is wrong."""
    import asyncpg  # noqa: PLC0415 -- as above

    return {
        asyncpg.InvalidPasswordError: "is STET_POSTGRES_PASSWORD, or the one in the address, that of this login?",
        asyncpg.InvalidAuthorizationSpecificationError: "correct the login, or let pg_hba.conf take it from here",
        asyncpg.InvalidCatalogNameError: "correct the name, or create the database and run stet migrate",
        asyncpg.InsufficientPrivilegeError: "use the operator's own login; stet migrate gives it its rights",
        asyncpg.TooManyConnectionsError: "wait, or raise max_connections, or the limit of this login",
        asyncpg.CannotConnectNowError: "wait until it has started",
    }


def _system_fault(error: OSError) -> str:
    if error.filename:
        return f"{error.filename}: {error.strerror}"
    if error.errno in _DISK_FULL:
        return f"the output cannot be written: {error.strerror}"
    return str(database_away(error))


def database_away(error: Exception, hosts: str = "") -> Misconfigured:
    """The sentence that no server of the database answers; ``hosts`` are those that were asked."""
    if isinstance(error, ssl.SSLError):
        return Misconfigured("STET_POSTGRES_DSN", _untrusted(error))
    asked = f" at {hosts}" if hosts else ""
    advice = "is PostgreSQL running there, and may this machine reach it?"
    return Misconfigured(
        "STET_POSTGRES_DSN", f"no server{asked} answers that takes writes ({cause_of(error)}); {advice}"
    )


def _untrusted(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        advice = "renew it, or let sslrootcert name the authority that signed it"
        return f"the server's certificate is not trusted: {error.verify_message}; {advice}"
    return f"TLS with the server fails ({error.strerror}); do sslcert and sslkey fit, and have they ended?"


def broker_away(error: Exception, brokers: str = "") -> Misconfigured:
    """The sentence that no broker answers; ``brokers`` are those that were asked."""
    asked = f" at {brokers}" if brokers else ""
    advice = "is Kafka running there, and may this machine reach it?"
    return Misconfigured("STET_KAFKA_BOOTSTRAP", f"no broker{asked} answers ({cause_of(error)}); {advice}")


def cause_of(error: BaseException) -> str:
    """The cause in words of the network, where it has one, else the name of its class."""
    import aiohttp  # noqa: PLC0415 -- as above
    from aiokafka.errors import KafkaConnectionError  # noqa: PLC0415 -- as above

    untrusted = (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError)
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, untrusted):
        return cause_of(error.os_error)
    if isinstance(error, aiohttp.ClientResponseError) and error.status:
        return f"HTTP {error.status}"
    words: Mapping[type[BaseException] | tuple[type[BaseException], ...], str] = {
        untrusted: "its certificate is not trusted",
        ssl.SSLError: "no TLS as it is asked for",
        (json.JSONDecodeError, UnicodeDecodeError): "its answer is no JSON",
        KafkaConnectionError: "no connection",
        TimeoutError: "no answer in time",
        ConnectionRefusedError: "connection refused",
        socket.gaierror: "no host of this name",
        (aiohttp.ServerDisconnectedError, ConnectionResetError, BrokenPipeError): "the connection was closed",
    }
    return next((said for kind, said in words.items() if isinstance(error, kind)), _named(error))


def _named(error: BaseException) -> str:
    said = error.strerror if isinstance(error, OSError) else None
    return said.lower() if said else type(error).__name__


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

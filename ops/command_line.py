"""Shared by all commands: settings, a service's database, exit codes, and output as text or JSON.

Exit codes: 0 done · 1 not found, nothing to do it with, or the database or broker cannot be reached · 2 a wrong
argument or setting, named on standard error.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import asyncpg
import typer
from aiokafka.errors import KafkaError
from pydantic import Field
from pydantic_settings import BaseSettings
from rich.console import Console

from shared.contracts.errors import Misconfigured
from shared.runtime.clock import Clock, DevelopmentClock, SystemClock
from shared.runtime.connection_settings import PostgresSettings
from shared.runtime.postgres import Pool, role_name
from shared.runtime.settings import load_settings

S = TypeVar("S", bound=BaseSettings)
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]


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


def command_group(sentence: str) -> typer.Typer:
    """A group of commands; ``sentence`` is its help."""
    return typer.Typer(help=sentence, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)


def load_command_settings(settings: type[S]) -> S:
    """Read settings, or exit with code 2 and the name of the wrong one."""
    try:
        return load_settings(settings)
    except Misconfigured as error:
        raise typer.Exit(print_error(str(error), code=2)) from None


def run(command: Coroutine[Any, Any, int], *, unreachable: int = 1) -> None:
    """Run a command and exit with its code; ``unreachable`` is the code where the database or broker is away."""
    try:
        code = asyncio.run(command)
    except Misconfigured as error:
        code = print_error(str(error), code=2)
    except (OSError, asyncpg.PostgresError) as error:
        code = print_error(f"STET_POSTGRES_DSN: {type(error).__name__}: {error}", code=unreachable)
    except KafkaError as error:
        code = print_error(f"STET_KAFKA_BOOTSTRAP: {type(error).__name__}: {error}", code=unreachable)
    raise typer.Exit(code)


@asynccontextmanager
async def database(settings: CommandSettings, service: str) -> AsyncIterator[Pool]:
    """One connection with the role and schema of a service, to a server that takes writes."""
    session = {"search_path": service, "role": role_name(service), "application_name": f"stet-{service}-command"}
    async with asyncpg.create_pool(
        settings.dsn,
        min_size=1,
        max_size=1,
        server_settings=session,
        target_session_attrs="read-write",
    ) as pool:
        yield pool


def print_json(rows: Sequence[Mapping[str, Any]]) -> None:
    sys.stdout.writelines(f"{json.dumps(dict(row), default=str, ensure_ascii=False)}\n" for row in rows)


def print_error(sentence: str, *, code: int = 1) -> int:
    """Print a sentence on standard error; returns ``code``."""
    Console(stderr=True).print(sentence, markup=False, highlight=False, soft_wrap=True)
    return code

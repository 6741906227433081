"""Commands that need the database or the broker: their settings, and running them with what keeps them from it named.

Apart from ``ops.command_line``, since a command without neighbours, like those of rule files, is spared a fifth of its
memory at the start.
"""

import asyncio
import errno
import json
import logging
import socket
import ssl
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import Field
from pydantic_settings import BaseSettings

from ops.command_line import ExitCode, end_without_reader, print_error
from ops.environment import stack_advice
from shared.contracts.errors import Misconfigured
from shared.contracts.ids import TenantId
from shared.runtime.clock import Clock, DevelopmentClock, SystemClock
from shared.runtime.connection_settings import KafkaSettings, PostgresSettings
from shared.runtime.settings import load_settings
from shared.runtime.telemetry import configure_command_logs

S = TypeVar("S", bound=BaseSettings)
_NOT_SET = "not set"  # as load_settings says it of a setting that lacks
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


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


def load_command_settings(settings: type[S]) -> S:
    """Read settings, or exit with code 2 and the name of the wrong one."""
    try:
        return load_settings(settings)
    except Misconfigured as error:
        advice = stack_advice() if _NOT_SET in str(error) else ""
        raise typer.Exit(print_error(f"{error}{advice}", code=ExitCode.CANNOT_RUN)) from None


def run(command: Coroutine[Any, Any, int]) -> None:
    """Run a command and exit with its code; what keeps it from running is named with its setting."""
    configure_command_logs()
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
    if isinstance(error, (OSError, asyncpg.InternalClientError)):
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


def _system_fault(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return f"the output cannot be written: {error.strerror}"
    return str(database_away(error))


def database_away(error: Exception, hosts: str = "") -> Misconfigured:
    """The sentence that no server of the database answers, or takes writes; ``hosts`` are those that were asked."""
    from asyncpg.exceptions import TargetServerAttributeNotMatched  # noqa: PLC0415 -- as above

    if isinstance(error, ssl.SSLError):
        return Misconfigured("STET_POSTGRES_DSN", _untrusted(error))
    asked = f" at {hosts}" if hosts else ""
    if isinstance(error, TargetServerAttributeNotMatched):
        advice = "wait for the failover, or promote one; on a primary, is default_transaction_read_only off?"
        return Misconfigured("STET_POSTGRES_DSN", f"each server{asked} is a standby or read-only; {advice}")
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

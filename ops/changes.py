"""Audits what operators change and what they read of people: each needs a reason and a row in the audit log.

``stet audit-log`` lists what was changed and read. The row is committed before the change, so that a command that is
killed leaves a trace too; its result follows.
"""

import asyncio
import getpass
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import asyncpg
import typer

from ops.command_line import ExitCode, Format, OutputFormat, check_text, print_error, print_rows
from ops.command_settings import CommandSettings, load_command_settings, run
from ops.database import operator_pool
from ops.environment import OPERATOR_VARIABLE
from shared.contracts.errors import Misconfigured
from shared.runtime.clock import machine_now
from shared.runtime.failures import CONNECTION_LOST
from shared.runtime.postgres import Pool, load_queries
from shared.runtime.startup import INTERRUPTED

QUERIES = load_queries(__file__, "changes.sql")


def _not_blank(reason: str) -> str:
    check_text(reason, "it must say why")
    return reason


ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it stands in the audit log.", callback=_not_blank)]
ReadReason = Annotated[
    str, typer.Option("--reason", help="Why you read it; it stands in the audit log.", callback=_not_blank)
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask whether to go on.")]


_COLUMNS = {
    "entry": "entry",
    "at": "at",
    "who": "who",
    "action": "action",
    "target": "target",
    "reason": "reason",
    "result": "result",
}


def reason_to_read(reason: str | None, option: str) -> str:
    """The reason for an option that shows personal data. Raises Misconfigured without one."""
    if not (reason or "").strip():
        raise Misconfigured("--reason", f"{option} shows personal data: say why")
    return reason or ""


def confirm(question: str, *, yes: bool) -> None:
    """Ask, unless ``--yes`` was given. Exits with code 2 where there is no terminal, 1 where the answer is no, and 130
    where the question was interrupted.
    """
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise typer.Exit(
            print_error(f"{question} There is no terminal to answer on: give --yes", code=ExitCode.CANNOT_RUN)
        )
    try:
        is_wanted = typer.confirm(question, err=True)
    except typer.Abort:
        raise typer.Exit(print_error("\nnothing was changed", code=INTERRUPTED)) from None
    if not is_wanted:
        raise typer.Exit(print_error("nothing was changed"))


def current_person() -> str:
    """The person that runs this command: STET_OPERATOR, else the login of the operating system and the machine.

    Raises Misconfigured in a pod without STET_OPERATOR, since every person has the same login there.
    """
    named = os.environ.get(OPERATOR_VARIABLE, "").strip()
    if named:
        if not named.isprintable():
            raise Misconfigured(OPERATOR_VARIABLE, "it has characters that no log can show; write a name")
        return named
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        raise Misconfigured(OPERATOR_VARIABLE, "say who you are: in a pod every person has the same login")
    try:
        login = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in a container
        login = f"uid {os.getuid()}"
    return f"{login}@{socket.gethostname()}"


@dataclass(slots=True)
class AuditEntry:
    """``result`` is what the log says at the end. ``kept_change`` describes the change that stays even where the
    command fails afterwards.
    """

    result: str = "done"
    kept_change: str = ""


@asynccontextmanager
async def audited(pool: Pool, action: str, target: str, reason: str) -> AsyncIterator[AuditEntry]:
    """Write a row of the audit log around a change, or around a read of personal data.

    Where the block raises, the row says that it failed, and its ``kept_change`` is printed and logged. Where the
    database itself has gone away the row stays without a result.
    """
    number = await pool.fetchval(QUERIES.begin_entry, machine_now(), current_person(), action, target, reason)
    entry = AuditEntry()
    try:
        yield entry
    except BaseException as error:
        result = "interrupted" if isinstance(error, asyncio.CancelledError) else f"failed: {type(error).__name__}"
        if entry.kept_change:
            print_error(entry.kept_change)
            result += f"; {entry.kept_change}"
        with suppress(*CONNECTION_LOST, asyncpg.PostgresError):  # the first error is the one to say
            await pool.execute(QUERIES.end_entry, number, result, machine_now())
        raise
    await pool.execute(QUERIES.end_entry, number, entry.result, machine_now())


def audit_log_command(
    days: Annotated[int | None, typer.Option("--days", min=1, max=3650, help="Only the last so many days.")] = None,
    limit: Annotated[int, typer.Option("--most", metavar="N", min=1, help="At most so many rows.")] = 100,
    output: Format = OutputFormat.TEXT,
) -> None:
    """List what operators changed, and read of people: who did it and why, the newest first."""

    async def command() -> int:
        async with operator_pool(load_command_settings(CommandSettings), "operator") as pool:
            since = machine_now() - timedelta(days=days) if days else None
            rows = await pool.fetch(QUERIES.list_entries, since, limit)
        print_rows(rows, _COLUMNS, output, empty="no operator has changed anything")
        return 0

    run(command())

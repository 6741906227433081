"""``stet trace``: the whole life of a message, an event, a write, a chain or a person."""

import json
import re
from datetime import timedelta
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from ops.changes import audited, reason_to_read
from ops.command_line import (
    Days,
    ExitCode,
    Format,
    OutputFormat,
    console,
    print_error,
    print_json,
    print_line,
    printable,
)
from ops.command_settings import OperatorSettings, load_command_settings, run
from ops.database import operator_pool
from ops.timeline import Entry, IdKind, Life, kind_of, life_of
from shared.runtime.clock import machine_now
from shared.runtime.postgres import Pool

_WIDE = 140  # columns, from which on the time line is a table
_ADDRESS_OR_WAMID = re.compile(r"\+?[\d ()-]{7,}|[A-Z]{2}\.[\w.]+|wamid\..*", re.DOTALL)


def trace_command(
    thing: Annotated[
        str,
        typer.Argument(metavar="ID", help="Of a message, event, write, chain or person; or a contact's in Consonance."),
    ],
    *,
    topics: Annotated[bool, typer.Option("--topics/--no-topics", help="Read the topics too, not only tables.")] = True,
    days: Days = None,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Also texts, phone numbers and WhatsApp's ids; needs --reason, is audited.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why you --reveal; it stands in the audit log.")
    ] = None,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Show the whole life of a message, event, write, chain or person on one time line.

    It finds out itself what kind of id it got. Personal data is left out unless --reveal is given. Where the broker
    does not answer, or no more, it shows what it has, says what is missing, and ends with 1; where
    it has nothing, with 2.
    """
    settings = load_command_settings(OperatorSettings)
    since_ms = int((machine_now() - timedelta(days=days)).timestamp() * 1000) if days else None

    async def command() -> int:
        async with operator_pool(settings) as pool:
            asked = (pool, settings.tenant, thing, settings if topics else None, since_ms)
            if reveal:
                why = reason_to_read(reason, "--reveal")
                async with audited(pool, "reveal", await _logged_id(pool, settings.tenant, thing), why) as entry:
                    life = await life_of(*asked)
                    entry.result = "done" if life.entries else "there was none"
            else:
                life = await life_of(*asked)
        if not life.entries:
            return print_error(_not_found(life, topics=topics), code=ExitCode.CANNOT_RUN if life.unread else 1)
        if output is OutputFormat.JSON:
            print_json([entry.fields(reveal=reveal) for entry in life.entries])
        else:
            _print(life, reveal=reveal, topics=topics)
        to_their_end = " to their end" if life.read else ""
        return print_error(f"the topics were not read{to_their_end}: {life.unread}") if life.unread else ExitCode.FINE

    run(command())


async def _logged_id(pool: Pool, tenant: str, thing: str) -> str:
    """The id as the audit log has it, which keeps no phone number, no BSUID and no wamid (it holds a number)."""
    kind, known_as = await kind_of(pool, tenant, thing)
    is_private = kind is IdKind.EVENT and _ADDRESS_OR_WAMID.fullmatch(thing)
    return "a phone number, a BSUID or a wamid" if is_private else known_as


def _not_found(life: Life, *, topics: bool) -> str:
    looked = f", nor does any of the {life.read} records on the topics"
    if life.unread or not topics:
        looked = f"; the topics were not read{f': {life.unread}' if life.unread else ''}"
        if life.kind is not IdKind.EVENT:
            return f"the {life.kind} {life.id} is known, and no table has more{looked}"
    if life.kind is not IdKind.EVENT:
        return f"nothing has happened yet to the {life.kind} {life.id}: it is known, and no table has more{looked}"
    return f"no table knows a person, chain, message, write or event {life.id}{looked}"


def _print(life: Life, *, reveal: bool, topics: bool) -> None:
    screen = console()
    is_named = life.kind is IdKind.EVENT and all(entry.about != life.id for entry in life.entries)
    title = f"no event {life.id}; records that name it" if is_named else f"{life.kind} {life.id}"
    screen.print(Text(title, "bold"), overflow="fold")
    if screen.width >= _WIDE:
        table = Table(box=None, padding=(0, 1), show_header=False)
        for column in ("at", "place", "what", "detail", "about"):
            table.add_column(column, overflow="fold", no_wrap=column == "at")
        for entry in life.entries:
            table.add_row(f"{entry.at:%Y-%m-%d %H:%M:%S}Z", entry.place, *map(Text, _texts(entry)))
            if reveal and entry.private:
                table.add_row("", "", "", Text(_private(entry), "dim"), "")
        screen.print(table)
    else:
        for entry in life.entries:
            what, detail, about = _texts(entry)
            print_line(screen, f"{entry.at:%Y-%m-%d %H:%M:%S}Z  {entry.place}", "bold")
            last = _private(entry) if reveal and entry.private else about
            for line in (what, detail, last) if detail else (what, last):
                print_line(screen, f"  {line}")
    if topics and not life.unread:
        screen.print(Text(f"({life.read} records of the topics were read in {life.seconds:.1f} s)", "dim"))


def _texts(entry: Entry) -> tuple[str, str, str]:
    return printable(entry.what), printable(entry.detail), entry.about


def _private(entry: Entry) -> str:
    return printable(json.dumps(entry.private, ensure_ascii=False, default=str))

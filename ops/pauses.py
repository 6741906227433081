"""``stet pause`` and ``stet resume``: hold a line, a template, a rule or the whole tenant, and let it go on.

A pause is a row in the schema of the service that obeys it (docs/operations/command-line.md says what each holds).
The command returns once nothing of it is in flight any more.
"""

import asyncio
import json
import os
from collections.abc import Sequence
from difflib import get_close_matches
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any, assert_never

import typer

from ops.changes import ReasonOption, Yes, audited, confirm, current_person
from ops.command_line import ExitCode, Format, OutputFormat, command_group, print_error, print_result, print_rows
from ops.command_settings import TenantSettings, load_command_settings, run
from ops.database import operator_pool
from ops.status import QUERIES as STATUS
from shared.runtime.clock import machine_now
from shared.runtime.postgres import Pool, load_queries

QUERIES = load_queries(__file__, "pauses.sql")
_IN_EFFECT_SECONDS = 15.0  # the owner reads pauses each second, and a send or a write under way is finished
_COLUMNS = {"kind": "kind", "name": "name", "since": "since", "who": "by", "reason": "reason"}


class PausedKind(StrEnum):
    LINE = "line"
    TEMPLATE = "template"
    RULE = "rule"
    TENANT = "tenant"


_OWNERS: dict[PausedKind, Sequence[str]] = {
    PausedKind.LINE: ("dispatcher",),
    PausedKind.TEMPLATE: ("dispatcher",),
    PausedKind.RULE: ("rules",),
    PausedKind.TENANT: ("rules", "dispatcher", "writeback"),
}

pause_app = command_group("Hold a line, a template, a rule or everything; what is held says so, and is not lost.")
resume_app = command_group("Let go on what was paused.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="As `stet status`, the rule files or Meta name it.")]


@pause_app.command("list")
def list_command(output: Format = OutputFormat.TEXT) -> None:
    """List what is paused, since when, by whom and why."""
    settings = load_command_settings(TenantSettings)

    async def command() -> int:
        async with operator_pool(settings) as pool:
            rows = await pool.fetch(STATUS.pauses, settings.tenant)
        print_rows(rows, _COLUMNS, output, empty="nothing is paused")
        return ExitCode.FINE

    run(command())


@pause_app.command("line")
def pause_line(name: Name, *, reason: ReasonOption, yes: Yes = False, output: Format = OutputFormat.TEXT) -> None:
    """Send nothing over one WhatsApp number; its messages wait."""
    _pause(PausedKind.LINE, name, reason, yes=yes, output=output)


@pause_app.command("template")
def pause_template(name: Name, *, reason: ReasonOption, yes: Yes = False, output: Format = OutputFormat.TEXT) -> None:
    """Send nothing by one template, in any language; NAME_vN is one version of it, NAME all of them."""
    _pause(PausedKind.TEMPLATE, name, reason, yes=yes, output=output)


@pause_app.command("rule")
def pause_rule(name: Name, *, reason: ReasonOption, yes: Yes = False, output: Format = OutputFormat.TEXT) -> None:
    """Run no step of one rule: chains still start and answers still count, so that nothing is missed."""
    _pause(PausedKind.RULE, name, reason, yes=yes, output=output)


@pause_app.command("tenant")
def pause_tenant(*, reason: ReasonOption, yes: Yes = False, output: Format = OutputFormat.TEXT) -> None:
    """Let nothing leave: no step runs, no message is sent, no write begins. Events that come in are kept."""
    _pause(PausedKind.TENANT, None, reason, yes=yes, output=output)


@resume_app.command("line")
def resume_line(name: Name, *, reason: ReasonOption, yes: Yes = False, output: Format = OutputFormat.TEXT) -> None:
    """Send over this number again."""
    _resume(PausedKind.LINE, name, reason, yes=yes, output=output)


@resume_app.command("template")
def resume_template(name: Name, *, reason: ReasonOption, yes: Yes = False, output: Format = OutputFormat.TEXT) -> None:
    """Send by this template again."""
    _resume(PausedKind.TEMPLATE, name, reason, yes=yes, output=output)


@resume_app.command("rule")
def resume_rule(name: Name, *, reason: ReasonOption, yes: Yes = False, output: Format = OutputFormat.TEXT) -> None:
    """Run the steps of this rule again; those that fell due meanwhile run now, by the facts of now."""
    _resume(PausedKind.RULE, name, reason, yes=yes, output=output)


@resume_app.command("tenant")
def resume_tenant(*, reason: ReasonOption, yes: Yes = False, output: Format = OutputFormat.TEXT) -> None:
    """Let steps, messages and writes go on."""
    _resume(PausedKind.TENANT, None, reason, yes=yes, output=output)


def _pause(kind: PausedKind, name: str | None, reason: str, *, yes: bool, output: OutputFormat) -> None:
    settings = load_command_settings(TenantSettings)

    async def command() -> int:
        paused = name or settings.tenant
        async with operator_pool(settings) as pool:
            if problem := await unknown_name(pool, settings.tenant, kind, paused):
                return print_error(problem, code=ExitCode.CANNOT_RUN)
            async with audited(pool, f"pause {kind}", paused, reason) as entry:
                new = await set_pause(pool, settings.tenant, kind, paused, reason)
                entry.kept_change = f"{kind} {paused} is paused, and what is in flight is not known"
                held = await _until_in_effect(pool, settings.tenant, kind, paused)
                entry.result = "paused" if new else "was paused already"
        sentence = f"{kind} {paused} {'is paused' if new else 'was paused already'}: {_described(kind, held)}"
        print_result(sentence, {"kind": kind, "name": paused, "new": new, **held}, output)
        return ExitCode.FINDINGS if held["in_flight"] else ExitCode.FINE

    confirm(f"Pause {kind} {name or settings.tenant}?", yes=yes)
    run(command())


def _resume(kind: PausedKind, name: str | None, reason: str, *, yes: bool, output: OutputFormat) -> None:
    settings = load_command_settings(TenantSettings)

    async def command() -> int:
        resumed = name or settings.tenant
        async with operator_pool(settings) as pool, audited(pool, f"resume {kind}", resumed, reason) as entry:
            was_paused = await end_pause(pool, settings.tenant, kind, resumed)
            entry.result = "resumed" if was_paused else "was not paused"
        if not was_paused:
            return print_error(f"{kind} {resumed} is not paused; stet pause list shows what is")
        print_result(f"{kind} {resumed} goes on", {"kind": kind, "name": resumed}, output)
        return ExitCode.FINE

    confirm(f"Resume {kind} {name or settings.tenant}?", yes=yes)
    run(command())


async def set_pause(pool: Pool, tenant: str, kind: PausedKind, name: str, reason: str) -> bool:
    """Pause in every service that owns a part of it; whether any of them was not paused yet."""
    async with pool.acquire() as connection, connection.transaction():
        new = [
            await connection.fetchval(
                QUERIES.pause.replace("SCHEMA", owner), tenant, kind, name, machine_now(), current_person(), reason
            )
            for owner in _OWNERS[kind]
        ]
    return any(new)


async def end_pause(pool: Pool, tenant: str, kind: PausedKind, name: str) -> bool:
    async with pool.acquire() as connection, connection.transaction():
        ended = [
            await connection.fetchval(QUERIES.resume.replace("SCHEMA", owner), tenant, kind, name)
            for owner in _OWNERS[kind]
        ]
    return any(ended)


async def unknown_name(pool: Pool, tenant: str, kind: PausedKind, name: str) -> str | None:
    """The problem of a name that nothing known has; before the first message no line is known, and any will do."""
    known = await _known_names(pool, tenant, kind)
    if name in known or not known:
        return None
    near = get_close_matches(name, sorted(known), n=1)
    hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(sorted(known))}"
    return f"no {kind} is called {name}; {hint}"


async def _known_names(pool: Pool, tenant: str, kind: PausedKind) -> set[str]:
    match kind:
        case PausedKind.LINE:
            return {row[0] for row in await pool.fetch(QUERIES.known_lines, tenant)} | _lines_in_environment()
        case PausedKind.TEMPLATE:
            sent = {row[0] for row in await pool.fetch(QUERIES.known_templates, tenant)}
            files = await _names_of_files(pool, "template")
            return sent | {name.rpartition("_v")[0] or name for name in sent} | files
        case PausedKind.RULE:
            return {row[0] for row in await pool.fetch(QUERIES.known_rules, tenant)} | await _names_of_files(
                pool, "rule"
            )
        case PausedKind.TENANT:
            return {tenant}
        case _:
            assert_never(kind)


def _lines_in_environment() -> set[str]:
    """The lines of STET_WHATSAPP_LINES, where this environment has it; doctor says whether it is valid."""
    try:
        lines = json.loads(os.environ.get("STET_WHATSAPP_LINES", "{}"))
    except ValueError:
        return set()
    return set(lines) if isinstance(lines, dict) else set()


async def _names_of_files(pool: Pool, file_kind: str) -> set[str]:
    paths = [PurePosixPath(row[0]) for row in await pool.fetch(QUERIES.rule_files)]
    ending = f".{file_kind}.yaml"
    return {path.name.removesuffix(ending) for path in paths if path.name.endswith(ending)}


async def _until_in_effect(pool: Pool, tenant: str, kind: PausedKind, name: str) -> dict[str, Any]:
    """The work that the pause holds, once nothing of it is in flight, or after some seconds."""
    query = getattr(QUERIES, f"held_by_{kind}")
    arguments = (tenant,) if kind is PausedKind.TENANT else (tenant, name)
    ends = asyncio.get_running_loop().time() + _IN_EFFECT_SECONDS
    await asyncio.sleep(1.5)  # the owner reads pauses each second
    while True:
        held = dict(await pool.fetchrow(query, *arguments))
        if not held["in_flight"] or asyncio.get_running_loop().time() > ends:
            return held
        await asyncio.sleep(0.25)


def _described(kind: PausedKind, held: dict[str, Any]) -> str:
    things = "running chains stand still" if kind is PausedKind.RULE else "messages wait"
    in_flight = f", {held['in_flight']} still in flight" if held["in_flight"] else ""
    return f"{held['waiting']} {things}{in_flight}"

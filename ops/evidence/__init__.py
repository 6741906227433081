"""``stet evidence``: exports the evidence of a record, shows it, and places legal holds on it."""

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ops.changes import ReadReason, ReasonOption, Yes, audited, confirm, current_person
from ops.command_line import (
    ExitCode,
    Format,
    OutputFormat,
    command_group,
    print_error,
    print_json,
    print_result,
    print_rows,
)
from ops.command_settings import TenantSettings, load_command_settings, run
from ops.database import operator_pool
from ops.evidence.signing import EvidenceSettings, load_signing_key, public_key_of
from services.writeback.evidence_store import EvidenceChain, fetch_chain, fetch_holds, place_hold, release_hold
from services.writeback.store import SERVICE
from shared.runtime.clock import machine_now
from shared.runtime.postgres import Pool

_COLUMNS = {
    "record": "record",
    "since": "since",
    "who": "by",
    "reason": "reason",
    "released_at": "released",
    "released_by": "by",
    "release_reason": "because",
}

_WITHOUT_TYPST = (
    "stet evidence RECORD typesets a PDF, and Typst is not installed here: run the command in the image stet-operator, "
    "or install requirements.operator.lock"
)
_NONE = (
    "there is no evidence of {record}; stet trace, of a person, a message or a request, names the records of its writes"
)
_BROKEN = "{record}: the chain is broken. {fault}"


class _RecordGroup(TyperGroup):
    """``stet evidence RECORD`` is ``stet evidence export RECORD``; the name of a record has a slash."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        word = args[0]
        if word not in self.commands and "/" not in word and not get_close_matches(word, self.commands, 1):
            ctx.fail(f"“{word}” is no command and no record; a record is named like rights/RR-88 or works/61417")
        return super().resolve_command(ctx, ["export", *args] if "/" in word else args)


app = command_group("The proof of each approval and write: `stet evidence RECORD` exports it.", _RecordGroup)
Record = Annotated[
    str,
    typer.Argument(
        metavar="RECORD", help="As stet trace shows it at a write, for instance rights/RR-88 or works/61417."
    ),
]


@app.command("export")
def export_command(
    record: Record,
    folder: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where the files are written.")] = Path(),
    *,
    reason: ReadReason,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Write the evidence of a record as signed JSON and PDF/A (personal data), with the script that verifies them.

    It needs Typst, which the image stet-operator has.

    Exit code 1 where there is no evidence, or where it does not fit together: the files are written all the same.
    """
    try:
        from ops.evidence import export  # noqa: PLC0415 -- the other commands need not load what typesets
    except ModuleNotFoundError as missing:
        if missing.name != "typst":
            raise
        raise typer.Exit(print_error(_WITHOUT_TYPST, code=ExitCode.CANNOT_RUN)) from None

    settings = load_command_settings(EvidenceSettings)

    async def command() -> int:
        key = load_signing_key(settings.evidence_key_file)
        async with operator_pool(settings, SERVICE) as pool, audited(pool, "export evidence", record, reason) as entry:
            chain = await _fetch(pool, settings.tenant, record)
            if not chain.end.length:
                entry.result = "there was none"
                return print_error(_NONE.format(record=record))
            holds = await fetch_holds(pool, settings.tenant, record)
            files = export.build_files(settings.tenant, record, chain, holds, key, machine_now())
            written = [str(_write(folder / name, content)) for name, content in files.items()]
        if (fault := chain.find_fault()) is not None:
            return print_error(_BROKEN.format(record=record, fault=fault))
        number = chain.end.length
        fields = {"record": record, "entries": number, "files": written, "public_key": public_key_of(key)}
        print_result(f"{record}: {number} entries in {', '.join(written)}", fields, output)
        return ExitCode.FINE

    run(command())


def _write(path: Path, content: bytes) -> Path:
    """Write a file that its owner alone may read, since it is personal data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)  # it may be there, from before
    path.write_bytes(content)
    return path


@app.command("show")
def show_command(record: Record, *, reason: ReadReason) -> None:
    """Print the evidence of a record (personal data), one JSON object a line.

    The audit log says who read it. Exit code 1 where there is none, or where it does not fit together.
    """
    settings = load_command_settings(TenantSettings)

    async def command() -> int:
        async with (
            operator_pool(settings, SERVICE) as pool,
            audited(pool, "show evidence", record, reason) as entry,
        ):
            chain = await _fetch(pool, settings.tenant, record)
            entry.result = "done" if chain.end.length else "there was none"
        if not chain.end.length:
            return print_error(_NONE.format(record=record))
        print_json({**each.header, "content": each.document(), "unreadable": each.unreadable} for each in chain.entries)
        fault = chain.find_fault()
        return ExitCode.FINE if fault is None else print_error(_BROKEN.format(record=record, fault=fault))

    run(command())


@app.command("holds")
def holds_command(output: Format = OutputFormat.TEXT) -> None:
    """List legal holds, released ones included."""
    settings = load_command_settings(TenantSettings)

    async def command() -> int:
        async with operator_pool(settings, SERVICE) as pool:
            print_rows(await fetch_holds(pool, settings.tenant), _COLUMNS, output, empty="there is no legal hold")
        return ExitCode.FINE

    run(command())


@app.command("hold")
def hold_command(record: Record, *, reason: ReasonOption, yes: Yes = False, output: Format = OutputFormat.TEXT) -> None:
    """Place a legal hold: the people of this record's evidence are erased elsewhere, and its contents stay readable."""
    settings = load_command_settings(TenantSettings)
    confirm(f"Hold the evidence of {record}?", yes=yes)

    async def command() -> int:
        async with operator_pool(settings, SERVICE) as pool:
            async with audited(pool, "hold evidence", record, reason) as entry:
                async with pool.acquire() as connection, connection.transaction():
                    new = await place_hold(connection, settings.tenant, record, current_person(), reason, machine_now())
                entry.result = "held" if new else "was held already"
            chain = await _fetch(pool, settings.tenant, record)
        if not new:
            return print_error(f"{record} is held already; stet evidence holds shows since when and why")
        number, gone = chain.end.length, sum(each.content is None for each in chain.entries)
        sentence = f"{record} is held: {number} entries" + (f", {gone} of them not readable any more" if gone else "")
        print_result(sentence, {"record": record, "entries": number, "unreadable": gone}, output)
        if not number:
            print_error(
                f"there is no evidence of {record} yet; if the name is misspelt: stet evidence release {record}"
            )
        return ExitCode.FINE

    run(command())


@app.command("release")
def release_command(
    record: Record, *, reason: ReasonOption, yes: Yes = False, output: Format = OutputFormat.TEXT
) -> None:
    """End a legal hold; the contents about people who were to be erased meanwhile are gone at once, for ever."""
    settings = load_command_settings(TenantSettings)
    confirm(f"Release the evidence of {record}? Postponed erasures are carried out now.", yes=yes)

    async def command() -> int:
        async with operator_pool(settings, SERVICE) as pool, audited(pool, "release evidence", record, reason) as entry:
            async with pool.acquire() as connection, connection.transaction():
                erased = await release_hold(
                    connection, settings.tenant, record, current_person(), reason, machine_now()
                )
            entry.result = "was not held" if erased is None else f"released, {len(erased.destroyed)} people erased"
        if erased is None:
            return print_error(f"{record} is not held; stet evidence holds shows what is")
        sentence = f"{record} is released; {len(erased.destroyed)} postponed erasures were carried out"
        if erased.held:
            sentence += f", {len(erased.held)} wait for other holds"
        fields = {"record": record, "erased": list(erased.destroyed), "waiting": sorted(erased.held)}
        print_result(sentence, fields, output)
        return ExitCode.FINE

    run(command())


async def _fetch(pool: Pool, tenant: str, record: str) -> EvidenceChain:
    async with pool.acquire() as connection:
        return await fetch_chain(connection, tenant, record)

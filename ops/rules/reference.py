"""``stet rules events | fields | operations | reference | schema``: what rules may name, read off the models."""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ops.command_line import ExitCode, print_error, print_json, print_lines
from ops.rules.folder import refuse_unwritable, require_folder
from ops.rules.output import ReportFormat, format_option
from services.rules.analysis.reference import (
    FILE_KINDS,
    event_entries,
    event_lines,
    json_schema,
    operation_entries,
    operation_lines,
    reference_markdown,
    write_schemas,
)
from services.rules.rulebook.catalogue import EVENTS, FieldSpec, fields_of_event
from services.rules.rulebook.faults import nearest_word

PATH = Path(__file__).resolve().parents[2] / "docs" / "rules" / "reference.md"
MARK = "<!-- What follows is written by `stet rules reference --write`. -->\n"

_Listed = format_option(ReportFormat.TEXT, ReportFormat.JSON, ReportFormat.MARKDOWN)


def events_command(
    event: Annotated[str | None, typer.Argument(metavar="EVENT", help="Only this one, with its fields.")] = None,
    *,
    output: Annotated[ReportFormat, _Listed] = ReportFormat.TEXT,
) -> None:
    """List the events that may start a rule; one event with its fields and an example of each."""
    entries = {entry.name: entry for entry in event_entries()}
    if event is not None and event not in entries:
        raise _no_event(event, entries)
    chosen = [entries[event]] if event else list(entries.values())
    if output is ReportFormat.JSON:
        print_json(map(asdict, chosen))
    elif output is ReportFormat.MARKDOWN or event:
        print_lines(line for entry in chosen for line in event_lines(entry))
    else:
        print_lines(f"{entry.name}  {entry.sentence}" for entry in chosen)


def _no_event(event: str, known: Iterable[str], more: str = "") -> typer.Exit:
    meant = nearest_word(event, known)
    hint = f" (did you mean “{meant}”?)" if meant else ""
    return typer.Exit(print_error(f"there is no event “{event}”{hint}{more}", code=ExitCode.CANNOT_RUN))


def fields_command(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="An event's name, like work.stage_changed.")],
    *,
    output: Annotated[ReportFormat, _Listed] = ReportFormat.TEXT,
) -> None:
    """List every field and fact that a rule on an event may name.

    Each has its type, whether it may be absent, the values it can have, and what it means.
    """
    if event not in EVENTS:
        raise _no_event(event, EVENTS, f"; there are {', '.join(sorted(EVENTS))}")
    fields = fields_of_event(event).values()
    if output is ReportFormat.JSON:
        print_json(map(_field_row, fields))
    elif output is ReportFormat.MARKDOWN:
        print_lines(["| field | type | values | meaning |", "|---|---|---|---|", *map(_field_in_table, fields)])
    else:
        print_lines(map(_field_line, fields))


def _field_row(spec: FieldSpec) -> dict[str, Any]:
    return {
        "field": spec.path,
        "type": spec.type,
        "item": spec.item,
        "optional": spec.optional,
        "values": spec.values,
        "sentence": spec.sentence,
    }


def _field_line(spec: FieldSpec) -> str:
    values = f": {' '.join(spec.values)}" if spec.values else ""
    return f"{spec.path}  {_kind(spec)}{values}{'  ' + spec.sentence if spec.sentence else ''}"


def _field_in_table(spec: FieldSpec) -> str:
    return f"| `{spec.path}` | {_kind(spec)} | {', '.join(f'`{value}`' for value in spec.values)} | {spec.sentence} |"


def _kind(spec: FieldSpec) -> str:
    kind = f"{spec.type} of {spec.item}" if spec.item else spec.type
    return f"{kind}, may be absent" if spec.optional else kind


def operations_command(*, output: Annotated[ReportFormat, _Listed] = ReportFormat.TEXT) -> None:
    """List what “record” may write in Consonance, and what each operation needs."""
    entries = list(operation_entries())
    if output is ReportFormat.JSON:
        print_json(map(asdict, entries))
    elif output is ReportFormat.MARKDOWN:
        print_lines(operation_lines(entries))
    else:
        for entry in entries:
            needs = ", ".join((*entry.fields, *(f"with: {spec.path}" for spec in entry.needs)))
            condition = "in a form alone" if entry.only_in_form else f"needs {needs}"
            print_lines([f"{entry.name}  {condition}{'  ' + entry.sentence if entry.sentence else ''}"])


def reference_command(
    *, write: Annotated[bool, typer.Option("--write", help="Write it into docs/rules/reference.md.")] = False
) -> None:
    """Print the reference for authors as Markdown: events, facts, operations, verbs, times, reasons, and every key."""
    text = reference_markdown()
    if write:
        PATH.write_text(PATH.read_text("utf-8").partition(MARK)[0] + MARK + text, "utf-8")
    else:
        typer.echo(text, nl=False)


def schema_command(
    kind: Annotated[str | None, typer.Argument(metavar="KIND", help=f"One of {', '.join(FILE_KINDS)}.")] = None,
    *,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FOLDER", help="Write all of them below a folder of rules.")
    ] = None,
) -> None:
    """Print the JSON Schema of a kind of file, by which an editor completes its keys.

    With --write, those of all kinds are written into FOLDER/.schema; the first line of a rule file may name its own.
    """
    if write is not None:
        with refuse_unwritable():
            print_lines(map(str, write_schemas(require_folder(write))))
        return
    if kind is None or kind not in FILE_KINDS:
        fault = "say the kind of file" if kind is None else f"there is no kind of file “{kind}”"
        sentence = f"{fault}; there are {', '.join(FILE_KINDS)}"
        raise typer.Exit(print_error(sentence, code=ExitCode.CANNOT_RUN))
    sys.stdout.write(f"{json.dumps(json_schema(kind), indent=2, ensure_ascii=False)}\n")

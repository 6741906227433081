"""``stet rules events | operations | reference``: what rules may name, read off the models."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ops.command_line import ExitCode, print_error, print_json, print_lines
from ops.rules.output import ReportFormat, format_option
from services.rules.analysis.reference import (
    event_entries,
    event_lines,
    operation_entries,
    operation_lines,
    reference_markdown,
)
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
        meant = nearest_word(event, entries)
        hint = f" (did you mean “{meant}”?)" if meant else ""
        raise typer.Exit(print_error(f"there is no event “{event}”{hint}", code=ExitCode.CANNOT_RUN))
    chosen = [entries[event]] if event else list(entries.values())
    if output is ReportFormat.JSON:
        print_json(map(asdict, chosen))
    elif output is ReportFormat.MARKDOWN or event:
        print_lines(line for entry in chosen for line in event_lines(entry))
    else:
        print_lines(f"{entry.name}  {entry.sentence}" for entry in chosen)


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

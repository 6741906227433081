"""``stet rules fields EVENT``: what a rule on that event may name."""

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from ops.command_line import ExitCode, print_error, print_json, print_lines
from ops.rules.output import ReportFormat, format_option
from services.rules.rulebook.catalogue import EVENTS, FieldSpec, fields_of_event
from services.rules.rulebook.faults import nearest_word


def fields_command(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="An event's name, like work.stage_changed.")],
    *,
    output: Annotated[ReportFormat, format_option(ReportFormat.TEXT, ReportFormat.JSON, ReportFormat.MARKDOWN)] = (
        ReportFormat.TEXT
    ),
) -> None:
    """List every field and fact that a rule on an event may name.

    Each has its type, whether it may be absent, the values it can have, and what it means.
    """
    if event not in EVENTS:
        meant = nearest_word(event, EVENTS)
        hint = f" (did you mean “{meant}”?)" if meant else ""
        sentence = f"there is no event “{event}”{hint}; there are {', '.join(sorted(EVENTS))}"
        raise typer.Exit(print_error(sentence, code=ExitCode.CANNOT_RUN))
    print_fields(fields_of_event(event).values(), output)


def print_fields(fields: Iterable[FieldSpec], output: ReportFormat) -> None:
    if output is ReportFormat.JSON:
        print_json(map(_row, fields))
    elif output is ReportFormat.MARKDOWN:
        print_lines(["| field | type | values | meaning |", "|---|---|---|---|", *map(_markdown, fields)])
    else:
        print_lines(map(_line, fields))


def _row(spec: FieldSpec) -> dict[str, Any]:
    return {
        "field": spec.path,
        "type": spec.type,
        "item": spec.item,
        "optional": spec.optional,
        "values": spec.values,
        "sentence": spec.sentence,
    }


def _line(spec: FieldSpec) -> str:
    values = f": {' '.join(spec.values)}" if spec.values else ""
    return f"{spec.path}  {_kind(spec)}{values}{'  ' + spec.sentence if spec.sentence else ''}"


def _markdown(spec: FieldSpec) -> str:
    return f"| `{spec.path}` | {_kind(spec)} | {', '.join(f'`{value}`' for value in spec.values)} | {spec.sentence} |"


def _kind(spec: FieldSpec) -> str:
    kind = f"{spec.type} of {spec.item}" if spec.item else spec.type
    return f"{kind}, may be absent" if spec.optional else kind

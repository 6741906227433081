"""``stet rules replay``: the decisions of a bundle, made again and compared byte for byte."""

from pathlib import Path
from typing import Annotated

import typer

from ops.command_line import ExitCode, print_error
from ops.rules.output import Report, ReportCase, ReportFormat, counted, format_option, print_report, track
from services.rules.analysis.bundle import UnreadableBundle, read_bundle
from services.rules.analysis.replay import Replayed, replay_bundle
from services.rules.rulebook.faults import FileFault
from services.rules.rulebook.model import Location

_MOST_DIFFERENCES = 5


def replay_command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A file written by stet rules bundle.")],
    *,
    output: Annotated[
        ReportFormat, format_option(ReportFormat.TEXT, ReportFormat.JSON, ReportFormat.MARKDOWN, ReportFormat.JUNIT)
    ] = ReportFormat.TEXT,
) -> None:
    """Make the decisions of a bundle again by the rules of their time, and compare them byte for byte.

    Exit code 1 where this version decides otherwise than the one that recorded them; the places are said.
    """
    try:
        read = read_bundle(bundle)
        replayed = list(track(replay_bundle(read), "replaying decisions", len(read.decisions)))
    except UnreadableBundle as error:
        raise typer.Exit(print_error(str(error), code=ExitCode.CANNOT_RUN)) from None
    cases = [_case(number, each) for number, each in enumerate(replayed, 1)]
    same, added = sum(each.same for each in replayed), sum(each.only_adds for each in replayed)
    otherwise = len(replayed) - same - added
    found = f"{same:,} the same, byte for byte"
    found += f"; {added:,} with fields that this version adds" if added else ""
    found += f"; {otherwise:,} otherwise" if otherwise else ""
    summary = f"{counted(len(replayed), 'decision')}: {found}"
    raise typer.Exit(print_report(Report("replay", Path(), {}, cases, summary), output))


def _case(number: int, replayed: Replayed) -> ReportCase:
    name = f"decision about {replayed.about}"
    if replayed.same or replayed.only_adds:
        return ReportCase(name, group="decisions")
    differences = replayed.differences()
    shown = [*differences[:_MOST_DIFFERENCES], *(["…"] if len(differences) > _MOST_DIFFERENCES else [])]
    place = Location(name, number, 1)
    return ReportCase(
        name,
        (FileFault(place, f"comes out otherwise in {counted(len(differences), 'place')}"),),
        (),
        "decisions",
        "\n".join(shown),
    )

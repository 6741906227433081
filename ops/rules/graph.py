"""``stet rules graph RULE``: a rule drawn as a flow."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ops.command_line import ExitCode, print_error
from ops.rules.folder import DEFAULT_FOLDER, require_rules
from services.rules.analysis.graph import graph_of, mermaid, svg, svg_of_change
from services.rules.rulebook.faults import FaultReport, nearest_word
from services.rules.rulebook.model import Rule
from services.rules.rulebook.rule_folder import read_folder
from services.rules.rulebook.validation import validate
from shared.contracts.ids import RuleId


class GraphFormat(StrEnum):
    MERMAID = "mermaid"
    SVG = "svg"


def graph_command(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="The rule's name.")],
    *,
    folder: Annotated[
        Path, typer.Option("--folder", metavar="DIR", envvar="STET_RULES_DIR", help="Where the rule files are.")
    ] = DEFAULT_FOLDER,
    base: Annotated[
        Path | None,
        typer.Option("--base", metavar="DIR", help="Another folder: its rule of that name is drawn before this one."),
    ] = None,
    output: Annotated[GraphFormat, typer.Option("--format", help="The form of the picture.")] = GraphFormat.MERMAID,
) -> None:
    """Draw a rule as a flow with its people, times and answers.

    With --base the rule of another folder comes first, so that a pull request can show both: as two blocks of
    Markdown, or as one picture. Files that cannot be read are named on standard error.
    """
    after = _rule(require_rules(folder), rule)
    before = None if base is None else _rule(require_rules(base), rule)
    if before is None and after is None:
        raise typer.Exit(print_error(_unknown(folder, rule), code=ExitCode.CANNOT_RUN))
    drawn = [graph_of(each) if each is not None else None for each in (before, after)]
    if base is None:
        draw = mermaid if output is GraphFormat.MERMAID else svg
        sys.stdout.write(draw(graph_of(after)) if after else "")
    elif output is GraphFormat.SVG:
        sys.stdout.write(svg_of_change(*drawn))
    else:
        for title, graph in zip(("Before", "After"), drawn, strict=True):
            body = f"```mermaid\n{mermaid(graph)}```" if graph else "There is no such rule."
            sys.stdout.write(f"**{title}**\n\n{body}\n\n")


def _rule(folder: Path, name: str) -> Rule | None:
    unread = FaultReport()
    files = read_folder(folder, unread, stories=False)
    for fault in unread.sorted():
        print_error(f"{folder / fault.place}: {fault.message}")
    return validate(files).rulebook.rules.get(RuleId(name))


def _unknown(folder: Path, name: str) -> str:
    known = validate(read_folder(folder, FaultReport(), stories=False)).rulebook.rules
    meant = nearest_word(name, known)
    return f"there is no rule “{name}” in {folder}" + (f" (did you mean “{meant}”?)" if meant else "")

"""``stet rules prove FOLDER``: what always holds of the rules, or a story in which it does not."""

from pathlib import Path
from typing import Annotated

import typer

from ops.rules.folder import DEFAULT_FOLDER, RuleFolder, refuse_unwritable, require_rules
from ops.rules.output import Report, ReportCase, ReportFormat, counted, format_option, print_report, track
from services.rules.analysis.opening import own_rules
from services.rules.analysis.proof import Counterexample, Proof, Property, prove
from services.rules.rulebook.faults import FaultReport, FileFault
from services.rules.rulebook.rule_folder import read_folder
from services.rules.scenario.folder_check import check_files


def prove_command(
    folder: RuleFolder = DEFAULT_FOLDER,
    *,
    stories: Annotated[
        Path | None, typer.Option("--stories", metavar="DIR", help="Write the story of each counterexample there.")
    ] = None,
    output: Annotated[ReportFormat, format_option(*ReportFormat)] = ReportFormat.TEXT,
) -> None:
    """Prove what must always hold of a folder of rules, or show a story in which it does not.

    Every rule can start; every chain ends in an answer, a person or a give-up; every answer has an outcome; no two
    rules write the same of one record at once; no rule starts itself again through what it writes; every template is
    there in each language of the people it can reach; and no mix of events sends a person more than their cap, but for
    what passes it, which is shown. Rules are played in every way, up to a number of states that
    is said. A counterexample runs with “stet rules test”: it expects what happens now.

    Exit code 1 where a file is at fault or something does not hold.
    """
    require_rules(folder)
    report = FaultReport()
    files = read_folder(folder, report, misnamed=True)
    checked = check_files(files, report, tested=False, cycles=False)
    if checked.faults:
        cases = [ReportCase(fault.location.file, (fault,)) for fault in checked.faults]
        summary = f"{counted(len(cases), 'fault')}; nothing was proved"
        raise typer.Exit(print_report(Report("prove", folder, files, cases, summary), output))
    if stories is not None:
        with refuse_unwritable():  # before what takes minutes
            stories.mkdir(parents=True, exist_ok=True)
    steps = track(prove(checked.rulebook), "proving", len(own_rules(checked.rulebook)) + 1)
    proof = Proof()
    for proof in steps:  # noqa: B007 -- the last one is whole
        pass
    if stories is not None:
        with refuse_unwritable():
            _write_stories(stories, proof)
    raise typer.Exit(print_report(Report("prove", folder, files, _cases(proof), _summary(proof)), output))


def _cases(proof: Proof) -> list[ReportCase]:
    """One for each property, with its counterexamples; notes are what could not be decided."""
    cases = []
    for each in Property:
        broken = [example for example in proof.found if example.broken is each]
        shown = [example for example in proof.shown if example.broken is each]
        stories = {
            example.fault: f"# {file_name(example, number)}\n{example.story}"
            for number, example in enumerate((*broken, *shown), 1)
            if example.story
        }
        faults, notes = (tuple(example.fault for example in some) for some in (broken, shown))
        cases.append(ReportCase(each, faults, notes, detail="\n".join(stories.values()), details=stories))
    if proof.undecided:
        cases.append(
            ReportCase(
                "undecided", notes=tuple(FileFault(n.location, f"not proved: {n.sentence}") for n in proof.undecided)
            )
        )
    return cases


def file_name(example: Counterexample, number: int) -> str:
    """A story file is named for its rule; several counterexamples of one are told apart by their folder."""
    return f"{example.broken.name.lower()}-{number}/{example.rule}.test.yaml"


def _write_stories(folder: Path, proof: Proof) -> None:
    for each in Property:
        for number, example in enumerate((e for e in (*proof.found, *proof.shown) if e.broken is each), 1):
            if example.story:
                path = folder / file_name(example, number)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(example.story, "utf-8")


def _summary(proof: Proof) -> str:
    played = (
        f"{counted(proof.rules, 'rule')}, {counted(proof.states, 'state')} and {counted(proof.moves, 'move')} played"
    )
    bounded = (
        f", {len(proof.bounded)} of them not in every way ({max(proof.bounded.values())} states an opening)"
        if proof.bounded
        else ""
    )
    found = f"{counted(len(proof.found), 'counterexample')}" if proof.found else "all holds"
    shown = f"; {counted(len(proof.shown), 'rule')} may pass a cap" if proof.shown else ""
    return f"{played}{bounded}: {found}{shown}"

"""``stet rules new NAME``: the first files of a rule, which pass; the author goes on from there."""

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ops.command_line import ExitCode, print_error
from ops.rules.folder import DEFAULT_FOLDER, refuse_unwritable, require_rules
from ops.rules.output import Report, ReportCase, ReportFormat, counted, print_report
from services.rules.analysis.scaffold import JOBS, Job, NewRule, scaffold
from services.rules.rulebook.faults import FaultReport, FileFault, nearest_word
from services.rules.rulebook.rule_folder import read_folder
from services.rules.scenario.folder_check import check_files, play_stories

_NAME = re.compile("[a-z][a-z0-9]*(-[a-z0-9]+)*")


def new_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The rule's name, like proofs-out.")],
    *,
    job: Annotated[Job | None, typer.Option("--job", help="What it is about; asked for on a terminal.")] = None,
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="TEAM", help="The team of people.yaml that owns it.")
    ] = None,
    who: Annotated[
        str | None, typer.Option("--who", metavar="WHO", help="Who is written to: a role, or a party of the event.")
    ] = None,
    ask: Annotated[
        bool | None, typer.Option("--ask/--tell", help="A question with two answers, or a message without any.")
    ] = None,
    folder: Annotated[
        Path, typer.Option("--folder", metavar="DIR", envvar="STET_RULES_DIR", help="Where the rule files are.")
    ] = DEFAULT_FOLDER,
) -> None:
    """Write the first files of a rule: the rule, its templates, and a story that plays it.

    On a terminal, what is not said by an option is asked; elsewhere --job must be said. The files are checked with
    those of the folder before they are written, and the story expects what really happens. No file is ever
    overwritten. Stories of other rules that now see what the new one does are named.

    For example “stet rules new proofs-out --job stages --ask”, or with more said: “stet rules new late-file --job
    deadlines --owner production --who affected”.

    Exit code 1 where the files of the folder, or what was chosen, are at fault; nothing is written then.
    """
    unread = FaultReport()
    files = read_folder(require_rules(folder), unread, misnamed=True)
    if not _NAME.fullmatch(name):
        _refuse(f"“{name}” is no name: small letters, digits and single hyphens, like proofs-out")
    job = job or _ask_job()
    if job is None:
        _refuse(f"say what it is about: --job {'|'.join(Job)}")
    checked = check_files(files, unread, tested=False)
    if checked.faults:
        raise typer.Exit(_print_faults(folder, files, checked.faults))
    teams = checked.rulebook.people.teams
    asked = sys.stdin.isatty() and owner is None
    owner = owner or (JOBS[job].owner if JOBS[job].owner in teams else checked.rulebook.people.inbox)
    owner = typer.prompt("Which team owns it?", owner, value_proc=_one_of(teams), err=True) if asked else owner
    if owner not in teams:
        hint = nearest_word(owner, teams)
        _refuse(f"people.yaml has no team “{owner}”" + (f" (did you mean “{hint}”?)" if hint else _listed(teams)))
    new = NewRule(name, job, owner, who, JOBS[job].asks if ask is None else ask)
    made = scaffold(new, files)
    _refuse_known(folder, files, made.files)
    if made.faults:
        raise typer.Exit(_print_faults(folder, {**files, **made.files}, made.faults))
    with refuse_unwritable():
        _write(folder, made.files)
    _print_next(folder, name, _newly_failing_stories(files, made.files, name))


def _listed(teams: Iterable[str]) -> str:
    return f"; it has {', '.join(sorted(teams))}"


def _newly_failing_stories(files: Mapping[str, str], made: Mapping[str, str], name: str) -> Counter[str]:
    """How many stories of each other rule fail beside the new rule, and did not before: they play the same events."""
    after = _failing_stories({**files, **made}, name)
    return after - _failing_stories(files, name) if after else after


def _failing_stories(files: Mapping[str, str], name: str) -> Counter[str]:
    played = play_stories(check_files(files, tested=False))
    return Counter(story.rule for story, faults in played if faults and story.rule != name)


def _ask_job() -> Job | None:
    """Ask for the job on a terminal; refuse elsewhere."""
    if not sys.stdin.isatty():
        return None
    for job, defaults in JOBS.items():
        typer.echo(f"  {job:<10} {defaults.sentence}", err=True)
    return Job(typer.prompt("What is the rule about?", value_proc=_one_of(Job), err=True))


def _one_of(words: Iterable[str]) -> Callable[[str], str]:
    """The check of an answer to a prompt; the prompt is repeated with the words to choose from."""
    known = sorted(words)

    def choose(answer: str) -> str:
        if answer not in known:
            raise typer.BadParameter(f"one of {', '.join(known)}")
        return answer

    return choose


def _refuse_known(folder: Path, files: Mapping[str, str], made: Mapping[str, str]) -> None:
    """Refuse where a rule, template or story of one of these names is there already, in any folder."""
    known = {Path(name).name: name for name in files}
    taken = [known[Path(name).name] for name in made if Path(name).name in known]
    taken += [name for name in made if (folder / name).exists() and name not in taken]
    if taken:
        _refuse(f"{folder / taken[0]} is there already, and nothing is overwritten; choose another name")


def _print_faults(folder: Path, files: Mapping[str, str], faults: tuple[FileFault, ...]) -> ExitCode:
    cases = [ReportCase(fault.location.file, (fault,)) for fault in faults]
    summary = f"{counted(len(faults), 'fault')}; nothing was written"
    return print_report(Report("new", folder, files, cases, summary), ReportFormat.TEXT)


def _write(folder: Path, made: Mapping[str, str]) -> None:
    for name, text in made.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
        typer.echo(f"wrote {path}")


def _print_next(folder: Path, rule: str, newly_failing: Mapping[str, int]) -> None:
    if newly_failing:
        listed = ", ".join(f"{name} ({counted(number, 'story')})" for name, number in sorted(newly_failing.items()))
        typer.echo(
            f"\nThe same events are played by the stories of {listed}, which see what {rule} does, too:\n"
            f"let them expect it, or say by “if” in {rule} when it begins."
        )
    typer.echo(
        f"\nNext:\n"
        f"  1. Put your own words into the templates, and say in the rule who, when and what.\n"
        f"  2. stet rules check {folder}\n"
        f"  3. stet rules test {folder} {rule} --verbose    plays its story; correct it where it is wrong\n"
        f"  4. stet rules graph {rule} --folder {folder}    draws the rule\n"
        f"  5. stet rules prove {folder}, then open a pull request"
    )


def _refuse(sentence: str) -> NoReturn:
    raise typer.Exit(print_error(sentence, code=ExitCode.CANNOT_RUN))

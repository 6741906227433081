"""``stet rules check FOLDER``: every fault of the rule files, then their stories."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Annotated

import typer

from ops.command_line import ExitCode
from ops.rules.folder import DEFAULT_FOLDER, RuleFolder, refuse_unwritable, require_rules
from ops.rules.output import Report, ReportCase, ReportFormat, counted, format_option, print_report, track
from services.rules.rulebook.faults import FaultReport, FileFault
from services.rules.rulebook.lock import LOCK_FILE, check_lock, extend_lock
from services.rules.rulebook.model import Rulebook
from services.rules.rulebook.rule_folder import read_folder, relative_names
from services.rules.scenario.folder_check import FolderCheck, check_folder
from services.rules.scenario.story_file import Story


def check_command(
    folder: RuleFolder = DEFAULT_FOLDER,
    *,
    lock: Annotated[bool, typer.Option("--lock", help=f"Write {LOCK_FILE}: later changes need a new version.")] = False,
    output: Annotated[ReportFormat, format_option(*ReportFormat)] = ReportFormat.TEXT,
) -> None:
    """Check a folder of rules: every fault at once with its place and how to mend it, then its stories.

    A fault is said with file, line and column, the line itself, and the nearest right word. Where the files have none,
    the stories (*.test.yaml) are played in virtual time. Nothing is sent and nothing is written.

    Exit code 1 where a file is at fault or a story failed.
    """
    require_rules(folder)
    raise typer.Exit(_lock(folder, output) if lock else _check(folder, output))


def _check(folder: Path, output: ReportFormat) -> ExitCode:
    report, lock = FaultReport(), folder / LOCK_FILE
    check = FolderCheck(read_folder(folder, report, misnamed=True), report)
    locked = check_lock(check.rulebook, _text(lock)) if lock.exists() else []
    stories, failed = 0, list[FileFault]()
    for found in track(check.read_stories(), "playing stories", check.story_files):
        stories += len(found)
        failed += [] if check.has_faults or locked else _play(found, check.rulebook)
    checked = check.finish()
    if checked.faults or locked:
        return _print_faults(folder, [*checked.faults, *locked], "the stories were not played", output)
    summary = f"{_contents(checked.rulebook, stories)}: {counted(len(failed), 'fault') if failed else 'fine'}"
    return _print(folder, failed, checked.notes, summary, output)


def _play(stories: Iterable[Story], rulebook: Rulebook) -> Iterator[FileFault]:
    """The faults of stories. The evaluator, which decides, is asked alone; ``stet rules test`` asks the other, too."""
    from services.rules.scenario.player import play_story  # noqa: PLC0415 -- only a rulebook without faults is played

    for story in stories:
        yield from play_story(story, rulebook, has_second_engine=False)


def _lock(folder: Path, output: ReportFormat) -> ExitCode:
    """Adds new templates; refuses where a text changed under a name and version that Meta approved."""
    lock, checked = folder / LOCK_FILE, check_folder(folder)
    text, changed = extend_lock(checked.rulebook, _text(lock))
    if checked.faults or changed:
        return _print_faults(folder, [*checked.faults, *changed], f"{LOCK_FILE} was not written", output)
    with refuse_unwritable():
        lock.write_text(text, "utf-8")
    return _print(folder, (), (), f"{lock}: {counted(len(checked.rulebook.templates), 'template')} locked", output)


def _text(lock: Path) -> str:
    """Empty where there is no lock yet; an unreadable file is no lock."""
    try:
        return lock.read_text("utf-8", "replace") if lock.exists() else ""
    except OSError:
        return "unreadable"


def _print_faults(folder: Path, faults: Sequence[FileFault], consequence: str, output: ReportFormat) -> ExitCode:
    return _print(folder, faults, (), f"{counted(len(faults), 'fault')}; {consequence}", output)


def _print(
    folder: Path, faults: Sequence[FileFault], notes: Sequence[FileFault], summary: str, output: ReportFormat
) -> ExitCode:
    has_findings = bool(faults or notes)
    files = read_folder(folder, FaultReport()) if has_findings else dict.fromkeys(relative_names(folder), "")
    return print_report(Report("check", folder, files, list(_cases(files, faults, notes)), summary), output)


def _cases(files: Iterable[str], faults: Sequence[FileFault], notes: Sequence[FileFault]) -> Iterator[ReportCase]:
    """One for each file, and for each missing or unreadable one that is at fault."""
    for name in dict.fromkeys([*files, *(fault.location.file for fault in faults)]):
        own = tuple(fault for fault in faults if fault.location.file == name)
        noted = tuple(note for note in notes if note.location.file == name)
        yield ReportCase(name, own, noted, group=PurePath(name).parent.as_posix())


def _contents(book: Rulebook, stories: int) -> str:
    counts = ((len(book.rules), "rule"), (len(book.templates), "template"), (len(book.forms), "form"))
    return ", ".join(counted(number, word) for number, word in (*counts, (stories, "story")) if number)

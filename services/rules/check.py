"""``stet rules check FOLDER``: every fault of the rule files, then their stories in virtual time.

The services themselves only validate the rules; stories are read and played here alone.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter

from services.rules.rulebook.catalogue import EVENTS, fields_of_event
from services.rules.rulebook.faults import FaultReport, FileFault
from services.rules.rulebook.field_validation import known_roles
from services.rules.rulebook.loader import SCHEMAS, read_folder
from services.rules.rulebook.lock import LOCK_FILE, check_lock, extend_lock
from services.rules.rulebook.model import Rulebook
from services.rules.rulebook.validation import validate
from services.rules.scenario.story_file import Story, read_stories

DESCRIPTION = """\
Checks a folder of rules: every fault of its files with file, line, column and the nearest right word, all at once;
then plays its stories (*.test.yaml) in virtual time. Nothing is sent and nothing is written."""
EPILOG = """\
exit code: 0 all is well, 1 the files are at fault or a story failed, 2 the command is wrong"""


_FILE_KINDS: Mapping[str, Any] = {**SCHEMAS, "test": list[Story]}
"""Types of what a file of each kind holds."""


class Exit(IntEnum):
    FINE = 0
    FINDINGS = 1
    USAGE = 2


@dataclass(frozen=True, slots=True)
class Checked:
    """A folder's rulebook and stories; both are complete only where there are no faults. ``notes`` are warnings."""

    rulebook: Rulebook
    stories: tuple[Story, ...]
    faults: tuple[FileFault, ...]
    notes: tuple[FileFault, ...]


def check_files(files: Mapping[str, str], *, tested: bool = True) -> Checked:
    """All faults of rules and stories at once. With ``tested``, each rule must have a story."""
    validation, report = validate(files), FaultReport()
    stories, story_faults = read_stories(files)
    report.faults += [*validation.faults, *story_faults]
    _check_people(validation.rulebook, stories, report)
    if tested:
        _check_tested(validation.rulebook, stories, report)
    return Checked(validation.rulebook, stories, tuple(report.sorted()), validation.notes)


def check_folder(folder: Path, *, tested: bool = True) -> Checked:
    """``check_files`` of a folder; files that cannot be read are among the faults."""
    report = FaultReport()
    checked = check_files(read_folder(folder, report), tested=tested)
    report.faults.extend(checked.faults)
    return Checked(checked.rulebook, checked.stories, tuple(report.sorted()), checked.notes)


def _check_people(book: Rulebook, stories: Iterable[Story], report: FaultReport) -> None:
    """The roles and teams that a story gives its people exist."""
    roles, teams = known_roles(book), book.people.teams
    for story in stories:
        for each in story.people.values():
            for role in each.roles:
                if role and role not in roles:
                    report.unknown(each.location, f"there is no role “{role}”", role, roles)
            if each.team is not None and each.team not in teams:
                report.unknown(each.location, f"people.yaml has no team “{each.team}”", each.team, teams)


def _check_tested(book: Rulebook, stories: Iterable[Story], report: FaultReport) -> None:
    """Each rule has a story, in a file of its name."""
    tested = {story.rule for story in stories}
    for rule in book.rules.values():
        if rule.name and rule.name not in tested:
            report.add(rule.location, f"“{rule.name}” has no story: write {rule.name}.test.yaml beside it")
    for story in stories:
        if story.rule not in book.rules:
            report.unknown(story.location, f"there is no rule “{story.rule}” to test", story.rule, book.rules)


# ------------------------------------------------------------------ the command


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=DESCRIPTION, epilog=EPILOG)
def check(
    folder: Annotated[Path | None, typer.Argument(metavar="FOLDER", help="Where the rule files are.")] = None,
    *,
    lock: Annotated[bool, typer.Option("--lock", help=f"Write {LOCK_FILE}: later changes need a new version.")] = False,
    fields: Annotated[
        str | None, typer.Option(metavar="EVENT", help="List every field and fact a rule on EVENT may name.")
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option(metavar="KIND", help=f"Print the JSON Schema of a file: {', '.join(_FILE_KINDS)}."),
    ] = None,
) -> None:
    raise typer.Exit(_run(folder, lock=lock, fields=fields, schema=schema))


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    try:
        app(list(arguments), prog_name="stet rules check")
    except SystemExit as end:
        return int(end.code or 0)
    return Exit.FINE


def _run(folder: Path | None, *, lock: bool, fields: str | None, schema: str | None) -> int:
    if fields is not None:
        return _list_fields(fields)
    if schema is not None:
        return _print_schema(schema)
    if folder is None or not folder.is_dir():
        return _complain(f"{folder or 'FOLDER'}: there is no such folder")
    return _lock(folder) if lock else _check(folder)


def _check(folder: Path) -> int:
    checked, lock = check_folder(folder), folder / LOCK_FILE
    locked = check_lock(checked.rulebook, _text(lock)) if lock.exists() else []
    if checked.faults or locked:
        return _at_fault(folder, [*checked.faults, *locked], "the stories were not played")
    failed = _played(checked)
    _print_faults(folder, [*checked.notes, *failed])
    _print(f"{_summary(checked)}: {_count(len(failed), 'fault') if failed else 'fine'}")
    return Exit.FINDINGS if failed else Exit.FINE


def _lock(folder: Path) -> int:
    """Adds new templates; refuses where a text changed under a name and version that Meta approved."""
    lock, checked = folder / LOCK_FILE, check_folder(folder)
    text, changed = extend_lock(checked.rulebook, _text(lock))
    if checked.faults or changed:
        return _at_fault(folder, [*checked.faults, *changed], f"{LOCK_FILE} was not written")
    lock.write_text(text, "utf-8")
    _print(f"{lock}: {_count(len(checked.rulebook.templates), 'template')} locked")
    return Exit.FINE


def _text(lock: Path) -> str:
    """Empty where there is no lock yet; an unreadable file is no lock."""
    try:
        return lock.read_text("utf-8", "replace") if lock.exists() else ""
    except OSError:
        return "unreadable"


def _at_fault(folder: Path, faults: Sequence[FileFault], consequence: str) -> int:
    _print_faults(folder, faults)
    _print(f"{_count(len(faults), 'fault')}; {consequence}")
    return Exit.FINDINGS


def _played(checked: Checked) -> list[FileFault]:
    from services.rules.scenario.player import play_story  # noqa: PLC0415 -- only a rulebook without faults can be played

    return [fault for story in checked.stories for fault in play_story(story, checked.rulebook)]


def _print_faults(folder: Path, faults: Iterable[FileFault]) -> None:
    """With the folder in front, so that a terminal or editor can open the location."""
    for fault in faults:
        _print(f"{folder / str(fault)}")


def _summary(checked: Checked) -> str:
    book = checked.rulebook
    counts = ((book.rules, "rule"), (book.templates, "template"), (book.forms, "form"), (checked.stories, "story"))
    return ", ".join(_count(len(things), word) for things, word in counts if things)


def _count(number: int, word: str) -> str:
    plural = f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
    return f"{number} {word if number == 1 else plural}"


def _list_fields(event: str) -> int:
    if event not in EVENTS:
        return _complain(f"there is no event “{event}”; there are {', '.join(sorted(EVENTS))}")
    for path, spec in fields_of_event(event).items():
        kind = f"{spec.type} of {spec.item}" if spec.item else spec.type
        absent = ", may be absent" if spec.optional else ""
        values = f": {' '.join(spec.values)}" if spec.values else ""
        _print(f"{path}  {kind}{absent}{values}{'  ' + spec.sentence if spec.sentence else ''}")
    return Exit.FINE


def _print_schema(kind: str) -> int:
    """For editors, which complete keys by it."""
    if kind not in _FILE_KINDS:
        return _complain(f"there is no kind of file “{kind}”; there are {', '.join(_FILE_KINDS)}")
    _print(json.dumps(TypeAdapter(_FILE_KINDS[kind]).json_schema(), indent=2, ensure_ascii=False))
    return Exit.FINE


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _complain(line: str) -> int:
    sys.stderr.write(f"{line}\n")
    return Exit.USAGE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The command: every fault of the files, then the stories in virtual time, then one line that sums up."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from enum import IntEnum
from pathlib import Path

from services.rules.catalogue import EVENTS, fields
from services.rules.check.lock import LOCK, grown, lock_faults
from services.rules.check.prove import Proof, prove_folder
from services.rules.language.faults import Fault

_DESCRIPTION = """\
Proves a folder of rules: every fault of its files with file, line, column and the nearest right word, all at once;
then plays its stories (*.test.yaml) in virtual time. Nothing is sent and nothing is written."""
_EPILOG = """\
exit code: 0 all is well, 2 the command is wrong, 3 the files are at fault, 4 a story failed"""


class Exit(IntEnum):
    FINE = 0
    USAGE = 2
    AT_FAULT = 3
    STORIES_FAILED = 4


def main(arguments: Sequence[str]) -> int:
    chosen = _parser().parse_args(arguments)
    if chosen.fields is not None:
        return _list_fields(chosen.fields)
    if chosen.folder is None or not chosen.folder.is_dir():
        return _complain(f"{chosen.folder or 'FOLDER'}: there is no such folder")
    return _lock(chosen.folder) if chosen.lock else _check(chosen.folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m services.rules.check",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, nargs="?", help="where the rule files are")
    parser.add_argument("--lock", action="store_true", help=f"write {LOCK}: from then on new words need a new version")
    parser.add_argument("--fields", metavar="EVENT", help="list every field and fact a rule on EVENT may name")
    return parser


def _check(folder: Path) -> int:
    proof, _ = prove_folder(folder)
    lock = folder / LOCK
    locked = lock_faults(proof.rulebook, _text(lock)) if lock.exists() else []
    if proof.faults or locked:
        return _at_fault(folder, [*proof.faults, *locked], "the stories were not played")
    failed = _played(proof)
    _print_faults(folder, [*proof.notes, *failed])
    _say(f"{_summary(proof)}: {_count(len(failed), 'fault') if failed else 'fine'}")
    return Exit.STORIES_FAILED if failed else Exit.FINE


def _lock(folder: Path) -> int:
    """Adds what is new; refuses where words changed under a name Meta knows."""
    lock, (proof, _) = folder / LOCK, prove_folder(folder)
    text, changed = grown(proof.rulebook, _text(lock))
    if proof.faults or changed:
        return _at_fault(folder, [*proof.faults, *changed], f"{LOCK} was not written")
    lock.write_text(text, "utf-8")
    _say(f"{lock}: {_count(len(proof.rulebook.templates), 'template')} locked")
    return Exit.FINE


def _text(lock: Path) -> str:
    """Nothing where there is no lock yet; what cannot be read is no lock."""
    try:
        return lock.read_text("utf-8", "replace") if lock.exists() else ""
    except OSError:
        return "unreadable"


def _at_fault(folder: Path, faults: Sequence[Fault], consequence: str) -> int:
    _print_faults(folder, faults)
    _say(f"{_count(len(faults), 'fault')}; {consequence}")
    return Exit.AT_FAULT


def _played(proof: Proof) -> list[Fault]:
    from services.rules.story.play import play  # noqa: PLC0415 -- only a book without faults can be played

    return [fault for story in proof.stories for fault in play(story, proof.rulebook)]


def _print_faults(folder: Path, faults: Iterable[Fault]) -> None:
    """With the folder in front, so that a terminal or editor can open the place."""
    for fault in faults:
        _say(f"{folder / str(fault)}")


def _summary(proof: Proof) -> str:
    book = proof.rulebook
    counts = ((book.rules, "rule"), (book.templates, "template"), (book.forms, "form"), (proof.stories, "story"))
    return ", ".join(_count(len(things), word) for things, word in counts if things)


def _count(number: int, word: str) -> str:
    plural = f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
    return f"{number} {word if number == 1 else plural}"


def _list_fields(event: str) -> int:
    if event not in EVENTS:
        return _complain(f"there is no event “{event}”; there are {', '.join(sorted(EVENTS))}")
    for path, spec in fields(event).items():
        kind = f"{spec.type} of {spec.item}" if spec.item else spec.type
        absent = ", may be absent" if spec.optional else ""
        values = f": {' '.join(spec.values)}" if spec.values else ""
        _say(f"{path}  {kind}{absent}{values}{'  ' + spec.sentence if spec.sentence else ''}")
    return Exit.FINE


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _complain(line: str) -> int:
    sys.stderr.write(f"{line}\n")
    return Exit.USAGE

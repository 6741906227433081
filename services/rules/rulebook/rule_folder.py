"""Reads a folder of rule files into texts: which names they have, and how large they may be.

Names that begin with a dot are skipped: a ConfigMap volume keeps its data in such folders and links to it, and editors
leave locks and drafts of that name.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final

from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.model import Location
from shared.contracts.ids import Revision, derive_id

SUFFIXES: Final = (".yaml", ".yml")
RULE, TEMPLATE, FORM, STORIES = ".rule.yaml", ".template.yaml", ".form.yaml", ".test.yaml"
KINDS: Final = (RULE, TEMPLATE, FORM, STORIES)
SINGLES = ("people.yaml", "calendar.yaml", "limits.yaml", "house.yaml")
"""The files of which a folder has one each."""

LARGEST_FILE: Final = 4 * 2**20
"""Bytes; the 82 stories of the shipped rules have 40,000."""
_KIND: Final = r"(?:.+\.(?:rule|template|form|test)|people|calendar|limits|house)"
_ALMOST: Final = re.compile(
    rf"(?P<name>{_KIND})(?:\.ya?ml)?(?:\.(?:txt|md)|(?P<before>~|\.(?:bak|old|orig|tmp|save|sw[op])))?", re.IGNORECASE
)
"""A name that some editors give a file of rules, which is not read then; some keep the text ``before`` beside it."""
_OF_ANOTHER_PROGRAM: Final = re.compile(
    rf"(?P<name>{_KIND}|[a-z0-9]+(?:[-_][a-z0-9]+)+)(?:\.ya?ml)?\.(?:docx?|odt|rtf|pages|html?|pdf|json|xlsx?|ods)"
)
"""The name of a rule or of a file of rules, with the end of a file of a word processor."""
MOST_ENTRIES: Final = 100_000
"""Files and folders below a folder of rules; one of 2,000 rules has 10,000."""
_FEW_FILES: Final = 200
"""YAML files of a folder without people.yaml that are read all the same, for their faults."""
_USUAL_SIZE: Final = 64 * 2**10
"""Bytes that are read at first: memory for the largest file is not asked for thousands of times."""


def read_folder(
    folder: Path, report: FaultReport | None = None, *, stories: bool = True, misnamed: bool = False
) -> dict[str, str]:
    """Relative name → text of every YAML file in ``folder`` and below, in the order of their names.

    A file that cannot be read is added to ``report``; one that is not UTF-8 is read as Windows-1252, so that its
    other faults are reported too. With ``stories`` False, no ``*.test.yaml`` is opened. With ``misnamed``, a file that
    is reported for the end of its name stands under the right one, so that no other file misses it; one of another
    program stands under its own, and has no text.
    """
    report = report or FaultReport()
    misnamed_files: list[tuple[str, Path]] = []
    found = sorted(_find_files(folder, folder.name, "", report, misnamed_files))
    if misnamed:
        known = {name for name, _ in found}
        found = [(_right_name(name, known, report), path) for name, path in found]
        found = sorted([*found, *((name, path) for name, path in misnamed_files if name not in known)])
    wanted = [(name, path) for name, path in found if stories or not name.endswith(STORIES)]
    texts = ((name, _read_text(path, Location(name, 1, 1), report) if is_read(name) else "") for name, path in wanted)
    return {name: text for name, text in texts if text is not None}


def why_no_rules(folder: Path) -> str | None:
    """Why this is no folder of rules but one far above it, as the names in it show; None where it may be one.

    Told before anything is read: the YAML files of a whole machine would take minutes.
    """
    found = list(islice(_entries_below(folder), MOST_ENTRIES + 1))
    if len(found) > MOST_ENTRIES:
        return f"more than {MOST_ENTRIES:,} files and folders are below it; {_NAME_THE_FOLDER}"
    names = [name for name in found if is_read(name)]
    if len(names) <= _FEW_FILES:
        return None
    people = sorted(name.rpartition("/")[0] for name in names if base_name(name) == "people.yaml")
    if not people:
        return f"of the {len(names):,} YAML files in it and below, none is called people.yaml; {_NAME_THE_FOLDER}"
    if len(people) > 1 and "" not in people:
        return f"people.yaml is in several folders below it; name one of them, such as {folder / people[0]}"
    return None


_NAME_THE_FOLDER: Final = "name the folder that has house.yaml and people.yaml"


def _entries_below(folder: Path) -> Iterator[str]:
    """The relative name of each file and folder, the nearest first; no folder is entered twice."""
    entered, waiting = set[str](), [""]
    for prefix in waiting:
        if (real := os.path.realpath(folder / prefix)) in entered:
            continue
        entered.add(real)
        try:
            with os.scandir(real) as entries:
                visible = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError:
            continue
        for entry in visible:
            yield f"{prefix}{entry.name}"
            if os.path.isdir(entry.path):  # noqa: PTH112 -- False, and no error, where access is denied
                waiting.append(f"{prefix}{entry.name}/")


def is_read(name: str) -> bool:
    """Whether a file of this name is opened."""
    return name.lower().endswith(SUFFIXES)


def _right_name(name: str, known: Collection[str], report: FaultReport) -> str:
    """The name of a file that is read; where only its end is wrong, and reported so, the right one."""
    almost = _ALMOST.fullmatch(base_name(name)) if is_unknown(name) else None
    right = f"{name.rpartition('/')[0]}/{almost['name'].lower()}.yaml".lstrip("/") if almost is not None else name
    if right in known or is_unknown(right):
        return name
    report.add(Location(name, 1, 1), _name_it(base_name(right)))
    return right


def _name_it(right: str) -> str:
    return f"this file is not read, because of the end of its name; name it {right}"


def relative_names(folder: Path) -> list[str]:
    """The relative name of every YAML file in ``folder`` and below, in order; none is opened."""
    return sorted(name for name, _ in _find_files(folder, folder.name, "", FaultReport(), []))


def file_names(folder: Path) -> frozenset[str]:
    """The names of all YAML files in ``folder`` and below, without the folders they are in."""
    return frozenset(path.name for _, path in _find_files(folder, folder.name, "", FaultReport(), []))


def _find_files(
    folder: Path,
    name: str,
    prefix: str,
    report: FaultReport,
    misnamed: list[tuple[str, Path]],
    above: frozenset[str] = frozenset(),
) -> Iterator[tuple[str, Path]]:
    """The names and paths of YAML files below ``folder``. Follows links to folders, except those back to one above.

    The names begin with ``prefix``; a folder that cannot be read is reported by its ``name``. Files that are not read
    for the end of their names are added to ``misnamed``, with the right names.
    """
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except OSError as error:
        report.add(Location(name, 1, 1), f"the folder cannot be read: {error.strerror}")
        return
    beside = frozenset(entry.name for entry in found)
    for entry in found:
        if entry.name.startswith("."):
            continue
        name, path = f"{prefix}{entry.name}", Path(entry.path)
        # isdir: False, and no error, where access is denied
        if os.path.isdir(path) if entry.is_symlink() else entry.is_dir():  # noqa: PTH112
            yield from _find_files(path, name, f"{name}/", report, misnamed, above | {real})
        if is_read(name):
            yield name, path
        elif not path.is_dir():
            misnamed += _misnamed(entry.name, beside, prefix, path, report)


def _misnamed(
    name: str, beside: frozenset[str], prefix: str, path: Path, report: FaultReport
) -> Iterator[tuple[str, Path]]:
    """The file under its right name, or under its own where it is none of plain text; both are reported."""
    location = Location(f"{prefix}{name}", 1, 1)
    if (almost := _ALMOST.fullmatch(name)) is not None:
        right = f"{almost['name']}.yaml"
        if not almost["before"] or right not in beside:
            report.add(location, _name_it(right))
            yield f"{prefix}{right}", path
    elif (other := _OF_ANOTHER_PROGRAM.fullmatch(name)) is not None:
        kinds = [""] if re.fullmatch(_KIND, other["name"]) else [TEMPLATE, RULE] if "_" in name else [RULE, TEMPLATE]
        right_names = [f"{other['name']}{kind or '.yaml'}" for kind in kinds]
        if beside.isdisjoint(right_names):
            sentence = f"a file of another program is not read; save it as plain text, and name it {right_names[0]}"
            report.add(location, sentence)
            yield f"{prefix}{name}", path


def _read_text(path: Path, location: Location, report: FaultReport) -> str | None:
    try:
        if not path.is_file():
            report.add(location, _why_no_file(path))
            return None
        with path.open("rb") as file:
            raw = file.read(_USUAL_SIZE)
            if len(raw) == _USUAL_SIZE:
                raw += file.read(LARGEST_FILE + 1 - _USUAL_SIZE)
    except OSError as error:
        report.add(location, f"the file cannot be read: {error.strerror}")
        return None
    if len(raw) > LARGEST_FILE:
        report.add(location, f"the file is larger than {LARGEST_FILE // 2**20} MB")
        return None
    return _decode(raw, location, report)


def _why_no_file(path: Path) -> str:
    if path.is_dir():
        return "this is a folder, and is named like a file of rules"
    return "this is no file that could be read" if path.exists() else "this links to no file"


_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def _decode(raw: bytes, location: Location, report: FaultReport) -> str | None:
    if b"\0" in raw and not raw.startswith(_UTF_16):
        sentence = "this is no plain text, but a file of another program; save it as plain text in UTF-8"
        report.add(location, sentence)
        return None
    if raw.startswith(_UTF_16):
        report.add(location, "the file is written in UTF-16; save it as UTF-8")
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8")
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        report.add(Location(location.file, line, column), "the file is not written in UTF-8; save it so")
        return raw.decode("cp1252", "replace")


def revision_of(files: Mapping[str, str]) -> Revision:
    """A hash of the file names and texts. Stories do not count."""
    return Revision(
        derive_id(*(part for name in sorted(files) if not name.endswith(STORIES) for part in (name, files[name])))
    )


def stem(file: str) -> str:
    """``rights/rights-approval.rule.yaml`` → ``rights-approval``."""
    return base_name(file).partition(".")[0]


def base_name(file: str) -> str:
    """``people/people.yaml`` → ``people.yaml``."""
    return file.rpartition("/")[2]


def is_unknown(file: str) -> bool:
    """Whether no kind of rule files is called so."""
    name = base_name(file)
    return name not in SINGLES and not name.endswith(KINDS)

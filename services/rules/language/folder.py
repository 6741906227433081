"""The YAML files of a rule folder as texts; what cannot be read is named.

Names that begin with a dot are passed over: a ConfigMap volume keeps its data in such folders and links to it, and
editors leave locks and drafts of that name.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from services.rules.language.faults import Report
from services.rules.terms import Place

SUFFIXES: Final = (".yaml", ".yml")
LARGEST_FILE: Final = 4 * 2**20
"""Bytes; the 82 stories of the shipped rules have 40,000."""


def read_folder(folder: Path, report: Report | None = None) -> dict[str, str]:
    """Relative name → text of every YAML file in ``folder`` and below, in the order of their names.

    What cannot be read is added to ``report``; a file that is not UTF-8 is read as far as it goes, so that its other
    faults are told too.
    """
    report = report or Report()
    texts = ((name, _text(path, Place(name, 1, 1), report)) for name, path in sorted(_found(folder, folder, report)))
    return {name: text for name, text in texts if text is not None}


def _found(root: Path, folder: Path, report: Report, above: frozenset[str] = frozenset()) -> Iterator[tuple[str, Path]]:
    """Links to folders are followed, but for those that lead back to where they stand."""
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        report.add(Place(_name(root, folder), 1, 1), f"the folder cannot be read: {error.strerror}")
        return
    for path in entries:
        if path.name.startswith("."):
            continue
        if os.path.isdir(path):  # noqa: PTH112 -- False where it may not be looked at, and no error
            _refuse_name(root, path, report)
            yield from _found(root, path, report, above | {real})
        elif path.name.lower().endswith(SUFFIXES):
            yield _name(root, path), path


def _refuse_name(root: Path, folder: Path, report: Report) -> None:
    if folder.name.lower().endswith(SUFFIXES):
        report.add(Place(_name(root, folder), 1, 1), "this is a folder, and is named like a file of rules")


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path != root else path.name


def _text(path: Path, place: Place, report: Report) -> str | None:
    try:
        if not path.is_file():
            report.add(place, "this is no file that could be read" if path.exists() else "this links to no file")
            return None
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except OSError as error:
        report.add(place, f"the file cannot be read: {error.strerror}")
        return None
    if len(raw) > LARGEST_FILE:
        report.add(place, f"the file is larger than {LARGEST_FILE // 2**20} MB")
        return None
    return _decoded(raw, place, report)


def _decoded(raw: bytes, place: Place, report: Report) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8")
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        report.add(Place(place.file, line, column), "the file is not written in UTF-8; save it so")
        return raw.decode("utf-8", "replace")

"""Where rule files come from: a folder that is polled, or a bundle (``bundles.py``).

A folder may be a volume of a ConfigMap, a link that git-sync turns to the next commit, or a folder one edits. It counts
as changed once its files have another size, time or inode, and two readings in a row found the same.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services.rules.rulebook.faults import FaultReport, FileFault
from services.rules.rulebook.model import Location
from services.rules.rulebook.rule_folder import read_folder, revision_of, why_no_rules
from shared.contracts.errors import Unavailable
from shared.contracts.ids import Revision
from shared.runtime.build import UNKNOWN, commit_of


@dataclass(frozen=True, slots=True)
class SourceContent:
    """The rule files of a source as they were read at once. ``faults`` are those of reading, not of the rules."""

    revision: Revision
    files: Mapping[str, str]
    commit: str | None
    faults: tuple[FileFault, ...] = ()


class RuleSource(Protocol):
    """``setting`` is the one that names the source, for messages."""

    setting: str

    async def read(self) -> SourceContent | None:
        """The present content of the source; None where it is unchanged, or is just being changed.

        Raises Unavailable where it cannot be read.
        """


_Fingerprint = tuple[tuple[str, int, int, int, int], ...]


@dataclass(slots=True)
class FolderSource:
    """``commit`` is the one that was set; else the path of the folder may tell it."""

    folder: Path
    commit: str | None = None
    setting: str = "STET_RULES_DIR"
    _read: _Fingerprint | None = None
    _seen: _Fingerprint | None = None

    async def read(self) -> SourceContent | None:
        return await asyncio.to_thread(self.read_now)

    def read_now(self) -> SourceContent | None:
        if self._read is None and (why := why_no_rules(self.folder)) is not None:
            return SourceContent(revision_of({}), {}, None, (FileFault(Location(str(self.folder), 1, 1), why),))
        try:
            before = _fingerprint(self.folder)
        except OSError as error:
            raise Unavailable(f"{self.folder} cannot be read: {error.strerror}") from None
        if before == self._read:
            return None
        if self._read is not None and before != self._seen:
            self._seen = before  # it must stand still until the next look
            return None
        content = read_content(self.folder, self.commit)
        if _fingerprint(self.folder) != before:
            self._seen = None
            return None
        self._read = self._seen = before
        return content


def read_content(folder: Path, commit: str | None = None) -> SourceContent:
    report = FaultReport()
    named = commit_of(folder)
    files = read_folder(folder, report, stories=False)
    known = commit or (named if named != UNKNOWN else None)
    return SourceContent(revision_of(files), files, known, tuple(report.sorted()))


def _fingerprint(folder: Path) -> _Fingerprint:
    """Changes whenever a file or a link does; reads no file."""
    return tuple(sorted(_entries(os.path.realpath(folder), frozenset())))


def _entries(folder: str, above: frozenset[str]) -> Iterator[tuple[str, int, int, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                stat = entry.stat()
            except OSError:  # a link to nothing: reading it says so
                yield entry.path, 0, 0, 0, 0
                continue
            yield entry.path, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
            if entry.is_dir() and (real := os.path.realpath(entry.path)) not in above:
                yield from _entries(real, above | {real})

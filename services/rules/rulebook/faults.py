"""Faults of rule files: location, one sentence and the nearest right word. All are collected and reported at once."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from services.rules.rulebook.model import Location

_LONGEST_WORD = 60
"""A longer text is no misspelt word, and comparing it takes seconds."""
_MOST_HINTS = 300
_MOST_LISTED = 20
_COMMENT = re.compile(r"\s*(?:#|//|/\*|<!--|--).*$")
_SEPARATORS = re.compile(r"\s*[,;/&+|()，、；（）［］]\s*|\s+(?:and|or|et|ou|und)\s+", re.IGNORECASE)
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff\xad]")
TYPOGRAPHIC_QUOTES = "“”„‟‘’‚‛«»‹›"
_FILE = re.compile(r"(?:\.[a-z]+)?\.ya?ml$")
_MOST_PLACES = 5
_QUOTED = re.compile("“([^”]{80})[^”]{10,}”")
_UNPRINTABLE = re.compile(r"[\0-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class FileFault:
    """``also`` has the further places of a wrong word; it is None where each place is a fault of its own.

    ``only_new``: files that are put into force must not have it; those that were stored before may.
    """

    location: Location
    sentence: str
    hint: str | None = None
    also: tuple[Location, ...] | None = None
    only_new: bool = False
    needs: tuple[str, ...] = ()
    """The keys that are missing, where that is the fault."""
    misplaced: str | None = None
    """The key that stands where it does not belong, where that is the fault."""
    may_be_moved: bool = False
    """Whether the key is wrong by its column or stands twice; it was moved where it is missing in one other place."""

    @property
    def place(self) -> str:
        return _printable(f"{self.location.file}:{self.location.line}:{self.location.column}")

    @property
    def message(self) -> str:
        """The sentence and the nearest right word."""
        hint = f" (did you mean “{self.hint}”?)" if self.hint else ""
        return _printable(f"{self.sentence}{hint}{self._also()}")

    def _also(self) -> str:
        """The first of the further places."""
        if not self.also:
            return ""
        own = self.location.file
        others = dict.fromkeys((each.file, each.line) for each in self.also)
        others.pop((own, self.location.line), None)
        if not others:
            return ""
        places = [f"{file if file != own else 'line '}{':' * (file != own)}{line}" for file, line in others]
        more = f" and {len(places) - _MOST_PLACES} more" if len(places) > _MOST_PLACES else ""
        return f" (also at {', '.join(places[:_MOST_PLACES])}{more})"

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


def _printable(text: str) -> str:
    """Shortens long quotations and escapes control characters."""
    shortened = _QUOTED.sub(r"“\1…”", text)
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), shortened)


def nearest_word(word: str, right: Iterable[str]) -> str | None:
    """The right word most similar to this one, or None; a path may be recognised by its last part."""
    if len(word) > _LONGEST_WORD:
        return None
    words = sorted(right)
    if _FILE.search(word) and (name := _FILE.sub("", word.rpartition("/")[2])) in words:
        return name  # it was named by its file
    close = get_close_matches(word, words, n=1, cutoff=0.6) or get_close_matches(
        word.casefold(), words, n=1, cutoff=0.6
    )
    if close:
        return close[0]
    ends = [each for each in words if each.rpartition(".")[2] == word.rpartition(".")[2]]
    return ends[0] if ends else None


def _written_otherwise(word: str, right: frozenset[str], *, several: bool) -> str | None:
    """The end of the sentence where right words are written so that they cannot be read as such."""
    if _INVISIBLE.search(word) and (plain := _INVISIBLE.sub("", word)) in right:
        return f"an invisible character stands in it: write “{plain}” anew"
    if not word.isascii() and (plain := " ".join(word.split())) != word and plain in right:
        return f"a special space stands in it: write “{plain}” anew"
    if (plain := word.strip(TYPOGRAPHIC_QUOTES + " \u00a0\u202f")) != word and plain in right:
        return f"typographic quotes count as letters: write {plain} without them"
    bare = _COMMENT.sub("", word)
    if bare != word and bare in right:
        return f"write “{bare}”, and begin a comment with a space and “#”"
    parts = [part for part in _SEPARATORS.split(word.strip("[]")) if part]
    parts = word.split() if len(parts) == 1 and right.issuperset(word.split()) else parts
    if len(parts) > 1 and right.issuperset(parts):
        return f"several stand in brackets: [{', '.join(parts)}]" if several else "only one stands here"
    return None


class FaultReport:
    """Collects faults."""

    def __init__(self) -> None:
        self.faults: list[FileFault] = []
        self._hints = 0
        self._unreadable: set[tuple[str, int]] = set()
        self._lines: set[tuple[str, int]] = set()
        self._counted = 0
        self._by_cause: dict[tuple[str, str], str] = {}
        self._misread: dict[str, list[range]] = {}
        self.repeating: set[str] = set()
        """Files that have a key twice: the other of them was meant for a name that is missing."""
        self.unguarded: set[str] = set()
        """Rules whose condition has a fault: the fields that it was meant to guard are not known."""

    def mark_misread(self, file: str, lines: range) -> None:
        """Leave further faults of these lines out: they were read otherwise than their author meant them."""
        self._misread.setdefault(file, []).append(lines)

    def misplaced_keys(self, file: str) -> frozenset[str]:
        """The keys of the file that stand where they do not belong, as far as they were reported."""
        found = (fault.misplaced for fault in self.faults if fault.location.file == file)
        return frozenset(key for key in found if key is not None)

    def is_misread(self, file: str) -> bool:
        """Whether a part of the file was read otherwise than its author meant it."""
        return file in self._misread

    def close_lines(self) -> None:
        """Leave further faults of the lines that have one out: they follow from what could not be read."""
        self._unreadable |= self._faulty_lines()

    def has_fault_between(self, first: Location, end: int | None) -> bool:
        """Whether one of the file's lines from the first on has a fault; ``end`` is the line behind the last."""
        lines = (line for file, line in self._faulty_lines() if file == first.file)
        return any(first.line <= line and (end is None or line < end) for line in lines)

    def has_fault_on(self, location: Location) -> bool:
        """Whether the line has a fault already."""
        return (location.file, location.line) in self._faulty_lines()

    def _faulty_lines(self) -> set[tuple[str, int]]:
        """The lines of all faults; each fault is looked at once, however often this is asked."""
        added = self.faults[self._counted :]
        self._lines.update((fault.location.file, fault.location.line) for fault in added)
        self._counted = len(self.faults)
        return self._lines

    def add(
        self,
        location: Location,
        sentence: str,
        *,
        needs: tuple[str, ...] = (),
        misplaced: str | None = None,
        may_be_moved: bool = False,
    ) -> None:
        """With ``needs``, keys are missing; a fault of the file that has one of them ``misplaced`` is told alone."""
        fault = FileFault(location, sentence, needs=needs, misplaced=misplaced, may_be_moved=may_be_moved)
        self._append(fault)

    def refuse(self, location: Location, sentence: str, hint: str | None = None, *, once: bool = False) -> None:
        """Add a fault of new files: those that are stored were accepted with it, and are read as before.

        With ``once``, the sentence is one fault however many places have it.
        """
        self._append(FileFault(location, sentence, hint, () if once else None, only_new=True))

    def unknown(
        self,
        location: Location,
        sentence: str,
        word: str,
        right: Iterable[str],
        *,
        listed: bool = False,
        several: bool = False,
    ) -> None:
        """Add a fault of a word that is not one of the right ones, with the nearest of them.

        With ``listed``, a few right ones are listed where none is near; with ``several``, a list may stand there.
        """
        words = frozenset(right)
        if (meant := _written_otherwise(word, words, several=several)) is not None:
            sentence, hint = f"{sentence}; {meant}", None
        else:
            hint = nearest_word(word, words) if self._hints < _MOST_HINTS else None
            if listed and hint is None and len(words) <= _MOST_LISTED:
                sentence = f"{sentence}; it is one of {', '.join(sorted(words))}"
        self._hints += 1
        self._append(FileFault(location, sentence, hint, ()))

    def repeated(
        self, location: Location, sentence: str, misplaced: str | None = None, *, may_be_moved: bool = False
    ) -> None:
        """Add a fault that is one however many places lead to it."""
        self._append(FileFault(location, sentence, None, (), misplaced=misplaced, may_be_moved=may_be_moved))

    def caused(self, location: Location, sentence: str, cause: str) -> None:
        """Add a fault that one change mends at all its places in a file; it has the sentence of the first of them."""
        first = self._by_cause.setdefault((location.file, cause), sentence)
        self._append(FileFault(location, first, None, ()))

    def _append(self, fault: FileFault) -> None:
        place = fault.location
        if (place.file, place.line) in self._unreadable:
            return
        if not any(place.line in lines for lines in self._misread.get(place.file, ())):
            self.faults.append(fault)

    def sorted(self) -> list[FileFault]:
        """By location, each once; a wrong word once with all its places."""
        by_word: dict[tuple[str, str | None], set[Location]] = {}
        faults = without_moved_keys(self.faults)
        for fault in faults:
            if fault.also is not None:
                by_word.setdefault((fault.sentence, fault.hint), set()).update((fault.location, *fault.also))
        of_all = {(fault.sentence, fault.hint) for fault in faults if not fault.only_new}
        found = [fault for fault in faults if fault.also is None]
        for (sentence, hint), places in by_word.items():
            first, *more = sorted(places)
            found.append(FileFault(first, sentence, hint, tuple(more), only_new=(sentence, hint) not in of_all))
        return sorted(dict.fromkeys(found), key=lambda fault: (fault.location, fault.sentence))


A_LANGUAGE = "a language"
"""In place of the key of a language, where any of them is missing."""
_LANGUAGE = re.compile(r"[a-z]{2}")


def without_moved_keys(faults: Sequence[FileFault]) -> Sequence[FileFault]:
    """Without the faults of missing keys that stand elsewhere in the file, which is told there: a line was moved.

    A key that is missing more often than it is misplaced is told everywhere.
    """
    moved = Counter((fault.location.file, fault.misplaced) for fault in faults if fault.misplaced is not None)
    moved += Counter((file, A_LANGUAGE) for file, key in moved if key is not None and _LANGUAGE.fullmatch(key))
    if not moved:
        return faults
    lacking = Counter((fault.location.file, key) for fault in faults for key in fault.needs)
    found = {each for each, count in lacking.items() if count <= moved[each]}
    needed: dict[tuple[str, str | None], FileFault] = {
        (fault.location.file, key): fault
        for fault in faults
        for key in fault.needs
        if lacking[fault.location.file, key] == 1
    }
    return [
        _moved_to(fault, needed.get((fault.location.file, fault.misplaced)))
        for fault in faults
        if not any((fault.location.file, key) in found for key in fault.needs)
    ]


def _moved_to(fault: FileFault, needed: FileFault | None) -> FileFault:
    """The fault of a key in a wrong place with the one place where it is missing, in place of its column."""
    if needed is None or not fault.may_be_moved:
        return fault
    lacks = needed.sentence.partition(";")[0].replace(f"“{fault.misplaced}”", "it")
    sentence = f"“{fault.misplaced}” stands here, and on line {needed.location.line} {lacks}; move it there"
    return replace(fault, sentence=sentence)


class InvalidValue(ValueError):
    """The sentence says what is wrong; ``right`` are the words that ``word`` may have been meant for."""

    def __init__(self, sentence: str, word: str = "", right: Iterable[str] = ()) -> None:
        super().__init__(sentence)
        self.word = word
        self.right = tuple(right)

    def report_to(self, report: FaultReport, location: Location) -> None:
        if self.right:
            report.unknown(location, str(self), self.word, self.right)
        else:
            report.add(location, str(self))

"""What is wrong in a rule file: where, in one sentence, and the nearest right word. All of it at once."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from services.rules.terms import Place

_LONGEST_WORD = 60
"""Longer ones are no slip of a known word, and take the comparison seconds."""
_MOST_HINTS = 300
_QUOTED = re.compile("“([^”]{80})[^”]{10,}”")
_UNPRINTABLE = re.compile(r"[\0-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Fault:
    place: Place
    sentence: str
    hint: str | None = None

    def __str__(self) -> str:
        hint = f" (did you mean “{self.hint}”?)" if self.hint else ""
        return _printable(f"{self.place.file}:{self.place.line}:{self.place.column}: {self.sentence}{hint}")


def _printable(text: str) -> str:
    """Long quotations shortened; what a terminal cannot show, escaped."""
    shortened = _QUOTED.sub(r"“\1…”", text)
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), shortened)


def nearest(word: str, right: Iterable[str]) -> str | None:
    """The right word most like this one, if any is; a path may be recognised by its last part."""
    if len(word) > _LONGEST_WORD:
        return None
    words = sorted(right)
    close = get_close_matches(word, words, n=1, cutoff=0.6)
    if close:
        return close[0]
    ends = [each for each in words if each.rpartition(".")[2] == word.rpartition(".")[2]]
    return ends[0] if ends else None


class Report:
    """Collects faults."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._hints = 0

    def add(self, place: Place, sentence: str) -> None:
        self.faults.append(Fault(place, sentence))

    def unknown(self, place: Place, sentence: str, word: str, right: Iterable[str]) -> None:
        """A word that is not one of the right ones."""
        hint = nearest(word, right) if self._hints < _MOST_HINTS else None
        self._hints += 1
        self.faults.append(Fault(place, sentence, hint))

    def sorted(self) -> list[Fault]:
        """By place, each once."""
        return sorted(dict.fromkeys(self.faults), key=lambda fault: (fault.place, fault.sentence))

"""What is wrong in a rule file: where, in one sentence, and the nearest right word. All of it at once."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from services.rules.terms import Place


@dataclass(frozen=True, slots=True)
class Fault:
    place: Place
    sentence: str
    hint: str | None = None

    def __str__(self) -> str:
        hint = f" (did you mean “{self.hint}”?)" if self.hint else ""
        return f"{self.place.file}:{self.place.line}:{self.place.column}: {self.sentence}{hint}"


def nearest(word: str, right: Iterable[str]) -> str | None:
    """The right word most like this one, if any is; a path may be recognised by its last part."""
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

    def add(self, place: Place, sentence: str) -> None:
        self.faults.append(Fault(place, sentence))

    def unknown(self, place: Place, sentence: str, word: str, right: Iterable[str]) -> None:
        """A word that is not one of the right ones."""
        self.faults.append(Fault(place, sentence, nearest(word, right)))

    def sorted(self) -> list[Fault]:
        """By place, each once."""
        return sorted(dict.fromkeys(self.faults), key=lambda fault: (fault.place, fault.sentence))

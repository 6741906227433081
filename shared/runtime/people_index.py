"""Finds which of many people a stored text names, at a cost for each text that does not grow with the people.

Every spelling that is searched for is found by one part of it, its anchor: a whole word, the digits of a number, or
some characters of a code. A text is cut once into such parts; only the people whose anchor is among them are searched
for by themselves.
"""

import re
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator

from shared.contracts.ids import PersonId
from shared.runtime.redaction import PersonWords, base64_fragments

_WORD = re.compile(r"[^\W_]+")
_DIGITS = re.compile(r"[0-9]{7,}")
_CODED = re.compile(r"[A-Za-z0-9+/]{7,}")
"""Base64 has capitals, and ids in hex have none."""
_HEX_OF_ASCII = re.compile(r"(?:[2-7][0-9a-f]){6,}")
_ASCII = re.compile(rb"[\x20-\x7f]{6,}")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
"""Scripts in which a word of a name need not be a word of the text."""
_CODED_LENGTH, _HEX_LENGTH = 7, 12


class PeopleIndex:
    """The people of one search. A text names a person if it has one of their spellings, in any case of letters."""

    def __init__(self, people: Iterable[PersonWords]) -> None:
        self._spellings: dict[PersonId, tuple[str, ...]] = {}
        self._words: dict[str, set[PersonId]] = defaultdict(set)
        self._numbers: dict[str, set[PersonId]] = defaultdict(set)
        self._coded: dict[str, set[PersonId]] = defaultdict(set)
        self._hex: dict[str, set[PersonId]] = defaultdict(set)
        self._without_anchor: set[PersonId] = set()
        for person in people:
            self._add(person)
        self._number_lengths = sorted({len(number) for number in self._numbers})

    def named_in(self, *texts: str | bytes | None) -> set[PersonId]:
        """The people who are named in at least one of the texts; None is an empty text."""
        whole = "\n".join(_as_text(text) for text in texts if text)
        if not whole:
            return set()
        lower = whole.lower()
        possible = set(self._without_anchor)
        for anchor in self._words.keys() & set(_WORD.findall(lower)):
            possible |= self._words[anchor]
        for anchor in self._numbers_in(lower):
            possible |= self._numbers[anchor]
        for anchor in self._coded_in(whole):
            possible |= self._coded[anchor]
        for anchor in self._hex_in(lower):
            possible |= self._hex[anchor]
        return {person for person in possible if any(word in lower for word in self._spellings[person])}

    def _add(self, person: PersonWords) -> None:
        spellings = tuple(dict.fromkeys(word.lower() for word in person.needles))
        self._spellings[person.person_id] = spellings
        for number in person.numbers:
            self._numbers[number].add(person.person_id)
        for word in person.everywhere:
            self._add_codes(person, word)
        coded = _codes_of(person)
        for spelling in person.needles:
            if spelling in coded or spelling.lstrip("+") in person.numbers:
                continue
            parts = _WORD.findall(spelling.lower())
            if not parts or _UNSPACED.search(spelling):
                self._without_anchor.add(person.person_id)
            else:
                self._words[max(parts, key=len)].add(person.person_id)

    def _add_codes(self, person: PersonWords, word: str) -> None:
        for code in base64_fragments(word.encode()):
            self._coded[code[-_CODED_LENGTH:]].add(person.person_id)
        ascii_part = max(_ASCII.findall(word.encode()), key=len, default=None)
        if ascii_part is None:
            self._without_anchor.add(person.person_id)
        else:
            self._hex[ascii_part.hex()[-_HEX_LENGTH:]].add(person.person_id)

    def _numbers_in(self, text: str) -> Iterator[str]:
        for run in _DIGITS.findall(text):
            for length in self._number_lengths:
                for start in range(len(run) - length + 1):
                    if (part := run[start : start + length]) in self._numbers:
                        yield part

    def _coded_in(self, text: str) -> Iterator[str]:
        for run in _CODED.findall(text):
            if not run.islower() and not run.isdecimal():
                yield from _parts_in(self._coded, run, _CODED_LENGTH)

    def _hex_in(self, text: str) -> Iterator[str]:
        for run in _HEX_OF_ASCII.findall(text):
            yield from _parts_in(self._hex, run, _HEX_LENGTH)


def _parts_in(anchors: Container[str], run: str, length: int) -> Iterator[str]:
    for start in range(len(run) - length + 1):
        if (part := run[start : start + length]) in anchors:
            yield part


def _codes_of(person: PersonWords) -> set[str]:
    """The spellings in base64 and in hex, which are found by other anchors than words."""
    words = [word.encode() for word in person.everywhere]
    return {code for word in words for code in (*base64_fragments(word), word.hex())}


def _as_text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")

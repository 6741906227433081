"""Replaces what identifies a person in a document: names, addresses, WhatsApp's ids, and own words. Pure.

``PeopleIndex`` finds which of many people a stored text names.
"""

import base64
import binascii
import json
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from shared.contracts.ids import PersonId

ERASED = "erased person"
"""Stands where a name, an address or a text of an erased person stood."""

_MIN_DIGITS = 7
_WAMID = re.compile(r"wamid\.[A-Za-z0-9+/=_-]+")
_ADDRESS = re.compile(r"\+[0-9 ()-]{7,}|[A-Z]{2}\.[\w.]*[0-9][\w.]*")
"""A number with its +, or a BSUID."""
_NOT_DIGITS = re.compile(r"\D")

OWN_TEXTS = frozenset(
    {
        "addresses", "ai_use_declared", "attachments", "author", "body", "bsuid", "caption", "display_name", "filename",
        "further", "genre", "media", "name", "note", "parameters", "phone", "pitch_text", "question_wamids",
        "quoted_id", "rendered", "reply", "reply_wamid", "said", "sender.display_name", "source_message_id",
        "source_message_ids", "sources", "submitter_name", "text", "title", "values", "wamid", "who", "words",
    }
)  # fmt: skip
"""The fields that hold a person's own words, names and addresses, in an object about that person."""


_NAMES = frozenset({"addresses", "bsuid", "display_name", "name", "phone"})
"""The fields that name whom an object is about."""

_LEAST_NAME = 6


@dataclass(frozen=True)
class PersonWords:
    """The words that a person is found by. ``words`` are names, numbers with their +, and BSUIDs, as they were known.

    Names come from WhatsApp's profiles as well, so they may be any text. A name of one word is a word of the language
    or of a closed set in too many places: it is replaced in texts of rows about the person alone.
    """

    person_id: PersonId
    words: tuple[str, ...] = ()

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """The digits of the phone numbers among the words."""
        digits = (_NOT_DIGITS.sub("", word) for word in self.words if word.startswith("+"))
        return tuple(sorted({one for one in digits if len(one) >= _MIN_DIGITS}))

    @cached_property
    def everywhere(self) -> tuple[str, ...]:
        """The words and numbers that mean this person wherever they stand."""
        return tuple(sorted({*filter(is_distinctive, self.words), *self.numbers}))

    @cached_property
    def needles(self) -> tuple[str, ...]:
        """The spellings, and the pseudonym."""
        return tuple(sorted({self.person_id, *self.spellings}))

    @cached_property
    def spellings(self) -> tuple[str, ...]:
        """Every spelling that a stored document may have: plain, in escaped JSON, in base64 and in hex."""
        plain = set(self.everywhere)
        escaped = {json.dumps(word)[1:-1] for word in plain}
        coded = {one for word in plain for one in (*base64_fragments(word.encode()), word.encode().hex())}
        return tuple(sorted({*plain, *escaped, *coded}))

    @cached_property
    def pattern(self) -> re.Pattern[str] | None:
        return _pattern_of(self.everywhere)

    @cached_property
    def own_pattern(self) -> re.Pattern[str] | None:
        """The pattern for texts in rows about the person."""
        return _pattern_of({*self.words, *self.numbers} - {""})


def is_distinctive(word: str) -> bool:
    """Whether a word means a person wherever it stands: an address, or a name of more words than one."""
    return _ADDRESS.fullmatch(word) is not None or (len(word) >= _LEAST_NAME and len(word.split()) > 1)


def _pattern_of(words: Iterable[str]) -> re.Pattern[str] | None:
    spelled = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    return re.compile(rf"(?<!\w)(?:\+|00)?(?:{spelled})(?!\w)", re.IGNORECASE) if spelled else None


def base64_fragments(raw: bytes) -> tuple[str, ...]:
    """Parts of every base64 text that contains ``raw``, one for each of the three places at which it may begin."""
    found = []
    for skipped in range(3):
        coded = base64.b64encode(b"\0" * skipped + raw).decode()
        first, last = -(-skipped * 8 // 6), (skipped + len(raw)) * 8 // 6
        found.append(coded[first:last])
    return tuple(one for one in found if len(one) >= _MIN_DIGITS)


def redact(document: Any, person: PersonWords, *, is_own: bool = False, in_own_row: bool = False) -> Any:
    """A copy without what identifies the person. ``is_own``: it is a part of an object about the person.

    ``in_own_row``: the row that it is in is about the person. The name of the person whom another object is about
    stays, since two people may have one name.
    """
    if isinstance(document, str):
        return redact_text(document, person, in_own_row=in_own_row)
    if isinstance(document, list):
        return [redact(item, person, is_own=is_own, in_own_row=in_own_row) for item in document]
    if isinstance(document, dict):
        own, kept = is_about(document, person, is_own=is_own), _names_another(document, person)
        return {
            name: blank(value)
            if own and name in OWN_TEXTS
            else value
            if kept and name in _NAMES
            else redact(value, person, is_own=own, in_own_row=in_own_row)
            for name, value in document.items()
        }
    return document


def _names_another(document: Mapping[str, Any], person: PersonWords) -> bool:
    named = document.get("person_id")
    return isinstance(named, str) and named != person.person_id


def is_about(document: Mapping[str, Any], person: PersonWords, *, is_own: bool) -> bool:
    """Whether an object is about the person: it says so itself, or its evidence does, or the object around it is."""
    named = document.get("person_id")
    if isinstance(named, str):
        return named == person.person_id
    evidence = document.get("evidence")
    if isinstance(evidence, dict) and isinstance(evidence.get("person_id"), str):
        return bool(evidence["person_id"] == person.person_id)
    return is_own


def blank(value: Any) -> Any:
    """An empty value of the same type; a text is replaced, for many may not be empty."""
    match value:
        case str():
            return ERASED
        case dict():
            return {}
        case list():
            return []
        case _:
            return value


def redact_text(text: str, person: PersonWords, *, in_own_row: bool) -> str:
    """A text of one word may be one of a closed set, so in it only an address or a longer name is replaced."""
    pattern = person.own_pattern if in_own_row and any(map(str.isspace, text)) else person.pattern
    if pattern is not None:
        text = pattern.sub(ERASED, text)
    if person.numbers:
        text = _WAMID.sub(lambda found: ERASED if _holds_number(found[0], person.numbers) else found[0], text)
    return text


def _holds_number(wamid: str, numbers: Iterable[str]) -> bool:
    """WhatsApp's id of a message is base64, and holds the number of the person."""
    coded = wamid.partition(".")[2].rstrip("=")
    try:
        decoded = base64.b64decode(coded + "=" * (-len(coded) % 4))
    except binascii.Error:
        return False
    return any(number.encode() in decoded for number in numbers)


# ------------------------------------------------------------------ many people at once

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
    """The people of one search. A text names a person if it has one of their spellings, in any case of letters.

    The cost for each text does not grow with the people. Every spelling is found by one part of it, its anchor: a whole
    word, the digits of a number, or some characters of a code. A text is cut once into such parts; only the people
    whose anchor is among them are searched for by themselves.
    """

    def __init__(self, people: Iterable[PersonWords], *, with_ids: bool = True) -> None:
        """``with_ids``: the pseudonym counts as a spelling, too."""
        self._spellings: dict[PersonId, tuple[str, ...]] = {}
        self._words: dict[str, set[PersonId]] = defaultdict(set)
        self._numbers: dict[str, set[PersonId]] = defaultdict(set)
        self._coded: dict[str, set[PersonId]] = defaultdict(set)
        self._hex: dict[str, set[PersonId]] = defaultdict(set)
        self._without_anchor: set[PersonId] = set()
        for person in people:
            self._add(person, person.needles if with_ids else person.spellings)
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

    def _add(self, person: PersonWords, needles: Iterable[str]) -> None:
        self._spellings[person.person_id] = tuple(dict.fromkeys(word.lower() for word in needles))
        for number in person.numbers:
            self._numbers[number].add(person.person_id)
        for word in person.everywhere:
            self._add_codes(person, word)
        coded = _codes_of(person)
        for spelling in needles:
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

"""Reads “away till Monday, Jane covers” and “I am back” in the words of a member of staff.

A text is read only if it says nothing else: each of its words is a date, a name of a colleague, or one of the phrases
in ``absence_text.toml``. Dates without a year are the next ones, and the last day named is a day of absence.
"""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Literal

from babel.dates import get_day_names, get_month_names

from shared.contracts.ids import PersonId
from shared.contracts.intents import ReplyIntent, Words, normalize_words, phrases_of

_FILE = Path(__file__).with_suffix(".toml")
_LONGEST_TEXT = 250
_LONGEST_ABSENCE = timedelta(days=370)
_LONGEST_NAME = 5
_DAY = re.compile(r"(\d{1,2})(st|nd|rd|th|er|e|o|a)?")
_OF = frozenset({"of", "de"})
"""Between a day and its month, or a month and its year: “14th of July”, “14 de julio de 2027”."""
_YEAR = re.compile(r"20\d\d")
_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Leave:
    """A person is away from ``first`` to ``last``, both inclusive; ``cover`` gets what comes for them."""

    first: date
    last: date
    cover: PersonId | None = None


class UnclearLeave(StrEnum):
    """The part that a text about an absence leaves open."""

    UNTIL_WHEN = "until_when"
    WHO_COVERS = "who_covers"


AbsenceText = Leave | UnclearLeave | Literal["back"]


class _Kind(StrEnum):
    AWAY = "away"
    UNTIL = "until"
    FROM = "from"
    COVERS = "covers"
    COVERED_BY = "covered_by"
    BACK = "back"
    BESIDE = "beside"
    TODAY = "today"
    TOMORROW = "tomorrow"
    DATE = "date"
    NAME = "name"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class _Token:
    """``of_week``: the date was a weekday, which comes again every seven days."""

    kind: _Kind
    day: date = date.min
    of_week: bool = False
    people: frozenset[PersonId] = frozenset()


def read_absence(text: str | None, today: date, names: Callable[[], Mapping[PersonId, str]]) -> AbsenceText | None:
    """None for a text about something else. ``names`` gives those of the colleagues who may cover."""
    if not text or len(text) > _LONGEST_TEXT:
        return None
    words = normalize_words(text)
    kinds = [token.kind for token in _tokens(words, today, {})]
    if kinds == [_Kind.BACK]:
        return "back"
    if _Kind.AWAY not in kinds:
        return None
    return _leave(_tokens(words, today, _by_name(names())), today)


def write_absence(stated: AbsenceText, cover: str) -> str:
    """Words that are read as the same absence on any day, also if another person wrote them."""
    match stated:
        case Leave():
            days = f"away from {stated.first.isoformat()} to {stated.last.isoformat()}"
            return days if stated.cover is None else f"{days}, {cover} covers"
        case UnclearLeave.UNTIL_WHEN:
            return "I am away"
        case UnclearLeave.WHO_COVERS:
            return "away today, a colleague covers"
        case "back":
            return "I am back"


def _leave(tokens: Sequence[_Token], today: date) -> AbsenceText | None:
    kinds = [token.kind for token in tokens]
    if not _only_names_unknown(kinds):
        return None
    if (days := _days(tokens, today)) is None:
        return UnclearLeave.UNTIL_WHEN
    people = {person for token in tokens for person in token.people}
    named = _Kind.COVERS in kinds or _Kind.COVERED_BY in kinds or _Kind.NAME in kinds
    if named and len(people) != 1:
        return UnclearLeave.WHO_COVERS
    return Leave(*days, next(iter(people), None))


def _only_names_unknown(kinds: Sequence[_Kind]) -> bool:
    """Whether unknown words stand only where a name belongs: before words of covering, or after words of asking."""
    for index, kind in enumerate(kinds):
        if kind is _Kind.UNKNOWN:
            before = next((k for k in reversed(kinds[:index]) if k is not _Kind.UNKNOWN), None)
            after = next((k for k in kinds[index:] if k is not _Kind.UNKNOWN), None)
            if before is not _Kind.COVERED_BY and after is not _Kind.COVERS:
                return False
    return True


# ------------------------------------------------------------------ days


def _days(tokens: Sequence[_Token], today: date) -> tuple[date, date] | None:
    """The first and last day; None where no last day is named, or none that lies ahead within a year."""
    first: date | None = None
    last: date | None = None
    before = _Kind.BESIDE
    for token in tokens:
        if token.kind is _Kind.DATE:
            if before is _Kind.BACK:
                last = _after(token, first) - timedelta(days=1)
            elif before is _Kind.UNTIL:
                last = _after(token, first)
            elif first is None:
                first = token.day
            else:
                last = _after(token, first)
        before = token.kind
    if last is None and _Kind.FROM not in {token.kind for token in tokens}:
        last = first
    begins = first or today
    if last is None or last < max(begins, today) or last - today > _LONGEST_ABSENCE:
        return None
    return begins, last


def _after(token: _Token, first: date | None) -> date:
    """A weekday after the first day, however the week of either is counted."""
    day = token.day
    while token.of_week and first is not None and day < first:
        day += _WEEK
    return day


# ------------------------------------------------------------------ words


def _tokens(words: Words, today: date, names: Mapping[Words, frozenset[PersonId]]) -> list[_Token]:
    """The words as tokens, without those that have no meaning of their own here."""
    found, index = list[_Token](), 0
    while index < len(words):
        token, used = _date_at(words[index:], today) or _phrase_at(words[index:], today, names)
        if token.kind is _Kind.UNKNOWN:
            token = _last_day(found, words[index], today) or token
        index += used
        if token.kind is not _Kind.BESIDE:
            found.append(token)
    return found


def _phrase_at(words: Words, today: date, names: Mapping[Words, frozenset[PersonId]]) -> tuple[_Token, int]:
    """The longest phrase or name that begins here, else an unknown word."""
    for length in range(min(len(words), max(_longest_phrase(), _LONGEST_NAME)), 0, -1):
        phrase = words[:length]
        if (people := names.get(phrase)) is not None:
            return _Token(_Kind.NAME, people=people), length
        if (kind := _phrases().get(phrase)) is not None:
            days = {_Kind.TODAY: 0, _Kind.TOMORROW: 1}
            if kind in days:
                return _Token(_Kind.DATE, today + timedelta(days=days[kind])), length
            return _Token(kind), length
    return _Token(_Kind.UNKNOWN), 1


def _date_at(words: Words, today: date) -> tuple[_Token, int] | None:
    for length in range(min(len(words), 3), 0, -1):
        if (weekday := _weekdays().get(words[:length])) is not None:
            ahead = (weekday - today.weekday() - 1) % 7 + 1
            if (dated := _dated(words[length:], today)) is not None:  # “Monday 8 March”
                return dated[0], length + dated[1]
            return _Token(_Kind.DATE, today + timedelta(days=ahead), of_week=True), length
    return _dated(words, today)


def _dated(words: Words, today: date) -> tuple[_Token, int] | None:
    return _first_day(words, today) or _calendar_date(words, today)


def _first_day(words: Words, today: date) -> tuple[_Token, int] | None:
    """The “12” of “12 to 14 July”, “12–14 July” or “Monday 12 to Friday 16 July”, which has the month of the other."""
    if not words or (first := _DAY.fullmatch(words[0])) is None:
        return None
    place, until = _after_until(words)
    is_day = place + 1 < len(words) and _DAY.fullmatch(words[place]) is not None
    if not is_day or (not until and words[place + 1] not in _months()):
        return None
    last = _calendar_date(words[place:], today)
    if last is None:
        return None
    day = last[0].day
    same = day if int(first[1]) <= day.day else day.replace(day=1) - timedelta(days=1)
    return _made(same.year, same.month, int(first[1]), 1)


def _after_until(words: Words) -> tuple[int, bool]:
    """The place of the day that follows on the first, and whether a word like “to” stands between them."""
    place, until = 1, False
    while place < len(words) and _DAY.fullmatch(words[place]) is None:
        if words[place : place + 1] in _weekdays():
            place += 1
            continue
        token, used = _phrase_at(words[place:], date.min, {})
        if token.kind not in {_Kind.UNTIL, _Kind.BESIDE}:
            break
        place, until = place + used, until or token.kind is _Kind.UNTIL
    return place, until


def _last_day(found: Sequence[_Token], word: str, today: date) -> _Token | None:
    """The “14” of “July 12 to 14”, or the “14th” of “until the 14th”, which is the next one."""
    day = _DAY.fullmatch(word)
    if day is None or not found or found[-1].kind is not _Kind.UNTIL:
        return None
    before = found[-2] if len(found) > 1 and found[-2].kind is _Kind.DATE and not found[-2].of_week else None
    if before is None and not day[2]:
        return None
    first = today if before is None else before.day
    month = first if int(day[1]) >= first.day else first.replace(day=1) + timedelta(days=31)
    made = _made(month.year, month.month, int(day[1]), 1)
    return None if made is None else made[0]


def _calendar_date(words: Words, today: date) -> tuple[_Token, int] | None:
    """``2027 07 16``, ``14 July 2027``, ``14 de julio``, ``July 14``, ``16 07 2027``; else the next such day."""
    if len(words) >= 3 and _YEAR.fullmatch(words[0]) and words[1].isdecimal() and words[2].isdecimal():
        return _made(int(words[0]), int(words[1]), int(words[2]), 3)
    day_first = _DAY.fullmatch(words[0]) if words else None
    if day_first is not None and len(words) >= 2:
        if words[1] in _OF and len(words) >= 3 and words[2] in _months():
            return _with_year(words, 3, _months()[words[2]], int(day_first[1]), today)
        month = _months().get(words[1]) or (int(words[1]) if words[1].isdecimal() and len(words[1]) <= 2 else None)
        return None if month is None else _with_year(words, 2, month, int(day_first[1]), today)
    day_last = _DAY.fullmatch(words[1]) if len(words) >= 2 and words[0] in _months() else None
    return None if day_last is None else _with_year(words, 2, _months()[words[0]], int(day_last[1]), today)


def _with_year(words: Words, used: int, month: int, day: int, today: date) -> tuple[_Token, int] | None:
    """``used`` words have said the day and the month; a year may follow."""
    of = 1 if words[used : used + 1] and words[used] in _OF else 0
    if len(words) > used + of and _YEAR.fullmatch(words[used + of]):
        return _made(int(words[used + of]), month, day, used + of + 1)
    found = _made(today.year, month, day, used)
    return _made(today.year + 1, month, day, used) if found is not None and found[0].day < today else found


def _made(year: int, month: int, day: int, used: int) -> tuple[_Token, int] | None:
    try:
        return _Token(_Kind.DATE, date(year, month, day)), used
    except ValueError:
        return None


def _by_name(names: Mapping[PersonId, str]) -> dict[Words, frozenset[PersonId]]:
    """People by their whole name, and by its first and last word."""
    found: dict[Words, frozenset[PersonId]] = {}
    for person, name in names.items():
        words = normalize_words(name)
        for phrase in {words, words[:1], words[-1:]} - {()}:
            found[phrase] = found.get(phrase, frozenset()) | {person}
    return found


@cache
def _languages() -> Mapping[str, Mapping[str, list[str]]]:
    return tomllib.loads(_FILE.read_text("utf-8"))


@cache
def _phrases() -> Mapping[Words, _Kind]:
    """Where a phrase means several things in several languages, the first kind counts."""
    found: dict[Words, _Kind] = dict.fromkeys(phrases_of(ReplyIntent.AWAY), _Kind.AWAY)
    kinds = (*(kind for kind in _Kind if kind is not _Kind.BESIDE), _Kind.BESIDE)
    for kind in kinds:
        for language in _languages().values():
            for phrase in language.get(kind, ()):
                found.setdefault(normalize_words(phrase), kind)
    return found


@cache
def _longest_phrase() -> int:
    return max(len(phrase) for phrase in _phrases())


@cache
def _weekdays() -> Mapping[Words, int]:
    """Monday is 0."""
    return {
        normalize_words(name): index
        for language in _languages()
        for width in ("wide", "abbreviated")
        for index, name in get_day_names(width, locale=language).items()
    }


@cache
def _months() -> Mapping[str, int]:
    return {
        "".join(normalize_words(name)): index
        for language in _languages()
        for width in ("wide", "abbreviated")
        for index, name in get_month_names(width, locale=language).items()
    }

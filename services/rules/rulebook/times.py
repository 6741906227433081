"""The one grammar of times in rule files: durations, offsets from a date, and clock times.

    duration:  2 working days
    after:     2 working days  |  2 working days at 10:00
    at:        respond_by  |  5 working days before new_due  |  09:00 on respond_by
               09:00 on the 2nd working day before new_due
    every:     monday at 09:00  |  working day at 09:00  |  1st working day of the month at 09:00

Any other text raises InvalidValue with the nearest right form.
"""

import re
from collections.abc import Mapping
from datetime import time
from decimal import Decimal
from typing import Annotated, Final

from pydantic import WithJsonSchema

from services.rules.rulebook import model
from services.rules.rulebook.faults import InvalidValue, nearest_word
from services.rules.rulebook.meant_keys import unit_in_another_language
from services.rules.rulebook.model import After, At
from services.rules.rulebook.single_values import read_text, value
from services.rules.rulebook.yaml_nodes import Node
from shared.clients.working_calendar import Duration, TimeUnit

WHOLE_DAYS: Final = frozenset({TimeUnit.DAYS, TimeUnit.WORKING_DAYS, TimeUnit.WEEKS})
"""Units that lead to a day, on which a clock time may follow."""

_LONGEST_WRITTEN = 200
"""Characters; longer texts are not parsed."""

# ------------------------------------------------------------------ durations

_DURATION = re.compile(r"(\d+) +((?:working +)?[a-z]+)")
_UNITS = {spelling: unit for unit in TimeUnit for spelling in (unit.value, unit.value.removesuffix("s"))}
_OFFERED = [spelling for spelling, unit in _UNITS.items() if unit is not TimeUnit.SECONDS]  # seconds are for rehearsals
_NO_UNITS: Mapping[str, str] = {
    "working week": "a working week has no fixed length; write “{count}”, or count working days",
    "month": "months differ in length; count days, weeks or working days",
    "quarter": "quarters differ in length; count days, weeks or working days",
    "year": "years differ in length; count days, weeks or working days",
}
"""Units that people write and that are no units here, with the reason."""
_MOST: Mapping[TimeUnit, int] = {
    TimeUnit.SECONDS: 3650 * 24 * 3600,
    TimeUnit.MINUTES: 3650 * 24 * 60,
    TimeUnit.HOURS: 3650 * 24,
    TimeUnit.DAYS: 3650,
    TimeUnit.WEEKS: 520,
    TimeUnit.WORKING_HOURS: 3650 * 8,
    TimeUnit.WORKING_DAYS: 3650,
}
"""About ten years: a longer duration is a mistake, and soon leaves the calendar."""
_ANY_DURATION: Final = Duration(1, TimeUnit.DAYS)


_SPECIAL_SPACE = re.compile("[\xa0\u2000-\u200a\u202f\u205f\u3000]")


def _read_time(node: Node) -> str:
    """The text, in which words are parted by ordinary spaces. Raises InvalidValue."""
    written = read_text(node)
    if _SPECIAL_SPACE.search(written):
        plain = _SPECIAL_SPACE.sub(" ", written)
        raise InvalidValue(f"a special space parts the words of “{plain}”; type ordinary spaces")
    return written


def read_duration(node: Node) -> Duration:
    """``2 working days``."""
    return parse_duration(_read_time(node))


def parse_duration(written: str, *, zero: str = "") -> Duration:
    """``zero`` ends the sentence about no time. Raises InvalidValue."""
    found = _DURATION.fullmatch(written.strip()) if len(written) <= _LONGEST_WRITTEN else None
    words = " ".join(found[2].split()) if found else ""
    if found is not None and (reason := _NO_UNITS.get(words.removesuffix("s"))) is not None:
        weeks = f"{found[1]} week{'s' * (found[1] != '1')}"
        raise InvalidValue(f"“{written}” is no duration: {reason.format(count=weeks)}")
    unit = _UNITS.get(words)
    if found is None or unit is None:
        raise _no_duration(written)
    if int(found[1]) == 0:
        raise InvalidValue(f"“{written}” is no time{zero}")
    if int(found[1]) > _MOST[unit]:
        raise InvalidValue(f"“{written}” is too long; a duration has at most {_MOST[unit]:,} {unit}")
    return Duration(int(found[1]), unit)


_NEARLY_A_DURATION = re.compile(
    r"(?P<sign>-?) *(?P<whole>\d{1,5})(?:[.,](?P<part>\d{1,3}))? *(?P<unit>[^\W\d_][^\d,;]*)?"
)
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBERS_ELSEWHERE = (
    ("ein", "einem", "einer", "eine", "un", "une", "una"),
    ("zwei", "deux", "dos"),
    ("drei", "trois", "tres"),
    ("vier", "quatre", "cuatro"),
    ("fünf", "cinq", "cinco"),
)
_SPELLED = (
    {"a": 1, "an": 1}
    | {spelled: number for number, spelled in enumerate(_NUMBERS, start=1)}
    | {spelled: number for number, each in enumerate(_NUMBERS_ELSEWHERE, start=1) for spelled in each}
)
_MEANT_UNITS: Mapping[str, str] = {
    **dict.fromkeys(("wd", "business day", "workday", "weekday", "work day", "office day", "bank day"), "working day"),
    **dict.fromkeys(("business hour", "work hour", "office hour"), "working hour"),
    **dict.fromkeys(("d", "j", "tg", "calendar day"), "day"),
    **dict.fromkeys(("h", "hr", "std", "stdn"), "hour"),
    **dict.fromkeys(("m", "min"), "minute"),
    **dict.fromkeys(("w", "wk", "wo", "sem"), "week"),
    "fortnight": "week",
}
"""Units as people write them elsewhere, and as they are written here."""
_SMALLER: Mapping[str, tuple[int, str]] = {"week": (7, "day"), "day": (24, "hour"), "hour": (60, "minute")}
"""The unit in which a part of a unit is a whole number, and how many make one."""


_AT_ONCE = frozenset(
    {"now", "immediately", "at once", "asap", "straight away", "right away", "sofort", "tout de suite"}
)
_NEXT_DAY = frozenset({"tomorrow", "morgen", "demain", "mañana"})
_AFTERWARDS = re.compile(r"(?:in|after|within|nach|dans|après|apres|tras|en|dentro de|después de|dopo) (?P<length>.+)")
_RANGE = re.compile(r"\d{1,5} *(?:-|–|to|or) *(?P<most>\d{1,5} [a-z ]+)")
_SUM = re.compile(r"(\d{1,5}) ?([a-z]+),?(?: and)? (\d{1,5}) ?([a-z]+)")
_ISO = re.compile(r"P(?:(?P<count>\d{1,5})(?P<unit>[DW])|T(?P<time>\d{1,5})(?P<part>[HM]))", re.IGNORECASE)
_OF_ISO: Mapping[str, str] = {"D": "day", "W": "week", "H": "hour", "M": "minute"}
_MINUTES: Mapping[str, int] = {"week": 7 * 24 * 60, "day": 24 * 60, "hour": 60, "minute": 1}


def _of_one_unit(written: str) -> str | None:
    """``2-3 days``, ``1 day 2 hours`` and ``P2D`` as a number and a unit; None where they are none of these."""
    if (found := _RANGE.fullmatch(written.casefold())) is not None:
        return found["most"]
    if (found := _ISO.fullmatch(written)) is not None:
        return _counted_unit(int(found["count"] or found["time"]), _OF_ISO[(found["unit"] or found["part"]).upper()])
    if (found := _SUM.fullmatch(written.casefold())) is None:
        return None
    units = [_MEANT_UNITS.get(unit, unit.removesuffix("s")) for unit in (found[2], found[4])]
    if not _MINUTES.keys() >= set(units):
        return None
    minutes = int(found[1]) * _MINUTES[units[0]] + int(found[3]) * _MINUTES[units[1]]
    unit = next(each for each in _MINUTES if minutes % _MINUTES[each] == 0)
    return _counted_unit(minutes // _MINUTES[unit], unit)


def _counted_unit(count: int, unit: str) -> str:
    return f"{count} {unit}{'s' * (count != 1)}"


_ADORNED = re.compile(
    r"\+? *(?P<plain>\d{1,5} (?:working )?(?:second|minute|hour|day|week)s?)(?: later| from now| on)?"
    r"|(?:the )?(?:next|following) (?P<next>(?:working )?(?:hour|day|week))"
)


def _without_adornment(written: str) -> str | None:
    """``+2 days``, ``2 days later`` and ``the next working day`` as they are to be written."""
    found = _ADORNED.fullmatch(written.casefold().strip())
    return None if found is None else found["plain"] or f"1 {found['next']}"


def _no_time_between_steps(written: str) -> str | None:
    """The form to write in place of a day, a clock time or a word for none; None where a duration may be meant."""
    words = written.casefold().replace("-", " ").split()
    if " ".join(words) in _AT_ONCE:
        return "; a step without a time goes at once, so leave it out"
    if _names_a_weekday(words):
        like = "a step counts from the one above it, like “1 working day at 09:00”"
        return f": {like}; a day of the week stands in a rule with “every: monday at 09:00”"
    if _is_only_a_clock(written):
        return f": it is a clock time without a day; write “1 working day at {meant_clock(written.strip())}”"
    return "; write “1 day” or “1 working day”" if words and words[0] in _NEXT_DAY and len(words) == 1 else None


def _no_duration(written: str) -> InvalidValue:
    """The fault of a text that is no duration, with the duration that is meant where it can be told."""
    sentence = f"“{written}” is no duration, like “2 working days” or “4 hours”"
    if (advice := _no_time_between_steps(written)) is not None:
        return InvalidValue(f"{sentence}{advice}")
    if (behind := _AFTERWARDS.fullmatch(written.casefold())) is not None:
        written = behind["length"]
    words = written.casefold().replace("-", " ").split()
    if (plain := _without_adornment(written) or _of_one_unit(written)) is not None:
        return InvalidValue(f"{sentence}; write “{plain}”")
    if " ".join(words) in _UNITS:
        return InvalidValue(f"{sentence}: it lacks a number, like “1 {' '.join(words)}”")
    if words and words[0] in _SPELLED:
        written = " ".join((str(_SPELLED[words[0]]), *words[1:]))
    found = _NEARLY_A_DURATION.fullmatch(written.strip())
    if found is None:
        return InvalidValue(sentence, written.lstrip("0123456789 "), _OFFERED)
    return _nearly_a_duration(found, sentence)


def _nearly_a_duration(found: re.Match[str], sentence: str) -> InvalidValue:
    """The fault of a number with a sign, without a unit, or with a unit of another place."""
    if found["sign"]:
        return InvalidValue(f"{sentence}: it has no sign, and a step never comes before the one above it")
    if found["unit"] is None:
        return InvalidValue(f"{sentence}: it lacks a unit")
    meant = _meant_duration(found)
    if meant is None and found["part"] and (whole := _rounded_up(found)) is not None:
        return InvalidValue(f"{sentence}; only whole numbers count here: write “{whole}”")
    if meant is None:
        return InvalidValue(sentence, found["unit"], _OFFERED)
    return InvalidValue(f"{sentence}; write “{meant}”")


def _rounded_up(found: re.Match[str]) -> str | None:
    """``4.5 working hours`` as ``5 working hours``."""
    whole = _NEARLY_A_DURATION.fullmatch(f"{int(found['whole']) + 1} {found['unit']}")
    return None if whole is None else _meant_duration(whole)


def _meant_duration(found: re.Match[str]) -> str | None:
    """``1.5 days`` as ``36 hours``, ``2 business days`` as ``2 working days``; None for an unknown unit."""
    written = " ".join(found["unit"].casefold().replace("-", " ").split()).rstrip(".")
    single = written if written in _MEANT_UNITS else written.removesuffix("s")
    unit = _MEANT_UNITS.get(single) or unit_in_another_language(single) or single
    count = Decimal(f"{found['whole']}.{found['part'] or 0}") * (2 if single == "fortnight" else 1)
    if unit not in _UNITS or not count:
        return None
    if count != int(count):
        factor, unit = _SMALLER.get(unit, (1, unit))
        count *= factor
    if count != int(count):
        return None
    return _counted_unit(int(count), unit)


# ------------------------------------------------------------------ clock times

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_NEARLY_A_CLOCK = re.compile(
    r"(?P<hour>\d{1,2})(?:[:.h](?P<minute>\d{2})?)? ?(?P<half>[ap]\.?m\.?)?"
    r"(?: ?(?:o[’']clock|uhr|heures?|horas?|ore|uur|hrs?))?",
    re.IGNORECASE,
)


def parse_clock(written: str) -> time:
    """``09:00``, on a clock of 24 hours. Raises InvalidValue."""
    found = _CLOCK.fullmatch(written)
    if found is None:
        meant = meant_clock(written)
        raise InvalidValue(f"“{written}” is no clock time, like 09:00" + (f"; write {meant}" if meant else ""))
    return time(int(found[1]), int(found[2]))


_WORDS_FOR_CLOCKS = {"noon": "12:00", "midday": "12:00", "midnight": "00:00", "24:00": "00:00"}


def meant_clock(written: str) -> str | None:
    """``9am`` and ``9.00`` as they are to be written."""
    if (meant := _WORDS_FOR_CLOCKS.get(written.casefold())) is not None:
        return meant
    found = _NEARLY_A_CLOCK.fullmatch(written)
    if found is None:
        return None
    hour, minute = int(found["hour"]), int(found["minute"] or 0)
    if found["half"]:
        hour = hour % 12 + (12 if found["half"].casefold().startswith("p") else 0)
    return f"{hour:02}:{minute:02}" if hour < 24 and minute < 60 else None


_ONLY_A_CLOCK = re.compile(r"\d{1,2}(?:[:h]\d{2}|(?:[:.]\d{2})? ?(?:[ap]\.?m\.?|uhr|o[’']clock))", re.IGNORECASE)
"""A text that is no duration either, as ``4h`` is."""


def _is_only_a_clock(written: str) -> bool:
    return _ONLY_A_CLOCK.fullmatch(written.strip()) is not None and meant_clock(written.strip()) is not None


def _looks_like_a_clock(written: str) -> bool:
    return bool(_CLOCK.fullmatch(written) or _NEARLY_A_CLOCK.fullmatch(written))


def _check_clock_unit(duration: Duration, written: str) -> None:
    if duration.unit not in WHOLE_DAYS:
        sentence = f"“{written}”: a clock time goes with days, weeks or working days, not with {duration.unit}"
        raise InvalidValue(sentence)


# ------------------------------------------------------------------ after

_ANY_AFTER: Final = After(_ANY_DURATION)


def read_after(node: Node) -> After:
    """``2 working days``, or ``2 working days at 10:00``."""
    written = _read_time(node)
    words = written.split() if len(written) <= _LONGEST_WRITTEN else []
    match words:
        case [*length, "at", clock]:
            duration = parse_duration(" ".join(length))
            _check_clock_unit(duration, written)
            return After(duration, parse_clock(clock))
        case [clock] if _CLOCK.fullmatch(clock):
            raise InvalidValue(f"“{written}” is a clock time without a day; write “1 working day at {clock}”")
        case [*length, "at", clock, zone] if length and _CLOCK.fullmatch(clock) and zone[0].isupper():
            sentence = f"“{written}” names a zone, and the clock is that of the people who are awaited; write"
            raise InvalidValue(f"{sentence} “{' '.join(length)} at {clock}”")
        case [clock, "after", *length] if _looks_like_a_clock(clock):
            raise InvalidValue(f"“{written}” is no time after a step; write “{' '.join(length)} at {clock}”")
        case [*_, "before" | "after", _]:
            raise InvalidValue(f"“{written}” counts from a field; write it with “at”, not with “after”")
        case _:
            return After(parse_duration(written, zero="; without a time a step goes with the one before it"))


# ------------------------------------------------------------------ at

_ANY_AT: Final = At("")
_SIGNS: Mapping[str, int] = {"before": -1, "after": 1}
_ORDINAL = re.compile(r"(\d{1,4})(?:st|[nr]d|th)")
_PLACES = dict(
    zip(
        ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"),
        ("1st", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th", "9th", "10th"),
        strict=True,
    )
)
"""Places in words, and as they are written here."""
_FIELD = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
_DATE = re.compile(r"\d{4}-\d\d?-\d\d?(?:T.*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}")


def read_at(node: Node) -> At:
    """``respond_by``, ``5 working days before new_due``, ``09:00 on the 2nd working day before new_due``."""
    written = _read_time(node)
    words = written.split() if len(written) <= _LONGEST_WRITTEN else []
    if (place := next((word for word in words if word in _PLACES), None)) is not None:
        raise InvalidValue(f"“{place}” is written with a figure; write “{written.replace(place, _PLACES[place], 1)}”")
    _refuse_no_date(words, written)
    _refuse_other_grammars(words, written)
    match words:
        case [clock] if _looks_like_a_clock(clock):
            raise InvalidValue(
                f"“{written}” is a clock time without a day; write “{clock} on respond_by”, with a field"
            )
        case [_]:
            return At(written)
        case [clock, "on", *day] if day:
            return _at_clock(clock, day, written)
        case [hour, half, "on", *_] if _looks_like_a_clock(f"{hour} {half}"):
            parse_clock(f"{hour} {half}")
        case [*day, "at", clock] if day and _looks_like_a_clock(clock) and _is_day(day):
            raise InvalidValue(f"“{written}”: the clock time comes first; write “{clock} on {' '.join(day)}”")
        case [clock, *day] if day and _looks_like_a_clock(clock) and _is_day(day):
            raise InvalidValue(f"“{written}” lacks a word; write “{clock} on {' '.join(day)}”")
        case _:
            pass
    return _parse_day(words, written)


def _refuse_no_date(words: list[str], written: str) -> None:
    """A day of the week, and a time that no field is named for. Raises InvalidValue."""
    match words:
        case [day] if day.casefold() in _WEEKDAYS:
            sentence = f"“{written}” is a day of the week, and “at” is a date of the event, like respond_by"
            raise InvalidValue(f"{sentence}; a rule with “every: {day.casefold()} at 09:00” starts each week")
        case _ if _names_a_weekday([word.casefold() for word in words]):
            sentence = f"“{written}” names a day of the week, and “at” is a date of the event, like respond_by"
            raise InvalidValue(f"{sentence}; a rule with “every: monday at 09:00” starts each week")
        case [_, _] if _is_only_a_clock(written):
            clock = f"{meant_clock(written)} on respond_by"
            raise InvalidValue(f"“{written}” is a clock time without a day; write “{clock}”, with a field")
        case [number, _] | [number, "working", _] if number.isdecimal() and _is_duration(written):
            sentence = f"“{written}” is a duration; write it with “after”, or “{written} before FIELD”"
            raise InvalidValue(sentence)
        case _:
            pass


def _refuse_other_grammars(words: list[str], written: str) -> None:
    """A date, a sum and other words than “before”, as people write them elsewhere. Raises InvalidValue."""
    match words:
        case [day] if _DATE.fullmatch(day):
            sentence = f"“{written}” is a date of its own; a rule counts from a field of its event, like respond_by"
            raise InvalidValue(sentence)
        case [field, "-" | "minus" | "+" | "plus" as sign, *length] if length and _FIELD.fullmatch(field):
            word = "before" if sign in ("-", "minus") else "after"
            raise InvalidValue(f"“{written}” is no time; write “{' '.join(length)} {word} {field}”")
        case [*length, "before" | "after" as sign, field, clock] if length and _CLOCK.fullmatch(clock):
            day = f"{' '.join(length)} {sign} {field}"
            raise InvalidValue(f"“{written}”: the clock time comes first; write “{clock} on {day}”")
        case [field, "before" | "after" as sign, *length] if len(length) > 1 and length[0].isdecimal():
            raise InvalidValue(f"“{written}” is no time; write “{' '.join(length)} {sign} {field}”")
        case ["before" | "after" as sign, field] if _FIELD.fullmatch(field):
            raise InvalidValue(f"“{written}” lacks how long; write it like “1 working day {sign} {field}”")
        case [*length, "prior", "to", field] if length:
            raise InvalidValue(f"“{written}” is no time; write “{' '.join(length)} before {field}”")
        case ["on" | "by" | "until" | "at" as word, field] if _FIELD.fullmatch(field):
            raise InvalidValue(f"“{written}” has a word too many, “{word}”; write “{field}”")
        case _:
            pass


def _is_duration(written: str) -> bool:
    try:
        parse_duration(written)
    except InvalidValue:
        return False
    return True


def _at_clock(clock: str, day: list[str], written: str) -> At:
    wall, at = parse_clock(clock), _parse_day(day, written)
    if at.duration is not None:
        _check_clock_unit(at.duration, written)
    return At(at.field, at.duration, at.sign, wall)


def _is_day(words: list[str]) -> bool:
    try:
        _parse_day(words, "")
    except InvalidValue:
        return False
    return True


def _parse_day(words: list[str], written: str) -> At:
    """A field, or an offset before or after it."""
    match words:
        case [field] if _FIELD.fullmatch(field):
            return At(field)
        case [*length, "before" | "after" as sign, field] if length:
            return At(field, parse_duration(_counted(length)), _SIGNS[sign])
        case [*_, "before" | "after"]:
            raise InvalidValue(f"“{written}” lacks the date to count from, like “{written} new_due”")
        case [*length, sign, field] if length and (near := nearest_word(sign, _SIGNS)) and near != sign:
            raise InvalidValue(f"“{sign}” is no word of a time; write {' '.join([*length, near, field])}")
        case _:
            if (meant := _meant_offset(written)) is not None:
                raise InvalidValue(f"“{written}” is not like “5 working days before new_due”; write “{meant}”")
            joined = "_".join(words)
            field = (
                f"; a field has no spaces, like “{joined}”" if len(words) == _TWO and _FIELD.fullmatch(joined) else ""
            )
            raise InvalidValue(f"“{written}” is neither a field nor like “5 working days before new_due”{field}")


_TWO = 2
_SIGNS_ELSEWHERE: Mapping[str, str] = {
    **dict.fromkeys(("vor", "avant", "antes de", "antes del", "prima di", "prima del", "voor", "ahead of"), "before"),
    **dict.fromkeys(("nach", "après", "apres", "después de", "dopo", "na", "depois de"), "after"),
}
_OFFSET_ELSEWHERE = re.compile(rf"(.+?) ({'|'.join(_SIGNS_ELSEWHERE)}) (?:[a-z]{{2,3}} )?([a-z0-9_.]+)")


def _meant_offset(written: str) -> str | None:
    """``5 Werktage vor new_due`` as it is to be written."""
    found = _OFFSET_ELSEWHERE.fullmatch(written) if len(written) <= _LONGEST_WRITTEN else None
    length = _NEARLY_A_DURATION.fullmatch(found[1]) if found is not None else None
    if found is None or length is None or length["unit"] is None or (meant := _meant_duration(length)) is None:
        return None
    return f"{meant} {_SIGNS_ELSEWHERE[found[2]]} {found[3]}"


def _counted(words: list[str]) -> str:
    """``the 2nd working day`` as ``2 working days``, ``the day`` as ``1 day``."""
    match words:
        case ["the", ordinal, *unit] if unit and (found := _ORDINAL.fullmatch(ordinal)):
            return " ".join((found[1], *unit))
        case ["the", *unit] if unit:
            return " ".join(("1", *unit))
        case _:
            return " ".join(words)


# ------------------------------------------------------------------ every

ANY_EVERY: Final = model.Every(model.PeriodUnit.WEEK, model.DayKind.MONDAY, time(9))
_LIKE = "like “monday at 09:00”, “working day at 09:00” or “1st working day of the month at 09:00”"
_MOST_DAYS: Mapping[model.PeriodUnit, int] = {
    model.PeriodUnit.DAY: 1,
    model.PeriodUnit.WEEK: 7,
    model.PeriodUnit.MONTH: 28,
    model.PeriodUnit.QUARTER: 90,
    model.PeriodUnit.YEAR: 365,
}
"""Days that every period of its kind has."""
_WEEKDAYS = frozenset(tuple(model.DayKind)[:7])
_LAST = -1


def read_every(node: Node) -> model.Every:
    """``monday at 09:00``, ``last working day of the month at 16:00``."""
    written = _read_time(node)
    words = written.split() if len(written) <= _LONGEST_WRITTEN else []
    if "and" in words or "," in written:
        raise InvalidValue(f"“{written}” is more than one time; write a rule for each")
    if (meant := _meant_every(words)) is not None:
        raise InvalidValue(f"“{written}” is no recurring time, {_LIKE}; write “{meant}”")
    match words:
        case ["every", *more] if more:
            raise InvalidValue(f"“{written}” has a word too many; write “{' '.join(more)}”")
        case [*day, "at", clock] if day:
            wall = parse_clock(clock)
            period, kind, place = _parse_period(day, written)
            return model.Every(period, kind, wall, place)
        case [clock, "on", *day] if day and _looks_like_a_clock(clock):
            raise InvalidValue(f"“{written}”: the clock time comes last; write “{' '.join(day)} at {clock}”")
        case [*day, clock] if day and _CLOCK.fullmatch(clock):
            raise InvalidValue(f"“{written}” lacks a word; write “{' '.join(day)} at {clock}”")
        case _:
            _parse_period(words, written)
            raise InvalidValue(f"“{written}” needs a clock time; write “{written} at 09:00”")


_DAYS_ELSEWHERE = (
    ("mondays", "mon", "montag", "montags", "lundi", "lunes", "lunedì", "maandag"),
    ("tuesdays", "tue", "dienstag", "dienstags", "mardi", "martes", "martedì", "dinsdag"),
    ("wednesdays", "wed", "mittwoch", "mittwochs", "mercredi", "miércoles", "mercoledì", "woensdag"),
    ("thursdays", "thu", "donnerstag", "donnerstags", "jeudi", "jueves", "giovedì", "donderdag"),
    ("fridays", "fri", "freitag", "freitags", "vendredi", "viernes", "venerdì", "vrijdag"),
    ("saturdays", "sat", "samstag", "samstags", "samedi", "sábado", "sabato", "zaterdag"),
    ("sundays", "sun", "sonntag", "sonntags", "dimanche", "domingo", "domenica", "zondag"),
)
_WEEKDAYS_ELSEWHERE = {
    name: day for day, names in zip(model.DayKind, _DAYS_ELSEWHERE, strict=False) for name in (*names, str(day))
}
_MEANT_DAYS: Mapping[str, str] = {
    **{name: day for day, names in zip(model.DayKind, _DAYS_ELSEWHERE, strict=False) for name in names},
    **dict.fromkeys(("daily", "täglich", "weekday", "weekdays", "workday", "workdays"), "working day"),
    **dict.fromkeys(("week", "weekly", "wöchentlich"), "monday"),
    **dict.fromkeys(("month", "monthly", "monatlich"), "1st working day of the month"),
    **dict.fromkeys(("quarter", "quarterly"), "1st working day of the quarter"),
}
"""Names of days and periods as authors write them, and as they are written here."""


def _names_a_weekday(words: list[str]) -> bool:
    return any(word.rstrip(",.") in _WEEKDAYS_ELSEWHERE for word in words)


_CRON = re.compile(r"[0-9*/,-]+")
_FIELDS_OF_CRON = 5


def _meant_every(words: list[str]) -> str | None:
    """The recurring time that was meant by words of another language, by a period alone, or by signs of cron."""
    if len(words) == _FIELDS_OF_CRON and all(map(_CRON.fullmatch, words)):
        minute, hour, day = words[0], words[1], words[4]
        clock = f"{int(hour):02}:{int(minute):02}" if hour.isdecimal() and minute.isdecimal() else "09:00"
        number = int(day) - 1 if day in "1234567" else None
        return f"{'working day' if number is None else tuple(model.DayKind)[number]} at {clock}"
    named = words[1:] if words and words[0] == "every" else words
    meant = _MEANT_DAYS.get(named[0].casefold()) if named else None
    rest = " ".join(word for word in named[1:] if word.casefold() not in ("at", "um", "à", "a", "om", "alle"))
    written = rest if _CLOCK.fullmatch(rest) else meant_clock(rest)
    if meant is None or (written is None and " " in rest):
        return None
    return f"{meant} at {written or '09:00'}"


def _parse_period(words: list[str], written: str) -> tuple[model.PeriodUnit, model.DayKind, int]:
    match words:
        case [place, *kind, "of", "the", period] if kind:
            return _placed(place, " ".join(kind), period, written)
        case _:
            day = _day_kind(" ".join(words), written)
            return (model.PeriodUnit.WEEK if day in _WEEKDAYS else model.PeriodUnit.DAY), day, 1


def _placed(place: str, day: str, period: str, written: str) -> tuple[model.PeriodUnit, model.DayKind, int]:
    """``1st working day of the month``."""
    kind = _day_kind(day, written)
    if period not in list(model.PeriodUnit)[1:]:
        raise InvalidValue(f"“{period}” is no period of days", period, tuple(model.PeriodUnit)[1:])
    counted = _ORDINAL.fullmatch(place)
    if place != "last" and counted is None:
        raise InvalidValue(f"“{place}” is no place in the {period}; write 1st, 2nd or last")
    most = _MOST_DAYS[model.PeriodUnit(period)]
    if counted is not None and not 1 <= int(counted[1]) <= most:
        raise InvalidValue(f"not every {period} has a “{place} {day}”; count to {most} or say “last {day}”")
    return model.PeriodUnit(period), kind, int(counted[1]) if counted else _LAST


def _day_kind(day: str, written: str) -> model.DayKind:
    if day in list(model.DayKind):
        return model.DayKind(day)
    meant = next(
        (kind for kind in model.DayKind if day.casefold() in {kind, f"{kind}s", kind[:3], f"every {kind}"}), ""
    )
    if day.casefold() in ("weekday", "weekdays", "workday", "workdays"):
        meant = model.DayKind.WORKING_DAY
    raise InvalidValue(f"“{written}” is no recurring time, {_LIKE}", meant or day, tuple(model.DayKind))


EveryText = Annotated[model.Every, value(read_every, ANY_EVERY), WithJsonSchema({"type": "string"})]
DurationText = Annotated[Duration, value(read_duration, _ANY_DURATION), WithJsonSchema({"type": "string"})]
AfterText = Annotated[After, value(read_after, _ANY_AFTER), WithJsonSchema({"type": "string"})]
AtText = Annotated[At, value(read_at, _ANY_AT), WithJsonSchema({"type": "string"})]

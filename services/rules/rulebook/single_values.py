"""Single values of rule files: texts, words of closed sets, numbers, dates and codes, each read from one node."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, TypeVar

from pydantic import BeforeValidator, Field, ValidationInfo

from services.rules.rulebook import model
from services.rules.rulebook.codes import check_country, check_language, check_zone
from services.rules.rulebook.faults import FaultReport, InvalidValue
from services.rules.rulebook.yaml_nodes import ABSENT, Faulty, MappingNode, Node, ScalarNode, SequenceNode

SANE_YEARS: Final = range(1970, 2200)
"""Years that a date in a rule file may lie in."""


def report_of(info: ValidationInfo) -> FaultReport:
    """The report that collects the faults of the reading."""
    if not isinstance(info.context, FaultReport):
        raise TypeError("a section is read with a report as its context")
    return info.context


def is_reported(node: Any) -> bool:
    """Whether the node is a value that was reported already."""
    return isinstance(node, ScalarNode) and isinstance(node.value, Faulty)


def value(read: Callable[[Node], Any], fallback: Any) -> BeforeValidator:
    """A value read from one node by ``read``, which raises InvalidValue; then ``fallback`` takes its place."""

    def read_or_report(node: Any, info: ValidationInfo) -> Any:
        if node is ABSENT:
            return fallback
        try:
            return read(node)
        except InvalidValue as fault:
            if not is_reported(node):
                fault.report_to(report_of(info), node.location)
            return fallback

    return BeforeValidator(read_or_report)


_NAME = re.compile(r"[a-z0-9]+(?:[_.-][a-z0-9]+)+")
"""The name of a template, a rule or a field, in which several words are joined."""


def _instead_of_list(node: SequenceNode) -> str:
    """How a single value is written that stands in a list."""
    words = [each.text for each in node.nodes if isinstance(each, ScalarNode) and each.text]
    if len(words) == 1:
        return f"one value belongs here, and this is a list; write it alone: {words[0]}"
    named = f", like {words[0]}" if words else ""
    return f"one value belongs here, and this is a list; write one alone{named}, without brackets or dashes"


def _is_bare(node: MappingNode) -> bool:
    """Whether its keys have no values: they are words in braces."""
    return all(isinstance(each, ScalarNode) and each.text == "" for each in node.nodes.values())


def read_text(node: Node) -> str:
    """A word, a number or a date as it is written."""
    if isinstance(node, SequenceNode):
        raise InvalidValue(_instead_of_list(node))
    if isinstance(node, ScalarNode) and node.text and node.value is not None:
        return node.text
    if isinstance(node, MappingNode) and node.nodes.keys() == {"field"} and isinstance(node.nodes["field"], ScalarNode):
        raise InvalidValue(f"a field stands here by its name alone; write {node.nodes['field'].text}")
    if isinstance(node, MappingNode) and node.in_braces and len(node.nodes) == 1 and _is_bare(node):
        raise InvalidValue(f"a single value has no braces; write {next(iter(node.nodes))}")
    if isinstance(node, MappingNode) and any(" " in key for key in node.nodes):
        raise InvalidValue("a text with a colon and a space in it stands in quotes, or on the lines below “>-”")
    if isinstance(node, MappingNode) and len(node.nodes) == 1:
        (only_one,) = node.nodes.values()
        if isinstance(only_one, ScalarNode) and _NAME.fullmatch(only_one.text):
            raise InvalidValue(f"a text belongs here, and no keys of its own; write {only_one.text}")
    raise InvalidValue(f"a text belongs here{', and no keys of its own' if isinstance(node, MappingNode) else ''}")


FLAG_WORDS = {
    **dict.fromkeys(("yes", "y", "on", "1", "true", "oui", "ja"), "true"),
    **dict.fromkeys(("no", "n", "off", "0", "false", "non", "nein"), "false"),
}
"""Words for true and false that authors write, by what they mean."""


def read_flag(node: Node) -> bool:
    if isinstance(node, ScalarNode) and isinstance(node.value, bool):
        return node.value
    meant = FLAG_WORDS.get(node.text.casefold()) if isinstance(node, ScalarNode) else None
    raise InvalidValue(f"true or false belongs here{f'; write {meant}' if meant else ''}")


_FRACTION = re.compile(r"([1-9][0-9]*)[.,][0-9]{1,2}")


_NUMBER_IN_WORDS = re.compile(r"[vV.]?([0-9]+(?:[_ ’'.,][0-9]{3})*)(?: ?[A-Za-z]+)?")


def _meant_number(node: Node, least: int) -> str:
    """The number without what keeps it from being one: quotes, a unit, a sign between its thousands."""
    found = _NUMBER_IN_WORDS.fullmatch(node.text) if isinstance(node, ScalarNode) else None
    digits = re.sub(r"\D", "", found[1]).lstrip("0") if found else ""
    if found is None and isinstance(node, ScalarNode) and (fraction := _FRACTION.fullmatch(node.text)) is not None:
        digits = fraction[1]
    return f"; write {digits}" if digits and int(digits) >= least else ""


def whole_number(least: int = 1) -> BeforeValidator:
    def read(node: Node) -> int:
        if isinstance(node, ScalarNode) and type(node.value) is int and node.value >= least:
            return node.value
        raise InvalidValue(f"a whole number belongs here, at least {least}{_meant_number(node, least)}")

    return value(read, least)


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


_MONTHS_OF_A_YEAR = len(_MONTHS)


_MONTHS_ELSEWHERE: Final[Mapping[str, str]] = {
    **dict.fromkeys(("janvier", "enero", "gennaio", "jänner"), "jan"),
    **dict.fromkeys(("février", "fevrier", "febrero", "febbraio"), "feb"),
    **dict.fromkeys(("mars", "märz", "maerz", "marzo"), "mar"),
    **dict.fromkeys(("avril", "abril", "aprile"), "apr"),
    **dict.fromkeys(("mai", "mayo", "maggio"), "may"),
    **dict.fromkeys(("juin", "junio", "giugno"), "jun"),
    **dict.fromkeys(("juillet", "julio", "luglio"), "jul"),
    **dict.fromkeys(("août", "aout", "agosto"), "aug"),
    **dict.fromkeys(("septembre", "septiembre", "settembre"), "sep"),
    **dict.fromkeys(("octobre", "oktober", "octubre", "ottobre"), "oct"),
    **dict.fromkeys(("novembre", "noviembre"), "nov"),
    **dict.fromkeys(("décembre", "dezember", "diciembre", "dicembre"), "dec"),
}
"""Months of other languages whose first letters are not those of the English ones."""


_DAY_FIRST = re.compile(
    r"([0-9]{1,2})(?:st|nd|rd|th)?(?:\. | de |[ ./-])([0-9]{1,2}|[^\W\d_]{3,10})\.?(?: de |, |[ ./-])([0-9]{4})"
)


_YEAR_FIRST = re.compile(r"([0-9]{4})[./-]([0-9]{1,2})[./-]([0-9]{1,2})(?:[T ].*)?")


def meant_date(text: str) -> str | None:
    """A date as people write it, day first or year first, in the form of a rule file; None where it is none."""
    if (found := _DAY_FIRST.fullmatch(text)) is not None:
        day, month, year = found.groups()
    elif (found := _YEAR_FIRST.fullmatch(text)) is not None:
        year, month, day = found.groups()
    else:
        return None
    name = _MONTHS_ELSEWHERE.get(month.casefold(), month[:3].casefold())
    number = int(month) if month.isdigit() else 1 + _MONTHS.index(name) if name in _MONTHS else 0
    if number > _MONTHS_OF_A_YEAR >= int(day):  # month first
        number, day = int(day), month
    try:
        return date(int(year), number, int(day)).isoformat()
    except ValueError:
        return None


def read_date(node: Node) -> date:
    if isinstance(node, ScalarNode) and isinstance(node.value, date) and not isinstance(node.value, datetime):
        if node.value.year in SANE_YEARS:
            return node.value
        raise InvalidValue(f"this date lies outside of {SANE_YEARS[0]} to {SANE_YEARS[-1]}")
    meant = meant_date(node.text) if isinstance(node, ScalarNode) else None
    raise InvalidValue(f"a date belongs here, {f'written {meant}' if meant else 'like 2027-03-19'}")


def read_literal(node: Node) -> model.LiteralValue:
    if isinstance(node, ScalarNode) and node.value is not None:
        return node.value
    raise InvalidValue(_instead_of_list(node) if isinstance(node, SequenceNode) else "a single value belongs here")


Word = TypeVar("Word", bound=StrEnum)


def word(words: type[Word], fallback: Word | None, *, later: Iterable[str] = (), key: str = "") -> BeforeValidator:
    """One of a closed set of words. Those that come ``later`` are known, and refused for now."""

    def read(node: Node) -> Word:
        written = read_text(node)
        if written in list(words):
            return words(written)
        if written in later:
            raise InvalidValue(f"“{key}: {written}” comes later; write the rule without it for now")
        if len(words) == 1:
            raise InvalidValue(f"only “{next(iter(words))}” can stand here, and not “{written}”")
        raise InvalidValue(f"“{written}” is none of {', '.join(words)}", written, list(words))

    return value(read, fallback)


def only(word: str, sentence: str) -> BeforeValidator:
    """A key that takes a single value so far."""

    def read(node: Node) -> str:
        if isinstance(node, ScalarNode) and node.text == word:
            return word
        raise InvalidValue(sentence, node.text if isinstance(node, ScalarNode) else "", (word,))

    return value(read, word)


Text = Annotated[str, value(read_text, "")]


Flag = Annotated[bool, value(read_flag, fallback=False)]


WholeNumber = Annotated[int, Field(ge=1), whole_number()]


Day = Annotated[date | None, value(read_date, None)]


LiteralText = Annotated[str | int | float | bool | datetime | date, value(read_literal, "")]


Country = Annotated[str, value(lambda node: check_country(read_text(node)), "")]


Language = Annotated[str, value(lambda node: check_language(read_text(node)), "")]


Zone = Annotated[str, value(lambda node: check_zone(read_text(node)), "UTC")]

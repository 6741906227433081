"""Conditions as other languages write them (``days_left >= 3``, ``people[0].name``), in the words of rule files."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache

from services.rules.rulebook.catalogue import EVENTS, known_paths

_PATH = r"[A-Za-z_]\w*(?:\.[\w-]+|\[[^\[\]{}]*\])*"
_PLAIN = re.compile(r"[a-z_.]+")
_SIGNS: Mapping[str, str] = {
    **dict.fromkeys((">=", "=>", "≥"), "at_least"),
    **dict.fromkeys(("<=", "=<", "≤"), "at_most"),
    ">": "more_than",
    "<": "less_than",
    **dict.fromkeys(("!=", "<>", "≠"), "is_not"),
    **dict.fromkeys(("==", "="), ""),
}
_WORDS: Mapping[str, str] = {
    "is not": "is_not",
    "not equals": "is_not",
    "not in": "not",
    **dict.fromkeys(("is", "equals", "in"), ""),
    **{word: word for word in ("contains", "includes", "exists", "at_least", "at_most", "more_than", "less_than")},
    "is_not": "is_not",
}
"""The comparison of rule files that is meant; it is empty where the value is written without one."""
_SIGN = "|".join(map(re.escape, sorted(_SIGNS, key=len, reverse=True)))
_WORD = "|".join(word.replace(" ", r"\s+") for word in sorted(_WORDS, key=len, reverse=True))
_COMPARISON = re.compile(
    rf"(?P<field>{_PATH})(?:\s*(?P<sign>{_SIGN})\s*|\s+(?P<word>{_WORD})(?:\s+|$))(?P<value>.*)", re.IGNORECASE
)
_NEGATION = re.compile(rf"(?:not\s+|!\s*)(?P<field>{_PATH})", re.IGNORECASE)
_EXISTENCE = re.compile(rf"(?:exists|defined|has)\s*\(\s*(?P<field>{_PATH})\s*\)", re.IGNORECASE)
_SIGN_FIRST = re.compile(rf"(?P<sign>{_SIGN})\s*(?P<value>[^\s=<>!].*)")
_SEVERAL = re.compile(r"\s(?:and|or)\s|&&|\|\||[=<>]", re.IGNORECASE)
"""In a value: further conditions."""
_QUOTES = "\"'‘’“”"

_BRACKETS = re.compile(r"\[\s*(?:[0-9*]*|[\"']?(?P<name>[\w-]+)[\"']?)\s*\]")
BRACKETED_PATH = re.compile(r"[A-Za-z_]\w*(?:\.[\w-]+)*(?:\[[^\[\]{}]*\][\w.-]*)+")
"""A path with an index in it, which rule files do not have."""


@dataclass(frozen=True, slots=True)
class MeantCondition:
    """``comparison`` is a key of comparisons, “not”, or empty for equality. ``value`` is empty where none is written
    with it.
    """

    field: str
    comparison: str
    value: str

    def written(self, value: str) -> str:
        """The condition as it is written in a rule file, with this value."""
        match self.comparison:
            case "":
                return f"{self.field}: {value}"
            case "not":
                return f"not: {{{self.field}: {value}}}"
            case _:
                return f"{self.field}: {{{self.comparison}: {value}}}"


def meant_condition(text: str) -> MeantCondition | None:
    """The condition that is meant by a key, or by a whole text; None where it is no other way of writing one."""
    text = text.strip()
    if _PLAIN.fullmatch(text) is not None:
        return None
    if (found := _EXISTENCE.fullmatch(text)) is not None:
        return MeantCondition(without_brackets(found["field"]), "exists", "")
    if (found := _NEGATION.fullmatch(text)) is not None:
        return MeantCondition(without_brackets(found["field"]), "is_not", "")
    if (found := _COMPARISON.fullmatch(text)) is not None and not _SEVERAL.search(found["value"]):
        comparison = _SIGNS[found["sign"]] if found["sign"] else _WORDS[" ".join(found["word"].lower().split())]
        return MeantCondition(without_brackets(found["field"]), comparison, found["value"].strip().strip(_QUOTES))
    if BRACKETED_PATH.fullmatch(text) is not None:
        return MeantCondition(without_brackets(text), "", "")
    return None


def meant_comparison(value: str) -> str | None:
    """The comparison that is meant by a value with a sign, “{at_least: 3}” by “>= 3”; None where it has none."""
    found = _SIGN_FIRST.fullmatch(value.strip())
    if found is None:
        return None
    comparison, plain = _SIGNS[found["sign"]], found["value"].strip().strip(_QUOTES)
    return f"{{{comparison}: {plain}}}" if comparison else plain


def meant_by_sign(value: str) -> str | None:
    """``meant_comparison`` of a value that YAML does not take for a text: it begins with “>”, for which a text may."""
    return meant_comparison(value) if _NUMBER_OR_DATE.match(value) else None


_NUMBER_OR_DATE = re.compile(r">=|=>|>\s*[-+]?[0-9]")


def without_brackets(path: str) -> str:
    """``affected[0].role`` → ``affected.role``, ``work["title"]`` → ``work.title``; of no field, the nearest one."""
    if "[" not in path:
        return path
    plain, known = _BRACKETS.sub(lambda found: f".{found['name']}" if found["name"] else "", path), known_anywhere()
    close = [plain] if plain in known else get_close_matches(plain, known, 1, _NEARLY_A_FIELD)
    return close[0] if close else plain


_NEARLY_A_FIELD = 0.75


def or_which_fields(path: str, written: str) -> str:
    """How to mend a condition on this path: as it is ``written``, or, where there is no such field, by another one."""
    if path in known_anywhere():
        return f"write {written}"
    return "name a field of the event, as “stet rules fields EVENT” lists them"


@cache
def known_anywhere() -> frozenset[str]:
    """The fields and facts of all events."""
    return known_paths(tuple(EVENTS))

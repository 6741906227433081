"""A template filled in somebody's language: dates in words, lists joined, codes made readable.

What is shortened is free text only, and only where the whole would be longer than WhatsApp takes.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime
from babel.lists import format_list
from babel.numbers import format_decimal
from msgspec import Struct

from services.rules import conditions
from services.rules.rulebook import Template, Wording

BODY_LIMIT = (
    1024  # a template's body: https://developers.facebook.com/docs/whatsapp/business-management-api/message-templates
)
NOTHING = "—"  # an absent value; the checker asks for a guard, so a reader should never meet it
PARAMETER = re.compile(r"\{([a-z][a-z0-9_]*)\}")

_CODE = re.compile(r"[a-z0-9]+(_[a-z0-9]+)+")
_WORLD_ENGLISH = "en_001"  # plain ``en`` means American dates to Babel
_ELLIPSIS = "…"
_FREE = (str, tuple, list)
_SHORTEST = 12  # a text is not cut below this; better a body that is refused than a riddle


class Rendered(Struct, frozen=True):
    """``parameters`` hold the same words as ``body``; ``buttons`` are (answer, title) in the template's order."""

    body: str
    parameters: dict[str, str]
    buttons: tuple[tuple[str, str], ...]
    language: str


def choose_language(template: Template, wanted: str | None, house: str) -> str:
    """The exact language, else its base (``fr`` for ``fr_CA``), else the house's."""
    exact = (wanted or house).replace("-", "_")
    for language in (exact, exact.partition("_")[0], house):
        if language in template.languages:
            return language
    return next(iter(template.languages))


def render(
    template: Template,
    language: str,
    values: Mapping[str, object],
    words: Mapping[str, str] | None = None,
) -> Rendered:
    """Fill a template; ``words`` are the house's readable forms of codes. An aware instant is said in its own zone."""
    wording = template.languages[language]
    spoken = {name: say(values.get(name), language, words or {}) for name in names_in(wording.body)}
    body, parameters = _shortened(wording, spoken, values)
    return Rendered(body, parameters, tuple(wording.buttons.items()), language)


@lru_cache(maxsize=4096)
def names_in(body: str) -> tuple[str, ...]:
    """The parameters of a body, each once, in the order they come."""
    return tuple(dict.fromkeys(PARAMETER.findall(body)))


def say(value: object, language: str, words: Mapping[str, str]) -> str:
    """One value in words."""
    if isinstance(value, (str, bool)):
        return NOTHING if value == "" else _readable(value, words)
    if not conditions.present(value) or value == []:
        return NOTHING
    if isinstance(value, (tuple, list)):
        return format_list([say(item, language, words) for item in value], locale=_locale(language))
    return _measured(value, _locale(language))


def _measured(value: object, locale: Locale) -> str:
    match value:
        case datetime():
            return format_datetime(value, "d MMMM y, H:mm", tzinfo=value.tzinfo, locale=locale)
        case date():
            return format_date(value, "long", locale=locale)
        case int() | float():
            return format_decimal(value, locale=locale)
        case _:
            return str(value)


def _readable(value: str | bool, words: Mapping[str, str]) -> str:  # noqa: FBT001 -- a value of an event, not a switch
    """Codes (a closed set's word, or one with underscores) become words; any other text is left as it is."""
    if type(value) is str and ("_" not in value or _CODE.fullmatch(value) is None):
        return value
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return words.get(text, text.replace("_", " "))


def _shortened(
    wording: Wording, spoken: Mapping[str, str], values: Mapping[str, object]
) -> tuple[str, dict[str, str]]:  # fmt: skip
    """The body; cuts the longest free text until it fits, or until nothing is left to cut."""
    parameters, body = dict(spoken), _fill(wording.body, spoken)
    while (over := len(body) - BODY_LIMIT) > 0:
        free = (name for name in spoken if isinstance(values.get(name), _FREE))
        longest = max(free, key=lambda name: len(parameters[name]), default=None)
        if longest is None or len(parameters[longest]) <= _SHORTEST:
            break
        keep = max(_SHORTEST, len(parameters[longest]) - over - len(_ELLIPSIS))
        parameters[longest] = parameters[longest][: keep - 1].rstrip() + _ELLIPSIS
        body = _fill(wording.body, parameters)
    return body, parameters


def _fill(body: str, parameters: Mapping[str, str]) -> str:
    pieces = list(_pieces(body))
    pieces[1::2] = [parameters[name] for name in pieces[1::2]]
    return "".join(pieces)


@lru_cache(maxsize=4096)
def _pieces(body: str) -> tuple[str, ...]:
    """Its fixed words, and between each two of them the name of a parameter."""
    return tuple(PARAMETER.split(body))


@lru_cache(maxsize=256)
def _locale(language: str) -> Locale:
    """Babel's data for a language; a language Babel does not know is written the English way."""
    try:
        return Locale.parse(_WORLD_ENGLISH if language == "en" else language)
    except (UnknownLocaleError, ValueError):
        return Locale.parse(_WORLD_ENGLISH)

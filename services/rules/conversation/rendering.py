"""Renders a template in a language, with given values. Pure: it knows no chain and no person.

Dates are written in words, lists are joined, codes become readable. Only free text is shortened, and only where the
body would be longer than WhatsApp accepts.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from babel.lists import format_list
from babel.numbers import format_decimal
from msgspec import Struct

from services.rules.matching import conditions
from services.rules.rulebook.model import PARAMETER, Template, TemplateText
from shared.clients.whatsapp_limits import BODY_LENGTH
from shared.contracts.ids import ChainId

ABSENT_VALUE = "—"  # an absent value; validation asks for a guard, so no message should show it

_CODE = re.compile(r"[a-z0-9]+(_[a-z0-9]+)+")
_WORLD_ENGLISH = "en_001"  # plain ``en`` means American dates to Babel
_ELLIPSIS = "…"
_FREE = (str, tuple, list)
_SHORTEST = 12  # a text is not cut below this length: a refused body is better than an unreadable one


class RenderedMessage(Struct, frozen=True):
    """``parameters`` hold the same text as ``body``; ``buttons`` are (answer, title) in the template's order."""

    body: str
    parameters: dict[str, str]
    buttons: tuple[tuple[str, str], ...]
    language: str


def in_template_order(answers: Sequence[str], rendered: RenderedMessage) -> tuple[str, ...]:
    """Answers in the order of the template's buttons, then the others.

    WhatsApp knows a template's quick reply by its place alone: in another order a tap would bring the payload of
    another answer.
    """
    of_template = [answer for answer, _ in rendered.buttons if answer in answers]
    return (*of_template, *(answer for answer in answers if answer not in of_template))


def choose_language(languages: Mapping[str, object], preferred: str | None, default: str) -> str:
    """The exact language, else its base (``fr`` for ``fr_CA``), else the publisher's."""
    exact = (preferred or default).replace("-", "_")
    for language in (exact, exact.partition("_")[0], default):
        if language in languages:
            return language
    return next(iter(languages))


def render_template(
    template: Template,
    language: str,
    values: Mapping[str, object],
    words: Mapping[str, str] | None = None,
) -> RenderedMessage:
    """Fill a template. ``words`` are the publisher's readable forms of codes; an instant is written in its own zone."""
    wording = template.languages[language]
    texts = {name: format_value(values.get(name), language, words or {}) for name in parameter_names(wording.body)}
    body, parameters = _shortened(wording, texts, values)
    return RenderedMessage(body, parameters, tuple(wording.buttons.items()), language)


@lru_cache(maxsize=4096)
def parameter_names(body: str) -> tuple[str, ...]:
    """The parameters of a body, each once, in order."""
    return tuple(dict.fromkeys(PARAMETER.findall(body)))


def format_value(value: object, language: str, words: Mapping[str, str]) -> str:
    """One value as text."""
    if isinstance(value, (str, bool)):
        return ABSENT_VALUE if value == "" else _readable(value, words)
    if not conditions.is_present(value) or value == []:
        return ABSENT_VALUE
    if isinstance(value, (tuple, list)):
        return format_list([format_value(item, language, words) for item in value], locale=_locale(language))
    return _format_measure(value, _locale(language))


def _format_measure(value: object, locale: Locale) -> str:
    match value:
        case datetime():
            return f"{format_day(value, locale)}, {value.hour}:{value:%M}"
        case date():
            return format_day(value, locale)
        case int() | float():
            return format_decimal(value, locale=locale)
        case _:
            return str(value)


def format_day(day: date, locale: Locale) -> str:
    """The date in the words of a language; French, other than Babel, says of the first of a month “1er”."""
    text = format_date(day, "long", locale=locale)
    return f"1er{text[1:]}" if locale.language == "fr" and text.startswith("1 ") else text


def _readable(value: str | bool, words: Mapping[str, str]) -> str:  # noqa: FBT001 -- a value of an event, not a switch
    """A code (lower case with underscores) becomes words; any other text stays as it is."""
    if type(value) is str and ("_" not in value or _CODE.fullmatch(value) is None):
        return value
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return words.get(text, text.replace("_", " "))


def _shortened(
    wording: TemplateText, texts: Mapping[str, str], values: Mapping[str, object]
) -> tuple[str, dict[str, str]]:
    """Cut the longest free text until the body fits, or nothing is left to cut."""
    parameters, body = dict(texts), fill(wording.body, texts)
    while (over := len(body) - BODY_LENGTH) > 0:
        free = (name for name in texts if isinstance(values.get(name), _FREE))
        longest = max(free, key=lambda name: len(parameters[name]), default=None)
        if longest is None or len(parameters[longest]) <= _SHORTEST:
            break
        keep = max(_SHORTEST, len(parameters[longest]) - over - len(_ELLIPSIS))
        parameters[longest] = parameters[longest][: keep - 1].rstrip() + _ELLIPSIS
        body = fill(wording.body, parameters)
    return body, parameters


def numbered_line(texts: Sequence[str], between: str = " ", endings: Sequence[str] = ()) -> str:
    """``1. … 2. …``: all texts in one line, since a parameter may have only one; each is cut to its share of the room.

    ``endings`` stand behind the texts, whole.
    """
    endings = endings or [""] * len(texts)
    each = max(_LINE_ROOM // len(texts) - len("00. … ") - len(between) - max(map(len, endings)), _SHORTEST)
    cut = (text if len(text) <= each else f"{text[:each].rstrip()}{_ELLIPSIS}" for text in texts)
    numbered = enumerate(zip(cut, endings, strict=True), 1)
    return between.join(f"{number}. {text}{ending}" for number, (text, ending) in numbered)


_LINE_ROOM = BODY_LENGTH - 300  # for the words of the template around them


def fill(body: str, parameters: Mapping[str, str]) -> str:
    """The text of a body with its parameters."""
    pieces = list(_pieces(body))
    pieces[1::2] = [parameters[name] for name in pieces[1::2]]
    return "".join(pieces)


@lru_cache(maxsize=4096)
def _pieces(body: str) -> tuple[str, ...]:
    """The fixed texts of a body, with the name of a parameter between each two."""
    return tuple(PARAMETER.split(body))


@lru_cache(maxsize=256)
def _locale(language: str) -> Locale:
    """Babel's data for a language; English for a language that Babel does not know."""
    try:
        return Locale.parse(_WORLD_ENGLISH if language == "en" else language)
    except (UnknownLocaleError, ValueError):
        return Locale.parse(_WORLD_ENGLISH)


@lru_cache(maxsize=256)
def locale_of(language: str, country: str | None) -> Locale:
    """Babel's data for a language as it is written in a country; for the language alone where there is none."""
    if country is not None and "_" not in language:
        try:
            return Locale.parse(f"{language}_{country}")
        except (UnknownLocaleError, ValueError):
            pass
    return _locale(language)


_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
"""Without characters that are easily misread."""


def reference_code(chain_id: ChainId) -> str:
    """The short code of a chain that a person may quote: six characters."""
    number = int(chain_id[:12], 16)
    letters = []
    for _ in range(6):
        number, index = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[index])
    return "".join(letters)

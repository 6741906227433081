"""Renders a template in a person's language, with the values of one message.

Dates are written in words, lists are joined, codes become readable. Only free text is shortened, and only where the
body would be longer than WhatsApp accepts.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime
from babel.lists import format_list
from babel.numbers import format_decimal
from msgspec import Struct

from services.rules.conversation.chain import Chain, ChainMessage
from services.rules.conversation.context import DecisionContext
from services.rules.conversation.document import Document
from services.rules.conversation.fact_values import PersonFacts
from services.rules.matching import conditions
from services.rules.rulebook.model import PARAMETER, Template, TemplateText
from shared.clients.whatsapp_limits import BODY_LENGTH
from shared.contracts.contacts import PLACEHOLDER_NAME
from shared.contracts.ids import ChainId, PersonId

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


def choose_language(template: Template, preferred: str | None, default: str) -> str:
    """The exact language, else its base (``fr`` for ``fr_CA``), else the publisher's."""
    exact = (preferred or default).replace("-", "_")
    for language in (exact, exact.partition("_")[0], default):
        if language in template.languages:
            return language
    return next(iter(template.languages))


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
            return format_datetime(value, "d MMMM y, H:mm", tzinfo=value.tzinfo, locale=locale)
        case date():
            return format_date(value, "long", locale=locale)
        case int() | float():
            return format_decimal(value, locale=locale)
        case _:
            return str(value)


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
    parameters, body = dict(texts), _fill(wording.body, texts)
    while (over := len(body) - BODY_LENGTH) > 0:
        free = (name for name in texts if isinstance(values.get(name), _FREE))
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


UNTIL_ANSWER = "until"
"""The ``answer`` of messages of an ``until`` line, which are filled from the event that ended the chain."""

_LINK = "link_"
_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
"""Without characters that are easily misread."""


class _TemplateScope(Struct, frozen=True):
    context: DecisionContext
    chain: Chain
    person: PersonFacts
    language: str
    holders: tuple[PersonId, ...] = ()


def template_values(
    context: DecisionContext, chain: Chain, message: ChainMessage, person: PersonFacts, template: Template
) -> dict[str, object]:
    """A value for every parameter in any language; an absent field may be a built-in value of the same path."""
    scope = _TemplateScope(context, chain, person, language_of(context, person), message.holders)
    document: Document | _GatheredDocument = context.document(chain)
    if message.answer == UNTIL_ANSWER:
        document = context.ended_document(chain)
    elif chain.joined:
        document = _GatheredDocument(context.documents(chain))
    fields, words = template.fields, message.words
    values = {name: _value(scope, words, document, fields.get(name), name) for name in _template_parameters(template)}
    return {**values, **_defaults(scope, template, document)} if template.defaults else values


def _defaults(scope: _TemplateScope, template: Template, document: "Document | _GatheredDocument") -> dict[str, object]:
    """The default of every field that has one and is absent, in the language in which the template is rendered."""
    language = choose_language(template, scope.language, scope.context.rulebook.tenant.language)
    absent = (name for name in template.defaults if document.get(template.fields[name]) in _ABSENT)
    return {name: template.defaults[name][language] for name in absent}


_ABSENT: tuple[object, ...] = ("", None, (), [])


class _GatheredDocument(Struct, frozen=True):
    """The documents of all events that a chain gathered, as one: a field has each of its different values once."""

    documents: tuple[Document, ...]

    def get(self, path: str) -> object:
        found = tuple(dict.fromkeys(map(_hashable, (each.get(path) for each in self.documents))))
        values = tuple(value for value in found if value is not None)
        return values[0] if len(values) == 1 else values or None


def _hashable(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


@lru_cache(maxsize=1024)
def _template_parameters(template: Template) -> tuple[str, ...]:
    return tuple({name: None for wording in template.languages.values() for name in parameter_names(wording.body)})


def _value(
    scope: _TemplateScope, words: Mapping[str, str], document: Document | _GatheredDocument, path: str | None, name: str
) -> object:
    if path is not None and (found := document.get(path)) is not None:
        return found
    source = path or name
    if source in words:
        return words[source]
    if source.startswith(_LINK):
        return scope.context.rulebook.tenant.links.get(source.removeprefix(_LINK), "")
    built_in = _BUILT_IN_VALUES.get(source)
    return built_in(scope) if built_in is not None else ""


def language_of(context: DecisionContext, person: PersonFacts) -> str:
    tenant = context.rulebook.tenant
    return person.language or tenant.languages.get(person.country or "", tenant.language)


def _publisher(scope: _TemplateScope) -> object:
    tenant = scope.context.rulebook.tenant
    return tenant.publisher.get(scope.language, tenant.publisher[tenant.language])


def _why(scope: _TemplateScope) -> object:
    why = scope.context.rule_of(scope.chain).why
    return why.get(scope.language, why.get(scope.context.rulebook.tenant.language, ""))


def _title(scope: _TemplateScope) -> object:
    """The subject of the chain in a few words."""
    document = _GatheredDocument(scope.context.documents(scope.chain))
    for path in ("work.title", "document.title", "name", "line"):
        if found := document.get(path):
            return scope.context.rule_of(scope.chain).name.replace("-", " ") if isinstance(found, tuple) else found
    return scope.context.rule_of(scope.chain).name.replace("-", " ")


def _sender(scope: _TemplateScope) -> object:
    """The name of the person who wrote, or a placeholder."""
    person = scope.context.facts.people.get(scope.context.document(scope.chain).sender or PersonId(""))
    return person.display_name if person else PLACEHOLDER_NAME


def _holders(scope: _TemplateScope) -> object:
    """The names of the people in whose name the receiver answers, in a list of the language."""
    known = (scope.context.facts.people.get(holder) for holder in scope.holders)
    return [person.display_name for person in known if person is not None] or scope.person.display_name


_BUILT_IN_VALUES: Mapping[str, Callable[[_TemplateScope], object]] = {
    "publisher": _publisher,
    "person": lambda saying: saying.person.display_name,
    "sender.display_name": _sender,
    "reference": lambda saying: reference_code(saying.chain.chain_id),
    "count": lambda scope: 1 + len(scope.chain.joined),
    "title": _title,
    "why": _why,
    "on_behalf_of": _holders,
}


def chain_values(context: DecisionContext, chain: Chain, person: PersonFacts) -> dict[str, object]:
    """The words that every message of a chain may say: the title, the reference, the publisher and the person."""
    scope = _TemplateScope(context, chain, person, language_of(context, person))
    return {name: _BUILT_IN_VALUES[name](scope) for name in ("publisher", "person", "reference", "count", "title")}


def reference_code(chain_id: ChainId) -> str:
    """The short code of a chain that a person may quote: six characters."""
    number = int(chain_id[:12], 16)
    letters = []
    for _ in range(6):
        number, index = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[index])
    return "".join(letters)

"""The content of a message: the values of its template, the call of that template, and the document that goes with it.

A chain keeps the rules that it began with, with one exception. Where Meta does not allow a template, its fallback
is sent, and authors can name or correct the fallback in a later revision. The newest revision that names one decides.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache

from msgspec import Struct

from services.rules.conversation import rendering
from services.rules.conversation.chain import Chain, ChainMessage
from services.rules.conversation.chain_messages import OF_THE_HOUSE, UNTIL_ANSWER, is_offer
from services.rules.conversation.context import DecisionContext
from services.rules.conversation.document import Document
from services.rules.conversation.fact_values import PersonFacts
from services.rules.conversation.people import language_of
from services.rules.conversation.rendering import RenderedMessage
from services.rules.rulebook.built_in import TO_READ
from services.rules.rulebook.model import AttachAction, Field, Rulebook, Template
from shared.contracts.contacts import PLACEHOLDER_NAME
from shared.contracts.ids import PersonId
from shared.contracts.messages import AttachedDocument, TemplateCall

_LINK = "link_"


class _TemplateScope(Struct, frozen=True):
    """``language`` is that in which the template is rendered."""

    context: DecisionContext
    chain: Chain
    person: PersonFacts
    language: str
    holders: tuple[PersonId, ...] = ()


def template_values(
    context: DecisionContext, chain: Chain, message: ChainMessage, person: PersonFacts, template: Template
) -> dict[str, object]:
    """A value for every parameter in any language; an absent field may be a built-in value of the same path."""
    scope = _TemplateScope(context, chain, person, language_for(context, template, person), message.holders)
    document: Document | _GatheredDocument = context.document(chain)
    if message.answer == UNTIL_ANSWER:
        document = context.ended_document(chain)
    elif chain.joined:
        document = _GatheredDocument(context.documents(chain))
    fields, words = template.fields, message.words
    paths = {name: fields.get(name) for name in _template_parameters(template)}
    values = {name: _value(scope, words, document, path, name) for name, path in paths.items()}
    own = words if message.answer == OF_THE_HOUSE else {}
    values |= {name: own[path] for name, path in paths.items() if path is not None and path in own}
    return {**values, **_defaults(scope, template, document, own)} if template.defaults else values


def language_for(context: DecisionContext, template: Template, person: PersonFacts) -> str:
    """The language in which a template is rendered for a person: the house's, where it does not have theirs."""
    preferred = language_of(context.rulebook, person)
    return rendering.choose_language(template.languages, preferred, context.rulebook.tenant.language)


@lru_cache(maxsize=1024)
def _template_parameters(template: Template) -> tuple[str, ...]:
    return tuple(
        {name: None for wording in template.languages.values() for name in rendering.parameter_names(wording.body)}
    )


def _defaults(
    scope: _TemplateScope,
    template: Template,
    document: "Document | _GatheredDocument",
    own: Mapping[str, str],
) -> dict[str, object]:
    """The default of every field that has one and is absent; ``own`` are the message's own words for fields."""
    paths = {name: template.fields[name] for name in template.defaults}
    absent = (name for name, path in paths.items() if not own.get(path) and document.get(path) in _ABSENT)
    return {name: template.defaults[name][scope.language] for name in absent}


def placeholder_text(book: Rulebook) -> str:
    """The text that stands for a message without words, in the language of the house."""
    template = book.templates[TO_READ]
    shown = (template.defaults[name] for name in template.defaults if template.fields[name] == "text")
    return next((default[book.tenant.language] for default in shown), rendering.ABSENT_VALUE)


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
    "person": lambda scope: scope.person.display_name,
    "sender.display_name": _sender,
    "reference": lambda scope: rendering.reference_code(scope.chain.chain_id),
    "count": lambda scope: 1 + len(scope.chain.joined),
    "title": _title,
    "why": _why,
    "on_behalf_of": _holders,
}


def chain_values(context: DecisionContext, chain: Chain, person: PersonFacts, language: str) -> dict[str, object]:
    """The words that every message of a chain may say: the title, the reference, the publisher and the person."""
    scope = _TemplateScope(context, chain, person, language)
    return {name: _BUILT_IN_VALUES[name](scope) for name in ("publisher", "person", "reference", "count", "title")}


# ------------------------------------------------------------------ the call


def template_of(context: DecisionContext, chain: Chain, say: str) -> Template:
    """A template of the chain's rulebook, else a built-in template of the current one."""
    return context.rulebook_of(chain).templates.get(say) or context.rulebook.templates[say]


def template_of_message(context: DecisionContext, chain: Chain, message: ChainMessage) -> Template:
    """The template of a message; for an offer whose template a change of the rules removed, the house template
    ``to_take``.
    """
    books = (context.rulebook_of(chain), context.rulebook)
    is_gone = all(message.say not in book.templates for book in books)
    return template_of(context, chain, "to_take" if is_gone and is_offer(message) else message.say)


def render_call(
    context: DecisionContext, template: Template, wanted: str, values: Mapping[str, object]
) -> tuple[RenderedMessage, TemplateCall]:
    language = rendering.choose_language(template.languages, wanted, context.rulebook.tenant.language)
    rendered = rendering.render_template(template, language, values, context.rulebook.tenant.words.get(language))
    return rendered, TemplateCall(
        name=template.meta_name,
        language=language,
        parameters=rendered.parameters,
        category=template.category.value,
        header=template.header,
    )


def fallback_call(
    context: DecisionContext, chain: Chain, message: ChainMessage, person: PersonFacts, language: str
) -> TemplateCall | None:
    """The template to send while Meta refuses this message's own, in the same language; None where there is none.

    Three candidates are tried: the fallback by the rules in force, the one by the chain's rules, and a newer version of
    the template.
    """
    template = template_of_message(context, chain, message)
    own = context.rulebook_of(chain).templates.get(template.fallback or "")
    newest = context.rulebook.templates.get(template.name)
    if newest is None or newest is template:
        return None if own is None else _call(context, chain, message, person, (own, language))
    declared = context.rulebook.templates.get(newest.fallback or "")
    renewed = newest if newest.meta_name != template.meta_name else None
    for other in (declared, own, renewed):
        if other is not None and _has_same_buttons(template, other, language):
            call = _call(context, chain, message, person, (other, language))
            if call is not None and (other is own or rendering.ABSENT_VALUE not in call.parameters.values()):
                return call
    return None


def _call(
    context: DecisionContext, chain: Chain, message: ChainMessage, person: PersonFacts, chosen: tuple[Template, str]
) -> TemplateCall | None:
    """None where the template has a header for a document, and the message has no document."""
    template, language = chosen
    if template.header is not None and attached_document(context, chain, message) is None:
        return None
    return render_call(context, template, language, template_values(context, chain, message, person, template))[1]


def text_of_call(context: DecisionContext, chain: Chain, call: TemplateCall) -> str:
    """The text that a person reads of a call of a template of the rules in force, or of the chain's."""
    books = (context.rulebook, context.rulebook_of(chain))
    template = next(one for book in books for one in book.templates.values() if one.meta_name == call.name)
    return rendering.fill(template.languages[call.language].body, call.parameters)


def _has_same_buttons(template: Template, other: Template, language: str) -> bool:
    """Whether both have the language, with the same buttons in the same places.

    The checks of the rule files compare templates of one revision only.
    """
    texts = template.languages.get(language), other.languages.get(language)
    return all(texts) and len({tuple(text.buttons) for text in texts if text is not None}) == 1


# ------------------------------------------------------------------ the document

_LONGEST_ADDRESS, _LONGEST_NAME = 2048, 200


def attachment_of(context: DecisionContext, chain: Chain, message: ChainMessage) -> AttachAction | None:
    """The attachment of the step or the answer that sends this message; copies and built-in messages have none."""
    steps = context.rule_of(chain).steps
    if message.step >= len(steps):
        return None
    step = steps[message.step]
    if message.answer is None:
        return step.attach if message.say == step.say else None
    answer = step.answer_at(message.answer)
    notification = answer.tell if answer is not None else None
    return notification.attach if notification is not None and notification.say == message.say else None


def lacks_document(context: DecisionContext, chain: Chain, message: ChainMessage) -> bool:
    """Whether the message needs a document, and the event names no address of it."""
    attach = attachment_of(context, chain, message)
    return attach is not None and not attach.optional and attached_document(context, chain, message) is None


def attached_document(context: DecisionContext, chain: Chain, message: ChainMessage) -> AttachedDocument | None:
    attach = attachment_of(context, chain, message)
    if attach is None:
        return None
    document = context.document(chain)
    address = document.get(attach.file.name)
    name = document.get(attach.name.name) if isinstance(attach.name, Field) else attach.name
    if not isinstance(address, str) or not 0 < len(address) <= _LONGEST_ADDRESS:
        return None
    shown = name[:_LONGEST_NAME] if isinstance(name, str) and name else attach.file.name
    return AttachedDocument(address=address, name=shown, optional=attach.optional)

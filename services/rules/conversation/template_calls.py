"""The call of a message's template, and of the one that goes where Meta does not let it go.

A chain keeps the rules that it began with; which template may stand in is the exception, since a template that Meta
refuses is mended in a later revision. The newest revision that names one decides.
"""

from collections.abc import Mapping

from services.rules.conversation import attachments, rendering
from services.rules.conversation.chain import Chain, ChainMessage
from services.rules.conversation.context import DecisionContext
from services.rules.conversation.fact_values import PersonFacts
from services.rules.conversation.rendering import RenderedMessage, template_values
from services.rules.rulebook.model import Template
from shared.contracts.messages import TemplateCall


def template_of(context: DecisionContext, chain: Chain, say: str) -> Template:
    """A template of the chain's rulebook, else a built-in template of the current one."""
    return context.rulebook_of(chain).templates.get(say) or context.rulebook.templates[say]


def render_call(
    context: DecisionContext, template: Template, wanted: str, values: Mapping[str, object]
) -> tuple[RenderedMessage, TemplateCall]:
    language = rendering.choose_language(template, wanted, context.rulebook.tenant.language)
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

    That of the rules in force comes first, then that of the chain's rules, then a newer version of the template.
    """
    template = template_of(context, chain, message.say)
    own = context.rulebook_of(chain).templates.get(template.fallback or "")
    newest = context.rulebook.templates.get(message.say)
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
    """None for a template whose header cannot go empty, where the message has no document."""
    template, language = chosen
    if template.header is not None and attachments.attached_document(context, chain, message) is None:
        return None
    return render_call(context, template, language, template_values(context, chain, message, person, template))[1]


def _has_same_buttons(template: Template, other: Template, language: str) -> bool:
    """Whether both have the language, with the same buttons in the same places.

    The checks of the rule files compare templates of one revision only.
    """
    texts = template.languages.get(language), other.languages.get(language)
    return all(texts) and len({tuple(text.buttons) for text in texts if text is not None}) == 1

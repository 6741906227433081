"""Checks of marketing: utility templates do not promote, and marketing templates go to people who agreed to them.

Meta moves a utility template with promotional wording to MARKETING, which costs more and needs the person's consent
(docs/whatsapp.md). The phrases of each language are data: ``promotional_phrases.yaml``.

A rule that sends a marketing template to people who may be written to without an opt-in gets a warning and no fault:
only people who gave their consent to marketing get such a template (docs/decisions/0083-consent-is-a-ledger.md). The
category is the one that the file declares; Meta may have changed it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from services.rules.rulebook.addressee_validation import ANSWERING, SENDER
from services.rules.rulebook.faults import FaultReport, FileFault
from services.rules.rulebook.model import (
    Addressees,
    Category,
    ContactBasis,
    Location,
    Rule,
    Step,
    Team,
    Template,
    TemplateText,
    Verb,
    answers_of,
)
from services.rules.rulebook.validation_context import ValidationContext
from services.rules.rulebook.yaml_nodes import MappingNode, ScalarNode, SequenceNode
from services.rules.rulebook.yaml_tree import parse
from shared.contracts.vocabulary import Role

_PHRASES = Path(__file__).with_name("promotional_phrases.yaml")
_EVERYWHERE = "any"  # the key of signs and words that are the same in every language


# ------------------------------------------------------------------ promotional wording


def find_promotion(text: TemplateText, language: str) -> str | None:
    """The first promotional phrase in the body or on a button, as it stands there; None where there is none.

    ``language`` is a code like ``fr`` or ``pt_BR``. A language without phrases is checked for what is the same in all.
    """
    pattern = _pattern(language.replace("-", "_").partition("_")[0].lower())
    found = next(filter(None, map(pattern.search, (text.body, *text.buttons.values()))), None)
    return found[0] if found else None


def promotion_fault(phrase: str) -> str:
    return (
        f"“{phrase}” promotes, and this is a utility template: Meta would move it to marketing; say it otherwise, or"
        " say “category: marketing”"
    )


@lru_cache
def _pattern(language: str) -> re.Pattern[str]:
    """Phrases stand as whole words; a star is any ending, a space any white space.

    The edge of a word is tried once for all phrases: within each of them it costs seven times the CPU.
    """
    by_language: dict[str, list[str]] = _read_phrases()
    phrases = [*by_language[_EVERYWHERE], *by_language.get(language, ())]
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(_as_pattern, phrases))})(?!\w)", re.IGNORECASE)


def _as_pattern(phrase: str) -> str:
    return re.escape(phrase).replace(r"\*", r"\w*").replace(r"\ ", r"\s+").replace(r"\#", r"\d+")


@lru_cache
def _read_phrases() -> dict[str, list[str]]:
    """The phrases by language. They are read like the rule files, since a check has that reader loaded already."""
    tree = parse(_PHRASES.name, _PHRASES.read_text("utf-8"), FaultReport())
    languages = tree.nodes["phrases"] if isinstance(tree, MappingNode) else None
    if not isinstance(languages, MappingNode):
        raise TypeError(f"{_PHRASES.name} has no “phrases” by language")
    return {
        language: [phrase.text for phrase in phrases.nodes if isinstance(phrase, ScalarNode)]
        for language, phrases in languages.nodes.items()
        if isinstance(phrases, SequenceNode)
    }


# ------------------------------------------------------------------ consent


@dataclass(frozen=True, slots=True)
class _Sending:
    """``say`` goes to ``who``; ``location`` is that of the template's name in the rule."""

    say: str
    who: Addressees
    location: Location


def marketing_notes(context: ValidationContext) -> Iterator[FileFault]:
    marketing = {name: found for name in context.book.templates if (found := _marketing_of(context, name)) is not None}
    if not marketing or not context.reads_whole("house.yaml"):
        return
    for rule in context.book.rules.values():
        for sending in _sendings(context, rule):
            if sending.say in marketing and (people := _not_by_opt_in(context, rule, sending.who)):
                yield FileFault(sending.location, _sentence(context, sending.say, marketing[sending.say], people))


def _marketing_of(context: ValidationContext, name: str) -> Template | None:
    """The template itself, or the one that goes in its place where Meta does not let it go."""
    template = context.book.templates[name]
    fallback = context.book.templates.get(template.fallback or "")
    return next((each for each in (template, fallback) if each and each.category is Category.MARKETING), None)


def _sentence(context: ValidationContext, say: str, template: Template, people: list[str]) -> str:
    place = context.loaded.location(template.location.file, "category")
    named = f"“{say}”" if template.name == say else f"“{template.name}”, the fallback of “{say}”,"
    return (
        f"{named} is a marketing template ({place.file}:{place.line}:{place.column}), and it goes to"
        f" {', '.join(people)}; of them it reaches only those who agreed to offers, the messages to the others wait"
        " until they expire"
    )


def _sendings(context: ValidationContext, rule: Rule) -> Iterator[_Sending]:
    for until in rule.until:
        if until.tell is not None:
            yield _Sending(until.tell.say, until.tell.who, until.location)
    for step in rule.steps:
        yield from _of_step(context, rule, step)


def _of_step(context: ValidationContext, rule: Rule, step: Step) -> Iterator[_Sending]:
    at = context.location(rule, "steps", step.index, "say")
    if step.say is not None:
        yield _Sending(step.say, step.who, at)
    if step.tell is not None:
        yield _Sending(step.tell.say, step.tell.who, at)
    for answer in answers_of(step):
        path = [key for name in answer.path.split(".") for key in ("answers", name)]
        inner = context.location(rule, "steps", step.index, *path, "say")
        for part in (answer.tell, answer.hand_over, answer.ask):
            if part is not None and part.say:
                yield _Sending(part.say, part.who, inner)
    form = context.book.forms.get(step.form or "")
    if form is not None:
        at = context.location(rule, "steps", step.index, "form")
        yield from (_Sending(say, step.who, at) for say in (form.welcome, form.confirm, form.done))


def _not_by_opt_in(context: ValidationContext, rule: Rule, who: Addressees) -> list[str]:
    """Those addressed whom the publisher writes to on another ground, each with it. A sender wrote first."""
    found: dict[str, None] = {}
    for name in who:
        if isinstance(name, Team):
            found[f"the team “{name.name}”"] = None
        elif name in ANSWERING - {SENDER}:
            before = (each for step in rule.steps if step.verb is not Verb.GIVE_UP for each in step.who)
            earlier = tuple(each for each in before if each not in ANSWERING)
            found |= dict.fromkeys(_not_by_opt_in(context, rule, earlier))
        elif name != SENDER and (ground := _other_ground(context, name)) is not None:
            found[f"“{name}” ({ground})"] = None
    return list(found)


def _other_ground(context: ValidationContext, name: str) -> str | None:
    """The ground for a role that is no opt-in; that of people whom an event names is known by their roles alone."""
    basis = context.book.tenant.basis
    if name in basis:
        return None if basis[name] is ContactBasis.OPT_IN else str(basis[name]).replace("_", " ")
    if name in context.staffed:
        return "staff"
    if name in set(Role):
        return None  # there is no ground at all, which is a fault
    others = sorted({str(each).replace("_", " ") for each in basis.values() if each is not ContactBasis.OPT_IN})
    return " or ".join(others) or None

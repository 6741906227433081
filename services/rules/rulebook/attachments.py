"""Checks of the documents that rules attach: the template takes one, its address is known, and no amount goes along.

Amounts and bank details never go into a chat, neither in the words of a template nor in documents about royalties. An
amount that a rule says through a field is not found here: events about royalties have no such field.
"""

import re
from collections.abc import Iterator

from services.rules.rulebook.catalogue import FieldSpec, FieldType, known_paths, resolve
from services.rules.rulebook.field_validation import FieldScope
from services.rules.rulebook.model import (
    AllOf,
    AttachAction,
    Compare,
    Condition,
    Field,
    OnRepeat,
    Operator,
    Rule,
    Template,
    answers_of,
)
from services.rules.rulebook.template_uses import TemplateUse
from services.rules.rulebook.validation_context import ValidationContext

# ------------------------------------------------------------------ amounts

_CURRENCY = r"(?:[€£$¥]|\b(?:EUR|GBP|USD|CHF|AUD|CAD)\b)"
_AMOUNT = re.compile(rf"{_CURRENCY}\s?\d[\d.,\s]*\d?|\d[\d.,]*\s?{_CURRENCY}")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:\s?[A-Z0-9]{4}){3,7}(?:\s?[A-Z0-9]{1,3})?\b")

_ROYALTIES = "royalty."
_KINDS = frozenset({"kind", "document.kind"})
WITHOUT_AMOUNTS = frozenset({"statement_cover", "contract_addendum"})
"""Kinds of documents about royalties that carry no amount and no bank detail."""


def find_amount(text: str) -> str | None:
    """The first amount of money or number of an account (IBAN) in a text."""
    found = _IBAN.search(text) or _AMOUNT.search(text)
    return found[0].strip() if found else None


def document_with_amounts(rule: Rule) -> str | None:
    """The event of the rule whose documents may carry amounts, where the condition does not leave those out."""
    if _required_kinds(rule.condition) <= WITHOUT_AMOUNTS:
        return None
    return next((event for event in rule.events if event.startswith(_ROYALTIES)), None)


def _required_kinds(condition: Condition) -> frozenset[str]:
    """The kinds of document for which the condition holds; “any” where it does not say."""
    needed = condition.conditions if isinstance(condition, AllOf) else (condition,)
    for each in needed:
        if isinstance(each, Compare) and each.field in _KINDS and each.operator in (Operator.IS, Operator.ONE_OF):
            operands = each.operand if isinstance(each.operand, tuple) else (each.operand,)
            return frozenset(map(str, operands))
    return frozenset({"any"})


MOST_NAME = 200
_ADDRESS = "url"


def attachments_of(rule: Rule) -> Iterator[AttachAction]:
    """The attachments of a rule: those of its steps, and of the messages that follow answers."""
    for step in rule.steps:
        if step.attach is not None:
            yield step.attach
        yield from (answer.tell.attach for answer in answers_of(step) if answer.tell and answer.tell.attach)


def check_attachments(context: ValidationContext, rule: Rule) -> None:
    """No rule attaches one of several documents, or one that may carry amounts."""
    for attach in attachments_of(rule):
        if context.report.has_fault_on(attach.location):
            continue
        if rule.on_repeat is OnRepeat.JOIN:
            sentence = "events that join may have a document each, and a message takes one; drop “attach” or “join”"
            context.report.add(attach.location, sentence)
        if (event := document_with_amounts(rule)) is not None:
            sentence = (
                f"a document of “{event}” may carry amounts, which never go into a chat: attach one without them, like"
                " if: {document.kind: statement_cover}, and let a link ask who reads the others"
            )
            context.report.add(attach.location, sentence)


def check_attachment(context: ValidationContext, use: TemplateUse, template: Template) -> None:
    """A template with a header takes a document, and no other one does."""
    attach = use.attach
    if attach is None:
        header = context.loaded.location(template.location.file, "header")
        if template.header is not None and not context.report.has_fault_on(header):
            sentence = f"“{template.name}” has a document above its text: attach one, by “attach”"
            context.report.add(use.location, sentence)
        return
    if context.report.has_fault_on(attach.location):
        return
    if template.header is None:
        sentence = f"“{template.name}” takes no document: its file needs “header: document”"
        context.report.add(attach.location, sentence)
    _check_fallback(context, attach, template)
    scope = FieldScope(use.events, context.report, present=use.present)
    _check_file(attach, scope)
    _check_name(attach, scope)


def _check_fallback(context: ValidationContext, attach: AttachAction, template: Template) -> None:
    """The fallback stands in while the template cannot go: with the document, or without one that is optional."""
    fallback = context.book.templates.get(template.fallback or "")
    if attach.optional and template.fallback is None:
        sentence = f"without its document “{template.name}” cannot go: name a “fallback” without a header in its file"
        context.report.add(attach.location, sentence)
    elif fallback is not None and attach.optional is (fallback.header is not None):
        wants = "have no header, since it goes without the document" if attach.optional else "have the same header"
        sentence = f"the fallback “{fallback.name}” of “{template.name}” must {wants}"
        context.report.add(attach.location, sentence)


def _check_file(attach: AttachAction, scope: FieldScope) -> None:
    path, location = attach.file.name, attach.file.location
    found = scope.find(path, location)
    if found is None:
        return
    if (fault := _address_fault(found, scope.events)) is not None:
        scope.report.add(location, fault)
    elif not attach.optional:
        scope.require(path, location, "it is attached")


def _address_fault(found: FieldSpec, events: tuple[str, ...]) -> str | None:
    """Why the field holds no address of one document."""
    if found.type is FieldType.LIST:
        return f"“{found.path}” is a list, and a message takes one document along"
    if found.type is not FieldType.TEXT or found.values:
        inner = f"{found.path}.{_ADDRESS}"
        hint = f"; “{inner}” does" if resolve(events, inner) is not None else ""
        return f"“{found.path}” holds no address{hint}"
    record, _, last = found.path.rpartition(".")
    beside = f"{record}.{_ADDRESS}"
    if record and last != _ADDRESS and _is_document(record, events):
        return f"“{found.path}” holds no address; “{beside}” does"
    return None


def _is_document(record: str, events: tuple[str, ...]) -> bool:
    return {f"{record}.{part}" for part in ("doc_id", "mime", _ADDRESS)} <= known_paths(events)


def _check_name(attach: AttachAction, scope: FieldScope) -> None:
    """A document's title is there whenever its address is."""
    if isinstance(attach.name, Field):
        path, location = attach.name.name, attach.name.location
        is_beside = path.rpartition(".")[0] == attach.file.name.rpartition(".")[0] != ""
        found = scope.find(path, location) if is_beside else scope.require(path, location, "the file is named by it")
        if found is not None and found.type is not FieldType.TEXT:
            scope.report.add(attach.name.location, f"“{found.path}” is no text and names no file")
    elif not 0 < len(attach.name) <= MOST_NAME and not scope.report.has_fault_on(attach.location):
        scope.report.add(attach.location, f"a file name has 1 to {MOST_NAME} characters")

"""Amounts and bank details, which never go into a chat: in the words of a template, and in documents about royalties.

An amount that a rule says through a field is not found here: events about royalties have no such field.
"""

import re

from services.rules.rulebook.model import AllOf, Compare, Condition, Operator, Rule

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

"""A ``*.rule.yaml``: when what happens, who is told or asked what, and what ends it."""

from services.rules.language.conditions import condition
from services.rules.language.known_words import by_language
from services.rules.language.steps import steps
from services.rules.language.values import Part, choice_or_field, listed, text, texts, word
from services.rules.language.who import tell
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.model import OnRepeat, Rule, Until
from services.rules.rulebook.yaml_tree import MappingNode, Node, ScalarNode
from shared.contracts.consonance import BlockSeverity
from shared.contracts.ids import RuleId

_KEYS = ("rule", "owner", "why", "severity", "on", "if", "about", "on_repeat", "on_change", "steps", "until")
_UNTIL_KEYS = ("on", "if", "same", "tell", "say")
LATER = "comes later; write the rule without it for now"
_REPEATS_LATER = ("join",)
_CHANGES_LATER = ("migrate", "cancel")


def rule(node: Node, report: FaultReport) -> Rule:
    part = Part(node, "a rule", _KEYS, report)
    _refuse_later(part.get("on_repeat"), "on_repeat", _REPEATS_LATER, report)
    _on_change(part.get("on_change"), report)
    return Rule(
        name=RuleId(text(part.need("rule"), report)),
        owner=text(part.need("owner"), report),
        why=by_language(part.need("why"), report, "“why”"),
        events=texts(part.need("on"), report),
        steps=steps(part.need("steps"), report),
        location=part.location,
        severity=choice_or_field(part.get("severity"), BlockSeverity, report, BlockSeverity.INFO),
        condition=condition(part.get("if"), report),
        about=texts(part.get("about"), report),
        on_repeat=_on_repeat(part.get("on_repeat"), report),
        until=tuple(end for each in listed(part.get("until")) for end in _until(each, report)),
    )


def _on_repeat(node: Node | None, report: FaultReport) -> OnRepeat:
    if isinstance(node, ScalarNode) and node.text in _REPEATS_LATER:
        return OnRepeat.REPLAN
    return word(node, OnRepeat, report, OnRepeat.REPLAN)


def _on_change(node: Node | None, report: FaultReport) -> None:
    """Only ``pin`` exists so far: a chain keeps the steps it began with."""
    _refuse_later(node, "on_change", _CHANGES_LATER, report)
    if isinstance(node, ScalarNode) and node.text not in ("pin", *_CHANGES_LATER):
        report.unknown(node.location, f"“{node.text}” is none of pin, migrate, cancel", node.text, ("pin",))


def _refuse_later(node: Node | None, key: str, words: tuple[str, ...], report: FaultReport) -> None:
    if isinstance(node, ScalarNode) and node.text in words:
        report.add(node.location, f"“{key}: {node.text}” {LATER}")


def _until(node: Node, report: FaultReport) -> tuple[Until, ...]:
    """One for each event named."""
    if not isinstance(node, MappingNode):
        return (Until(text(node, report), location=node.location),)
    part = Part(node, "“until”", _UNTIL_KEYS, report)
    if "say" in part and "tell" not in part:
        report.add(part.where("say"), "“say” needs somebody to say it to: “tell”")
    return tuple(
        Until(
            event=event,
            condition=condition(part.get("if"), report),
            same=text(part.get("same"), report) or None,
            tell=tell(part, report),
            location=part.location,
        )
        for event in texts(part.need("on"), report)
    )

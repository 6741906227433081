"""``record`` with what belongs to it, and the answers of a question."""

from collections.abc import Mapping

from services.rules.language.conditions import condition
from services.rules.language.values import Part, choice_or_field, flag, literal_or_field, mapped, text, word
from services.rules.language.who import tell, who
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.model import NOWHERE, AnswerAction, Field, HandoverAction, Literal, WriteAction
from services.rules.rulebook.yaml_tree import Node, ScalarNode
from shared.contracts.consonance import ConfirmationQuorum
from shared.contracts.writes import WriteOperation

RECORD_KEYS = ("record", "with", "then")
_THEN_KEYS = (*RECORD_KEYS, "unless")
_ANSWER_KEYS = (*_THEN_KEYS, "tell", "say", "hand_over", "collect", "form", "quorum", "continue")
_DEEDS = ("record", "tell", "hand_over", "collect", "continue")


def record(part: Part, report: FaultReport, *, unless: bool = False) -> WriteAction | None:
    """``unless`` is the record's own here, and not the step's."""
    if "record" not in part:
        return None
    return WriteAction(
        operation=word(part.get("record"), WriteOperation, report, WriteOperation.RECORD_DECISION),
        values=_values(part.get("with"), report),
        then=_then(part.get("then"), report),
        unless=condition(part.get("unless"), report) if unless and "unless" in part else None,
    )


def _then(node: Node | None, report: FaultReport) -> WriteAction | None:
    part = Part(node, "“then”", _THEN_KEYS, report)
    part.need("record")
    return record(part, report, unless=True)


def _values(node: Node | None, report: FaultReport) -> Mapping[str, Literal | Field]:
    return {name: literal_or_field(each, report) for name, each in mapped(node, report, "“with”").items()}


def answers(node: Node | None, report: FaultReport) -> Mapping[str, AnswerAction]:
    """By button, in the order written."""
    found = mapped(node, report, "“answers”")
    return {name: _answer(name, each, report) for name, each in found.items()}


def _answer(name: str, node: Node, report: FaultReport) -> AnswerAction:
    part = Part(node, f"the answer “{name}”", _ANSWER_KEYS, report)
    _refuse_idle(name, part, report)
    return AnswerAction(
        name=name,
        record=record(part, report, unless=True),
        tell=tell(part, report),
        hand_over=_hand_over(part, report),
        form=text(part.need("form"), report) if "collect" in part else None,
        quorum=choice_or_field(part.get("quorum"), ConfirmationQuorum, report, ConfirmationQuorum.FIRST),
        continues=flag(part.get("continue"), report),
    )


def _hand_over(part: Part, report: FaultReport) -> HandoverAction | None:
    """A ``say`` beside both ``tell`` and ``hand_over`` is the tell's."""
    if "hand_over" not in part:
        return None
    say = text(part.get("say"), report) if "say" in part and "tell" not in part else None
    return HandoverAction(who(part.get("hand_over"), report), say)


def _refuse_idle(name: str, part: Part, report: FaultReport) -> None:
    if part.location is not NOWHERE and not any(key in part for key in _DEEDS):
        report.add(part.location, f"the answer “{name}” does nothing: {', '.join(_DEEDS)}")
    collect = part.get("collect")
    if isinstance(collect, ScalarNode) and collect.text != "sender":
        report.add(collect.location, "a form is collected from “sender” and nobody else")
    if "say" in part and "tell" not in part and "hand_over" not in part:
        report.add(part.where("say"), "“say” needs somebody to say it to: “tell”")

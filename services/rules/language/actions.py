"""``record`` with what belongs to it, and the answers of a question."""

from collections.abc import Mapping

from services.rules.language.conditions import condition
from services.rules.language.faults import Report
from services.rules.language.nodes import Node, Scalar
from services.rules.language.values import Part, choice_or_field, flag, literal_or_field, mapped, text, word
from services.rules.language.who import tell, who
from services.rules.rulebook import Answer, HandOver, Quorum, Record
from services.rules.terms import NOWHERE, Field, Literal
from shared.contracts.writes import Operation

RECORD_KEYS = ("record", "with", "then")
_THEN_KEYS = (*RECORD_KEYS, "unless")
_ANSWER_KEYS = (*_THEN_KEYS, "tell", "say", "hand_over", "collect", "form", "quorum", "continue")
_DEEDS = ("record", "tell", "hand_over", "collect", "continue")


def record(part: Part, report: Report, *, unless: bool = False) -> Record | None:
    """``unless`` is the record's own here, and not the step's."""
    if "record" not in part:
        return None
    return Record(
        operation=word(part.get("record"), Operation, report, Operation.RECORD_DECISION),
        values=_values(part.get("with"), report),
        then=_then(part.get("then"), report),
        unless=condition(part.get("unless"), report) if unless and "unless" in part else None,
    )


def _then(node: Node | None, report: Report) -> Record | None:
    part = Part(node, "“then”", _THEN_KEYS, report)
    part.need("record")
    return record(part, report, unless=True)


def _values(node: Node | None, report: Report) -> Mapping[str, Literal | Field]:
    return {name: literal_or_field(each, report) for name, each in mapped(node, report, "“with”").items()}


def answers(node: Node | None, report: Report) -> Mapping[str, Answer]:
    """By button, in the order written."""
    found = mapped(node, report, "“answers”")
    return {name: _answer(name, each, report) for name, each in found.items()}


def _answer(name: str, node: Node, report: Report) -> Answer:
    part = Part(node, f"the answer “{name}”", _ANSWER_KEYS, report)
    _refuse_idle(name, part, report)
    return Answer(
        name=name,
        record=record(part, report, unless=True),
        tell=tell(part, report),
        hand_over=_hand_over(part, report),
        form=text(part.need("form"), report) if "collect" in part else None,
        quorum=choice_or_field(part.get("quorum"), Quorum, report, Quorum.FIRST),
        continues=flag(part.get("continue"), report),
    )


def _hand_over(part: Part, report: Report) -> HandOver | None:
    """A ``say`` beside both ``tell`` and ``hand_over`` is the tell's."""
    if "hand_over" not in part:
        return None
    say = text(part.get("say"), report) if "say" in part and "tell" not in part else None
    return HandOver(who(part.get("hand_over"), report), say)


def _refuse_idle(name: str, part: Part, report: Report) -> None:
    if part.place is not NOWHERE and not any(key in part for key in _DEEDS):
        report.add(part.place, f"the answer “{name}” does nothing: {', '.join(_DEEDS)}")
    collect = part.get("collect")
    if isinstance(collect, Scalar) and collect.text != "sender":
        report.add(collect.place, "a form is collected from “sender” and nobody else")
    if "say" in part and "tell" not in part and "hand_over" not in part:
        report.add(part.where("say"), "“say” needs somebody to say it to: “tell”")

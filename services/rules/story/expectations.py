"""``expect``: effects, each matched as a subset, or ``nothing``."""

from collections.abc import Mapping

from services.rules.conversation.chain import Ending
from services.rules.language.values import Part, listed, mapped, text, word
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.yaml_tree import Node, ScalarNode
from services.rules.story.model import Expect, Expected, Kind
from services.rules.story.plain import contact, plain_entries
from shared.contracts.ids import ContactId
from shared.contracts.writes import WriteOperation

_MESSAGE_KEYS = ("for", "say", "language", "line", "text")
_KEYS: Mapping[Kind, tuple[str, ...]] = {
    **dict.fromkeys((Kind.TELL, Kind.ASK, Kind.REMIND, Kind.COLLECT, Kind.HAND_OVER, Kind.WITHDRAW), _MESSAGE_KEYS),
    Kind.RECORD: ("with",),
    Kind.LEFT_OUT: (),
    Kind.END: (),
}


def expect(node: Node, report: FaultReport) -> Expect:
    part = Part(node, "a move", ("expect",), report)
    effects = part.get("expect")
    if isinstance(effects, ScalarNode):
        if effects.text != "nothing":
            report.unknown(effects.location, f"“{effects.text}” is no list of effects", effects.text, ("nothing",))
        return Expect(part.location, ())
    found = (_effect(each, report) for each in listed(effects))
    return Expect(part.location, tuple(effect for effect in found if effect is not None))


def _effect(node: Node, report: FaultReport) -> Expected | None:
    known = tuple(dict.fromkeys(key for keys in _KEYS.values() for key in keys))
    part = Part(node, "an effect", (*Kind, *known), report)
    found = [kind for kind in Kind if kind in part]
    if len(found) != 1:
        report.add(node.location, f"an effect is one of {', '.join(Kind)}")
        return None
    kind = found[0]
    for key in known:
        if key in part and key not in _KEYS[kind]:
            report.add(part.where(key), f"“{key}” says nothing of “{kind}”")
    return _expected(part, kind, report)


def _expected(part: Part, kind: Kind, report: FaultReport) -> Expected:
    match kind:
        case Kind.RECORD:
            operation = word(part.get(kind), WriteOperation, report, WriteOperation.RECORD_DECISION)
            return Expected(part.location, kind, operation=operation, values=plain_entries(part.get("with"), report))
        case Kind.LEFT_OUT:
            return Expected(part.location, kind, left_out=_left_out(part, report))
        case Kind.END:
            return Expected(part.location, kind, end=word(part.get(kind), Ending, report, Ending.DONE))
        case _:
            return _message(part, kind, report)


def _message(part: Part, kind: Kind, report: FaultReport) -> Expected:
    absent = part.get("for")
    return Expected(
        place=part.location,
        kind=kind,
        who=contact(text(part.get(kind), report), part.where(kind), report),
        absent=contact(text(absent, report), absent.location, report) if absent else None,
        say=text(part.get("say"), report) or None,
        language=text(part.get("language"), report) or None,
        line=text(part.get("line"), report) or None,
        text=text(part.get("text"), report) or None,
    )


def _left_out(part: Part, report: FaultReport) -> Mapping[ContactId | str, str]:
    reasons = mapped(part.get(Kind.LEFT_OUT), report, "“left_out”")
    return {ContactId(int(who)) if who.isdecimal() else who: text(why, report) for who, why in reasons.items()}

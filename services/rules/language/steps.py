"""A step: one verb, at most one time."""

from collections.abc import Mapping

from services.rules.language.actions import RECORD_KEYS, answers, record
from services.rules.language.conditions import condition
from services.rules.language.spans import at, span
from services.rules.language.values import Part, listed, text
from services.rules.language.who import tell, who
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.model import NOWHERE, After, Step, Timing, Verb
from services.rules.rulebook.yaml_tree import Node, ScalarNode

MOST_STEPS = 100
_WHEN = ("after", "at", "unless")
_KEYS: Mapping[Verb, tuple[str, ...]] = {
    Verb.TELL: ("tell", "say", *_WHEN),
    Verb.ASK: ("ask", "say", "answers", *_WHEN),
    Verb.REMIND: ("remind", "say", *_WHEN),
    Verb.COLLECT: ("collect", "form", *_WHEN),
    Verb.HAND_OVER: ("hand_over", "say", *_WHEN),
    Verb.RECORD: (*RECORD_KEYS, "tell", "say", *_WHEN),
    Verb.GIVE_UP: ("give_up", *RECORD_KEYS, "tell", "say", *_WHEN),
}
_ANY_KEY = tuple(dict.fromkeys(key for keys in _KEYS.values() for key in keys))
_BESIDE = {Verb.RECORD: {Verb.TELL}, Verb.GIVE_UP: {Verb.RECORD, Verb.TELL}}
_ONLY = {Verb.REMIND: "unanswered", Verb.COLLECT: "sender"}


def steps(node: Node | None, report: FaultReport) -> tuple[Step, ...]:
    """Every step that has a verb; ``index`` counts what was written."""
    written = listed(node)
    if len(written) > MOST_STEPS:
        report.add(written[MOST_STEPS].location, f"a rule has at most {MOST_STEPS} steps; this has {len(written)}")
    found = [_step(index, each, report) for index, each in enumerate(written[:MOST_STEPS])]
    if node is not None and not found:
        report.add(node.location, "a rule has at least one step")
    return tuple(step for step in found if step)


def _step(index: int, node: Node, report: FaultReport) -> Step | None:
    part = Part(node, "a step", _ANY_KEY, report)
    verb = _verb(part, report)
    if verb is None:
        return None
    _refuse_strays(part, verb, report)
    _refuse_others(part, verb, report)
    own = who(part.get(verb), report) if verb not in (Verb.RECORD, Verb.GIVE_UP) else ()
    return Step(
        index=index,
        verb=verb,
        location=part.location,
        who=own,
        say=_say(part, verb, report),
        timing=_timing(part, report),
        unless=condition(part.get("unless"), report) if "unless" in part else None,
        answers=answers(part.need("answers"), report) if verb is Verb.ASK else {},
        form=text(part.need("form"), report) if verb is Verb.COLLECT else None,
        record=record(part, report) if verb in (Verb.RECORD, Verb.GIVE_UP) else None,
        tell=tell(part, report) if verb in (Verb.RECORD, Verb.GIVE_UP) else None,
        reason=text(part.get("give_up"), report) if verb is Verb.GIVE_UP else None,
    )


def _verb(part: Part, report: FaultReport) -> Verb | None:
    found = [verb for verb in Verb if verb in part]
    for verb in (Verb.GIVE_UP, Verb.RECORD):
        if verb in found and set(found) <= {verb, *_BESIDE[verb]}:
            return verb
    if len(found) == 1:
        return found[0]
    if part.location is NOWHERE:
        return None
    if found:
        report.add(part.where(found[-1]), f"a step has one verb; this has {' and '.join(found)}")
        return found[0]
    report.add(part.location, f"a step needs a verb: {', '.join(Verb)}")
    return None


def _refuse_strays(part: Part, verb: Verb, report: FaultReport) -> None:
    """Keys of other verbs; unknown ones were reported when the part was opened."""
    for key in _ANY_KEY:
        if key in part and key not in _KEYS[verb] and key not in list(Verb):
            report.add(part.where(key), f"“{key}” does not go with “{verb}”")
    if "after" in part and "at" in part:
        report.add(part.where("at"), "a step has at most one time: “after” or “at”")


def _refuse_others(part: Part, verb: Verb, report: FaultReport) -> None:
    only, written = _ONLY.get(verb), part.get(verb)
    if only and isinstance(written, ScalarNode) and written.text != only:
        report.unknown(written.location, f"“{verb}” is for “{only}” and nobody else", written.text, (only,))
    elif only and written and not isinstance(written, ScalarNode):
        report.add(written.location, f"“{verb}” is for “{only}” and nobody else")


def _say(part: Part, verb: Verb, report: FaultReport) -> str | None:
    match verb:
        case Verb.TELL | Verb.ASK | Verb.REMIND:
            return text(part.need("say"), report)
        case Verb.HAND_OVER:
            return text(part.get("say"), report) if "say" in part else None
        case _:
            if "say" in part and "tell" not in part:
                report.add(part.where("say"), "“say” needs somebody to say it to: “tell”")
            return None


def _timing(part: Part, report: FaultReport) -> Timing | None:
    when = part.get("at")
    if when is not None:
        return at(when, report)
    return After(span(part.get("after"), report)) if "after" in part else None

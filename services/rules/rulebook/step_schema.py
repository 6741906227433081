"""The schemas of the steps of a rule: one section for each verb."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from enum import StrEnum
from functools import cache
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic.json_schema import SkipJsonSchema

from services.rules.rulebook import model
from services.rules.rulebook.action_schema import (
    AddresseesText,
    AnswerSection,
    AttachSection,
    NotifyKeys,
    OperationWord,
    WriteKeys,
    build_addressees,
    is_answer,
    with_answers_beside,
    with_answers_in_their_column,
)
from services.rules.rulebook.condition_schema import ConditionSection
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.meant_keys import meant_key, with_entries_aside
from services.rules.rulebook.model import RECEIVED, Verb
from services.rules.rulebook.schema import Section, mapping
from services.rules.rulebook.single_values import Text, is_reported, only, word
from services.rules.rulebook.times import AfterText, AtText
from services.rules.rulebook.yaml_nodes import Faulty, MappingNode, Node, ScalarNode, lines_of_node

_VERBS = tuple(Verb)
_KEYS_OF_ANSWERS = frozenset({"quorum", "veto", "continue"})
_KEYS_OF_RULES = frozenset({"severity", "until", "about", "on_repeat", "on_change", "restarts", "owner", "why"})
_SEVERAL = 2


class CountedIn(StrEnum):
    HOUSE = "house"
    THEIRS = "theirs"


class StepSection(Section):
    """One verb, at most one time."""

    label = "a step"
    takes_keys_of_others = True
    after: AfterText | None = None
    """How long after the step before it, like “2 working days” or “2 working days at 10:00”."""
    at: AtText | None = None
    """A field with a date or an instant, or like “5 working days before new_due”, or “09:00 on respond_by”."""
    in_: Annotated[CountedIn, word(CountedIn, CountedIn.HOUSE)] = Field(CountedIn.HOUSE, alias="in")
    """The calendar in which “at” counts: the house's, or that of each receiver."""
    unless: ConditionSection | None = None
    """A condition under which the step is skipped; one that names ``recipient`` leaves out the people it holds for."""

    @classmethod
    def other_keys(cls) -> tuple[str, ...]:
        return _step_keys()

    @classmethod
    def _with_other_keys(cls, node: MappingNode, label: str, report: FaultReport) -> MappingNode:
        """Of a step with several verbs that alone is said: what it lacks depends on the one that is meant."""
        verbs = [verb for verb in _VERBS if verb in node.nodes]
        if len(verbs) > 1 and not _is_combined(verbs):
            report.add(node.keys[verbs[-1]], f"a step has one verb; this has {' and '.join(verbs)}")
            report.mark_misread(node.location.file, range(node.location.line, max(lines_of_node(node)) + 1))
        return super()._with_other_keys(node, label, report)

    @staticmethod
    def all_keys() -> tuple[str, ...]:
        """The keys of steps of every verb."""
        return _step_keys()

    @classmethod
    def report_unknown_key(cls, node: MappingNode, key: str, label: str, report: FaultReport) -> None:
        if key in _KEYS_OF_RULES:
            sentence = f"“{key}” belongs to the rule; begin it in the column of “steps”, without a dash"
            report.add(node.keys[key], sentence, misplaced=key)
        elif key == "if":
            sentence = f"{label} has no “if”; “unless” skips it: write the opposite condition there"
            report.add(node.keys[key], sentence)
        elif key in _KEYS_OF_ANSWERS:
            sentence = f"“{key}” belongs to an answer, and {label} has none; write it below “answers”"
            report.add(node.keys[key], sentence, misplaced=key)
        elif key not in _step_keys():
            right = [each for each in _step_keys() if each not in node.nodes]
            meant = meant_key(key, right)
            words = _step_keys() if meant is None else (meant,)
            report.unknown(node.keys[key], cls.no_such_key(key, label), meant or key, words)
        elif key not in _VERBS and (verb := _verb_of(node)) is not None:
            report.add(node.keys[key], f"“{key}” does not go with “{verb}”", misplaced=key)

    def report_faults(self, report: FaultReport) -> None:
        super().report_faults(report)
        verbs = [verb for verb in _VERBS if verb in self.written]
        if "after" in self.written and "at" in self.written:
            report.add(self.key_location("at"), "a step has at most one time: “after” or “at”")
        elif "in" in self.written and "at" not in self.written and not report.has_fault_on(self.key_location("in")):
            sentence = "“in” goes with “at”; “after” always counts in the calendar of the people who are awaited"
            report.add(self.key_location("in"), sentence)
        elif self.in_ is CountedIn.THEIRS and not any(verb in RECEIVED for verb in verbs):
            report.add(
                self.key_location("in"), f"“{verbs[0] if verbs else 'this'}” has no receiver whose calendar it is"
            )

    def build(self, index: int) -> model.Step | None:
        verb = _verb_of(self._node)
        return None if verb is None else self.build_verb(index, verb)

    def build_verb(self, index: int, verb: Verb, **more: Any) -> model.Step:
        at = None if self.at is None else replace(self.at, theirs=self.in_ is CountedIn.THEIRS)
        timing = at or self.after
        unless = None if self.unless is None else self.unless.build()
        return model.Step(index, verb, self.location, timing=timing, unless=unless, **more)


class CopyKeys(StepSection):
    """A step whose message members of staff may get a copy of."""

    cc: AddresseesText | None = None
    """The members of staff who get a copy, which they cannot answer."""

    def build_verb(self, index: int, verb: Verb, **more: Any) -> model.Step:
        return super().build_verb(index, verb, cc=build_addressees(self.cc), **more)


def _is_of_attachment(key: str, _: Node) -> bool:
    return key in AttachSection.known_keys()


class AttachKeys(CopyKeys):
    """A step whose message may take a document along."""

    attach: AttachSection | None = None
    """The document that goes with the message."""

    @classmethod
    def _with_meant_keys(cls, node: MappingNode, label: str, report: FaultReport) -> MappingNode:
        """A key of “attach” in its column is taken for one."""
        node = with_entries_aside(node, "attach", _step_keys(), report, _is_of_attachment)
        return super()._with_meant_keys(node, label, report)

    def build_verb(self, index: int, verb: Verb, **more: Any) -> model.Step:
        attach = None if self.attach is None else self.attach.build()
        return super().build_verb(index, verb, attach=attach, **more)


class TellStep(AttachKeys):
    """Send a message."""

    tell: AddresseesText
    """Who is told: a role, a party of the event, a team, ``sender``, ``told``, or a list of these."""
    say: Text
    """The template of the message."""

    def build_verb(self, index: int, verb: Verb, **more: Any) -> model.Step:
        return super().build_verb(index, verb, who=build_addressees(self.tell), say=self.say, **more)


class AskStep(AttachKeys):
    """Ask a question; each answer is a button of its template."""

    ask: AddresseesText
    """Who is asked: a role, a party of the event, a team, ``sender``, ``told``, or a list of these."""
    say: Text
    """The template of the question."""
    answers: Annotated[
        dict[str, AnswerSection],
        mapping("“answers”", named=True, example="button: {…}"),
        BeforeValidator(with_answers_in_their_column),
    ]
    """The answers, by the names of the template's buttons."""

    @classmethod
    def _with_meant_keys(cls, node: MappingNode, label: str, report: FaultReport) -> MappingNode:
        """An answer in the column of “answers” is taken for one."""
        node = with_answers_beside(node, _step_keys())
        node = with_entries_aside(node, "answers", _step_keys(), report, is_answer)
        return super()._with_meant_keys(node, label, report)

    def build_verb(self, index: int, verb: Verb, **more: Any) -> model.Step:
        answers = {name: answer.build(name) for name, answer in self.answers.items()}
        return super().build_verb(index, verb, who=build_addressees(self.ask), say=self.say, answers=answers, **more)


class RemindStep(AttachKeys):
    """Remind the people who have not answered."""

    remind: Annotated[str, only("unanswered", "“remind” is for “unanswered” alone, those who were asked above")]
    """Who is reminded: ``unanswered``, those who have not answered finally."""
    say: Text
    """The template of the reminder."""

    def build_verb(self, index: int, verb: Verb, **more: Any) -> model.Step:
        return super().build_verb(index, verb, who=(self.remind,), say=self.say, **more)


class CollectStep(StepSection):
    """Fill a form with the person who wrote."""

    collect: Annotated[str, only("sender", "“collect” is for “sender” alone, the person who wrote")]
    """Who fills in the form: ``sender``, who wrote."""
    form: Text
    """The form's name."""

    @classmethod
    def _with_meant_keys(cls, node: MappingNode, label: str, report: FaultReport) -> MappingNode:
        """The name of a form behind “collect”, and none behind “form”, is one mistake."""
        written = node.nodes.get("collect")
        if "form" in node.nodes or "say" in node.nodes or not isinstance(written, ScalarNode) or not written.text:
            return super()._with_meant_keys(node, label, report)
        if written.text == "sender":
            return super()._with_meant_keys(node, label, report)
        report.add(
            written.location, f"“collect” names who fills in a form; write collect: sender, form: {written.text}"
        )
        read = {key: ScalarNode(written.location, written.text, Faulty(written.text)) for key in ("collect", "form")}
        places = (*node.places, node.keys["collect"])
        return super()._with_meant_keys(MappingNode(node.location, {**node.nodes, **read}, places), label, report)

    def build_verb(self, index: int, verb: Verb, **more: Any) -> model.Step:
        return super().build_verb(index, verb, who=(self.collect,), form=self.form, **more)


class HandOverStep(CopyKeys):
    """Hand the case over: one of these people takes it."""

    hand_over: AddresseesText
    """To whom the matter is offered, with the buttons Take and Not me."""
    say: Text | None = None
    """The template; it has the buttons “take” and “not_me”."""

    def build_verb(self, index: int, verb: Verb, **more: Any) -> model.Step:
        return super().build_verb(index, verb, who=build_addressees(self.hand_over), say=self.say, **more)


class RecordStep(WriteKeys, NotifyKeys, StepSection):
    """Write in Consonance."""

    record: OperationWord
    """The operation that is written in Consonance."""

    def build_verb(self, index: int, verb: Verb, **more: Any) -> model.Step:
        return super().build_verb(index, verb, record=self.build_write(), tell=self.build_notification(), **more)


class GiveUpStep(WriteKeys, NotifyKeys, StepSection):
    """End the chain without an answer."""

    give_up: Text
    """The reason, for the record."""

    def report_faults(self, report: FaultReport) -> None:
        super().report_faults(report)
        reason = self.written["give_up"]
        if isinstance(reason, ScalarNode) and isinstance(reason.value, bool):
            report.refuse(reason.location, "“give_up” says why, in a few words, like “no answer in time”")

    def build_verb(self, index: int, verb: Verb, **more: Any) -> model.Step:
        write, notification = self.build_write(), self.build_notification()
        return super().build_verb(index, verb, reason=self.give_up, record=write, tell=notification, **more)


class VerblessStep(StepSection):
    """A step without a verb, which is a fault."""

    @classmethod
    def read_keys(cls, node: Any, label: str, report: FaultReport) -> dict[str, Any]:
        if isinstance(node, MappingNode):
            meant = {key: meant_key(key, list(Verb)) for key in node.nodes if key not in _step_keys()}
            unread = [key for key, verb in meant.items() if verb is None]
            if not any(meant.values()) and not unread and not report.has_fault_on(node.location):
                report.add(node.location, f"a step needs a verb: {', '.join(Verb)}")
            for key, verb in meant.items():
                if verb is not None:
                    report.unknown(node.keys[key], cls.no_such_key(key, label), verb, (verb,))
            for key in [key for key in unread if key in _KEYS_OF_RULES]:
                cls.report_unknown_key(node, key, label, report)
            for key in [key for key in unread if key not in _KEYS_OF_RULES]:
                verbs = f"; its verb is one of {', '.join(Verb)}" if not any(meant.values()) else ""
                report.unknown(node.keys[key], f"{cls.no_such_key(key, label)}{verbs}", key, _step_keys())
        elif not is_reported(node):
            report.add(node.location, f"{label} has keys of its own, like “tell: …” and “say: …”")
        return {}


STEP_SECTIONS: Mapping[Verb, type[StepSection]] = {
    Verb.TELL: TellStep,
    Verb.ASK: AskStep,
    Verb.REMIND: RemindStep,
    Verb.COLLECT: CollectStep,
    Verb.HAND_OVER: HandOverStep,
    Verb.RECORD: RecordStep,
    Verb.GIVE_UP: GiveUpStep,
}
_BESIDE = {Verb.RECORD: {Verb.TELL}, Verb.GIVE_UP: {Verb.RECORD, Verb.TELL}}
"""Verbs that another one may contain."""


@cache
def _step_keys() -> tuple[str, ...]:
    keys = dict.fromkeys(key for section in STEP_SECTIONS.values() for key in section.known_keys())
    return (*(key for key in keys if key not in StepSection.known_keys()), *StepSection.known_keys())


def _is_combined(verbs: Collection[Verb]) -> bool:
    return any(verb in verbs and set(verbs) <= {verb, *beside} for verb, beside in _BESIDE.items())


def parts_of_step(node: Node) -> tuple[Node, ...]:
    """The steps that were written as one, for lack of a dash; only where each of them is whole."""
    if not isinstance(node, MappingNode) or len(node.nodes.keys() & _VERBS) < _SEVERAL:
        return (node,)
    parts: list[list[str]] = [[]]
    for key in node.nodes:
        verbs = {Verb(each) for each in (*parts[-1], key) if each in _VERBS}
        if key in _VERBS and len(verbs) > 1 and not _is_combined(verbs):
            parts.append([])
        parts[-1].append(key)
    found = tuple(
        MappingNode(node.keys[keys[0]], {key: node.nodes[key] for key in keys}, tuple(node.keys[key] for key in keys))
        for keys in parts
    )
    return found if all(map(_is_whole, found)) else (node,)


def _is_whole(node: MappingNode) -> bool:
    """Whether it has all keys that its verb needs, and none of another verb."""
    verb = _verb_of(node)
    if verb is None:
        return False
    section = STEP_SECTIONS[verb]
    needed = {field.alias or name for name, field in section.model_fields.items() if field.is_required()}
    return needed <= node.nodes.keys() <= set(section.known_keys())


def _verb_of(node: Any) -> Verb | None:
    """The verb that contains the others, else the first one."""
    found = [verb for verb in _VERBS if verb in node.nodes] if isinstance(node, MappingNode) else []
    if _is_combined(found):
        return Verb.GIVE_UP if Verb.GIVE_UP in found else Verb.RECORD
    return found[0] if found else None


AnyStepSection = Annotated[
    Annotated[TellStep, Tag(Verb.TELL)]
    | Annotated[AskStep, Tag(Verb.ASK)]
    | Annotated[RemindStep, Tag(Verb.REMIND)]
    | Annotated[CollectStep, Tag(Verb.COLLECT)]
    | Annotated[HandOverStep, Tag(Verb.HAND_OVER)]
    | Annotated[RecordStep, Tag(Verb.RECORD)]
    | Annotated[GiveUpStep, Tag(Verb.GIVE_UP)]
    | SkipJsonSchema[Annotated[VerblessStep, Tag("verbless")]],
    Discriminator(lambda node: str(_verb_of(node) or "verbless")),
]

"""The schema of a ``*.rule.yaml``: events and conditions that start a chain, its steps, and the events that end it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from enum import StrEnum
from functools import cache
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationInfo, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from services.rules.rulebook import model
from services.rules.rulebook.condition_schema import ConditionSection
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.file_schemas import RestartsSection
from services.rules.rulebook.model import (
    ALWAYS,
    OnChange,
    OnRepeat,
    Quorum,
    Severity,
    Verb,
)
from services.rules.rulebook.periods import PERIOD_LISTED, PERIOD_STARTED
from services.rules.rulebook.schema import (
    ABSENT,
    VALUE_OR_FIELD,
    FieldReference,
    Flag,
    InvalidValue,
    LiteralOrField,
    OneOrMore,
    Section,
    Text,
    Texts,
    build_value,
    check_language,
    items,
    mapping,
    node_kind,
    only,
    report_of,
    value,
    word,
)
from services.rules.rulebook.times import AfterText, AtText, EveryText
from services.rules.rulebook.yaml_tree import MappingNode, Node, ScalarNode, SequenceNode
from shared.contracts.ids import RuleId
from shared.contracts.writes import WriteOperation

MOST_STEPS = 100

# ------------------------------------------------------------------ people and actions


class TeamReference(Section):
    """A team of people.yaml: all of it."""

    label = "a team"
    team: Text
    """The name of the team in people.yaml."""


Addressees = Annotated[
    tuple[
        Annotated[
            Annotated[Text, Tag("value")] | Annotated[TeamReference, Tag("mapping")],
            Discriminator(lambda node: "mapping" if node_kind(node) == "mapping" else "value"),
        ],
        ...,
    ],
    OneOrMore(),
]
"""Roles, parties of the event, ``sender``, ``told``, ``unanswered``, and teams."""


def _addressees(written: tuple[str | TeamReference, ...] | None) -> model.Addressees:
    return tuple(model.Team(each.team) if isinstance(each, TeamReference) else each for each in written or ())


class AttachSection(Section):
    """A document that goes with a message: in the header of its template, or with the text inside the window."""

    label = "“attach”"
    file: Text
    """The field of the event that holds the document's address: a link, or a key in the store of documents."""
    name: LiteralOrField
    """The file name that the person sees: a text, or the field that holds it, like {field: document.title}."""
    optional: Flag = False
    """Whether the message goes also where the document cannot be had."""

    def build(self) -> model.AttachAction:
        written = build_value(self.name)
        name = written if isinstance(written, model.Field) else str(written)
        return model.AttachAction(
            model.Field(self.file, self.value_location("file")), name, self.optional, self.location
        )


OperationWord = Annotated[WriteOperation, word(WriteOperation, WriteOperation.RECORD_DECISION)]


class NotifyKeys(Section):
    """A message beside another action."""

    tell: Addressees | None = None
    """The people who get a message."""
    say: Text | None = None
    """The template of the message."""

    def report_faults(self, report: FaultReport) -> None:
        super().report_faults(report)
        if "tell" in self.written and "say" not in self.written:
            report.add(self.location, f"{self._label} needs “say”")
        if "say" in self.written and not self._has_reader():
            report.add(self.key_location("say"), "“say” needs somebody to say it to: “tell”")

    def _has_reader(self) -> bool:
        return "tell" in self.written

    def build_notification(self) -> model.Notification | None:
        return None if self.tell is None else model.Notification(_addressees(self.tell), self.say or "")


class WriteKeys(Section):
    """A write in Consonance."""

    record: OperationWord | None = None
    """The operation."""
    with_: Annotated[dict[str, LiteralOrField], mapping("“with”")] = Field({}, alias="with")
    """The values that the operation takes, by name."""
    then: "ThenSection | None" = None
    """A further write, when this one succeeded."""

    def build_write(self, unless: ConditionSection | None = None) -> model.WriteAction | None:
        if self.record is None or "record" not in self.written:
            return None
        return model.WriteAction(
            operation=self.record,
            values={name: build_value(each) for name, each in self.with_.items()},
            then=None if self.then is None else self.then.build_write(self.then.unless),
            unless=None if unless is None else unless.build(),
        )


class ThenSection(WriteKeys):
    """A further write, asked for once the one before it has succeeded."""

    label = "“then”"
    record: OperationWord
    """The operation that is written once the first is done."""
    unless: ConditionSection | None = None
    """A condition under which this is not written."""


_DEEDS = ("record", "tell", "hand_over", "collect", "ask", "continue")


_FEWEST = 2


def _read_quorum(node: Node) -> Quorum | int:
    if isinstance(node, ScalarNode) and type(node.value) is int:
        if node.value >= _FEWEST:
            return node.value
        raise InvalidValue("a quorum of people is at least 2; “quorum: first” lets the first answer decide")
    written = node.text if isinstance(node, ScalarNode) else ""
    if written in list(Quorum):
        return Quorum(written)
    raise InvalidValue(f"“{written}” is no quorum: first, all, or how many people, like 2", written, list(Quorum))


QuorumWord = Annotated[
    Quorum | int,
    value(_read_quorum, Quorum.FIRST),
    WithJsonSchema({"anyOf": [{"enum": list(Quorum)}, {"type": "integer", "minimum": _FEWEST}]}),
]
"""``first``, ``all``, or how many people."""


class AnswerSection(WriteKeys, NotifyKeys):
    """The effect of one button. An answer ends the chain, unless it continues, hands over, asks or begins a form."""

    label = "the answer “{}”"
    unless: ConditionSection | None = None
    """A condition under which nothing is written."""
    hand_over: Addressees | None = None
    """The people of whom one takes the case."""
    collect: Annotated[str, only("sender", "a form is collected from “sender” and nobody else")] | None = None
    """Who fills in the form: ``sender``, the person who answered."""
    form: Text | None = None
    """The form that is filled in."""
    attach: AttachSection | None = None
    """With “tell”: the document that goes with that message."""
    ask: Addressees | None = None
    """The people who are asked next, with “say” and “answers”."""
    answers: Annotated[dict[str, "AnswerSection"], mapping("“answers”", named=True)] = Field(default_factory=dict)
    """The answers to what is asked next."""
    quorum: Annotated[Annotated[QuorumWord, Tag("value")] | Annotated[FieldReference, Tag("field")], VALUE_OR_FIELD] = (
        Quorum.FIRST
    )
    """Whether the first answer counts, all are needed, or a number of people."""
    veto: Flag = False
    """After this answer no other one counts."""
    continue_: Flag = Field(default=False, alias="continue")
    """Whether the chain goes on after this answer."""

    def report_faults(self, report: FaultReport) -> None:
        super().report_faults(report)
        if not any(key in self.written for key in _DEEDS):
            report.add(self.location, f"{self._label} does nothing: {', '.join(_DEEDS)}")
        if "collect" in self.written and "form" not in self.written:
            report.add(self.location, f"{self._label} needs “form”")
        if "attach" in self.written and "tell" not in self.written:
            report.add(self.key_location("attach"), "“attach” goes with “tell”: a message takes the document along")
        self._report_question(report)
        self._report_counting(report)

    def _report_question(self, report: FaultReport) -> None:
        """Report what is wrong with the question that this answer asks."""
        if "ask" in self.written:
            if "say" not in self.written:
                report.add(self.location, f"{self._label} needs “say” for what it asks next")
            if not self.answers:
                report.add(self.location, f"{self._label} needs “answers” to what it asks next")
            for key in _NOT_WITH_ASK:
                if key in self.written:
                    report.add(self.key_location(key), f"“{key}” does not go with “ask”; give it to an answer of that")
        elif "answers" in self.written:
            report.add(self.key_location("answers"), f"{self._label} has answers and asks nobody: “ask”")

    def _report_counting(self, report: FaultReport) -> None:
        """Report a quorum and a veto that mean nothing."""
        goes_on = next((key for key in _GOING_ON if key in self.written), None)
        if "quorum" in self.written and goes_on is not None:
            sentence = f"“quorum” counts answers that end the question, and one with “{goes_on}” does not"
            report.add(self.key_location("quorum"), sentence)
        if (fault := self._veto_fault()) is not None:
            report.add(self.key_location("veto"), fault)

    def _veto_fault(self) -> str | None:
        if self.veto and "quorum" in self.written and self.quorum is not Quorum.FIRST:
            return "an answer decides alone by “veto” or with others by “quorum”, not both"
        goes_on = next((key for key in ("continue", "collect") if key in self.written), None)
        return f"after a veto nothing is left to answer; “{goes_on}” goes on" if self.veto and goes_on else None

    def _has_reader(self) -> bool:
        return any(key in self.written for key in ("tell", "hand_over", "ask"))

    def build(self, name: str, within: str = "") -> model.AnswerAction:
        """A ``say`` beside both ``tell`` and ``hand_over`` belongs to ``tell``, and one beside ``ask`` to that."""
        action = model.AnswerAction(
            name=name,
            record=self.build_write(self.unless),
            quorum=build_value(self.quorum),
            continues=self.continue_,
            veto=self.veto and self._veto_fault() is None,
            within=within,
        )
        if self.ask is not None:
            return replace(action, ask=self._build_question(action.path, self.ask), continues=True)
        say = None if self.tell is not None else self.say
        return replace(
            action,
            tell=self._build_tell(),
            hand_over=None if self.hand_over is None else model.HandoverAction(_addressees(self.hand_over), say),
            form=None if self.collect is None else self.form or "",
        )

    def _build_tell(self) -> model.Notification | None:
        told = self.build_notification()
        return told if told is None or self.attach is None else replace(told, attach=self.attach.build())

    def _build_question(self, path: str, who: Any) -> model.Question | None:
        """None where a part of the question is missing, which is reported."""
        if not self.answers or self.say is None:
            return None
        answers = {name: answer.build(name, path) for name, answer in self.answers.items()}
        return model.Question(_addressees(who), self.say, answers, path)


_NOT_WITH_ASK = ("tell", "hand_over", "collect")
"""Keys that would share the ``say`` of an ``ask``, or end what it begins."""
_GOING_ON = ("continue", "hand_over", "collect", "ask")
"""Keys of an answer that does not end the question."""


# ------------------------------------------------------------------ steps


class CountedIn(StrEnum):
    HOUSE = "house"
    THEIRS = "theirs"


class StepSection(Section):
    """One verb, at most one time."""

    label = "a step"
    after: AfterText | None = None
    """How long after the step before it, like “2 working days” or “2 working days at 10:00”."""
    at: AtText | None = None
    """A field with a date or an instant, or like “5 working days before new_due”, or “09:00 on respond_by”."""
    in_: Annotated[CountedIn, word(CountedIn, CountedIn.HOUSE)] = Field(CountedIn.HOUSE, alias="in")
    """The calendar in which “at” counts: the house's, or that of each receiver."""
    unless: ConditionSection | None = None
    """A condition under which the step is skipped."""

    @classmethod
    def other_keys(cls) -> tuple[str, ...]:
        return _step_keys()

    @classmethod
    def report_unknown_key(cls, node: MappingNode, key: str, label: str, report: FaultReport) -> None:
        if key not in _step_keys():
            report.unknown(node.keys[key], f"{label} has no “{key}”", key, _step_keys())
        elif key not in list(Verb) and (verb := _verb_of(node)) is not None:
            report.add(node.keys[key], f"“{key}” does not go with “{verb}”")

    def report_faults(self, report: FaultReport) -> None:
        super().report_faults(report)
        verbs = [verb for verb in Verb if verb in self.written]
        if len(verbs) > 1 and not _is_combined(verbs):
            report.add(self.key_location(verbs[-1]), f"a step has one verb; this has {' and '.join(verbs)}")
        if "after" in self.written and "at" in self.written:
            report.add(self.key_location("at"), "a step has at most one time: “after” or “at”")
        elif "in" in self.written and "at" not in self.written:
            sentence = "“in” goes with “at”; “after” always counts in the calendar of the people who are awaited"
            report.add(self.key_location("in"), sentence)
        elif self.in_ is CountedIn.THEIRS and not any(verb in _RECEIVED for verb in verbs):
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


_RECEIVED = frozenset({Verb.TELL, Verb.ASK, Verb.REMIND, Verb.HAND_OVER})
"""Verbs whose step is a message."""


class CopyKeys(StepSection):
    """A step whose message members of staff may get a copy of."""

    cc: Addressees | None = None
    """The members of staff who get a copy, which they cannot answer."""

    def build_verb(self, index: int, verb: Verb, **more: Any) -> model.Step:
        return super().build_verb(index, verb, cc=_addressees(self.cc), **more)


class AttachKeys(CopyKeys):
    """A step whose message may take a document along."""

    attach: AttachSection | None = None
    """The document that goes with the message."""

    def build_verb(self, index: int, verb: Verb, **more: Any) -> model.Step:
        attach = None if self.attach is None else self.attach.build()
        return super().build_verb(index, verb, attach=attach, **more)


class TellStep(AttachKeys):
    """Send a message."""

    tell: Addressees
    """Who is told: a role, a party of the event, a team, ``sender``, ``told``, or a list of these."""
    say: Text
    """The template of the message."""

    def build_verb(self, index: int, verb: Verb, **more: Any) -> model.Step:
        return super().build_verb(index, verb, who=_addressees(self.tell), say=self.say, **more)


class AskStep(AttachKeys):
    """Ask a question; each answer is a button of its template."""

    ask: Addressees
    """Who is asked: a role, a party of the event, a team, ``sender``, ``told``, or a list of these."""
    say: Text
    """The template of the question."""
    answers: Annotated[dict[str, AnswerSection], mapping("“answers”", named=True)]
    """The answers, by the names of the template's buttons."""

    def build_verb(self, index: int, verb: Verb, **more: Any) -> model.Step:
        answers = {name: answer.build(name) for name, answer in self.answers.items()}
        return super().build_verb(index, verb, who=_addressees(self.ask), say=self.say, answers=answers, **more)


class RemindStep(AttachKeys):
    """Remind the people who have not answered."""

    remind: Annotated[str, only("unanswered", "“remind” is for “unanswered” and nobody else")]
    """Who is reminded: ``unanswered``, those who have not answered finally."""
    say: Text
    """The template of the reminder."""

    def build_verb(self, index: int, verb: Verb, **more: Any) -> model.Step:
        return super().build_verb(index, verb, who=(self.remind,), say=self.say, **more)


class CollectStep(StepSection):
    """Fill a form with the person who wrote."""

    collect: Annotated[str, only("sender", "“collect” is for “sender” and nobody else")]
    """Who fills in the form: ``sender``, who wrote."""
    form: Text
    """The form's name."""

    def build_verb(self, index: int, verb: Verb, **more: Any) -> model.Step:
        return super().build_verb(index, verb, who=(self.collect,), form=self.form, **more)


class HandOverStep(CopyKeys):
    """Hand the case over: one of these people takes it."""

    hand_over: Addressees
    """To whom the matter is offered, with the buttons Take and Not me."""
    say: Text | None = None
    """The template; it has the buttons “take” and “not_me”."""

    def build_verb(self, index: int, verb: Verb, **more: Any) -> model.Step:
        return super().build_verb(index, verb, who=_addressees(self.hand_over), say=self.say, **more)


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

    def build_verb(self, index: int, verb: Verb, **more: Any) -> model.Step:
        write, notification = self.build_write(), self.build_notification()
        return super().build_verb(index, verb, reason=self.give_up, record=write, tell=notification, **more)


class VerblessStep(StepSection):
    """A step without a verb, which is a fault."""

    @classmethod
    def read_keys(cls, node: Any, label: str, report: FaultReport) -> dict[str, Any]:
        if isinstance(node, MappingNode):
            misspelt = any(get_close_matches(key, list(Verb), 1, 0.65) for key in node.nodes if key not in _step_keys())
            if not misspelt:
                report.add(node.location, f"a step needs a verb: {', '.join(Verb)}")
            for key in node.nodes:
                cls.report_unknown_key(node, key, label, report)
        else:
            report.add(node.location, f"{label} is a mapping of {', '.join(_step_keys())}")
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


def _verb_of(node: Any) -> Verb | None:
    """The verb that contains the others, else the first one."""
    found = [verb for verb in Verb if verb in node.nodes] if isinstance(node, MappingNode) else []
    if _is_combined(found):
        return Verb.GIVE_UP if Verb.GIVE_UP in found else Verb.RECORD
    return found[0] if found else None


Step = Annotated[
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


def _at_most_100(nodes: Any, info: ValidationInfo) -> Any:
    """Reports a rule without steps, and one with too many of them."""
    if nodes is ABSENT:
        return nodes
    steps = items(nodes)
    if isinstance(nodes, ScalarNode) and nodes.value is None:
        steps = ()
    if not steps:
        report_of(info).add(nodes.location, "a rule has at least one step")
    if len(steps) > MOST_STEPS:
        sentence = f"a rule has at most {MOST_STEPS} steps; this has {len(steps)}"
        report_of(info).add(steps[MOST_STEPS].location, sentence)
    return SequenceNode(nodes.location, steps[:MOST_STEPS])


# ------------------------------------------------------------------ rules

SeverityOrField = Annotated[
    Annotated[Severity, word(Severity, Severity.INFO), Tag("value")] | Annotated[FieldReference, Tag("field")],
    VALUE_OR_FIELD,
]


class UntilSection(NotifyKeys):
    """An event that ends a chain of the same subject."""

    label = "“until”"
    shorthand = "on"
    on: Texts
    """The event, or events."""
    if_: ConditionSection | None = Field(None, alias="if")
    """The condition under which the event ends the chain."""
    same: Text | None = None
    """A field that both events have, and that names the subject where “about” does not."""

    def build(self) -> Iterator[model.Until]:
        """One for each event named."""
        condition = ALWAYS if self.if_ is None else self.if_.build()
        for event in self.on:
            yield model.Until(event, condition, self.same or None, self.build_notification(), self.location)


class ListSection(Section):
    """The open chains that a recurring rule lists."""

    label = "“list”"
    waits_for: Addressees = ()
    """Roles or teams: only chains that await one of them."""
    rules: Texts = ()
    """Only chains of these rules."""
    each: (
        Annotated[str, only("person", "“each” can only be “person”: a list for each person who is awaited")] | None
    ) = None
    """For whom there is a list of their own; without it there is one list of all."""

    def build(self) -> model.Listing:
        names = tuple(RuleId(name) for name in self.rules)
        return model.Listing(_addressees(self.waits_for), names, self.each is not None)


class RuleFile(Section):
    """An escalation rule: who is told or asked what, when something happens, and what ends it."""

    label = "a rule"
    rule: Text
    """The rule's name, which is also the file's."""
    owner: Text
    """The team of people.yaml that answers for it."""
    why: Annotated[dict[str, Text], mapping("“why”", check_language)]
    """By language: why a person gets a message of this rule."""
    severity: SeverityOrField = Severity.INFO
    """How urgent its messages are; may be taken from a field of the event."""
    on: Texts = ()
    """The events that start it; “stet rules fields EVENT” lists their fields."""
    every: EveryText | None = None
    """In place of “on”, for recurring work: like “monday at 09:00” or “1st working day of the month at 09:00”."""
    list_: ListSection | None = Field(None, alias="list")
    """With “every”: the open chains that the rule lists."""
    if_: ConditionSection | None = Field(None, alias="if")
    """The condition under which the event starts the rule."""
    about: Texts = ()
    """Fields that name the subject: there is one chain for each."""
    on_repeat: Annotated[OnRepeat, word(OnRepeat, OnRepeat.REPLAN)] = OnRepeat.REPLAN
    """The effect of another event about the same subject on a running chain."""
    on_change: Annotated[OnChange, word(OnChange, OnChange.PIN)] = OnChange.PIN
    """The effect of a change of this file on a running chain: it keeps its steps, gets the new ones, or ends."""
    restarts: RestartsSection | None = None
    """It is meant that what the rule writes starts it again: how often; further starts are suppressed."""
    steps: Annotated[tuple[Step, ...], OneOrMore(), BeforeValidator(_at_most_100)]
    """The steps, in their order."""
    until: Annotated[tuple[UntilSection, ...], OneOrMore()] = ()
    """The events that end a chain."""

    def report_faults(self, report: FaultReport) -> None:
        super().report_faults(report)
        if "on" in self.written and "every" in self.written:
            sentence = "a rule starts by “on” or by “every”, not both; write a rule for each"
            report.add(self.key_location("every"), sentence)
        elif "on" not in self.written and "every" not in self.written:
            report.add(self.location, f"{self._label} needs “on”")
        if "list" in self.written and "every" not in self.written:
            report.add(self.key_location("list"), "“list” goes with “every”: recurring work lists what is open")

    def _events(self) -> tuple[str, ...]:
        if self.every is None:
            return self.on
        return (PERIOD_STARTED,) if self.list_ is None else (PERIOD_LISTED,)

    def build(self) -> model.Rule:
        steps = (step.build(index) for index, step in enumerate(self.steps))
        return model.Rule(
            name=RuleId(self.rule),
            owner=self.owner,
            why=self.why,
            events=self._events(),
            steps=tuple(step for step in steps if step is not None),
            location=self.location,
            severity=build_value(self.severity),
            condition=ALWAYS if self.if_ is None else self.if_.build(),
            about=self.about,
            on_repeat=self.on_repeat,
            on_change=self.on_change,
            until=tuple(until for each in self.until for until in each.build()),
            every=self.every,
            listing=None if self.list_ is None else self.list_.build(),
            restarts=None if self.restarts is None else self.restarts.build(),
        )

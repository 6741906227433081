"""The schemas of what a step or an answer does: whom it addresses, what it attaches, tells, asks and writes."""

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationInfo, WithJsonSchema

from services.rules.rulebook import model
from services.rules.rulebook.condition_schema import ConditionSection
from services.rules.rulebook.faults import FaultReport, InvalidValue
from services.rules.rulebook.meant_keys import with_keys_back
from services.rules.rulebook.model import Location, Quorum
from services.rules.rulebook.schema import (
    VALUE_OR_FIELD,
    FieldReference,
    LiteralOrField,
    OneOrMore,
    Section,
    build_value,
    mapping,
    node_kind,
)
from services.rules.rulebook.single_values import Flag, Text, only, report_of, value, word
from services.rules.rulebook.yaml_nodes import ABSENT, MappingNode, Node, ScalarNode, SequenceNode
from shared.contracts.writes import WriteOperation


class TeamReference(Section):
    """A team of people.yaml: all of it."""

    label = "a team"
    team: Text
    """The name of the team in people.yaml."""

    @classmethod
    def other_keys(cls) -> tuple[str, ...]:
        return ("field",)

    @classmethod
    def read_keys(cls, node: Any, label: str, report: FaultReport) -> dict[str, Any]:
        """A field in place of a person is refused with its own sentence, and no team is missed beside it."""
        if isinstance(node, MappingNode) and isinstance(several := node.nodes.get("team"), SequenceNode):
            teams = [each.text for each in several.nodes if isinstance(each, ScalarNode)]
            shown = ", ".join(f"{{team: {team}}}" for team in teams)
            report.add(several.location, f"one team stands here; several are [{shown}]")
            return {"team": ABSENT}
        if not isinstance(node, MappingNode) or node.nodes.keys() != {"field"}:
            return super().read_keys(node, label, report)
        named = node.nodes["field"]
        report.add(node.keys["field"], no_field_chooses(named.text if isinstance(named, ScalarNode) else "field"))
        return {"team": ABSENT}


def no_field_chooses(path: str) -> str:
    """The sentence about a field, or an answer of a form, that stands where people are named."""
    return (
        f"“{path}” is a field, and no field or answer of a form chooses who is addressed: name a role, a party of the "
        "event or a team, and write a rule with an “if” of its own for each value"
    )


AddresseesText = Annotated[
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


def build_addressees(written: tuple[str | TeamReference, ...] | None) -> model.Addressees:
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

    tell: AddresseesText | None = None
    """The people who get a message."""
    say: Text | None = None
    """The template of the message."""

    def report_faults(self, report: FaultReport) -> None:
        super().report_faults(report)
        if "tell" in self.written and "say" not in self.written:
            report.add(self.location, f"{self._label} needs “say”", needs=("say",))
        if "say" in self.written and not self._has_reader():
            sentence = "“say” needs the person it is said to; add “tell”, like “tell: author”"
            report.add(self.key_location("say"), sentence)

    def _has_reader(self) -> bool:
        return "tell" in self.written

    def build_notification(self) -> model.Notification | None:
        return None if self.tell is None else model.Notification(build_addressees(self.tell), self.say or "")


class WriteKeys(Section):
    """A write in Consonance."""

    record: OperationWord | None = None
    """The operation."""
    with_: Annotated[dict[str, LiteralOrField], mapping("“with”", example="field: value")] = Field({}, alias="with")
    """The values that the operation takes, by name."""
    then: "ThenSection | None" = None
    """A further write, when this one succeeded."""

    @classmethod
    def report_unknown_key(cls, node: MappingNode, key: str, label: str, report: FaultReport) -> None:
        if key in _WRITTEN_VALUES and "record" in node.nodes:
            value = node.nodes[key]
            written = value.text if isinstance(value, ScalarNode) and value.text else "…"
            report.add(node.keys[key], f"“{key}” belongs to “with”; write with: {{{key}: {written}}}")
        else:
            super().report_unknown_key(node, key, label, report)

    def report_faults(self, report: FaultReport) -> None:
        super().report_faults(report)
        if "record" not in self.written:
            alone = [key for key in ("with", "then") if key in self.written]
            if alone:
                named = " and ".join(f"“{key}”" for key in alone)
                sentence = f"{named} {'goes' if len(alone) == 1 else 'go'} with “record”, which is missing"
                report.refuse(self.key_location(alone[0]), sentence)

    def build_write(self, unless: ConditionSection | None = None) -> model.WriteAction | None:
        if self.record is None or "record" not in self.written:
            return None
        return model.WriteAction(
            operation=self.record,
            values={name: build_value(each) for name, each in self.with_.items()},
            then=None if self.then is None else self.then.build_write(self.then.unless),
            unless=None if unless is None else unless.build(),
            is_read=self._is_read(),
        )

    def _is_read(self) -> bool:
        written, values = self.written["record"], self.written.get("with")
        is_known = isinstance(written, ScalarNode) and written.text == self.record
        return is_known and (values is None or isinstance(values, MappingNode))


class ThenSection(WriteKeys):
    """A further write, asked for once the one before it has succeeded."""

    label = "“then”"
    record: OperationWord
    """The operation that is written once the first is done."""
    unless: ConditionSection | None = None
    """A condition under which this is not written."""

    @classmethod
    def other_keys(cls) -> tuple[str, ...]:
        return tuple(sorted(_NO_WRITES))

    @classmethod
    def read_keys(cls, node: Any, label: str, report: FaultReport) -> dict[str, Any]:
        """Another action than a write is one fault, and not one for each of its keys."""
        other = () if not isinstance(node, MappingNode) or "record" in node.nodes else _NO_WRITES & node.nodes.keys()
        if not other:
            return super().read_keys(node, label, report)
        first = min(other, key=list(node.nodes).index)
        sentence = f"“then” is a further write, and has no “{first}”; that stands beside the “record” before it"
        report.add(node.keys[first], sentence)
        return {"record": ABSENT}


WriteKeys.model_rebuild()  # “then” names a class below it, which the schemas of other modules could not look up

_WRITTEN_VALUES = frozenset({"decision", "note", "to_stage", "reference", "kind"})
"""The values that operations take."""
_DEEDS = ("record", "tell", "hand_over", "collect", "ask", "continue")
_NO_WRITES = frozenset({"tell", "say", "hand_over", "collect", "ask", "remind", "give_up", "form"})


_FEWEST = 2


def _read_quorum(node: Node) -> Quorum | int:
    if isinstance(node, ScalarNode) and type(node.value) is int:
        if node.value >= _FEWEST:
            return node.value
        raise InvalidValue("a quorum of people is at least 2; “quorum: first” lets the first answer decide")
    written = node.text if isinstance(node, ScalarNode) else ""
    if written in list(Quorum):
        return Quorum(written)
    number = re.match(r"[2-9]\b(?!\s*%)", written)
    meant = f"; write {number[0]}" if number is not None else ""
    sentence = f"“{written}” is no quorum: first, all, or how many people, like 2{meant}"
    raise InvalidValue(sentence, written, list(Quorum))


QuorumWord = Annotated[
    Quorum | int,
    value(_read_quorum, Quorum.FIRST),
    WithJsonSchema({"anyOf": [{"enum": list(Quorum)}, {"type": "integer", "minimum": _FEWEST}]}),
]
"""``first``, ``all``, or how many people."""


def is_answer(key: str, node: Node) -> bool:
    """Whether this is an answer by its keys, and by a name that no key of an answer has."""
    if key in _KEYS_OF_ANSWERS or not isinstance(node, MappingNode):
        return False
    return bool(node.nodes) and node.nodes.keys() <= _KEYS_OF_ANSWERS


def _answers_within(node: MappingNode) -> list[str]:
    """The names of the answers among the keys of one; empty where it has none of its own, or others."""
    inner = [name for name, each in node.nodes.items() if is_answer(name, each)]
    own = node.nodes.keys() - inner
    return inner if own and own <= _KEYS_OF_ANSWERS else []


def with_answers_beside(node: MappingNode, known: Collection[str]) -> MappingNode:
    """Takes the answers out of one that stands in the column of “answers”, so that its keys begin where they do."""
    nodes: dict[str, Node] = {}
    places: dict[str, Location] = {}
    for key, each in node.nodes.items():
        nodes[key], places[key] = each, node.keys[key]
        inner = _answers_within(each) if isinstance(each, MappingNode) and key not in known else []
        if not isinstance(each, MappingNode) or not inner:
            continue
        own = {name: one for name, one in each.nodes.items() if name not in inner}
        nodes[key] = MappingNode(each.location, own, tuple(each.keys[name] for name in own), each.in_braces)
        nodes |= {name: each.nodes[name] for name in inner}
        places |= {name: each.keys[name] for name in inner}
    return MappingNode(node.location, nodes, tuple(places.values()), node.in_braces)


def with_answers_in_their_column(node: Any, info: ValidationInfo) -> Any:
    """Reports an answer within the one above it, and a key of an answer beside the answers; both get their place."""
    return _with_keys_aside(_with_answers_back(node, report_of(info)), report_of(info))


def _with_answers_back(node: Any, report: FaultReport) -> Any:
    for name, answer in tuple(node.nodes.items()) if isinstance(node, MappingNode) else ():
        if isinstance(answer, MappingNode) and not answer.nodes.keys() <= _KEYS_OF_ANSWERS:
            inner = {key for key, each in answer.nodes.items() if is_answer(key, each)} - node.nodes.keys()
            node = with_keys_back(node, name, inner, report)
    return node


_KEYS_WITH_KEYS = frozenset({"with", "then"})
"""Keys of an answer that have keys of their own, and are no names of buttons."""


def _parted(then: Node) -> tuple[Node, MappingNode]:
    """The keys of “then”, and those of the answer that follow it in the same column."""
    nodes = then.nodes if isinstance(then, MappingNode) else {}
    others = {key: each for key, each in nodes.items() if key not in ThenSection.known_keys()}
    if not isinstance(then, MappingNode) or not others:
        return then, MappingNode(then.location, {}, ())
    own = {key: each for key, each in nodes.items() if key not in others}
    places = tuple(then.keys[key] for key in own)
    return (
        MappingNode(then.location, own, places, then.in_braces),
        MappingNode(then.location, others, tuple(then.keys[key] for key in others)),
    )


def _with_keys_aside(node: Any, report: FaultReport) -> Any:
    """Reports a key of an answer in the column of the answers, and takes it for that of the answer above."""
    if not isinstance(node, MappingNode) or _KEYS_OF_ANSWERS.isdisjoint(node.nodes):
        return node
    nodes: dict[str, Node] = {}
    for (key, each), place in zip(node.nodes.items(), node.places, strict=True):
        above = next(reversed(nodes), None)
        answer = nodes.get(above) if above is not None else None
        is_word = isinstance(each, ScalarNode) and bool(each.text)
        is_aside = key in _KEYS_OF_ANSWERS and (is_word or key in _KEYS_WITH_KEYS)
        if not is_aside or not isinstance(answer, MappingNode) or key in answer.nodes:
            nodes[key] = each
            continue
        report.add(place, f"“{key}” belongs to the answer “{above}”; indent it further than that")
        own, back = _parted(each) if key == "then" else (each, MappingNode(each.location, {}, ()))
        nodes[str(above)] = MappingNode(
            answer.location,
            {**answer.nodes, key: own, **back.nodes},
            (*answer.places, place, *back.places),
            answer.in_braces,
        )
    return MappingNode(node.location, nodes, tuple(node.keys[key] for key in nodes), node.in_braces)


class AnswerSection(WriteKeys, NotifyKeys):
    """The effect of one button. An answer ends the chain, unless it continues, hands over, asks or begins a form."""

    label = "the answer “{}”"
    unless: ConditionSection | None = None
    """A condition under which nothing is written."""
    hand_over: AddresseesText | None = None
    """The people of whom one takes the case."""
    collect: Annotated[str, only("sender", "a form is collected from “sender” alone: who wrote")] | None = None
    """Who fills in the form: ``sender``, the person who answered."""
    form: Text | None = None
    """The form that is filled in."""
    attach: AttachSection | None = None
    """With “tell”: the document that goes with that message."""
    ask: AddresseesText | None = None
    """The people who are asked next, with “say” and “answers”."""
    answers: Annotated[
        dict[str, "AnswerSection"], mapping("“answers”", named=True), BeforeValidator(with_answers_in_their_column)
    ] = Field(default_factory=dict)
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
        has_no_addressee = "say" in self.written and not self._has_reader()  # which is reported
        does = [key for key in _DEEDS if key in self.written and (key != "continue" or self.continue_)]
        if not does and not has_no_addressee and not report.has_fault_on(self.key_location("continue")):
            say = report.refuse if "continue" in self.written else report.add  # “continue: false” was taken before
            say(self.location, f"{self._label} does nothing: {', '.join(_DEEDS)}")
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
            report.add(
                self.key_location("answers"),
                f"{self._label} has answers and no question: add “ask”",
            )

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
            hand_over=None if self.hand_over is None else model.HandoverAction(build_addressees(self.hand_over), say),
            form=None if self.collect is None else self.form or "",
        )

    def _build_tell(self) -> model.Notification | None:
        notification = self.build_notification()
        return (
            notification
            if notification is None or self.attach is None
            else replace(notification, attach=self.attach.build())
        )

    def _build_question(self, path: str, who: Any) -> model.Question | None:
        """None where a part of the question is missing, which is reported."""
        if not self.answers or self.say is None:
            return None
        answers = {name: answer.build(name, path) for name, answer in self.answers.items()}
        return model.Question(build_addressees(who), self.say, answers, path)


_KEYS_OF_ANSWERS = frozenset(AnswerSection.known_keys())
_NOT_WITH_ASK = ("tell", "hand_over", "collect")
"""Keys that would share the ``say`` of an ``ask``, or end what it begins."""
_GOING_ON = ("continue", "hand_over", "collect", "ask")
"""Keys of an answer that does not end the question."""

"""The schema of story files (``*.test.yaml``), and reading them with file, line and column of every fault.

A story has people, and steps in order; an ``expect`` covers all effects since the previous one.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from itertools import chain
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic.config import JsonDict

from services.rules.conversation.chain import Ending
from services.rules.rulebook.faults import FaultReport, FileFault, InvalidValue
from services.rules.rulebook.model import Location
from services.rules.rulebook.rule_folder import STORIES, stem
from services.rules.rulebook.schema import OneOrMore, Section, Texts, items, mapping
from services.rules.rulebook.single_values import (
    SANE_YEARS,
    Country,
    Day,
    Flag,
    Language,
    Text,
    WholeNumber,
    Zone,
    is_reported,
    meant_date,
    read_text,
    value,
    whole_number,
    word,
)
from services.rules.rulebook.times import DurationText, meant_clock
from services.rules.rulebook.yaml_nodes import MappingNode, Node, ScalarNode, SequenceNode
from services.rules.rulebook.yaml_tree import parse
from shared.clients.public_holidays import has_subdivision
from shared.contracts import consonance
from shared.contracts.errors import StetError
from shared.contracts.ids import ContactId
from shared.contracts.whatsapp import MediaRefusal
from shared.contracts.writes import WriteOperation, WriteOutcome

EVENT_NAMES = tuple(sorted(map(consonance.short_name, consonance.KINDS)))


class UnplayableStep(StetError):
    """A step that cannot be played; the sentence says why."""


# ------------------------------------------------------------------ values


def _meant_instant(written: str) -> str | None:
    """``3.3.2027 10:00`` and ``2027-03-03 10:00`` as instants of UTC; None where no day and clock can be told."""
    day, _, clock = written.strip().replace("T", " ", 1).partition(" ")
    meant_day, meant_time = meant_date(day.strip(",")), meant_clock(_SECONDS.sub("", clock.strip()))
    return None if meant_day is None or meant_time is None else f"{meant_day}T{meant_time}:00Z"


_SECONDS = re.compile(r"(?<=:\d\d):\d\d$")


def _read_instant(node: Node) -> datetime:
    if not isinstance(node, ScalarNode) or not isinstance(node.value, datetime) or node.value.tzinfo is None:
        meant = _meant_instant(node.text) if isinstance(node, ScalarNode) else None
        advice = f"write {meant}" if meant is not None else "like 2027-03-03T10:00:00Z"
        raise InvalidValue(f"an instant with its zone belongs here, {advice}")
    if node.value.year not in SANE_YEARS:
        raise InvalidValue(f"this instant lies outside of {SANE_YEARS[0]} to {SANE_YEARS[-1]}")
    return node.value


def _check_contact(written: str) -> ContactId:
    if not written.isdecimal():
        raise InvalidValue(f"“{written}” is no person: people are named by their contact id")
    return ContactId(int(written))


def _read_plain(node: Node) -> Mapping[str, object]:
    if not isinstance(node, MappingNode):
        raise InvalidValue("values stand here by their names, like {title: …}")
    return {key: _plain(each) for key, each in node.nodes.items()}


_PATH = re.compile(r"[a-z_]+(?:\.[a-z_]+)+")


def _read_facts(node: Node) -> Mapping[str, object]:
    if not isinstance(node, MappingNode):
        is_path = isinstance(node, ScalarNode) and _PATH.fullmatch(node.text) is not None
        written = f"{node.text}: …" if is_path and isinstance(node, ScalarNode) else "work.stage_key: published"
        raise InvalidValue(f"a fact has a value; write {{{written}}}")
    return _read_plain(node)


def _plain(node: Node) -> object:
    match node:
        case ScalarNode():
            return node.value
        case SequenceNode():
            return [_plain(each) for each in node.nodes]
        case MappingNode():
            return _read_plain(node)


def _or_nothing(schema: JsonDict) -> None:
    effects = dict(schema)
    schema.clear()
    schema.update(anyOf=[{"const": "nothing"}, effects])


def _read_effects(node: Node) -> tuple[Node, ...]:
    if not isinstance(node, ScalarNode):
        return items(node)
    if not node.text:
        raise InvalidValue("nothing is written for “expect”; where no effect follows, write “nothing”")
    if node.text != "nothing":
        sentence = f"“{node.text}” is no list of effects; where there are none, write “nothing”"
        raise InvalidValue(sentence)
    return ()


StoryContact = Annotated[ContactId, value(lambda node: _check_contact(read_text(node)), ContactId(0))]
"""A person of the story: their Consonance contact id, or any number for a visitor."""

InstantText = Annotated[datetime, value(_read_instant, datetime(1970, 1, 1, tzinfo=UTC))]
StoryValues = Annotated[Mapping[str, Any], value(_read_plain, {})]
"""Values by dotted path, as JSON would hold them; null removes a field."""


# ------------------------------------------------------------------ people


class StoryPerson(Section):
    """A person of the story; the people of a story replace people.yaml."""

    label = "a person"
    roles: Texts = ()
    """The roles of this person, at the work or in the house."""
    name: Text | None = None
    """The name that messages show."""
    country: Country | None = None
    """The country, as two letters: it decides language, zone and holidays where these are not given."""
    language: Language | None = None
    """The language of this person."""
    zone: Zone | None = None
    """The time zone, like Europe/Paris."""
    team: Text | None = None
    """The team of people.yaml that the person belongs to."""
    subdivision: Text | None = None
    """The part of the country, for its public holidays, like SCT."""
    stands_in_for: Annotated[tuple[StoryContact, ...], OneOrMore()] = ()
    """The people this person answers for."""
    from_: Day = Field(None, alias="from")
    """The first day on which this person stands in for the others."""
    to: Day = None
    """The last of those days."""
    opted_out: Flag = False
    """Whether the person wrote STOP before the story begins."""
    reachable: Flag = True
    """Whether Consonance has a number for the person."""
    visitor: Flag = False
    """Has no contact in Consonance, only an address."""

    def report_faults(self, report: FaultReport) -> None:
        if self.subdivision is not None and not has_subdivision(self.country, self.subdivision):
            place = f"{self.country} has no part “{self.subdivision}” with public holidays of its own"
            sentence = place if self.country else "a “subdivision” is a part of a “country”"
            report.add(self.value_location("subdivision"), sentence)
        if self.from_ and self.to and self.to < self.from_:
            report.add(self.key_location("to"), "“to” is before “from”")
        for key in ("from", "to"):
            if key in self.written and not self.stands_in_for:
                report.add(self.key_location(key), f"“{key}” belongs to “stands_in_for”")


# ------------------------------------------------------------------ steps


class OneThing(Section):
    """A step of a story. A key of another step beside its own begins that step, and lacks a dash."""

    @classmethod
    def report_unknown_key(cls, node: MappingNode, key: str, label: str, report: FaultReport) -> None:
        if key not in _STEP_KEYS:
            super().report_unknown_key(node, key, label, report)
            return
        begins = [each for each in node.nodes if each in _STEP_KEYS]
        second = max(begins, key=lambda each: node.keys[each])
        report.repeated(node.keys[second], f"another step begins here; put a dash before “{second}”")


class EventStep(OneThing):
    """The golden event of that name, changed by the values of ``with``."""

    label = "an event"
    event: Text
    """The event that arrives."""
    values: StoryValues = Field(default={}, alias="with")
    """The fields that differ from the example event; null removes one."""

    def report_faults(self, report: FaultReport) -> None:
        if self.event not in EVENT_NAMES and not report.has_fault_on(self.key_location("event")):
            sentence = f"“{self.event}” is no event of Consonance"
            report.unknown(self.key_location("event"), sentence, self.event, EVENT_NAMES)


class FactsStep(OneThing):
    """Facts that are known from now on, by dotted path."""

    label = "“facts”"
    facts: Annotated[Mapping[str, Any], value(_read_facts, {})]
    """The facts that change, by their paths."""


class Reply(Section):
    """A message from a person: one of ``button``, ``text``, ``document`` and ``reaction``."""

    label = "a reply"
    sender: StoryContact = Field(alias="from")
    """The contact who writes."""
    button: Text | None = None
    """The name of an answer."""
    text: Text | None = None
    """The text of the message."""
    document: Text | None = None
    """The name of a file."""
    reaction: Text | None = None
    """An emoji."""
    mime: Text | None = None
    """The document's content type; else it is guessed from its name."""
    mb: WholeNumber | None = None
    """The document's size in megabytes, where it is known."""
    to: Text | None = None
    """The template of the message that is tapped or quoted. Without it a tap is on the newest message with that
    button, a reaction on the newest of all, and a text quotes nothing."""
    rule: Text | None = None
    """The rule that sent it, where several say the same template to one person."""
    line: Text | None = None
    """The number of the publisher that the person writes to."""

    @classmethod
    def _with_meant_keys(cls, node: MappingNode, label: str, report: FaultReport) -> MappingNode:
        """A contact behind “to” is who writes."""
        to = node.nodes.get("to")
        if "from" not in node.nodes and isinstance(to, ScalarNode) and to.text.isdecimal():
            report.add(node.keys["to"], f"“to” names a template; who writes stands behind “from”: from: {to.text}")
            nodes = {"from" if key == "to" else key: each for key, each in node.nodes.items()}
            node = MappingNode(node.location, nodes, node.places, node.in_braces)
        return super()._with_meant_keys(node, label, report)

    def report_faults(self, report: FaultReport) -> None:
        if report.has_fault_on(self.location):
            return  # one of them is meant by another word
        if len(self.written.keys() & {"button", "text", "document", "reaction"}) != 1:
            report.add(self.location, "a reply is one of button, text, document or reaction")


class ReplyStep(OneThing):
    """A person answers or writes."""

    label = "a step"
    reply: Reply
    """A person writes, taps a button or sends a file."""

    @property
    def location(self) -> Location:
        return self.reply.location


class ReportedFile(Section):
    """The newest file of that person was fetched: it is kept, and so large, or refused."""

    label = "“file”"
    sender: StoryContact = Field(alias="from")
    """The contact who sent the file."""
    refused: Annotated[MediaRefusal, word(MediaRefusal, MediaRefusal.TOO_LARGE)] | None = None
    """Why the file is not kept."""
    mb: WholeNumber | None = None
    """The size in megabytes of a file that is kept."""
    mime: Text | None = None
    """The type of the content of a file that is kept, where it is another than its name says."""

    def report_faults(self, report: FaultReport) -> None:
        if len(self.written.keys() & {"refused", "mb"}) != 1:
            report.add(self.location, "a file is either “refused” or has its size in “mb”")
        elif self.mime is not None and self.refused is not None:
            report.add(self.location, "a file that is “refused” has no “mime”")


class FileStep(OneThing):
    """A file that a person sent was fetched from WhatsApp and checked."""

    label = "a step"
    file: ReportedFile
    """The newest file of a person is kept or refused."""

    @property
    def location(self) -> Location:
        return self.file.location


class ReadStep(OneThing):
    """The newest message to that person was read."""

    label = "a step"
    person: StoryContact = Field(alias="read")
    """The contact who reads the newest message."""


class Failure(Section):
    """The newest message to that person failed with this code of Meta's."""

    label = "“failed”"
    to: StoryContact
    """The contact whose message fails."""
    code: Annotated[int, whole_number(0)]
    """Meta's error code."""


class FailureStep(OneThing):
    """WhatsApp could not deliver a message."""

    label = "a step"
    failed: Failure
    """A message cannot be delivered."""

    @property
    def location(self) -> Location:
        return self.failed.location


class ReportedWrite(Section):
    """The oldest unsettled write of that operation had this outcome."""

    label = "“written”"
    operation: Annotated[WriteOperation, word(WriteOperation, WriteOperation.RECORD_DECISION)] = Field(alias="record")
    """The operation whose write has this outcome."""
    outcome: Annotated[WriteOutcome, word(WriteOutcome, WriteOutcome.VERIFIED)] = Field(alias="as")
    """The outcome."""


class WriteStep(OneThing):
    """Consonance was written to, or could not be."""

    label = "a step"
    write: ReportedWrite = Field(alias="written")
    """The outcome of a write in Consonance."""

    @property
    def location(self) -> Location:
        return self.write.location


class WaitStep(OneThing):
    """Time passes."""

    label = "a step"
    wait: DurationText
    """The duration that passes, like 2 working days."""


class WaitUntilStep(OneThing):
    """Inclusive: what falls due at the instant has happened."""

    label = "a step"
    instant: InstantText = Field(alias="wait until")
    """The instant or local time up to which the story goes on, which is included."""


class EffectKind(StrEnum):
    TELL = "tell"
    ASK = "ask"
    REMIND = "remind"
    COLLECT = "collect"
    HAND_OVER = "hand_over"
    RECORD = "record"
    WITHDRAW = "withdraw"
    LEFT_OUT = "left_out"
    END = "end"


_KINDS = tuple(EffectKind)
_MESSAGE_KEYS = frozenset({"for", "say", "language", "line", "text", "attached"})
_KEYS_OF_KIND: Mapping[EffectKind, frozenset[str]] = {
    **dict.fromkeys(EffectKind, _MESSAGE_KEYS),
    EffectKind.RECORD: frozenset({"with"}),
    EffectKind.LEFT_OUT: frozenset(),
    EffectKind.END: frozenset(),
}
_EFFECT_KEYS = frozenset(EffectKind).union(*_KEYS_OF_KIND.values())


class ExpectedEffect(Section):
    """One effect, matched as a subset: what is not written may be anything.

    Its kind is a key; that of a message holds the person it goes to.
    """

    label = "an effect"
    tell: StoryContact | None = None
    """The contact who is told."""
    ask: StoryContact | None = None
    """The contact who is asked."""
    remind: StoryContact | None = None
    """The contact who is reminded."""
    collect: StoryContact | None = None
    """The contact who gets a message of a form."""
    hand_over: StoryContact | None = None
    """The contact to whom the matter is offered."""
    record: Annotated[WriteOperation, word(WriteOperation, WriteOperation.RECORD_DECISION)] | None = None
    """The operation that is asked for."""
    withdraw: StoryContact | None = None
    """The contact whose message is withdrawn before it left."""
    left_out: Annotated[Mapping[str, Text], mapping("“left_out”", example="812: opted_out")] = Field(default={})
    """Reasons by contact, or by the role that no person fills."""
    end: Annotated[Ending, word(Ending, Ending.DONE)] | None = None
    """How the chain ended."""
    on_behalf_of: Annotated[tuple[StoryContact, ...], OneOrMore()] = Field(default=(), alias="for")
    """The person the receiver stands in for, or several."""
    template: Text | None = Field(default=None, alias="say")
    """The template of the message."""
    language: Text | None = None
    """The language of the message."""
    line: Text | None = None
    """The number of the publisher that it leaves from."""
    text: Text | None = None
    """Words that the message contains."""
    attached: Text | None = None
    """The file name of the document that goes with the message."""
    values: StoryValues = Field(default={}, alias="with")
    """The values that are written."""

    _kind: ClassVar[EffectKind | None] = None
    """Kept when the nodes are forgotten."""

    @property
    def kind(self) -> EffectKind:
        """Raises StopIteration where the file names none, which was reported as a fault."""
        return self._kind or next(kind for kind in _KINDS if kind in self.written)

    @property
    def person(self) -> ContactId | None:
        """The person a message goes to."""
        found: ContactId | None = getattr(self, self.kind) if _KEYS_OF_KIND[self.kind] is _MESSAGE_KEYS else None
        return found

    def report_faults(self, report: FaultReport) -> None:
        kinds = [kind for kind in _KINDS if kind in self.written]
        if len(kinds) != 1:
            report.add(self.location, f"an effect is one of {', '.join(EffectKind)}")
            return
        for key in self.written.keys() & _EFFECT_KEYS - {kinds[0]} - _KEYS_OF_KIND[kinds[0]]:
            report.add(self.key_location(key), f"“{key}” says nothing of “{kinds[0]}”")

    def forget_nodes(self) -> None:
        self.__dict__["_kind"] = next((kind for kind in _KINDS if kind in self.written), None)
        super().forget_nodes()


class ExpectStep(OneThing):
    """All effects since the previous one, in any order; none at all where ``nothing`` is expected."""

    label = "a step"
    effects: Annotated[tuple[ExpectedEffect, ...], value(_read_effects, ())] = Field(
        alias="expect", json_schema_extra=_or_nothing
    )
    """All effects since the last ``expect``, in any order."""


class UnknownStep(Section):
    """Stands for a step that cannot be recognised, which is reported."""

    label = "a step"

    @classmethod
    def read_keys(cls, node: Any, label: str, report: FaultReport) -> dict[str, Any]:
        known = ", ".join(_STEP_KEYS)
        if isinstance(node, MappingNode):
            first = next(iter(node.nodes), "")
            report.unknown(node.location, f"“{first}” is no step; there are {known}", first, _STEP_KEYS)
        elif not is_reported(node):
            report.add(node.location, f"{label} is one of {known}")
        return {}


_STEP_KEYS = ("event", "facts", "reply", "file", "read", "failed", "written", "wait", "wait until", "expect")
"""A step is recognised by the key of its own."""


def _step_key(node: Any) -> str:
    return next((key for key in _STEP_KEYS if isinstance(node, MappingNode) and key in node.nodes), "")


StoryStep = Annotated[
    Annotated[EventStep, Tag("event")]
    | Annotated[FactsStep, Tag("facts")]
    | Annotated[ReplyStep, Tag("reply")]
    | Annotated[FileStep, Tag("file")]
    | Annotated[ReadStep, Tag("read")]
    | Annotated[FailureStep, Tag("failed")]
    | Annotated[WriteStep, Tag("written")]
    | Annotated[WaitStep, Tag("wait")]
    | Annotated[WaitUntilStep, Tag("wait until")]
    | Annotated[ExpectStep, Tag("expect")]
    | Annotated[UnknownStep, Tag("")],
    Discriminator(_step_key),
]


# ------------------------------------------------------------------ stories


class Story(Section):
    """A course of events in virtual time, with what must follow from each."""

    label = "a story"
    open_key = "people"
    it: Text
    """Completes a sentence that begins with the rule."""
    start: InstantText
    """The time at which the story begins, with its zone."""
    people: Annotated[
        dict[Annotated[ContactId, BeforeValidator(lambda key: int(key) if key.isdecimal() else 0)], StoryPerson],
        mapping("“people”", _check_contact),
    ]
    """The people of the story, by contact number; they take the place of people.yaml."""
    steps: Annotated[tuple[StoryStep, ...], OneOrMore()] = Field(alias="play")
    """The steps of the story, in their order."""

    @property
    def rule(self) -> str:
        """The rule it tests, which has the name of the file."""
        return stem(self.location.file)


def read_stories(files: Mapping[str, str]) -> tuple[tuple[Story, ...], list[FileFault]]:
    """The stories of all ``*.test.yaml`` files, and every fault of theirs."""
    report = FaultReport()
    found = tuple(chain.from_iterable(read_story_files(files, report)))
    return found, report.sorted()


def read_story_files(
    files: Mapping[str, str], report: FaultReport, check: Callable[[Story], None] | None = None
) -> Iterator[list[Story]]:
    """The stories of each ``*.test.yaml`` file, read when they are asked for.

    ``check`` adds what else is wrong with a story to the report; it sees all nodes, which are forgotten then.
    """
    known: dict[tuple[str, str], int] = {}
    for file in sorted(files):
        if not file.endswith(STORIES) or (tree := parse(file, files[file], report)) is None:
            continue
        report.close_lines()
        if not isinstance(tree, SequenceNode):
            report.add(tree.location, "a test file is a list of stories, each beginning “- it: …”")
            continue
        stories = [Story.read(node, report) for node in tree.nodes]
        _report_same_names(stories, known, report)
        if check is not None:
            for story in stories:
                check(story)
        _forget_nodes(stories)
        yield stories


def _report_same_names(stories: Iterable[Story], known: dict[tuple[str, str], int], report: FaultReport) -> None:
    """A failed story is found by its name, so no two of one rule have the same; ``known`` are the lines by name."""
    for story in stories:
        if not story.steps:
            continue  # it is only begun, which is reported
        first = known.setdefault((story.rule, story.it), story.location.line)
        if first != story.location.line:
            sentence = f"the story on line {first} has the same name; say what this one shows"
            report.add(story.key_location("it"), sentence)


def _forget_nodes(stories: Iterable[Story]) -> None:
    """All but those of steps that act, which a transcript shows as they are written."""
    for story in stories:
        expecting = [step for step in story.steps if isinstance(step, ExpectStep)]
        effects = [effect for step in expecting for effect in step.effects]
        for section in (story, *story.people.values(), *expecting, *effects):
            section.forget_nodes()

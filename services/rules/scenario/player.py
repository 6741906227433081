"""Plays a story in virtual time, and reports the line at which its effects differ from the expected ones.

There is no broker and no database. Every requested message is at once reported as accepted, since a question is open
from the first evidence that it was sent.
"""

import mimetypes
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol

from msgspec import ValidationError

from services.rules.conversation.button_ids import sign_button_id
from services.rules.conversation.chain import Chain, ChainMessage
from services.rules.conversation.context import Decision, Effect, RequestedMessage
from services.rules.conversation.decider import Decider
from services.rules.conversation.fact_values import PersonFacts
from services.rules.conversation.facts import Facts
from services.rules.conversation.form_answers import CONTENT_TYPES
from services.rules.conversation.recurrence import Occurrence, next_occurrence, period_events
from services.rules.matching.conditions import FieldValues
from services.rules.matching.matcher import Matcher, RuleMatcher
from services.rules.rulebook.built_in import DIGEST, SHOW, add_built_in_rules
from services.rules.rulebook.faults import FileFault
from services.rules.rulebook.model import Condition, Rule, Rulebook
from services.rules.scenario.comparison import (
    EffectRow,
    ObservedEffect,
    compare_effects,
    effects_side_by_side,
    observe_effects,
)
from services.rules.scenario.story_file import (
    EventStep,
    ExpectStep,
    FactsStep,
    FailureStep,
    FileStep,
    ReadStep,
    Reply,
    ReplyStep,
    Story,
    StoryStep,
    UnplayableStep,
    WaitStep,
    WaitUntilStep,
    WriteStep,
)
from services.rules.scenario.story_world import TENANT, StoryFacts, StoryPeople, event_data, make_people
from shared.contracts.envelope import Event, EventData
from shared.contracts.errors import Misconfigured
from shared.contracts.ids import ContactId, EventId, Line, MessageId, PersonId, RuleId, Wamid, derive_id, partition_key
from shared.contracts.messages import MessageAccepted, MessageFailed, MessageForm, MessageRead
from shared.contracts.whatsapp import (
    Media,
    MediaRefusal,
    MediaRefused,
    MediaStored,
    MessageKind,
    MessageReceived,
    ScanVerdict,
)
from shared.contracts.writes import EVENT_KINDS, RequestWrite, WriteEventData, WriteOperation, WriteOutcome

_SIGNING_KEY = b"what a story's buttons are signed with"
_MEGABYTE = 1_000_000
_LARGEST_FILE = 100 * _MEGABYTE
"""The largest file that WhatsApp carries, and by default the largest that is kept."""
_UNKNOWN_MESSAGE = Wamid("wamid.unknown")
"""The message of a reaction by a person to whom no message was sent that rules could know."""

_EVENT_BY_OUTCOME = {model.outcome: model for model in EVENT_KINDS.values() if issubclass(model, WriteEventData)}


class StoryObserver(Protocol):
    """An observer of everything that rules decide in a story, to count what stories cover."""

    def matcher(self, matcher: Matcher) -> Matcher:
        """``matcher``, or one that also takes note of what it is asked."""

    def observe_condition(self, condition: Condition, values: FieldValues) -> None: ...

    def observe_decision(self, decision: Decision) -> None: ...


# ------------------------------------------------------------------ rules in virtual time


@dataclass(slots=True)
class Simulation:
    """Feeds events and replies to the rules, and collects their effects.

    ``now`` is virtual time. ``effects`` are cleared by the reader, ``writes`` are the unsettled ones. Of the
    recurring rules only ``recurring`` starts, so that a further one changes no other rule's stories.
    """

    decider: Decider
    facts: Facts
    now: datetime
    effects: list[Effect] = field(default_factory=list)
    writes: list[RequestWrite] = field(default_factory=list)
    observer: StoryObserver | None = None
    recurring: Rule | None = None
    _lines: dict[PersonId, Line] = field(default_factory=dict)
    _files: dict[PersonId, Media] = field(default_factory=dict)
    _count: int = 0

    def publish(self, data: EventData, key: str) -> None:
        self._count += 1
        event = Event(
            id=EventId(derive_id("story", self._count)),
            source="story",
            type=data.kind,
            time=self.now,
            recordedtime=self.now,
            tenantid=self.facts.tenant,
            partitionkey=key,
            data=data,
        )
        self._apply(self.decider.decide(event, self.facts, self.now))

    def receive(self, person: PersonId, line: str, kind: MessageKind, **content: Any) -> None:
        """A message from the person on this line; ``content`` are further fields of MessageReceived."""
        self._count += 1
        if (media := content.get("media")) is not None:
            content["media"] = self._files[person] = media.replace(file_id=f"file.{self._count}")
        message = MessageReceived(
            line=Line(line),
            person_id=person,
            message_id=Wamid(f"wamid.in.{self._count}"),
            message_kind=kind,
            at=self.now,
            **content,
        )
        self._lines[person] = message.line
        self._publish_of_person(message, person)

    def report_file(
        self, person: PersonId, refusal: MediaRefusal | None, size: int = 0, mime: str | None = None
    ) -> bool:
        """Report that the person's newest file is kept, or is not; False where they sent none.

        ``mime`` is the type of its content, where it is another than the sender's device said.
        """
        sent = self._files.get(person)
        if sent is None or sent.file_id is None:
            return False
        file_id = sent.file_id
        if refusal is None:
            report: MediaStored | MediaRefused = MediaStored(
                file_id=file_id,
                person_id=person,
                url=f"file:///{file_id}",
                mime=mime or _content_type(sent),
                declared_mime=sent.mime,
                size=size,
                sha256=file_id,
                verdict=ScanVerdict.CLEAN,
                at=self.now,
            )
        else:
            report = MediaRefused(
                file_id=file_id, person_id=person, reason=refusal, most_bytes=_LARGEST_FILE, at=self.now
            )
        self._publish_of_person(report, person)
        return True

    def report_read(self, sent: ChainMessage) -> None:
        if sent.wamid is not None:
            read = MessageRead(message_id=sent.message_id, person_id=sent.person_id, at=self.now, wamid=sent.wamid)
            self._publish_of_person(read, sent.person_id)

    def report_failed(self, sent: ChainMessage, code: int | None) -> None:
        failed = MessageFailed(
            message_id=sent.message_id,
            person_id=sent.person_id,
            at=self.now,
            wamid=sent.wamid,
            code=code,
            reason="undeliverable",
        )
        self._publish_of_person(failed, sent.person_id)

    def settle_write(self, operation: WriteOperation, outcome: WriteOutcome) -> bool:
        """Report the outcome of the oldest unsettled write of this operation; False where there is none."""
        write = next((each for each in self.writes if each.input.operation is operation), None)
        if write is None:
            return False
        if outcome not in {WriteOutcome.MANUAL, WriteOutcome.UNKNOWN}:
            self.writes.remove(write)
        settled = _EVENT_BY_OUTCOME[outcome](
            write_id=write.write_id, operation=operation, record=write.record, work_id=write.work_id, at=self.now
        )
        self.publish(settled, write.record)
        return True

    def advance(self, until: datetime) -> None:
        """Let time pass, inclusive: everything that falls due happens at its own instant.

        Raises UnplayableStep for a chain that stays due, which would stop time for good.
        """
        while (due := self._next_due(until)) is not None:
            self._start_period(due)
            self.now = max(due, self.now)
            for chain_id in [*self.facts.chains]:
                chain = self.facts.chains[chain_id]  # an earlier one may have released its messages
                if chain.next_due is not None and chain.next_due <= self.now:
                    self._run_due(chain)
        self.now = until

    def newest_message(
        self, person: PersonId, answer: str | None = None, template: str | None = None, rule: str | None = None
    ) -> ChainMessage | None:
        """The newest message to this person: of those with the button ``answer``, of this template, of this rule."""
        theirs = [
            message
            for chain in self.facts.chains.values()
            if rule in {None, chain.rule}
            for message in map(_as_sent, chain.messages)
            if message.person_id == person
            and message.requested_at is not None
            and (answer is None or answer in message.buttons)
            and template in {None, message.say}
        ]
        return max(theirs, key=lambda m: (m.requested_at or self.now, m.wamid or ""), default=None)

    def line_of(self, person: PersonId) -> Line | None:
        """The line of the last message from or to this person."""
        return self._lines.get(person)

    def report_accepted(self, message: MessageId, person: PersonId) -> None:
        self._count += 1
        accepted = MessageAccepted(
            message_id=message,
            person_id=person,
            at=self.now,
            wamid=Wamid(f"wamid.out.{self._count:06}"),
            wording=MessageForm.FREE_TEXT,
        )
        self._publish_of_person(accepted, person)

    def _publish_of_person(self, data: EventData, person: PersonId) -> None:
        self.publish(data, partition_key(self.facts.tenant, "persons", person))

    def _run_due(self, chain: Chain) -> None:
        self._apply(self.decider.decide_due(chain, self.facts, self.now))
        after = self.facts.chains[chain.chain_id].next_due
        if after is not None and after <= self.now:
            raise UnplayableStep(f"“{chain.rule}” stays due at {self.now:%Y-%m-%dT%H:%M:%SZ} and never comes to rest")

    def _next_due(self, until: datetime) -> datetime | None:
        """The next instant up to ``until`` at which a chain is due, or the recurring rule of the story."""
        dues = [chain.next_due for chain in self.facts.chains.values() if chain.next_due is not None]
        if (occurrence := self._next_occurrence()) is not None:
            dues.append(occurrence.at)
        return min((due for due in dues if due <= until), default=None)

    def _next_occurrence(self) -> Occurrence | None:
        if self.recurring is None or self.recurring.every is None:
            return None
        return next_occurrence(self.recurring.every, self.decider.rulebook.calendar.office, self.now)

    def _start_period(self, due: datetime) -> None:
        occurrence = self._next_occurrence()
        if self.recurring is None or occurrence is None or occurrence.at != due:
            return
        self.now = due
        book, chains = self.decider.rulebook, self.facts.chains.values()
        for event in period_events(book, self.recurring, occurrence, self.facts, chains, self.now):
            self._apply(self.decider.decide(event, self.facts, self.now))

    def _apply(self, decision: Decision) -> None:
        if self.observer is not None:
            self.observer.observe_decision(decision)
        self.facts.apply_changes(decision.changes)
        self.effects.extend(decision.effects)
        self.writes.extend(effect for effect in decision.effects if isinstance(effect, RequestWrite))
        for effect in decision.effects:
            if isinstance(effect, RequestedMessage):
                self._lines[effect.send.person_id] = effect.send.line
                if effect.send.chain_id is not None:
                    self.report_accepted(effect.send.message_id, effect.send.person_id)


def _as_sent(message: ChainMessage) -> ChainMessage:
    """The message that its person got, or the digest that it went within."""
    return (
        message if message.digest is None else message.replace(message_id=message.digest, say=DIGEST, buttons=(SHOW,))
    )


# ------------------------------------------------------------------ the steps of a story


@dataclass(frozen=True, slots=True)
class PlayedStep:
    """A step with the business time at its end; ``rows`` are the effects of an ``expect`` that did not come true."""

    step: StoryStep
    at: datetime
    rows: tuple[EffectRow, ...] = ()


@dataclass(frozen=True, slots=True)
class StoryResult:
    """The steps that were played. The last one has the ``faults``, if there are any: later ones would only follow."""

    story: Story
    steps: tuple[PlayedStep, ...]
    faults: tuple[FileFault, ...]
    seconds: float
    """Of CPU."""

    @property
    def passed(self) -> bool:
        return not self.faults


def run_story(
    story: Story, rulebook: Rulebook, observer: StoryObserver | None = None, *, has_second_engine: bool = True
) -> StoryResult:
    """Play the story up to the first step that cannot be played, or whose effects differ."""
    began, played = time.process_time(), list[PlayedStep]()
    player = StoryPlayer.of(story, rulebook, observer, has_second_engine=has_second_engine)
    faults: list[FileFault] = []
    for step in story.steps:
        rows: tuple[EffectRow, ...] = ()
        try:
            faults = player.play(step)
            rows = player.differences
        except UnplayableStep as error:
            faults = [FileFault(step.location, str(error))]
        except (Misconfigured, ValidationError, ValueError, TypeError, ArithmeticError, LookupError) as error:
            faults = [FileFault(step.location, f"this cannot be played: {error}")]
        played.append(PlayedStep(step, player.simulation.now, rows))
        if faults:
            break
    return StoryResult(story, tuple(played), tuple(faults), time.process_time() - began)


def play_story(story: Story, rulebook: Rulebook, *, has_second_engine: bool = True) -> list[FileFault]:
    """The faults of the first step that has any, each with the name of the story."""
    faults = run_story(story, rulebook, has_second_engine=has_second_engine).faults
    return [FileFault(fault.location, f"{story.it}: {fault.sentence}", fault.hint) for fault in faults]


@lru_cache(maxsize=2)
def _prepare(rulebook: Rulebook, has_second_engine: bool) -> tuple[Rulebook, RuleMatcher]:  # noqa: FBT001 -- part of a key
    """Building a matcher takes far longer than a story; it keeps nothing from one event to the next."""
    book = add_built_in_rules(rulebook)
    return book, RuleMatcher(book.rules.values(), has_second_engine=has_second_engine)


@dataclass(slots=True)
class StoryPlayer:
    """``differences`` are the effects of the last ``expect``, side by side, where they were not the expected ones."""

    people: StoryPeople
    simulation: Simulation
    facts: StoryFacts
    differences: tuple[EffectRow, ...] = ()

    @classmethod
    def of(
        cls, story: Story, rulebook: Rulebook, observer: StoryObserver | None = None, *, has_second_engine: bool = True
    ) -> "StoryPlayer":
        """Without ``has_second_engine`` the evaluator is alone, which saves time where a rulebook is played once."""
        book, matcher = _prepare(rulebook, has_second_engine)
        people = make_people(story, book)
        decider = Decider(
            rulebook=people.book,
            rulebook_at=lambda _: people.book,
            matcher=matcher if observer is None else observer.matcher(matcher),
            zone_of=lambda person: person.zone,
            signing_keys=(_SIGNING_KEY,),
            observe_condition=None if observer is None else observer.observe_condition,
        )
        persons = {person.person_id: person for person in people.people.values()}
        facts = Facts(TENANT, people=persons, consent=dict(people.consent))
        rule = people.book.rules.get(RuleId(story.rule))
        recurring = rule if rule is not None and rule.every is not None else None
        simulation = Simulation(decider, facts, story.start, recurring=recurring, observer=observer)
        return cls(people, simulation, StoryFacts(people, facts))

    def play(self, step: StoryStep) -> list[FileFault]:
        """The faults of an ``expect``; other steps have none. Raises UnplayableStep."""
        if isinstance(step, ExpectStep):
            return self._compare(step)
        _PLAYS[type(step)](self, step)
        return []

    def person(self, contact: ContactId) -> PersonFacts:
        if contact not in self.people.people:
            raise UnplayableStep(f"{contact} is not among the people of this story")
        return self.people.people[contact]

    def newest_message(
        self, contact: ContactId, answer: str | None = None, template: str | None = None, rule: str | None = None
    ) -> ChainMessage:
        found = self.simulation.newest_message(self.person(contact).person_id, answer, template, rule)
        if found is None:
            parts = ((" “{}”", template), (" with a button “{}”", answer), (" by the rule “{}”", rule))
            which = "".join(text.format(name) for text, name in parts if name)
            raise UnplayableStep(f"{contact} has got no message{which}")
        return found

    def observed(self) -> list[ObservedEffect]:
        """The effects since they were last asked for."""
        found = observe_effects(self.simulation.effects, self.simulation.facts, self.people)
        self.simulation.effects.clear()
        return found

    def _compare(self, step: ExpectStep) -> list[FileFault]:
        observed = self.observed()
        faults = compare_effects(step, observed)
        self.differences = effects_side_by_side(step, observed) if faults else ()
        return faults


def _play_event(player: StoryPlayer, step: EventStep) -> None:
    data = event_data(step.event, step.values, player.people)
    player.facts.apply_event(data, player.simulation.now)
    player.simulation.publish(data, partition_key(TENANT, "story"))


def _play_facts(player: StoryPlayer, step: FactsStep) -> None:
    player.facts.set_facts(step.facts, player.simulation.now)


def _play_reply(player: StoryPlayer, step: ReplyStep) -> None:
    reply, simulation = step.reply, player.simulation
    person = player.person(reply.sender).person_id
    line = reply.line or simulation.line_of(person) or player.people.book.tenant.default_line
    if reply.reaction is not None:
        quoted = simulation.newest_message(person, template=reply.to, rule=reply.rule)
        wamid = (quoted.wamid if quoted else None) or _UNKNOWN_MESSAGE
        simulation.receive(person, line, MessageKind.REACTION, text=reply.reaction, quoted_id=wamid)
        return
    message = (
        player.newest_message(reply.sender, reply.button, reply.to, reply.rule)
        if reply.button or reply.to or reply.rule
        else None
    )
    if message is not None and reply.button:
        button = sign_button_id((_SIGNING_KEY,), message.message_id, reply.button)
        title = _button_title(player.people.book, message, reply.button)
        simulation.receive(person, line, MessageKind.BUTTON, text=title, button_id=button)
        return
    media = _document(reply, reply.document) if reply.document else None
    kind = MessageKind.MEDIA if media else MessageKind.TEXT
    simulation.receive(person, line, kind, text=reply.text, media=media, quoted_id=message.wamid if message else None)


def _button_title(book: Rulebook, message: ChainMessage, answer: str) -> str:
    """The title of the button, which WhatsApp sends along with its id."""
    template = book.templates.get(message.say)
    text = template.languages.get(message.language or "") if template else None
    return text.buttons.get(answer, answer) if text else answer


def _document(reply: Reply, name: str) -> Media:
    size = None if reply.mb is None else reply.mb * _MEGABYTE
    return Media(media_id=f"media.{name}", mime=reply.mime or mimetypes.guess_type(name)[0], filename=name, size=size)


def _content_type(sent: Media) -> str:
    """The type that a file of this name has, unless the story says another."""
    kind = (sent.filename or "").rpartition(".")[2].lower()
    return min(CONTENT_TYPES.get(kind, ()), default=sent.mime or "application/pdf")


def _play_file(player: StoryPlayer, step: FileStep) -> None:
    file, person = step.file, player.person(step.file.sender).person_id
    if not player.simulation.report_file(person, file.refused, (file.mb or 0) * _MEGABYTE, file.mime):
        raise UnplayableStep(f"{file.sender} has sent no file")


def _play_read(player: StoryPlayer, step: ReadStep) -> None:
    player.simulation.report_read(player.newest_message(step.person))


def _play_failure(player: StoryPlayer, step: FailureStep) -> None:
    player.simulation.report_failed(player.newest_message(step.failed.to), step.failed.code)


def _play_write(player: StoryPlayer, step: WriteStep) -> None:
    if not player.simulation.settle_write(step.write.operation, step.write.outcome):
        raise UnplayableStep(f"no {step.write.operation} has been asked for that is not settled")


def _play_wait(player: StoryPlayer, step: WaitStep) -> None:
    player.simulation.advance(player.people.book.calendar.office.add(player.simulation.now, step.wait))


def _play_wait_until(player: StoryPlayer, step: WaitUntilStep) -> None:
    if step.instant < player.simulation.now:
        raise UnplayableStep(f"it is {player.simulation.now:%Y-%m-%dT%H:%M:%SZ} already")
    player.simulation.advance(step.instant)


_PLAYS: Mapping[type, Callable[[StoryPlayer, Any], None]] = {
    EventStep: _play_event,
    FactsStep: _play_facts,
    ReplyStep: _play_reply,
    FileStep: _play_file,
    ReadStep: _play_read,
    FailureStep: _play_failure,
    WriteStep: _play_write,
    WaitStep: _play_wait,
    WaitUntilStep: _play_wait_until,
}

"""Runs recorded events through a rulebook in virtual time, with what people really answered.

Every message is at once accepted, unless its delivery really failed. An answer that was really given is given again to
the same question of the same rule about the same subject: at its own time, or a minute after the question where that is
now asked later. A write has the outcome it really had, else it is verified. Recurring rules start by the calendar.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from services.rules.analysis.bundle import Reaction
from services.rules.analysis.pseudonyms import BUNDLE_KEYS
from services.rules.conversation.button_ids import sign_button_id
from services.rules.conversation.chain import UNSENT, Chain, ChainMessage, DeliveryState
from services.rules.conversation.context import Decision, RequestedMessage
from services.rules.conversation.decider import Decider, decider_of
from services.rules.conversation.decision_inputs import digest_of
from services.rules.conversation.document import newest_data
from services.rules.conversation.fact_values import Absence, Consent, PersonFacts
from services.rules.conversation.facts import Facts
from services.rules.conversation.people import staff_roles
from services.rules.conversation.recurrence import latest_occurrence, next_occurrence, period_events
from services.rules.conversation.required_facts import find_required_facts
from services.rules.rulebook.model import Every, Rulebook
from shared.contracts.envelope import Event, EventData
from shared.contracts.ids import ChainId, EventId, Line, PersonId, RuleId, TenantId, Wamid, derive_id, partition_key
from shared.contracts.messages import MessageFailed, SendMessage
from shared.contracts.whatsapp import MessageKind, MessageReceived
from shared.contracts.writes import EVENT_KINDS, RequestWrite, WriteEventData, WriteOutcome

_AFTER_A_QUESTION = timedelta(minutes=1)
_EVENT_BY_OUTCOME = {model.outcome: model for model in EVENT_KINDS.values() if issubclass(model, WriteEventData)}
_MOST_STEPS_AT_ONE_INSTANT = 100
HOUSE = "house"
"""In place of a rule, for what the service says by itself."""


class Message(NamedTuple):
    """A message of a run. ``case`` is the story it belongs to; ``country`` the recipient's.

    ``text`` is a digest, empty while the message waits for open hours. ``document`` is one of the address and the name
    of the attached document, empty without one.
    With ``needs_document`` the message goes only with it.
    """

    case: str
    rule: str
    subject: str
    title: str
    person: str
    country: str
    role: str
    verb: str
    say: str
    language: str
    text: str
    category: str
    at: datetime
    document: str = ""
    needs_document: bool = False


class EndedCase(NamedTuple):
    """How a chain of a run ended."""

    case: str
    rule: str
    subject: str
    ending: str


@dataclass(slots=True)
class RunResult:
    messages: list[Message] = field(default_factory=list)
    endings: list[EndedCase] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)


def message_of(case: str, book: Rulebook, facts: Facts, effect: RequestedMessage, at: datetime) -> Message:
    send = effect.send
    chain = facts.chains.get(send.chain_id) if send.chain_id is not None else None
    person = facts.people.get(send.person_id)
    template = book.templates.get(send.say)
    return Message(
        case=case,
        rule=str(send.rule or HOUSE),
        subject=chain.subject if chain else "",
        title=_title(chain),
        person=send.person_id,
        country=(person.country if person else None) or "",
        role=_role(book, person),
        verb=str(effect.verb),
        say=send.say,
        language=send.language,
        text=digest_of(send.body.encode()),
        category=str(template.category) if template else "service",
        at=at,
        document="" if send.document is None else digest_of(f"{send.document.address}\n{send.document.name}".encode()),
        needs_document=send.document is not None and not send.document.optional,
    )


def held_messages(case: str, book: Rulebook, facts: Facts) -> Iterator[Message]:
    """The messages that wait for open hours or for a cap, at the time at which they are to leave."""
    for chain in facts.chains.values():
        for held in chain.messages:
            if held.delivery is not DeliveryState.HELD or held.held_until is None:
                continue
            person, template = facts.people.get(held.person_id), book.templates.get(held.say)
            yield Message(
                case=case,
                rule=str(chain.rule),
                subject=chain.subject,
                title=_title(chain),
                person=held.person_id,
                country=(person.country if person else None) or "",
                role=_role(book, person),
                verb=str(held.verb),
                say=held.say,
                language=held.language or "",
                text="",
                category=str(template.category) if template else "service",
                at=held.held_until,
            )


def _role(book: Rulebook, person: PersonFacts | None) -> str:
    """The person's role towards the publisher in one word, for readers of the rules."""
    if person is None:
        return "person"
    roles = [*sorted(staff_roles(book.people, person)), *person.roles, "person" if person.contact_id else "visitor"]
    return roles[0].replace("_", " ")


def _title(chain: Chain | None) -> str:
    work = getattr(newest_data(chain), "work", None) if chain is not None else None
    return str(work.title) if work is not None else ""


@dataclass(slots=True)
class VirtualRun:
    """One rulebook over recorded events. ``until`` ends it: what would fall due later is not known."""

    book: Rulebook
    tenant: TenantId
    until: datetime
    decider: Decider = field(init=False)
    facts: Facts = field(init=False)
    result: RunResult = field(default_factory=RunResult)
    now: datetime = field(init=False)
    _due: list[tuple[datetime, ChainId]] = field(default_factory=list)
    _answers: list[tuple[datetime, int, Reaction, ChainId]] = field(default_factory=list)
    _reactions: dict[tuple[str, str], list[Reaction]] = field(default_factory=lambda: defaultdict(list))
    _periods: list[tuple[datetime, RuleId]] = field(default_factory=list)
    _count: int = 0

    def __post_init__(self) -> None:
        self.decider = decider_of(self.book, lambda _: self.book, BUNDLE_KEYS, has_second_engine=False)
        self.facts = Facts(self.tenant)
        self.now = datetime.min.replace(tzinfo=self.until.tzinfo)

    def expect_reactions(self, reactions: Iterable[Reaction]) -> None:
        for reaction in reactions:
            self._reactions[reaction.rule, reaction.subject].append(reaction)

    def opt_out(self, people: Iterable[PersonId], at: datetime) -> None:
        for person in people:
            self.facts.consent[person] = Consent(opted_out_at=at)

    def announce_absences(self, absences: Mapping[PersonId, Absence]) -> None:
        self.facts.absences.update(absences)

    def start_recurring(self, after: datetime) -> None:
        """Let recurring rules start in every period that begins after this instant."""
        for rule in self.book.rules.values():
            if rule.every is not None:
                self._plan_period(rule.name, rule.every, after)

    def run(self, events: Iterable[Event]) -> RunResult:
        for event in events:
            self.advance(event.recordedtime)
            self.now = max(self.now, event.recordedtime)
            if find_required_facts((event,), self.book, self.tenant, self.now).idle:
                continue
            self._decide(event)
        self.advance(self.until)
        self.result.messages += held_messages("", self.book, self.facts)
        return self.result

    def advance(self, until: datetime) -> None:
        """Everything that falls due, and every answer that comes, at its own instant."""
        while True:
            due = self._due[0][0] if self._due else None
            answered = self._answers[0][0] if self._answers else None
            period = self._periods[0][0] if self._periods else None
            first = min((at for at in (due, answered, period) if at is not None), default=None)
            if first is None or first > until:
                return
            self.now = max(self.now, first)
            if answered == first:
                _, _, reaction, chain_id = heapq.heappop(self._answers)
                self._tap(reaction, chain_id)
            elif period == first:
                self._start_period(heapq.heappop(self._periods)[1])
            else:
                self._run_due(heapq.heappop(self._due)[1], first)

    def _plan_period(self, rule: RuleId, every: Every, after: datetime) -> None:
        occurrence = next_occurrence(every, self.book.calendar.office, after)
        if occurrence is not None:
            heapq.heappush(self._periods, (occurrence.at, rule))

    def _start_period(self, name: RuleId) -> None:
        rule = self.book.rules[name]
        if rule.every is None:
            return
        occurrence = latest_occurrence(rule.every, self.book.calendar.office, self.now)
        if occurrence is not None:
            chains = tuple(self.facts.chains.values())
            for event in period_events(self.book, rule, occurrence, self.facts, chains, self.now):
                self._decide(event)
        self._plan_period(name, rule.every, self.now)

    def _run_due(self, chain_id: ChainId, due: datetime) -> None:
        for _ in range(_MOST_STEPS_AT_ONE_INSTANT):
            chain = self.facts.chains.get(chain_id)
            if chain is None or chain.next_due is None or chain.next_due > self.now:
                return
            self._apply(self.decider.decide_due(chain, self.facts, self.now))
        self._fail(f"a chain of {chain_id} never comes to rest at {due:%Y-%m-%d %H:%M}Z")

    def _fail(self, sentence: str) -> None:
        self.result.failures[sentence] = self.result.failures.get(sentence, 0) + 1

    def _decide(self, event: Event) -> None:
        try:
            decision = self.decider.decide(event, self.facts, self.now)
        except Exception as error:  # noqa: BLE001 -- an event that a rulebook cannot take is a finding, not an end
            self._fail(f"{event.type}: {type(error).__name__}: {error}")
            return
        self._apply(decision)

    def _apply(self, decision: Decision) -> None:
        self.facts.apply_changes(decision.changes)
        self.facts.changed.clear()
        self.facts.notices.clear()
        writes = []
        for effect in decision.effects:
            if isinstance(effect, RequestedMessage):
                message = message_of("", self.book, self.facts, effect, self.now)
                self.result.messages.append(message)
                self._after_sending(effect.send)
            elif isinstance(effect, RequestWrite):
                writes.append(effect)
        for kind, key in decision.changes.changed:
            if kind == "chain":
                self._keep(ChainId(str(key)))
        for write in writes:
            self._settle(write)

    def _keep(self, chain_id: ChainId) -> None:
        chain = self.facts.chains.get(chain_id)
        if chain is None:
            return
        if chain.ended is not None:
            self.result.endings.append(EndedCase("", chain.rule, chain.subject, str(chain.ended)))
            self.facts.remove_chain(chain)
        elif chain.next_due is not None:
            heapq.heappush(self._due, (chain.next_due, chain_id))

    def _after_sending(self, send: SendMessage) -> None:
        chain = self.facts.chains.get(send.chain_id) if send.chain_id is not None else None
        message = chain.message(send.message_id) if chain is not None else None
        if chain is None or message is None or message.delivery in UNSENT:
            return
        reactions = self._reactions.get((chain.rule, chain.subject), [])
        failed = next((r for r in reactions if r.failed and r.person_id == send.person_id and r.say == send.say), None)
        if failed is not None:
            reactions.remove(failed)
            data = MessageFailed(
                message_id=send.message_id, person_id=send.person_id, at=self.now, reason="undeliverable"
            )
            self._decide(self._event(data, partition_key(self.tenant, "persons", send.person_id)))
            return
        accepted = message.replace(delivery=DeliveryState.ACCEPTED, wamid=Wamid(f"wamid.out.{send.message_id}"))
        self.facts.add_chain(chain.with_message(accepted))
        if accepted.buttons:
            self._schedule_answer(chain, accepted, reactions)

    def _schedule_answer(self, chain: Chain, question: ChainMessage, reactions: list[Reaction]) -> None:
        """The answer that the person really gave, if this question offers it."""
        for reaction in reactions:
            if reaction.person_id == question.person_id and reaction.answer in question.buttons:
                reactions.remove(reaction)
                self._count += 1
                at = max(reaction.at, self.now + _AFTER_A_QUESTION) if reaction.at <= self.now else reaction.at
                heapq.heappush(self._answers, (at, self._count, reaction, chain.chain_id))
                return

    def _tap(self, reaction: Reaction, chain_id: ChainId) -> None:
        chain = self.facts.chains.get(chain_id)
        if chain is None or reaction.person_id is None or reaction.answer is None:
            return
        asked = (m for m in reversed(chain.messages) if m.person_id == reaction.person_id)
        question = next((m for m in asked if reaction.answer in m.buttons and not m.closed), None)
        if question is None:
            return
        self._count += 1
        tap = MessageReceived(
            line=chain.line or Line(self.book.tenant.default_line),
            person_id=reaction.person_id,
            message_id=Wamid(f"wamid.in.{self._count}"),
            message_kind=MessageKind.BUTTON,
            button_id=sign_button_id(BUNDLE_KEYS, question.message_id, reaction.answer),
            at=self.now,
        )
        self._decide(self._event(tap, partition_key(self.tenant, "persons", reaction.person_id)))

    def _settle(self, write: RequestWrite) -> None:
        chain = self.facts.chains.get(write.evidence.chain_id) if write.evidence.chain_id is not None else None
        outcome = WriteOutcome.VERIFIED
        for reaction in self._reactions.get((chain.rule, chain.subject), []) if chain is not None else ():
            if reaction.operation is write.input.operation and reaction.outcome is not None:
                outcome = reaction.outcome
                break
        settled = _EVENT_BY_OUTCOME[outcome](
            write_id=write.write_id,
            operation=write.input.operation,
            record=write.record,
            work_id=write.work_id,
            at=self.now,
        )
        self._decide(self._event(settled, write.record))

    def _event(self, data: EventData, key: str) -> Event:
        self._count += 1
        return Event(
            id=EventId(derive_id("virtual", self._count)),
            source="virtual",
            type=data.kind,
            time=self.now,
            recordedtime=self.now,
            tenantid=self.tenant,
            partitionkey=key,
            data=data,
        )

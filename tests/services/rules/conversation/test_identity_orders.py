"""STOP, START, merge, its undoing, a changed number or BSUID and an erasure, in all orders, around one open question.

The question has a held reminder, and a form of the same person, under either id, is half filled.
"""

from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.rules.conversation.chain import Chain, DeliveryState
from services.rules.conversation.context import Decision, RequestedMessage
from services.rules.conversation.facts import Facts
from services.rules.rulebook.model import Verb
from shared.contracts.contacts import Addresses, PersonObserved
from shared.contracts.envelope import EventData
from shared.contracts.ids import Bsuid, MessageId, PersonId, Phone, Wamid
from shared.contracts.messages import SendMessage, WithdrawMessage
from shared.contracts.whatsapp import IdentityChange, IdentityChanged
from tests.services.rules.conversation.test_consent import CONTACT, Word, at, decider, event_of, said, visitor
from tests.services.rules.conversation.test_merges import FIRST, HOLDER, WORK_REF, facts_after, pitched
from tests.services.rules.rules_service import golden_event, person_observed

IDS = (FIRST, CONTACT)


class Turn(StrEnum):
    STOP = "stop"
    STOP_BY_CONTACT = "stop_by_contact"
    START = "start"
    START_BY_CONTACT = "start_by_contact"
    MERGE = "merge"
    SPLIT = "split"
    NUMBER = "number"
    BSUID = "bsuid"
    ERASURE = "erasure"


WORDS = {
    Turn.STOP: (FIRST, "STOP"),
    Turn.STOP_BY_CONTACT: (CONTACT, "STOP"),
    Turn.START: (FIRST, "START"),
    Turn.START_BY_CONTACT: (CONTACT, "START"),
}


@cache
def begun(holder: PersonId, writer: PersonId) -> tuple[Facts, datetime]:
    """An open question to one id with a held reminder, and a form that one id has begun; and what time it is."""
    facts = facts_after([])
    asked = {**HOLDER, "person_id": holder, "contact_id": 806 if holder == CONTACT else None}
    request = golden_event(
        "consonance.rights.approval_requested.v1", rights_holder=asked, work=WORK_REF, respond_by="2027-04-30"
    )
    for count, data in enumerate((request.data, pitched(writer, "A history of tide mills", 2))):
        facts.apply_changes(decider().decide(event_of(data, 900 + count), facts, at(1 + count)).changes)
    chain = the_question(facts)
    facts.add_chain(chain.with_message(chain.messages[0].replace(delivery=DeliveryState.DELIVERED)))
    now = chain.next_due
    assert now is not None
    facts.read_to = lambda _: now
    facts.apply_changes(decider().decide_due(the_question(facts), facts, now).changes)
    chain = the_question(facts)
    (reminder,) = [one for one in chain.messages if one.verb is Verb.REMIND]
    until = now + timedelta(days=3)
    held = reminder.replace(delivery=DeliveryState.HELD, held_until=until, requested_at=None)
    facts.add_chain(chain.with_message(held).replace(next_due=until))
    facts.read_to = lambda _: datetime.min.replace(tzinfo=UTC)
    return facts, now


def the_question(facts: Facts) -> Chain:
    return next(one for one in facts.chains.values() if one.rule == "rights-approval")


@dataclass
class World:
    """``requested`` are messages to the person that wait in the dispatcher."""

    facts: Facts
    now: datetime
    merged: bool = False
    erased: frozenset[PersonId] = frozenset()
    phone: str = "+447700900806"
    bsuid: str | None = None
    versions: dict[PersonId, int] = field(default_factory=lambda: dict.fromkeys(IDS, 1))
    requested: dict[MessageId, SendMessage] = field(default_factory=dict)
    stopped: set[PersonId] = field(default_factory=set)

    def play(self, turn: Turn, count: int) -> None:
        self.now += timedelta(minutes=1)
        for number, data in enumerate(self._events(turn, count)):
            decision = decider().decide(event_of(data, 1000 + 10 * count + number), self.facts, self.now)
            self.take(decision)
        self._note_words(turn)
        assert {one for one in self.stopped if not self.facts.opted_out(one)} == set()

    def take(self, decision: Decision) -> None:
        self.facts.apply_changes(decision.changes)
        for effect in decision.effects:
            if isinstance(effect, WithdrawMessage):
                self.requested.pop(effect.message_id, None)
            elif isinstance(effect, RequestedMessage) and effect.send.person_id in IDS and not effect.send.mandatory:
                assert not self.is_gone(effect.send.person_id), effect.send.say
                self.requested[effect.send.message_id] = effect.send

    def is_gone(self, person: PersonId) -> bool:
        """Nothing may go to this id."""
        current = self.facts.current_person(person)
        return (
            self.facts.opted_out(person) or self.facts.people[person].erased or (current is not None and current.erased)
        )

    def _note_words(self, turn: Turn) -> None:
        """A STOP counts for all ids of then, and after a merge for both; a START ends it for the ids of then."""
        if turn is Turn.MERGE and self.stopped:
            self.stopped |= {*IDS}
        if turn in WORDS:
            person, word = WORDS[turn]
            concerned = {*IDS} if self.merged else {person}
            self.stopped = self.stopped | concerned if word == "STOP" else self.stopped - concerned

    def _events(self, turn: Turn, count: int) -> Sequence[EventData]:
        match turn:
            case Turn.STOP | Turn.STOP_BY_CONTACT | Turn.START | Turn.START_BY_CONTACT:
                message = said(Word(*WORDS[turn], 0))
                return (message.replace(at=self.now, message_id=Wamid(f"w{count}")),)
            case Turn.MERGE | Turn.SPLIT:
                self.merged = turn is Turn.MERGE
                return (self._state(FIRST),)
            case Turn.ERASURE:
                self.erased |= {*IDS} if self.merged else {CONTACT}
                return [self._state(one) for one in sorted(self.erased)]
            case Turn.NUMBER:
                self.phone, change = "+447700900777", IdentityChange.NUMBER
            case Turn.BSUID:
                self.bsuid, change = "GB.222", IdentityChange.BSUID
        return IdentityChanged(person_id=CONTACT, change=change, at=self.now), self._state(CONTACT)

    def _state(self, person: PersonId) -> PersonObserved:
        self.versions[person] += 1
        is_erased, into = person in self.erased, CONTACT if self.merged and person == FIRST else None
        known = visitor(FIRST) if person == FIRST else person_observed(806)
        if is_erased:
            known = PersonObserved(person_id=person, erased=True, observed_at=self.now, version=1)
        bsuid = Bsuid(self.bsuid) if self.bsuid and person == CONTACT else None
        addresses = Addresses() if is_erased or into else Addresses(phone=Phone(self.phone), bsuid=bsuid)
        return known.replace(addresses=addresses, version=self.versions[person], merged_into=into, observed_at=self.now)


def orders_of(*turns: Turn) -> st.SearchStrategy[list[Turn]]:
    return st.permutations(turns)


EITHER_STOP, EITHER_START = st.sampled_from([Turn.STOP, Turn.STOP_BY_CONTACT]), st.sampled_from([*WORDS][2:])
ORDERS = st.tuples(EITHER_STOP, EITHER_START).flatmap(
    lambda words: orders_of(*words, Turn.MERGE, Turn.SPLIT, Turn.NUMBER, Turn.BSUID, Turn.ERASURE)
)


@pytest.mark.parametrize("writer", IDS, ids=["form_of_visitor", "form_of_contact"])
@pytest.mark.parametrize("holder", IDS, ids=["visitor_asked", "contact_asked"])
@settings(max_examples=40)
@given(order=ORDERS)
@example(order=[Turn.STOP, Turn.START, Turn.MERGE, Turn.NUMBER, Turn.BSUID, Turn.SPLIT, Turn.ERASURE])
def test_nothing_goes_or_waits_for_a_person_who_stopped_or_is_erased_and_one_question_is_open_once(
    holder: PersonId, writer: PersonId, order: list[Turn]
) -> None:
    facts, now = begun(holder, writer)
    world = World(deepcopy(facts), now)
    for count, turn in enumerate(order):
        world.play(turn, count)
    release_what_is_held(world)
    for one in filter(world.is_gone, IDS):
        assert one not in {message.person_id for message in world.requested.values()}
        assert not any(waits_for(chain, one) for chain in world.facts.chains.values())
    for chain in world.facts.chains.values():
        open_ones = [m.person_id for m in chain.messages if m.open and m.verb is Verb.ASK and m.person_id in IDS]
        assert len(open_ones) <= 1


def release_what_is_held(world: World) -> None:
    """Four days later, what was held for the person, and what is due by then, goes once, if at all."""
    late = world.now + timedelta(days=4)
    world.facts.read_to = lambda _: late
    before = {*world.requested}
    for known in list(world.facts.chains.values()):
        chain = world.facts.chains[known.chain_id]
        if chain.next_due is not None and chain.next_due <= late:
            world.take(decider().decide_due(chain, world.facts, late))
    sent = Counter(message.say for name, message in world.requested.items() if name not in before)
    assert set(sent.values()) <= {1}


def waits_for(chain: Chain, person: PersonId) -> bool:
    """Whether a question, a form or a message that may go is this person's."""
    form = chain.form
    fills = chain.active and form is not None and not form.over and form.person_id == person
    mine = [message for message in chain.messages if message.person_id == person]
    held = [one for one in mine if one.delivery is DeliveryState.HELD]
    return fills or bool(held) or any(one.open for one in mine)

"""Any conversation comes to rest: events, answers and reports of the dispatcher in random order.

No message is requested twice, none goes to a person who has opted out, was erased or has no address, none but a reply
to where another person is, none is longer than WhatsApp takes or has a parameter left unfilled, none that waits may
leave at night where its person is now. No answer counts for a person who was not asked. In the end every chain is over.
This holds by the rules of this repository, and by random ones that change on the way.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import Any

import pytest

from services.rules.conversation.button_ids import sign_button_id
from services.rules.conversation.chain import IN_DISPATCHER, Chain, ChainMessage, DeliveryState
from services.rules.conversation.context import RequestedMessage
from services.rules.conversation.decider import Decider
from services.rules.conversation.fact_values import PersonFacts
from services.rules.conversation.people import working_hours
from services.rules.conversation.send_hours import AWAITED_FOR
from services.rules.matching.matcher import RuleMatcher
from services.rules.rulebook.built_in import SHOW, add_built_in_rules
from services.rules.rulebook.catalogue import party_fields
from services.rules.rulebook.model import Cap, CapPeriod, Rulebook, Severity
from services.rules.scenario.player import StoryPlayer
from services.rules.scenario.story_file import UnplayableStep
from services.rules.scenario.story_world import event_data
from shared.clients.whatsapp_limits import BODY_LENGTH, TEXT_LENGTH
from shared.contracts import consonance
from shared.contracts.consonance import WorkObserved
from shared.contracts.contacts import Addresses, PersonObserved
from shared.contracts.ids import MessageId, PersonId, Phone, Revision, Wamid, partition_key
from shared.contracts.messages import (
    AmendMessage,
    MessageDelivered,
    MessageDropped,
    MessageFailed,
    MessageRead,
    MessageResolved,
    OpenSpan,
    Resolution,
    SendMessage,
    WithdrawMessage,
)
from shared.contracts.values import decode, encode
from shared.contracts.vocabulary import Role, Stage
from shared.contracts.whatsapp import (
    IdentityChange,
    IdentityChanged,
    Media,
    MediaRefusal,
    MessageKind,
    Preference,
    PreferenceChanged,
)
from shared.contracts.writes import RequestWrite, WriteOutcome
from tests.services.rules import random_rulebooks
from tests.services.rules.delayed_dispatcher import SilentSimulation
from tests.services.rules.stories import own_rulebook, story

CONVERSATIONS = 80
RULEBOOKS = 60
RANDOM_WORDS = 2  # “_” in the name of a random template
PEOPLE = """\
812: {roles: [rights_holder], country: FR, language: fr}
806: {roles: [rights_holder, author], country: GB}
801: {roles: [author], country: GB}
830: {roles: [designer, illustrator], country: US}
22: {roles: [production_coordinator, production_lead], country: GB}
61: {roles: [finance], country: GB}
40: {roles: [rights_manager], country: GB}
12: {roles: [escalation_1, escalation_2], country: GB}
71: {roles: [commissioning_editor, editor], country: GB}
31: {roles: [metadata_manager, sales, marketing], country: DE}
5001: {visitor: true, name: Maud, country: GB}
5002: {visitor: true, country: IN}
900: {stands_in_for: 812, country: FR, language: fr}
"""
VISITORS = (5001, 5002)
EVENTS = sorted(consonance.short_name(kind) for kind, model in consonance.KINDS.items() if model is not WorkObserved)
OWN_IDS = ("request_id", "payment_id", "statement_id", "milestone_id", "block_id", "acquisition_id")
DAYS = ("respond_by", "due_on", "expires_on")
TEXTS = (
    "STOP", "START", "yes", "Hello", "👍", "thanks", "cancel", "wrong number", "I am back", "why?", "9781784420017",
    "2", "What is this?", "482913", "later", "I am away until Friday", "Tides and salt, a quiet novel of the coast",
)  # fmt: skip
REFERRING = (MessageKind.TEXT, MessageKind.TEXT, MessageKind.REACTION, MessageKind.EDIT, MessageKind.REVOKE)
CODES = (131026, 131047, 131049, 131050, 130472, None)
WAITS = tuple(timedelta(hours=hours) for hours in (0.02, 0.3, 1, 5, 14, 24, 72, 216))
CAPS = ((), (Cap(2, CapPeriod.DAY),), (Cap(1, CapPeriod.DAY), Cap(3, CapPeriod.WEEK)))
DIGESTS = (None, Severity.INFO, Severity.WARNING)


@cache
def rulebook(caps: tuple[Cap, ...], digest: Severity | None) -> Rulebook:
    return with_limits(own_rulebook(), caps, digest)


def with_limits(book: Rulebook, caps: tuple[Cap, ...], digest: Severity | None) -> Rulebook:
    return replace(book, tenant=replace(book.tenant, caps=caps, digest=digest))


@dataclass(slots=True)
class Conversation:
    random: Random
    player: StoryPlayer
    simulation: SilentSimulation
    events: Sequence[str] = ()
    rulebooks: dict[Revision, Rulebook] = field(default_factory=dict)
    requested: set[str] = field(default_factory=set)
    said: set[tuple[object, ...]] = field(default_factory=set)
    withdrawals: list[WithdrawMessage] = field(default_factory=list)
    hours: dict[str, tuple[OpenSpan, ...]] = field(default_factory=dict)
    receivers: dict[str, PersonId] = field(default_factory=dict)

    @classmethod
    def of(cls, seed: int, own: Rulebook | None = None) -> "Conversation":
        random = Random(seed)
        caps, digest = random.choice(CAPS), random.choice(DIGESTS)
        book = rulebook(caps, digest) if own is None else with_limits(own, caps, digest)
        player = StoryPlayer.of(story(PEOPLE, "expect: nothing"), book)
        start = datetime(2027, random.randint(1, 12), random.randint(1, 28), random.randint(0, 23), tzinfo=UTC)
        simulation = SilentSimulation(player.simulation.decider, player.simulation.facts, start)
        simulation.recurring = next((rule for rule in book.rules.values() if rule.every), None)
        player.simulation = simulation
        current = simulation.decider.rulebook
        events = EVENTS if own is None else sorted(random_rulebooks.EVENTS)
        return cls(random, player, simulation, events, {current.revision: current})

    def person(self, *contacts: int) -> PersonId:
        contact = self.random.choice(contacts or sorted(self.player.people.people))
        return self.player.people.people[contact].person_id  # type: ignore[index]

    def messages(self) -> list[ChainMessage]:
        return [message for chain in self.simulation.facts.chains.values() for message in chain.messages]

    # ---------------------------------------------------------- moves

    def happen(self) -> None:
        """An event of Consonance, about one of a few works and people."""
        random, name = self.random, self.random.choice(self.events)
        fields = consonance.KINDS[consonance.kind_of(name)].__struct_encode_fields__
        values: dict[str, Any] = {each: f"X-{random.randint(1, 3)}" for each in OWN_IDS if each in fields}
        values |= {each: self._some_day() for each in DAYS if each in fields and random.random() < 0.6}
        parties = [each for each in sorted(party_fields(name)) if random.random() < 0.6]
        values |= {each: random.choice(sorted(self.player.people.people)) for each in parties}
        if "work" in fields and random.random() < 0.5:
            values["work"] = {"work_id": random.randint(1, 3), "title": "Night Ferry"}
        try:
            data = event_data(name, values, self.player.people)
        except UnplayableStep:
            return  # there is no such event
        self.player.facts.apply_event(data, self.simulation.now)
        self.simulation.publish(data, partition_key(self.simulation.facts.tenant, "story"))

    def _some_day(self) -> str:
        return str((self.simulation.now + timedelta(days=self.random.randint(-5, 40))).date())

    def tap(self) -> None:
        """A button of one of the newest questions, by the person who got it."""
        people = {person.person_id: contact for contact, person in self.player.people.people.items()}
        asked = [m for m in self.messages() if m.buttons and m.requested_at is not None and m.person_id in people][-8:]
        if asked:
            question = self.random.choice(asked)
            self._play(f"reply: {{from: {people[question.person_id]}, button: {self.random.choice(question.buttons)}}}")

    def _play(self, step: str) -> None:
        """Play a step of a story; a button that its person never got is not tapped."""
        (parsed,) = story(PEOPLE, step).steps
        with suppress(UnplayableStep):
            assert self.player.play(parsed) == []

    def write(self) -> None:
        line = self.random.choice(("main", "acquisitions"))
        self.simulation.receive(self.person(), line, MessageKind.TEXT, text=self.random.choice(TEXTS))

    def send_file(self) -> None:
        self._play(
            f"reply: {{from: {self.random.choice(VISITORS)}, document: novel.{self.random.choice(('pdf', 'exe'))}}}"
        )
        refusal = self.random.choice((None, *MediaRefusal))
        self.simulation.report_file(self.person(*VISITORS), refusal, size=2_000_000)

    def settle(self) -> None:
        if self.simulation.writes:
            operation = self.random.choice(self.simulation.writes).input.operation
            self.simulation.settle_write(operation, self.random.choice(tuple(WriteOutcome)))

    def wait(self) -> None:
        self.simulation.advance(self.simulation.now + self.random.choice(WAITS))

    def dispatch(self) -> None:
        """The dispatcher reports on one of the messages that it has, or on all."""
        if self.simulation.requested:
            index = self.random.randrange(len(self.simulation.requested))
            reports = (self.simulation.report_one, self.simulation.report_one, self.simulation.report_uncertain)
            self.random.choice(reports)(index)
        if self.random.random() < 0.2:
            self.simulation.report_all()

    def withdraw(self) -> None:
        """The dispatcher was in time to withdraw a message."""
        waiting = {message: (message, person) for message, person in self.simulation.requested}
        asked = [each for each in self.withdrawals if each.message_id in waiting]
        if asked:
            withdrawal = self.random.choice(asked)
            self.simulation.requested.remove(waiting[withdrawal.message_id])
            self.simulation.report_withdrawn(withdrawal)

    def send_again(self) -> None:
        sent = [m for m in self.messages() if m.delivery in {DeliveryState.ACCEPTED, DeliveryState.UNCERTAIN}]
        if sent:
            message = self.random.choice(sent)
            self.simulation.report_again(message.digest or message.message_id, message.person_id)
            self.simulation.requested.append((message.digest or message.message_id, message.person_id))

    def fail(self) -> None:
        sent = [m for m in self.messages() if m.delivery is DeliveryState.ACCEPTED]
        if sent:
            self.simulation.report_failed(self.random.choice(sent), self.random.choice((131026, 131050, None)))

    def move_on(self) -> None:
        """A work is at another stage, or is cancelled."""
        if self.simulation.facts.works:
            number = self.random.choice(sorted(self.simulation.facts.works))
            stage, cancelled = self.random.choice(tuple(Stage)), self.random.random() < 0.1
            self.simulation.observe_work(number, stage_key=stage, cancelled=cancelled)

    def change_person(self) -> None:
        """A visitor turns out to be another person, or is one of their own again; or a person is erased."""
        person = self.person(*VISITORS)
        known = self.simulation.facts.people[person]
        other = self.simulation.facts.current_id(self.person(801, 806, 812, *VISITORS))
        if self.random.random() < 0.2:
            erased = self.person()
            version = self.simulation.facts.people[erased].version + 1
            seen = PersonObserved(person_id=erased, erased=True, observed_at=self.simulation.now, version=version)
        else:
            into = other if other != person and self.random.random() < 0.7 else None
            seen = PersonObserved(
                person_id=person, merged_into=into, observed_at=self.simulation.now, version=known.version + 1
            )
        self.simulation.publish_of(seen.person_id, seen)

    def tap_any(self) -> None:
        """A button of any message ever, perhaps of one forwarded to another person."""
        asked = [m for m in self.messages() if m.requested_at is not None and (m.buttons or m.digest)]
        if asked:
            found = self.random.choice(asked)
            self._tap(found, found.person_id if self.random.random() < 0.75 else self.person())

    def tap_together(self) -> None:
        """Two people, or one of them twice, tap in the same second."""
        asked: dict[tuple[str, int], list[ChainMessage]] = {}
        for message in self.messages():
            if message.buttons and message.requested_at is not None:
                asked.setdefault((message.say, message.step), []).append(message)
        several = [found for found in asked.values() if len(found) > 1]
        for message in self.random.sample(self.random.choice(several), 2) if several else ():
            for _ in range(self.random.randint(1, 2)):
                self._tap(message, message.person_id)

    def _tap(self, message: ChainMessage, person: PersonId) -> None:
        answer = SHOW if message.digest is not None else self.random.choice(message.buttons)
        keys, sent_as = self.simulation.decider.signing_keys, message.digest or message.message_id
        button = sign_button_id(keys, sent_as, answer)
        self.simulation.receive(person, "main", MessageKind.BUTTON, text=answer, button_id=button)

    def refer(self) -> None:
        """Words, a reaction, an edit or a deletion that refers to a message, mostly by the person who got it."""
        known = [m for m in self.messages() if m.wamid is not None]
        if known:
            found, kind = self.random.choice(known), self.random.choice(REFERRING)
            text = "👍" if kind is MessageKind.REACTION else self.random.choice(TEXTS)
            person = found.person_id if self.random.random() < 0.8 else self.person()
            self.simulation.receive(person, "main", kind, text=text, quoted_id=found.wamid)

    def send_voice(self) -> None:
        media = Media(media_id="media.voice", mime=self.random.choice(("audio/ogg; codecs=opus", "image/webp")))
        self.simulation.receive(self.person(), "main", MessageKind.MEDIA, media=media)

    def report(self) -> None:
        """The dispatcher reports on a message, perhaps twice, and not in the order of what happened."""
        sent = [m for m in self.messages() if m.requested_at is not None and m.delivery is not DeliveryState.WITHDRAWN]
        if not sent:
            return
        found, simulation = self.random.choice(sent), self.simulation
        about: dict[str, Any] = {
            "message_id": found.digest or found.message_id,
            "person_id": found.person_id,
            "at": simulation.now,
        }
        wamid = found.wamid or Wamid(f"wamid.{found.message_id}")
        reports = (
            MessageDelivered(**about, wamid=wamid),
            MessageRead(**about, wamid=wamid),
            MessageFailed(**about, wamid=found.wamid, code=self.random.choice(CODES), reason="undeliverable"),
            MessageDropped(**about, reason="expired"),
            MessageResolved(**about, resolution=Resolution.NOT_SENT, evidence="silence"),
            MessageResolved(**about, resolution=Resolution.SENT, evidence="status"),
        )
        simulation.requested[:] = [one for one in simulation.requested if one[0] != about["message_id"]]
        for report in [self.random.choice(reports)] * self.random.randint(1, 2):
            simulation.publish_of(found.person_id, report)

    def change_account(self) -> None:
        """Another account is at the number, or the person turns offers off or on."""
        person, now = self.person(), self.simulation.now
        self.simulation.publish_of(
            person,
            self.random.choice(
                (
                    IdentityChanged(person_id=person, change=self.random.choice(tuple(IdentityChange)), at=now),
                    PreferenceChanged(
                        person_id=person,
                        category="marketing_messages",
                        value=self.random.choice(tuple(Preference)),
                        at=now,
                    ),
                )
            ),
        )

    def move_away(self) -> None:
        """A person lives elsewhere now, perhaps with another number or without one."""
        known = self.simulation.facts.people[self.person()]
        if known.merged_into is None and not known.erased:
            zone = self.random.choice(("Europe/London", "America/Los_Angeles", "Asia/Tokyo"))
            phone = self.random.choice((None, *(Phone(f"+44163296000{last}") for last in (1, 1, 1, 2))))
            seen = PersonObserved(
                person_id=known.person_id,
                contact_id=known.contact_id,
                display_name=known.display_name,
                country=known.country,
                language=known.language,
                zone=zone,
                roles=tuple(map(Role, known.roles)),
                addresses=Addresses(phone=phone),
                observed_at=self.simulation.now,
                version=known.version + 1,
            )
            self.simulation.publish_of(known.person_id, seen)

    def share_number(self) -> None:
        """Consonance gets a visitor's number at a contact by mistake, which merges them; or corrects it again, and the
        visitor writes from there.
        """
        facts, visitor = self.simulation.facts, self.random.choice(VISITORS)
        known, number = facts.people[self.person(visitor)], Addresses(phone=Phone(f"+44163296{visitor}"))
        contact = facts.people[known.merged_into or self.person(801, 806, 812, 40)]
        if known.erased or contact.erased or contact.contact_id is None:
            return
        if known.merged_into is None:
            self._observe(contact, addresses=number)
            self._observe(known, addresses=Addresses(), merged_into=contact.person_id)
        else:
            self._observe(contact, addresses=Addresses(phone=Phone("+441632960199")))
            self._observe(known, addresses=number)

    def _observe(self, known: PersonFacts, **changes: Any) -> None:
        seen = PersonObserved(
            person_id=known.person_id, contact_id=known.contact_id, display_name=known.display_name,
            country=known.country, language=known.language, zone=known.zone, roles=tuple(map(Role, known.roles)),
            observed_at=self.simulation.now, version=known.version + 1, **changes,
        )  # fmt: skip
        self.simulation.publish_of(known.person_id, seen)

    def change_rules(self) -> None:
        """Other rules come into force under the same names, and every live chain is reviewed."""
        simulation, limits = self.simulation, self.simulation.decider.rulebook.tenant
        changed = replace(random_rulebooks.random_rulebook(self.random.randint(1000, 1000 + RULEBOOKS)), tenant=limits)
        book = add_built_in_rules(replace(changed, revision=Revision(f"r{len(self.rulebooks)}")))
        self.rulebooks[book.revision] = book
        simulation.decider = Decider(
            rulebook=book,
            rulebook_at=self.rulebooks.__getitem__,
            matcher=RuleMatcher(book.rules.values()),
            zone_of=simulation.decider.zone_of,
            signing_keys=simulation.decider.signing_keys,
        )
        simulation.recurring = next((rule for rule in book.rules.values() if rule.every), None)
        for chain in [chain for chain in simulation.facts.chains.values() if chain.live]:
            simulation._apply(simulation.decider.decide_change(chain, simulation.facts, simulation.now))

    # ---------------------------------------------------------- what must hold

    def check(self) -> None:
        facts, effects = self.simulation.facts, self.simulation.effects
        for effect in effects:
            if isinstance(effect, RequestedMessage):
                self._check_message(effect.send)
                self.hours[effect.send.message_id] = effect.send.open_hours
            elif isinstance(effect, AmendMessage) and effect.open_hours is not None:
                self.hours[effect.message_id] = effect.open_hours
        self.withdrawals += [effect for effect in effects if isinstance(effect, WithdrawMessage)]
        writes = Counter(effect.write_id for effect in effects if isinstance(effect, RequestWrite))
        assert max(writes.values(), default=1) == 1
        places = Counter((chain.rule, chain.subject) for chain in facts.chains.values() if not chain.admits_another)
        assert max(places.values(), default=1) == 1
        for chain in facts.chains.values():
            assert decode(Chain, encode(chain)) == chain
            assert all(m.held_until for m in chain.messages if m.delivery is DeliveryState.HELD)
            assert chain.next_due or all(message.delivery is not DeliveryState.HELD for message in chain.messages)
            self._check_answers(chain)
        effects.clear()
        for message_id, receiver in self.simulation.requested:
            self._check_hours(message_id, receiver)
            self._check_receiver(message_id, receiver)

    def _check_answers(self, chain: Chain) -> None:
        """An answer is of the person who was asked, and each has one final answer at most."""
        for given in chain.answers:
            question = chain.message(given.message_id)
            assert question is not None
            assert (question.person_id, question.requested_at is not None) == (given.person_id, True)
        final = Counter(given.person_id for given in chain.answers if given.final)
        assert max(final.values(), default=1) == 1

    def _check_hours(self, message_id: MessageId, receiver: PersonId) -> None:
        """A message that may leave now is awaited, or its person may be written to now."""
        facts, now, hours = self.simulation.facts, self.simulation.now, self.hours[message_id]
        person, found = facts.current_person(receiver), facts.chain_of_message(message_id)
        is_withdrawn = any(withdrawal.message_id == message_id for withdrawal in self.withdrawals)
        if is_withdrawn or (found and (found[1].unwanted is not None or found[1].delivery not in IN_DISPATCHER)):
            return  # its withdrawal is on the way, or it has arrived, as a tap on it shows
        if person is None or person.erased or not any(span.opens <= now < span.closes for span in hours):
            return
        is_reply = found is None or found[1].reply
        if not is_reply or now >= hours[0].opens + AWAITED_FOR:
            assert working_hours(self.player.people.book, person).next_open(now) == now

    def _check_receiver(self, message_id: MessageId, asked: PersonId) -> None:
        """A message that waits goes to its own person: the dispatcher follows merges, and knows of no undone one."""
        facts = self.simulation.facts
        receiver = facts.current_id(self.receivers.get(message_id, asked))
        self.receivers[message_id] = receiver
        for _, message in facts.chains_of_message(message_id):
            is_withdrawn = any(withdrawal.message_id == message_id for withdrawal in self.withdrawals)
            assert is_withdrawn or not message.may_still_go or facts.current_id(message.person_id) == receiver

    def _check_message(self, send: SendMessage) -> None:
        facts = self.simulation.facts
        assert send.message_id not in self.requested
        self.requested.add(send.message_id)
        assert send.mandatory or not facts.opted_out(send.person_id)
        person = facts.current_person(send.person_id)
        assert person is not None
        assert not person.erased
        assert person.reachable
        assert not set(send.body) & {"{", "}"}
        found = facts.chain_of_message(send.message_id)
        assert found is None or found[1].reply or not facts.is_wrong_person(send.person_id)
        assert len(send.body) <= (BODY_LENGTH if send.buttons or send.template else TEXT_LENGTH)
        assert send.template is None or all(value.strip() for value in send.template.parameters.values())

        self._check_repetition(send)

    def _check_repetition(self, send: SendMessage) -> None:
        """Each random text is said in one place, so that a message to a person says it once at one time.

        A matter that was taken, and is given back, is offered again.
        """
        found = self.simulation.facts.chain_of_message(send.message_id)
        if found is not None and not found[1].reply and send.say.count("_") == RANDOM_WORDS:
            copies = [m for m in found[0].messages if (m.say, m.person_id) == (send.say, send.person_id)]
            if any(m.closed and m.message_id != send.message_id for m in copies):
                return  # the former one went to another person's phone
            taken = sum(message.say == "taken" for message in found[0].messages)
            said = (send.person_id, send.chain_id, send.say, found[1].requested_at, taken)
            assert said not in self.said
            self.said.add(said)

    def come_to_rest(self) -> None:
        """Everything is sent, half a year passes, and every write is settled."""
        self.simulation.recurring = None
        for _ in range(3):
            self.simulation.report_all()
            for write in list(self.simulation.writes):
                self.simulation.settle_write(write.input.operation, WriteOutcome.VERIFIED)
            self.simulation.advance(self.simulation.now + timedelta(days=60))
            self.check()
        assert [chain.rule for chain in self.simulation.facts.chains.values() if chain.live] == []


MOVES: dict[Callable[[Conversation], None], int] = {
    Conversation.happen: 8,
    Conversation.tap: 8,
    Conversation.write: 4,
    Conversation.send_file: 1,
    Conversation.settle: 4,
    Conversation.wait: 5,
    Conversation.dispatch: 6,
    Conversation.withdraw: 2,
    Conversation.send_again: 1,
    Conversation.fail: 1,
    Conversation.move_on: 2,
    Conversation.change_person: 1,
    Conversation.tap_any: 3,
    Conversation.tap_together: 2,
    Conversation.refer: 2,
    Conversation.send_voice: 1,
    Conversation.report: 2,
    Conversation.change_account: 1,
    Conversation.move_away: 1,
    Conversation.share_number: 1,
}


@pytest.mark.parametrize("seed", range(CONVERSATIONS))
def test_any_conversation_comes_to_rest(seed: int) -> None:
    conversation = Conversation.of(seed)
    for move in conversation.random.choices(tuple(MOVES), tuple(MOVES.values()), k=50):
        move(conversation)
        conversation.check()
    conversation.come_to_rest()


@pytest.mark.parametrize("seed", range(RULEBOOKS))
def test_any_conversation_by_any_rules_comes_to_rest(seed: int) -> None:
    conversation = Conversation.of(seed, random_rulebooks.random_rulebook(seed))
    moves = {**MOVES, Conversation.change_rules: 1}
    for move in conversation.random.choices(tuple(moves), tuple(moves.values()), k=120):
        move(conversation)
        conversation.check()
    conversation.come_to_rest()

"""The limit on all strangers together: no mix of them starts more chains than it allows, on any number of replicas."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from services.rules.conversation import unsolicited
from services.rules.conversation.context import Decision, DecisionContext, HeldStrangers, Reason, RequestedMessage
from services.rules.conversation.decider import Decider
from services.rules.conversation.decision_inputs import facts_of, record_inputs
from services.rules.conversation.document import MESSAGE_RECEIVED, start_data
from services.rules.conversation.fact_values import PersonFacts
from services.rules.conversation.facts import Facts
from services.rules.matching.matcher import RuleMatcher
from services.rules.rulebook.built_in import add_built_in_rules
from services.rules.rulebook.loader import load
from services.rules.rulebook.model import Rulebook, UnsolicitedLimit
from shared.contracts.contacts import Addresses, PersonObserved
from shared.contracts.envelope import Event
from shared.contracts.ids import EventId, Line, PersonId, Phone, Wamid, partition_key
from shared.contracts.whatsapp import MessageKind, MessageReceived
from shared.runtime.failures import LocksBusy
from tests.services.rules.rulebooks import good_files
from tests.services.rules.rules_service import (
    KEYS,
    NOW,
    STAFF,
    TENANT,
    RulesUnderTest,
    person_observed,
    person_of,
    rules_under_test,
)
from tests.services.rules.stories import own_rulebook

HOUR = timedelta(hours=1)
CONTACT = person_of(806)
MOST = 4


@dataclass(frozen=True)
class Written:
    """A text of one person, so many minutes after the message before."""

    person: PersonId
    text: str
    after: int = 0
    line: str = "main"
    kind: MessageKind = MessageKind.TEXT


def stranger(number: int) -> PersonId:
    return PersonId(f"v-{number:03}")


def observed(person: PersonId) -> PersonObserved:
    return PersonObserved(
        person_id=person, display_name="Maud", observed_at=NOW, version=1,
        addresses=Addresses(phone=Phone(f"+4477009{person[2:]:0>5}")),
    )  # fmt: skip


@cache
def decider() -> Decider:
    book = add_built_in_rules(limited(own_rulebook(), MOST))
    return Decider(
        rulebook=book,
        rulebook_at=lambda _: book,
        matcher=RuleMatcher(book.rules.values()),
        zone_of=lambda person: person.zone,
        signing_keys=KEYS,
    )


def limited(book: Rulebook, most: int) -> Rulebook:
    return replace(book, tenant=replace(book.tenant, unsolicited=UnsolicitedLimit(strangers_chains=most)))


class Publisher:
    """The facts of a publisher, which every message changes; ``decided`` are the instants with what was decided."""

    def __init__(self, strangers: int = 12) -> None:
        known = [*(observed(stranger(n)) for n in range(strangers)), *map(person_observed, (806, *STAFF))]
        self.facts = Facts(TENANT, people={one.person_id: PersonFacts.of(one, None) for one in known})
        self.now = NOW
        self.decided: list[tuple[datetime, Written, Decision]] = []

    def receive(self, written: Written) -> Decision:
        self.now += timedelta(minutes=written.after)
        decision = decider().decide(event_of(written, len(self.decided), self.now), self.facts, self.now)
        self.facts.apply_changes(decision.changes)
        self.decided.append((self.now, written, decision))
        return decision

    def started_by_strangers(self) -> list[datetime]:
        chains = [chain for chain in self.facts.chains.values() if chain.start_name == MESSAGE_RECEIVED]
        writers = [(chain.started_at, getattr(start_data(chain), "person_id", None)) for chain in chains]
        return sorted(at for at, writer in writers if writer != CONTACT)


def event_of(written: Written, number: int, at: datetime) -> Event:
    message = MessageReceived(
        line=Line(written.line), person_id=written.person, message_id=Wamid(f"wamid.{number}"), at=at,
        message_kind=written.kind, text=written.text,
    )  # fmt: skip
    key = partition_key(TENANT, "persons", written.person)
    return Event(
        id=EventId(f"event-{number}"), source="test", type=message.kind, time=at, recordedtime=at, tenantid=TENANT,
        partitionkey=key, data=message,
    )  # fmt: skip


def sent(decision: Decision) -> list[str]:
    return [effect.send.say for effect in decision.effects if isinstance(effect, RequestedMessage)]


def most_in_an_hour(instants: Sequence[datetime]) -> int:
    return max((sum(end - HOUR < at <= end for at in instants) for end in instants), default=0)


TEXTS = ("Do you take novels?", "A book on ferns", "why?", "START", "yes", "Good morning to you all", "2", "hello")
WRITTEN = st.builds(
    Written,
    st.sampled_from([*(stranger(n) for n in range(12)), CONTACT]),
    st.sampled_from(TEXTS),
    st.sampled_from([0, 0, 0, 1, 7, 30, 61]),
    st.sampled_from(["main", "acquisitions"]),
)


@given(st.lists(WRITTEN, min_size=1, max_size=60))
@settings(max_examples=120, deadline=None)
def test_no_mix_of_strangers_starts_more_chains_in_an_hour_than_the_limit(messages: list[Written]) -> None:
    publisher = Publisher()
    for one in messages:
        publisher.receive(one)
    assert most_in_an_hour(publisher.started_by_strangers()) <= MOST
    for at, written, decision in publisher.decided:
        if Reason.STRANGERS_BRAKED in decision.reasons:
            counted = [when for when, who, made in publisher.decided if who.person != CONTACT and _counts(made)]
            assert sum(at - HOUR < when <= at for when in counted) >= MOST - 1, "held only where there is no room"
            assert written.person != CONTACT
            assert sent(decision) == []


def _counts(decision: Decision) -> bool:
    return bool(decision.effects) or Reason.STARTED in decision.reasons


def publisher_at_limit() -> Publisher:
    publisher = Publisher()
    for number in range(MOST):
        assert "passed_on" in sent(
            publisher.receive(Written(stranger(number), f"Good morning, says {'abcdef'[number]}"))
        )
    return publisher


def test_above_the_limit_a_message_of_a_stranger_is_kept_and_causes_nothing() -> None:
    publisher = publisher_at_limit()
    held = publisher.receive(Written(stranger(7), "Do you take novels?"))
    assert (held.reasons, held.effects, held.record) == ((Reason.STRANGERS_BRAKED,), (), None)
    assert len(publisher.started_by_strangers()) == MOST


def test_contacts_are_answered_however_many_strangers_write() -> None:
    publisher = publisher_at_limit()
    assert "passed_on" in sent(publisher.receive(Written(CONTACT, "Is the contract ready?")))


def test_after_the_hour_a_held_sentence_counts_as_new() -> None:
    publisher = publisher_at_limit()
    sentence = "Do you take novels about gardens?"
    publisher.receive(Written(stranger(7), sentence))
    assert "passed_on" in sent(publisher.receive(Written(stranger(7), sentence, after=61)))


def test_a_stranger_whose_form_is_open_can_finish_it() -> None:
    publisher = Publisher()
    publisher.receive(Written(stranger(9), "A book on ferns", line="acquisitions"))
    for number in range(MOST):
        publisher.receive(Written(stranger(number), f"Good morning, says {'abcdef'[number]}"))
    assert Reason.STRANGERS_BRAKED in publisher.receive(Written(stranger(8), "hello")).reasons
    assert sent(publisher.receive(Written(stranger(9), "Ferns of the North", line="acquisitions"))) == ["pitch.genre"]
    assert sent(publisher.receive(Written(stranger(9), "gibberish", line="acquisitions"))) == ["pitch.genre"]


def test_an_edit_into_a_stop_word_is_no_opt_out_while_a_form_waits_for_a_text() -> None:
    publisher = Publisher()
    publisher.receive(Written(stranger(9), "A book on ferns", line="acquisitions"))
    edited = Written(stranger(9), "Basta", line="acquisitions", kind=MessageKind.EDIT)
    assert (sent(publisher.receive(edited)), publisher.facts.opted_out(stranger(9))) == ([], False)
    elsewhere = replace(edited, person=stranger(8))
    assert (sent(publisher.receive(elsewhere)), publisher.facts.opted_out(stranger(8))) == (["stopped"], True)


def test_opting_out_and_in_are_believed_above_the_limit() -> None:
    publisher = publisher_at_limit()
    stopped = publisher.receive(Written(stranger(7), "STOP"))
    assert (sent(stopped), publisher.facts.opted_out(stranger(7))) == (["stopped"], True)
    started = publisher.receive(Written(stranger(7), "START", after=1))
    assert (sent(started), publisher.facts.opted_out(stranger(7))) == ([], False)
    assert started.reasons == (Reason.STRANGERS_BRAKED, Reason.OPTED_IN)


def test_the_report_of_one_stranger_above_their_own_limit_counts() -> None:
    publisher = Publisher()
    for text in ("One", "and two"):
        publisher.receive(Written(stranger(0), text))
    reported = publisher.receive(Written(stranger(0), "One"))
    assert set(sent(reported)) == {"answers_paused"}
    assert "passed_on" in sent(publisher.receive(Written(stranger(1), "hello")))
    assert publisher.receive(Written(stranger(2), "hello")).reasons == (Reason.STRANGERS_BRAKED,)


def test_it_is_logged_once_an_hour() -> None:
    publisher = publisher_at_limit()
    flood = [publisher.receive(Written(stranger(n % 12), f"text {n}", after=2)) for n in range(29)]
    held = [decision for decision in flood if Reason.STRANGERS_BRAKED in decision.reasons]
    assert len(held) > 20
    assert [one for decision in held for one in decision.observations if isinstance(one, HeldStrangers)] == [
        HeldStrangers(MOST, HOUR)
    ]


@pytest.mark.parametrize(("counted", "room"), [(0, [1, 4, 5, 9]), (1, [1]), (3, [1]), (4, [])])
def test_a_message_that_starts_more_chains_than_the_limit_has_room_where_nothing_is_counted(
    counted: int, room: list[int]
) -> None:
    context = DecisionContext(Facts(TENANT), decider().rulebook, lambda _: decider().rulebook, NOW, KEYS)
    unsolicited.count_strangers(context, counted)
    assert [chains for chains in (1, 4, 5, 9) if unsolicited.are_strangers_below_limit(context, chains)] == room


def test_a_decision_about_a_stranger_can_be_made_again() -> None:
    publisher, kept = publisher_at_limit(), dict[str, bytes]()
    publisher.now += HOUR
    event = event_of(Written(stranger(7), "hello"), 900, publisher.now)
    decision = decider().decide(event, publisher.facts, publisher.now)
    inputs = record_inputs(decision, event, TENANT, publisher.now, kept)
    again = decider().decide(event, facts_of(inputs, kept.__getitem__), publisher.now)
    assert facts_of(inputs, kept.__getitem__).strangers == publisher.facts.strangers
    assert again.changes.strangers[TENANT] == decision.changes.strangers[TENANT]


def test_limits_yaml_may_say_another_number_but_no_more_than_are_counted() -> None:
    files = good_files()
    files["limits.yaml"] += "brake: {strangers_chains: 40}\n"
    assert load(files)[0].tenant.unsolicited.strangers_chains == 40  # type: ignore[union-attr]
    files["limits.yaml"] = files["limits.yaml"].replace("40", "2001")
    assert [fault.sentence for fault in load(files)[1]] == ["no more than 2000 chains of strangers are counted"]


# ------------------------------------------------------------------ on a real database


@pytest.fixture
async def replicas(postgres_database: str) -> AsyncIterator[list[RulesUnderTest]]:
    async with AsyncExitStack() as stack:
        pair = [
            await stack.enter_async_context(rules_under_test(postgres_database, NOW, replica=f"rules-{n}"))
            for n in range(2)
        ]
        await pair[0].receive(*map(person_observed, STAFF), *(observed(stranger(n)) for n in range(300)))
        yield pair


@pytest.mark.integration
async def test_two_replicas_and_a_restart_keep_one_count(
    replicas: list[RulesUnderTest], postgres_database: str
) -> None:
    most = UnsolicitedLimit().strangers_chains

    async def flood(replica: RulesUnderTest, numbers: range) -> int:
        """Batches of ten; one that another replica was faster than is tried again, as the consumer does."""
        again = 0
        for first in numbers[::10]:
            batch = [Written(stranger(n), f"text {n}") for n in range(first, first + 10)]
            while True:
                try:
                    await replica.receive(*(event_of(one, first + at, NOW) for at, one in enumerate(batch)))
                    break
                except LocksBusy:
                    again += 1
        return again

    again = await asyncio.gather(flood(replicas[0], range(150)), flood(replicas[1], range(150, 300)))
    assert sum(again) > 0, "the replicas have met"
    assert len(await replicas[0].chains()) == most
    async with rules_under_test(postgres_database, NOW, replica="rules-0") as restarted:
        with capture_logs() as lines:
            await restarted.receive(event_of(Written(stranger(5), "again"), 900, NOW))
        assert len(await restarted.chains()) == most
        restarted.clock.at += HOUR
        await restarted.receive(event_of(Written(stranger(6), "later"), 901, restarted.clock.at))
        assert len(await restarted.chains()) == most + 1
    assert lines == [], "it was logged by the replica that held the first one"
    assert await replicas[0].pool.fetchval("select count(*) from strangers") == 1

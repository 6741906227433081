"""Every decision comes out by the facts that rules loads for it as it comes out by all facts.

A story keeps all facts in memory; the service loads what an event is known to need. Here both decide on each step of
each story, the second by what it reads from PostgreSQL, and the two must not differ. Then the story is played again,
late.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import asyncpg
import orjson
import pytest

from services.rules import store
from services.rules.conversation.chain import Chain
from services.rules.conversation.context import Decision
from services.rules.conversation.decider import Decider
from services.rules.conversation.decision_inputs import DOCUMENTS, WORDS
from services.rules.conversation.facts import Facts
from services.rules.conversation.people import staff_ids
from services.rules.conversation.required_facts import RequiredFacts, find_required_facts
from services.rules.rulebook.model import Rulebook
from services.rules.rulebook.periods import PeriodStarted
from services.rules.scenario.player import StoryPlayer
from services.rules.scenario.story_file import ExpectStep, Story, UnplayableStep
from services.rules.waiting_events import find_missing
from shared.contracts.envelope import Event
from shared.contracts.values import encode
from tests.services.rules.conversation import test_undone_merges as undone
from tests.services.rules.conversation.test_consent import decider as decider_of_house
from tests.services.rules.conversation.test_consent import event_of
from tests.services.rules.conversation.test_merges import FIRST
from tests.services.rules.rulebooks import story_folders

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

_KINDS = {
    "works": "work",
    "people": "person",
    "consent": "consent",
    "unsolicited": "unsolicited",
    "absences": "absence",
    "counted": "counted",
    "records": "record",
    "file_reports": "file_report",
    "strangers": "strangers",
    "last_rule": "last_rule",
    "acquisitions": "acquisition",
    "chains": "chain",
    "notices": "notice",
}
"""The names by which changed keys of a table are saved. ``starts`` and ``merged`` follow from others."""
_VERSIONED = ("counted", "strangers")


@dataclass
class StoredDecider:
    """Decides by all facts, and again by what is read back from PostgreSQL; ``differences`` are said for people."""

    decider: Decider
    connection: Any
    loop: asyncio.AbstractEventLoop
    where: str
    differences: list[str] = field(default_factory=list)
    decisions: int = 0
    _saved: dict[tuple[str, object], object] = field(default_factory=dict)

    @property
    def rulebook(self) -> Rulebook:
        return self.decider.rulebook

    def decide(self, event: Event, facts: Facts, now: datetime) -> Decision:
        self._wait(self._save(facts, now))
        required = find_required_facts([event], self.rulebook, facts.tenant, now)
        if isinstance(event.data, PeriodStarted):
            people = {person for chain in facts.chains.values() for person in chain.people()}
            required = RequiredFacts(people=people)
            required.people.update(staff_ids(self.rulebook, facts.tenant))
        decision = self.decider.decide(event, facts, now)
        if event.id in required.idle:
            assert decision.record is None, f"{self.where}: {event.type} needs nothing, and something follows from it"
            return decision
        return self._compare(facts, required, decision, lambda read: self._decide_read(event, facts, read, now))

    def decide_due(self, chain: Chain, facts: Facts, now: datetime) -> Decision:
        self._wait(self._save(facts, now))
        required = RequiredFacts(chains={chain.chain_id}, people=set(staff_ids(self.rulebook, facts.tenant)))
        decision = self.decider.decide_due(chain, facts, now)

        def decide(read: Facts) -> Decision:
            return self.decider.decide_due(read.chains[chain.chain_id], read, now)

        return self._compare(facts, required, decision, decide)

    def _decide_read(self, event: Event, facts: Facts, read: Facts, now: datetime) -> Decision:
        missing, known = find_missing(event, read), find_missing(event, facts)
        if missing != known:
            self.differences.append(f"{self.where}: {event.type} would wait for {missing}")
        return self.decider.decide(event, read, now)

    def _compare(
        self,
        facts: Facts,
        required: RequiredFacts,
        decision: Decision,
        decide: Callable[[Facts], Decision],
    ) -> Decision:
        self.decisions += 1
        read: Facts = self._wait(self._read(facts, required))
        ours, theirs = _outcome(decision, facts), _outcome(decide(read), facts)
        self.differences += [
            f"{self.where}: {part} of {decision.about}: {ours.get(part)} / {theirs.get(part)}"
            for part in ours.keys() | theirs.keys()
            if ours.get(part) != theirs.get(part)
        ]
        return decision

    async def _save(self, facts: Facts, now: datetime) -> None:
        self._mark_changed(facts)
        changed = set(facts.changed)
        await store.save(self.connection, facts, now)
        for table in _VERSIONED:
            for key, value in getattr(facts, table).items():
                if (table, key) in changed:
                    getattr(facts, table)[key] = value.replace(version=value.version + 1)  # as it is saved
        for table in _KINDS:
            for key, value in getattr(facts, table).items():
                self._saved[table, key] = value

    async def _read(self, facts: Facts, required: RequiredFacts) -> Facts:
        read = await store.load(self.connection, facts.tenant, required)
        read.read_to = facts.read_to
        return read

    def _mark_changed(self, facts: Facts) -> None:
        for table, kind in _KINDS.items():
            for key, value in getattr(facts, table).items():
                if self._saved.get((table, key)) is not value:
                    facts.changed.add((kind, key))

    def _wait(self, work: Awaitable[Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(cast("Any", work), self.loop).result()


def _outcome(decision: Decision, before: Facts) -> dict[str, Any]:
    """The effects, the record, and each fact that is another one after the decision."""
    changes = {
        f"{table} {key}": _plain(value)
        for table in (*DOCUMENTS, *WORDS)
        for key, value in (getattr(decision.changes, table).changed or {}).items()
        if _plain(getattr(before, table).get(key)) != _plain(value)
    }
    return {"effects": decision.effects, "record": decision.record, **changes}


def _plain(value: Any) -> Any:
    """JSON in no order of keys: PostgreSQL keeps none."""
    return orjson.loads(encode(value))


def _stories() -> Iterator[tuple[str, Rulebook, Story]]:
    for folder, book, stories in story_folders():
        for story in stories:
            yield folder, book, story


async def test_the_loaded_facts_are_all_that_a_decision_depends_on(postgres_database: str) -> None:
    loop = asyncio.get_running_loop()
    connection = await asyncpg.connect(postgres_database, server_settings={"search_path": "rules"})
    differences, decisions = list[str](), 0
    try:
        for folder, book, story in _stories():
            transaction = connection.transaction()
            await transaction.start()
            found = await asyncio.to_thread(_play, story, book, connection, loop, f"{folder}, {story.rule}: {story.it}")
            await transaction.rollback()
            differences += found.differences
            decisions += found.decisions
    finally:
        await connection.close()
    assert differences == []
    assert decisions > 500


async def test_an_undone_merge_depends_on_loaded_facts_alone(postgres_database: str) -> None:
    """A question waits in the dispatcher, and is asked of its own person once it is withdrawn."""
    loop = asyncio.get_running_loop()
    connection = await asyncpg.connect(postgres_database, server_settings={"search_path": "rules"})
    stored = StoredDecider(decider_of_house(), connection, loop, "undone merge")

    def decide_all() -> Facts:
        facts, question = undone.asked(while_merged=True)
        for count, data in enumerate((undone.APART, undone.withdrawn(question)), start=3):
            decision = stored.decide(event_of(data, count), facts, undone.LATER + timedelta(seconds=count))
            facts.apply_changes(decision.changes)
        return facts

    try:
        facts = await asyncio.to_thread(decide_all)
    finally:
        await connection.close()
    assert stored.differences == []
    assert stored.decisions == 2
    assert [message.person_id for message in undone.open_ones(facts)] == [FIRST]


def _play(story: Story, book: Rulebook, connection: Any, loop: asyncio.AbstractEventLoop, where: str) -> StoredDecider:
    player = StoryPlayer.of(story, book, has_second_engine=False)
    stored = StoredDecider(player.simulation.decider, connection, loop, where)
    player.simulation.decider = cast("Decider", stored)
    for step in story.steps:
        assert player.play(step) == [], where
    _play_again(player, story)
    return stored


def _play_again(player: StoryPlayer, story: Story) -> None:
    """The same events and answers once more, all late: chains have ended, questions are closed, writes are done."""
    for step in story.steps:
        if not isinstance(step, ExpectStep):
            with suppress(UnplayableStep):
                player.play(step)
    player.simulation.advance(player.simulation.now + timedelta(days=30))

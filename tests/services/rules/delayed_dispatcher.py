"""Stories with a dispatcher that is down: the test says when it reports on the messages it was asked to send."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from services.rules.conversation.chain import Chain, ChainMessage, DeliveryState
from services.rules.conversation.context import Effect, RequestedMessage
from services.rules.rulebook.model import Rulebook
from services.rules.scenario.player import Simulation, StoryPlayer
from shared.contracts.envelope import EventData
from shared.contracts.ids import MessageId, PersonId, WorkId, partition_key
from shared.contracts.messages import MessageResolved, MessageUncertain, MessageWithdrawn, Resolution, WithdrawMessage
from shared.contracts.whatsapp import MessageReceived
from tests.services.rules.stories import own_rulebook, story


@dataclass(slots=True)
class SilentSimulation(Simulation):
    """Requested messages wait in ``requested`` until the test reports them; effects are never cleared.

    ``read_late``: how long after a person has written rules reads it.
    """

    requested: list[tuple[MessageId, PersonId]] = field(default_factory=list)
    read_late: timedelta = timedelta()

    def publish(self, data: EventData, key: str) -> None:
        if isinstance(data, MessageReceived):
            data = data.replace(at=data.at - self.read_late)
        Simulation.publish(self, data, key)

    def report_accepted(self, message: MessageId, person: PersonId) -> None:
        self.requested.append((message, person))

    def report_one(self, index: int) -> None:
        """The dispatcher has sent one of those it was asked to send."""
        Simulation.report_accepted(self, *self.requested.pop(index))

    def report_uncertain(self, index: int) -> None:
        """The dispatcher has begun to send one, and does not know whether it went."""
        message, person = self.requested.pop(index)
        self.publish_of(person, MessageUncertain(message_id=message, person_id=person, at=self.now, reason="no_answer"))

    def report_again(self, message: MessageId, person: PersonId) -> None:
        """WhatsApp has reported one as failed, and the dispatcher sends it again."""
        resolved = MessageResolved(
            message_id=message, person_id=person, at=self.now, resolution=Resolution.RESENT, evidence="status"
        )
        self.publish_of(person, resolved)

    def publish_of(self, person: PersonId, data: EventData) -> None:
        self.publish(data, partition_key(self.facts.tenant, "persons", person))

    def report_withdrawn(self, withdrawal: WithdrawMessage) -> None:
        """The dispatcher has taken a message out of its queue before it went."""
        data = MessageWithdrawn(
            message_id=withdrawal.message_id, person_id=withdrawal.person_id, at=self.now, reason=withdrawal.reason
        )
        self.publish_of(withdrawal.person_id, data)

    def observe_work(self, number: int = 0, **changes: Any) -> None:
        """Consonance shows a work of the story in another state: the one of this id, or the first."""
        work = self.facts.works.get(WorkId(number)) or next(iter(self.facts.works.values()))
        self.publish(work.state.replace(**changes), partition_key(self.facts.tenant, "story"))

    def report_all(self) -> None:
        while self.requested:
            self.report_one(0)


class DelayedStory:
    """Plays steps as a story file has them, except ``expect``: one at a time, or several."""

    def __init__(self, people: str, rule: str = "rights-approval", book: Rulebook | None = None) -> None:
        self._people, self._rule = people, rule
        self._player = StoryPlayer.of(_story(people, "expect: nothing", rule=rule), book or own_rulebook())
        prompt = self._player.simulation
        self.simulation = SilentSimulation(prompt.decider, prompt.facts, prompt.now)
        self._player.simulation = self.simulation

    def play(self, *steps: str) -> None:
        for step in _story(self._people, *steps, rule=self._rule).steps:
            assert self._player.play(step) == []

    def person(self, contact: int) -> PersonId:
        return next(p.person_id for c, p in self._player.people.people.items() if c == contact)

    @property
    def chain(self) -> Chain:
        (chain,) = (c for c in self.simulation.facts.chains.values() if not c.rule.startswith("house-inbox"))
        return chain

    def pass_time(self, by: timedelta) -> None:
        self.simulation.advance(self.simulation.now + by)

    def effects_of(self, steps: Sequence[str]) -> list[Effect]:
        before = len(self.simulation.effects)
        self.play(*steps)
        return self.simulation.effects[before:]


_story = lru_cache(maxsize=512)(story)


def sent_templates(effects: Sequence[Effect]) -> list[str]:
    return [effect.send.say for effect in effects if isinstance(effect, RequestedMessage)]


def withdrawn(effects: Sequence[Effect]) -> set[MessageId]:
    return {effect.message_id for effect in effects if isinstance(effect, WithdrawMessage)}


def unsent_messages(chain: Chain) -> list[ChainMessage]:
    """Held, or requested without any evidence that it went."""
    return [m for m in chain.messages if m.delivery in {DeliveryState.HELD, DeliveryState.REQUESTED}]


def at(day: int, hour: int = 10, minute: int = 0) -> datetime:
    return datetime.fromisoformat(f"2027-03-{day:02}T{hour:02}:{minute:02}:00Z")

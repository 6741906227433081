"""A story of the shipped rules in virtual time, which also receives items of real webhooks."""

from typing import Any

from services.ingest.records import WebhookContext
from services.ingest.webhook_parser import parse_webhook
from services.rules.conversation.fact_values import PersonFacts
from services.rules.scenario.comparison import ObservedEffect, observe_effects
from services.rules.scenario.player import StoryPlayer
from services.rules.scenario.story_file import ExpectStep, Story, read_stories
from shared.contracts.ids import Line, partition_key
from shared.contracts.whatsapp import MessageReceived
from tests.services.ingest.payloads import NOW, PSEUDONYMS, messages, webhook
from tests.services.rules.stories import own_rulebook

OURS = {"1065": Line("main"), "1066": Line("acquisitions")}
CONTEXT = WebhookContext("story", NOW, OURS, pseudonyms=PSEUDONYMS)  # type: ignore[arg-type]  # the tenant of every story
BEGIN = "2027-03-03T10:00:00Z"


class ShippedStory:
    """A story of the shipped rules that is being played."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._player = StoryPlayer.of(story, own_rulebook())
        self.wamids: dict[str, str] = {}
        """The real id of a message that a case names by another."""

    @classmethod
    def of(cls, people: str, *steps: str) -> "ShippedStory":
        return cls(_read(people, *steps, "wait: 1 minute"))

    def play_all(self) -> list[ObservedEffect]:
        """Play every step of the story, and return the effects."""
        for step in self._story.steps:
            if not isinstance(step, ExpectStep):
                assert self._player.play(step) == []
        return self._new_effects()

    def play(self, step: str) -> list[ObservedEffect]:
        """One more step, written as in a story file."""
        for each in _read("", step).steps:
            assert self._player.play(each) == []
        return self._new_effects()

    def receive(self, contact: int, item: dict[str, Any], number: str = "1065") -> list[ObservedEffect]:
        """An item of a webhook from this person on one of our numbers."""
        given = {"from": "447700900123", "id": "wamid.case", "timestamp": "1803981600", **item}
        parsed = parse_webhook(webhook(messages(given, metadata={"phone_number_id": number})), CONTEXT)
        assert parsed.invalid == []
        (update,) = parsed.person_updates
        data, simulation, person = update.draft, self._player.simulation, self._person(contact).person_id
        assert isinstance(data, MessageReceived)
        quoted = self.wamids.get(data.quoted_id or "", data.quoted_id)
        data = data.replace(person_id=person, quoted_id=quoted, at=simulation.now)
        simulation.publish(data, partition_key(simulation.facts.tenant, "persons", person))
        return self._new_effects()

    def newest_wamid(self, contact: int, template: str) -> str:
        found = self._player.simulation.newest_message(self._person(contact).person_id, template=template)
        assert found is not None
        assert found.wamid is not None
        return found.wamid

    def _new_effects(self) -> list[ObservedEffect]:
        simulation = self._player.simulation
        found = observe_effects(simulation.effects, simulation.facts, self._player.people)
        simulation.effects.clear()
        return found

    def _person(self, contact: int) -> PersonFacts:
        return next(one for known, one in self._player.people.people.items() if known == contact)


def _read(people: str, *steps: str) -> Story:
    lines = [f"- it: goes on\n  start: {BEGIN}\n  people: {{{people}}}\n  play:", *(f"    - {step}" for step in steps)]
    stories, faults = read_stories({"case.test.yaml": "\n".join((*lines, ""))})
    assert faults == []
    return stories[0]

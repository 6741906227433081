"""What WhatsApp's webhook and Consonance say, brought to the shipped rules in virtual time."""

from functools import lru_cache
from typing import Any

from services.ingest.records import WebhookContext
from services.ingest.webhook_parser import parse_webhook
from services.rules.conversation.facts import PersonFacts
from services.rules.rulebook.loader import load, read_folder
from services.rules.rulebook.model import Rulebook
from services.rules.story.model import Expect, Story
from services.rules.story.play import _MOVES, _Playing, _prepared
from services.rules.story.read import read_stories
from services.rules.story.seen import Seen, seen
from shared.contracts.ids import Line, partition_key
from shared.contracts.whatsapp import MessageReceived
from tests.cases.folder import ROOT
from tests.services.ingest.payloads import NOW, PSEUDONYMS, messages, webhook

OURS = {"1065": Line("main"), "1066": Line("acquisitions")}
FRAME = WebhookContext("story", NOW, OURS, pseudonyms=PSEUDONYMS)  # type: ignore[arg-type]  # the tenant of every story
BEGIN = "2027-03-03T10:00:00Z"


@lru_cache(maxsize=1)
def shipped() -> Rulebook:
    book, faults = load(read_folder(ROOT / "rules"))
    assert book is not None, faults
    return book


class Played:
    """A story of the shipped rules under way."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._playing = _Playing.of(story, *_prepared(shipped()))
        self.wamids: dict[str, str] = {}

    @classmethod
    def of(cls, people: str, *moves: str) -> "Played":
        lines = [
            f"- it: goes on\n  start: {BEGIN}\n  people: {{{people}}}\n  play:",
            *(f"    - {move}" for move in moves),
        ]
        stories, faults = read_stories({"case.test.yaml": "\n".join((*lines, "    - wait: 1 minute", ""))})
        assert faults == []
        return cls(stories[0])

    def all(self) -> list[Seen]:
        """Make every move of the story, and give back what came of them."""
        for move in self._story.play:
            if not isinstance(move, Expect):
                assert _MOVES[type(move)](self._playing, move) == []
        return self.new()

    def new(self) -> list[Seen]:
        stage = self._playing.stage
        found = seen(stage.effects, stage.facts, self._playing.cast)
        stage.effects.clear()
        return found

    def person(self, contact: int) -> PersonFacts:
        return next(one for known, one in self._playing.cast.people.items() if known == contact)

    def reads(self, move: str) -> list[Seen]:
        """One more move, as a story writes it."""
        text = f"- it: goes on\n  start: {BEGIN}\n  people: {{}}\n  play:\n    - {move}\n"
        stories, faults = read_stories({"case.test.yaml": text})
        assert faults == []
        assert [fault for each in stories[0].play for fault in _MOVES[type(each)](self._playing, each)] == []
        return self.new()

    def last_wamid(self, contact: int, say: str) -> str:
        found = self._playing.stage.last_to(self.person(contact).person_id, None, say)
        assert found is not None
        assert found.wamid is not None
        return found.wamid

    def hears(self, contact: int, item: dict[str, Any], number: str = "1065") -> list[Seen]:
        """An item of a webhook from this person on one of our numbers."""
        given = {"from": "447700900123", "id": "wamid.case", "timestamp": "1803981600", **item}
        parsed = parse_webhook(webhook(messages(given, metadata={"phone_number_id": number})), FRAME)
        assert parsed.invalid == []
        (heard,) = parsed.person_updates
        data = heard.draft
        assert isinstance(data, MessageReceived)
        person = self.person(contact)
        quoted = self.wamids.get(data.quoted_id or "", data.quoted_id)
        data = data.replace(person_id=person.person_id, quoted_id=quoted, at=self._playing.stage.now)
        self._playing.stage.happens(data, partition_key(self._playing.stage.facts.tenant, "persons", person.person_id))
        return self.new()

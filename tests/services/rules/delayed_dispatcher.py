"""Stories with a dispatcher that is down: the test says when it reports on the messages it was asked to send."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache

from services.rules.conversation.chain import Chain, ChainMessage, DeliveryState
from services.rules.conversation.context import Effect, RequestedMessage, RequestedWithdrawal
from services.rules.story.play import _MOVES, _Playing, _prepared
from services.rules.story.stage import Stage
from shared.contracts.ids import MessageId, PersonId
from tests.services.rules.stories import own_rulebook, story


@dataclass(slots=True)
class SilentDispatcherStage(Stage):
    """A stage on which nobody reports what became of a message, until the test says so; the effects all stay."""

    requested: list[tuple[MessageId, PersonId]] = field(default_factory=list)

    def _accept(self, message: MessageId, person: PersonId) -> None:
        self.requested.append((message, person))

    def report_one(self, place: int) -> None:
        """The dispatcher has sent one of those it was asked to send."""
        Stage._accept(self, *self.requested.pop(place))

    def report_all(self) -> None:
        while self.requested:
            self.report_one(0)


class DelayedStory:
    """``moves`` are those of a story, except ``expect``: one at a time, or several."""

    def __init__(self, people: str, about: str = "rights-approval") -> None:
        self._people, self._about = people, about
        playing = _Playing.of(_story(people, "expect: nothing", about=about), *_prepared(own_rulebook()))
        self.stage = SilentDispatcherStage(playing.stage.decider, playing.stage.facts, playing.stage.now)
        self._playing = _Playing(playing.cast, self.stage, playing.setting)

    def move(self, *moves: str) -> None:
        for move in _story(self._people, *moves, about=self._about).play:
            assert _MOVES[type(move)](self._playing, move) == []

    def person(self, contact: int) -> PersonId:
        return next(p.person_id for c, p in self._playing.cast.people.items() if c == contact)

    @property
    def chain(self) -> Chain:
        (chain,) = (c for c in self.stage.facts.chains.values() if not c.rule.startswith("house-inbox"))
        return chain

    def pass_time(self, by: timedelta) -> None:
        self.stage.wait(self.stage.now + by)

    def effects_of(self, moves: Sequence[str]) -> list[Effect]:
        before = len(self.stage.effects)
        self.move(*moves)
        return self.stage.effects[before:]


_story = lru_cache(maxsize=512)(story)


def sent_templates(effects: Sequence[Effect]) -> list[str]:
    return [effect.send.say for effect in effects if isinstance(effect, RequestedMessage)]


def withdrawn(effects: Sequence[Effect]) -> set[MessageId]:
    return {effect.withdrawal.message_id for effect in effects if isinstance(effect, RequestedWithdrawal)}


def unsent_messages(chain: Chain) -> list[ChainMessage]:
    """Held, or requested without any evidence that it went."""
    return [m for m in chain.messages if m.delivery in {DeliveryState.HELD, DeliveryState.REQUESTED}]


def at(day: int, hour: int = 10) -> datetime:
    return datetime.fromisoformat(f"2027-03-{day:02}T{hour:02}:00:00Z")

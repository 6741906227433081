"""What people were sent, told apart by story; each message has to be expected by its story, and once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dev.demo.outside import Outside
from dev.demo.story import Story


@dataclass
class Message:
    """``to`` is the simulator's name for the person; ``template`` and ``language`` None: free text, in the window."""

    wamid: str
    to: str
    text: str
    template: str | None
    language: str | None
    buttons: tuple[str, ...]
    at: datetime
    expected: bool = False


@dataclass
class Mailbox:
    """All messages of a performance, in order; ``look`` fetches what came since the last one."""

    outside: Outside
    stories: Sequence[Story]
    _messages: dict[str, Message] = field(default_factory=dict)
    _since: str = ""

    async def look(self) -> None:
        query = f"?since={self._since.replace('+', '%2B')}" if self._since else ""
        for shown in await self.outside.at_whatsapp(f"messages{query}"):
            self._messages.setdefault(shown["wamid"], _message(shown))
            self._since = shown["at"]

    def unexpected(self, story: Story | None) -> list[Message]:
        """Of this story, or of none: whom nobody should have written to."""
        left = (message for message in self._messages.values() if not message.expected)
        return [message for message in left if self._story_of(message) is story]

    def _story_of(self, message: Message) -> Story | None:
        named = [story for story in self.stories if any(words in message.text for words in story.about)]
        played = [story for story in self.stories if message.to in _handles(story)]
        return next(iter(named or played), None)


def _handles(story: Story) -> set[str]:
    return {str(contact) for contact in story.roles} | {guest.handle for guest in story.guests}


def _message(shown: Mapping[str, Any]) -> Message:
    return Message(
        wamid=shown["wamid"],
        to=shown["person"],
        text=shown["text"],
        template=shown["template"],
        language=shown["language"],
        buttons=tuple(button["title"] for button in shown["buttons"]),
        at=datetime.fromisoformat(shown["at"]),
    )

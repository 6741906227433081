"""What a business asked to be sent, once validated: the values the rest of the simulator works with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    TEXT = "text"
    TEMPLATE = "template"
    INTERACTIVE = "interactive"


class Tap(StrEnum):
    """How a tap on a message comes back in the webhook."""

    QUICK_REPLY = "button"
    BUTTON = "button_reply"
    ROW = "list_reply"


@dataclass(frozen=True, slots=True)
class Choice:
    """Something a person can tap; ``id`` is what the business gets back."""

    id: str
    title: str
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """What the person sees."""

    kind: Kind
    text: str
    choices: tuple[Choice, ...] = ()
    tap: Tap | None = None
    template: str | None = None
    language: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    category: str = "service"

    def choice(self, wanted: str) -> Choice | None:
        return next((choice for choice in self.choices if wanted in {choice.id, choice.title}), None)


@dataclass(frozen=True, slots=True)
class Send:
    """A message to one person: by phone number in ``to``, else by BSUID in ``recipient``."""

    to: str | None
    recipient: str | None
    content: Content
    callback: str | None = None


@dataclass(frozen=True, slots=True)
class ReadReceipt:
    """The business has read a person's message."""

    wamid: str

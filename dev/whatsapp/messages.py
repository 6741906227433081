"""Messages in the simulator: content, accepted sends, replies of people, and counts of all work. In memory."""

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import count
from typing import Any

from dev.whatsapp.directory import WhatsAppPerson


class MessageType(StrEnum):
    TEXT = "text"
    TEMPLATE = "template"
    DOCUMENT = "document"
    INTERACTIVE = "interactive"


class TapKind(StrEnum):
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
class SentDocument:
    """A file beneath or above a message; ``media_id`` is None for one that is named by a link."""

    media_id: str | None
    filename: str | None


@dataclass(frozen=True, slots=True)
class Content:
    """The content that the person sees."""

    kind: MessageType
    text: str
    choices: tuple[Choice, ...] = ()
    tap: TapKind | None = None
    template: str | None = None
    language: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    category: str = "service"
    document: SentDocument | None = None

    def choice(self, wanted: str) -> Choice | None:
        return next((choice for choice in self.choices if wanted in {choice.id, choice.title}), None)


@dataclass(frozen=True, slots=True)
class SendRequest:
    """A message to one person: by phone number in ``to``, else by BSUID in ``recipient``."""

    to: str | None
    recipient: str | None
    content: Content
    callback: str | None = None


@dataclass(frozen=True, slots=True)
class ReadReceipt:
    """The business has read a person's message."""

    wamid: str


class SimulatedStatus(StrEnum):
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"


@dataclass(slots=True)
class AcceptedMessage:
    """One accepted send; ``at`` is business time."""

    wamid: str
    person: WhatsAppPerson
    to: str
    line: str
    content: Content
    callback: str | None
    at: datetime
    statuses: list[SimulatedStatus] = field(default_factory=list)

    @property
    def unread(self) -> bool:
        return self.arrived and SimulatedStatus.READ not in self.statuses

    @property
    def arrived(self) -> bool:
        return SimulatedStatus.FAILED not in self.statuses

    def as_json_object(self) -> dict[str, Any]:
        content = self.content
        document = content.document
        attached = {} if document is None else {"document": {"id": document.media_id, "filename": document.filename}}
        return {
            **attached,
            "wamid": self.wamid,
            "person": self.person.id,
            "to": self.to,
            "line": self.line,
            "type": content.kind,
            "text": content.text,
            "template": content.template,
            "language": content.language,
            "buttons": [{"id": choice.id, "title": choice.title} for choice in content.choices],
            "parameters": dict(content.parameters),
            "biz_opaque_callback_data": self.callback,
            "at": self.at.isoformat(),
            "statuses": self.statuses,
        }


@dataclass(frozen=True, slots=True)
class PersonReply:
    """A message of a person; ``node`` is its message node in the webhook, without addresses."""

    wamid: str
    person: WhatsAppPerson
    line: str
    at: datetime
    node: dict[str, Any]

    def as_json_object(self) -> dict[str, Any]:
        where = {"wamid": self.wamid, "person": self.person.id, "line": self.line, "at": self.at.isoformat()}
        return {**where, **self.node}


class Counts:
    """Counts by name; ``total`` rises with every piece of work and so shows that something moved."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self.total = 0

    def add(self, name: str, number: int = 1) -> None:
        self._counts[name] += number
        self.total += number

    def of(self, name: str) -> int:
        return self._counts[name]

    def under(self, prefix: str) -> dict[str, int]:
        """The counts whose names start with ``prefix``, without it."""
        return {name.removeprefix(prefix): n for name, n in self._counts.items() if name.startswith(prefix)}


class MessageLog:
    """Messages by arrival, wamid and person; beyond ``keep`` the oldest is forgotten, callback data and all."""

    def __init__(self, keep: int | None) -> None:
        self._keep = keep
        self._messages: dict[str, AcceptedMessage] = {}  # keeps arrival order
        self._by_person: dict[str, deque[AcceptedMessage]] = {}
        self._callbacks: Counter[str] = Counter()
        self._numbers = count(1)
        self.replies: deque[PersonReply] = deque(maxlen=keep)

    def next_number(self) -> int:
        return next(self._numbers)

    def add(self, message: AcceptedMessage) -> None:
        self._messages[message.wamid] = message
        self._by_person.setdefault(message.person.id, deque()).append(message)
        if message.callback is not None:
            self._callbacks[message.callback] += 1
        if self._keep is not None and len(self._messages) > self._keep:
            self._forget_oldest()

    def find(self, wamid: str) -> AcceptedMessage | None:
        return self._messages.get(wamid)

    def messages(self) -> Iterator[AcceptedMessage]:
        return iter(self._messages.values())

    def newest_first(self, person_id: str) -> Iterator[AcceptedMessage]:
        return reversed(self._by_person.get(person_id, deque()))

    def repeated_callbacks(self) -> dict[str, int]:
        return {callback: number for callback, number in self._callbacks.items() if number > 1}

    def _forget_oldest(self) -> None:
        oldest = self._messages.pop(next(iter(self._messages)))
        theirs = self._by_person[oldest.person.id]
        theirs.popleft()
        if not theirs:
            del self._by_person[oldest.person.id]
        if oldest.callback is not None:
            self._callbacks[oldest.callback] -= 1
            if not self._callbacks[oldest.callback]:
                del self._callbacks[oldest.callback]

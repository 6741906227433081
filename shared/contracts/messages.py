"""What rules asks the dispatcher to say (``messages.requested``), and what became of it (``messages.events``)."""

from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta, field

from shared.contracts.envelope import Data, kinds
from shared.contracts.ids import ChainId, Line, MessageId, PersonId, RuleId, Wamid
from shared.contracts.values import Frozen, Instant, Text


class Lane(StrEnum):
    CRITICAL = "critical"
    NORMAL = "normal"
    BULK = "bulk"


class Resend(StrEnum):
    """What may happen to a send nobody can prove: a question is never repeated without a person."""

    NEVER = "never"
    IF_UNPROVEN = "if_unproven"


class Button(Frozen):
    """``button_id`` is ours, signed and opaque; the title is what the person reads."""

    button_id: Annotated[str, Meta(min_length=1, max_length=256)]
    title: Annotated[str, Meta(min_length=1, max_length=20)]


class TemplateCall(Frozen):
    """Outside the customer service window: an approved template by Meta's name, with named parameters."""

    name: Text
    language: Text
    parameters: dict[str, str] = field(default_factory=dict)


class SendMessage(Data):
    """Self-contained: the dispatcher never reads a rule file. ``body`` is the wording inside the window, rendered."""

    kind: ClassVar[str] = "messages.message.requested.v1"
    message_id: MessageId
    person_id: PersonId
    line: Line
    rule: RuleId | None = None
    chain_id: ChainId | None = None
    say: Text
    language: Text
    body: Text
    buttons: tuple[Button, ...] = ()
    template: TemplateCall | None = None
    reply_to: Wamid | None = None
    lane: Lane = Lane.NORMAL
    resend: Resend = Resend.NEVER
    expires_at: Instant


class WithdrawMessage(Data):
    kind: ClassVar[str] = "messages.withdrawal.requested.v1"
    message_id: MessageId
    person_id: PersonId
    reason: Text


class OnMessage(Data):
    message_id: MessageId
    person_id: PersonId
    at: Instant


class Wording(StrEnum):
    FREE_TEXT = "free_text"
    TEMPLATE = "template"


class MessageAccepted(OnMessage):
    """WhatsApp took it: the first evidence that it was sent."""

    kind: ClassVar[str] = "messages.message.accepted.v1"
    wamid: Wamid
    wording: Wording


class MessageDelivered(OnMessage):
    kind: ClassVar[str] = "messages.message.delivered.v1"
    wamid: Wamid


class MessageRead(OnMessage):
    kind: ClassVar[str] = "messages.message.read.v1"
    wamid: Wamid


class MessageFailed(OnMessage):
    """Refused at once, or accepted and failed later; ``code`` is Meta's."""

    kind: ClassVar[str] = "messages.message.failed.v1"
    wamid: Wamid | None = None
    code: int | None = None
    reason: Text


class MessageDropped(OnMessage):
    """Never attempted, and never will be."""

    kind: ClassVar[str] = "messages.message.dropped.v1"
    reason: Text


class MessageUncertain(OnMessage):
    """Attempted; nobody knows yet whether WhatsApp took it."""

    kind: ClassVar[str] = "messages.message.uncertain.v1"
    reason: Text


class Resolution(StrEnum):
    SENT = "sent"
    NOT_SENT = "not_sent"
    RESENT = "resent"


class MessageResolved(OnMessage):
    """An uncertain send was settled, by evidence or by a person."""

    kind: ClassVar[str] = "messages.message.resolved.v1"
    resolution: Resolution
    evidence: Text
    wamid: Wamid | None = None


class MessageWithdrawn(OnMessage):
    kind: ClassVar[str] = "messages.message.withdrawn.v1"
    reason: Text


class MessageTooLate(OnMessage):
    """A withdrawal found it already attempted."""

    kind: ClassVar[str] = "messages.message.too_late.v1"
    wamid: Wamid | None = None


REQUEST_KINDS = kinds((SendMessage, WithdrawMessage))
EVENT_KINDS = kinds(
    (
        MessageAccepted, MessageDelivered, MessageRead, MessageFailed, MessageDropped, MessageUncertain,
        MessageResolved, MessageWithdrawn, MessageTooLate,
    )
)  # fmt: skip

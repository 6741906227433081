"""Messages that rules requests (``messages.requested``), and what becomes of them (``messages.events``)."""

import re
from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta, field

from shared.contracts.envelope import EventData, kinds_by_type
from shared.contracts.ids import ChainId, Line, MessageId, PersonId, RuleId, Wamid
from shared.contracts.values import Instant, NonEmptyStr, Value


class Lane(StrEnum):
    CRITICAL = "critical"
    NORMAL = "normal"
    BULK = "bulk"


class Resend(StrEnum):
    """Whether a send that nothing proves may be repeated; a question is repeated only by an operator."""

    NEVER = "never"
    IF_UNPROVEN = "if_unproven"


class Button(Value):
    """``button_id`` is ours, signed and opaque; the title is what the person reads."""

    button_id: Annotated[str, Meta(min_length=1, max_length=256)]
    title: Annotated[str, Meta(min_length=1, max_length=20)]


class TemplateHeader(StrEnum):
    """The part of a template above its body; without one it takes no document."""

    DOCUMENT = "document"


class TemplateCall(Value):
    """Outside the customer service window: an approved template by Meta's name, with named parameters.

    ``category`` is the one its file declares (``utility``, ``marketing``); Meta may have moved the template since.
    """

    name: NonEmptyStr
    language: NonEmptyStr
    parameters: dict[str, str] = field(default_factory=dict)
    category: str | None = None
    header: TemplateHeader | None = None


class SentTemplate(Value):
    """The template as which a message was sent: Meta's name, which carries the version, and the language."""

    name: NonEmptyStr
    language: NonEmptyStr


class AttachedDocument(Value):
    """A file that goes with a message: in a template's header, or with the text inside the window.

    ``address`` is a link, or a key in the store of documents. ``name`` is the file name that the person sees; an
    extension is added by the file's type. A message goes without its document only where that is ``optional``.
    """

    address: Annotated[str, Meta(min_length=1, max_length=2048)]
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    optional: bool = False


class OpenSpan(Value):
    """A span in which a person may be written to; ``closes`` is outside it."""

    opens: Instant
    closes: Instant


class SendMessage(EventData):
    """Self-contained: the dispatcher never reads a rule file. ``body`` is the wording inside the window, rendered.

    ``open_hours`` are the spans until ``expires_at`` in which the person may be written to, the earliest first: a
    message that must wait leaves in one of them. Those of a reply begin with the hour in which the person awaits it.
    Without any the message may leave at any hour.

    ``fallback`` goes where Meta does not let ``template`` go; it has the same buttons. Without ``marketing_consent`` of
    the person no template goes that Meta classes as marketing. A ``mandatory`` message, such as the confirmation of an
    opt-out, goes also where the month's budget is spent.
    """

    kind: ClassVar[str] = "messages.message.requested.v1"
    message_id: MessageId
    person_id: PersonId
    line: Line
    rule: RuleId | None = None
    chain_id: ChainId | None = None
    say: NonEmptyStr
    language: NonEmptyStr
    body: NonEmptyStr
    buttons: tuple[Button, ...] = ()
    template: TemplateCall | None = None
    fallback: TemplateCall | None = None
    marketing_consent: bool = False
    document: AttachedDocument | None = None
    mandatory: bool = False
    reply_to: Wamid | None = None
    lane: Lane = Lane.NORMAL
    resend: Resend = Resend.NEVER
    expires_at: Instant
    open_hours: tuple[OpenSpan, ...] = ()


class AmendMessage(EventData):
    """Gives a message that may still wait another ``fallback``, other ``open_hours`` or another ``marketing_consent``.

    A field that is None changes nothing, and neither does an amendment of a message that was sent, dropped or
    withdrawn. ``number`` rises with every amendment that is decided, and the highest one of a field counts, in
    whichever order they come: an operator may replay an older one, or the topic is read again. One of an earlier
    version has 0, and counts as it comes.
    """

    kind: ClassVar[str] = "messages.amendment.requested.v1"
    message_id: MessageId
    person_id: PersonId
    fallback: TemplateCall | None = None
    open_hours: tuple[OpenSpan, ...] | None = None
    marketing_consent: bool | None = None
    number: int = 0


class WithdrawMessage(EventData):
    kind: ClassVar[str] = "messages.withdrawal.requested.v1"
    message_id: MessageId
    person_id: PersonId
    reason: NonEmptyStr


class MessageEventData(EventData):
    message_id: MessageId
    person_id: PersonId
    at: Instant


class MessageForm(StrEnum):
    FREE_TEXT = "free_text"
    TEMPLATE = "template"


class MessageAccepted(MessageEventData):
    """WhatsApp took it: the first evidence that it was sent.

    ``template`` is its own or its fallback; None for free text, and from an earlier version of the dispatcher.
    """

    kind: ClassVar[str] = "messages.message.accepted.v1"
    wamid: Wamid
    wording: MessageForm
    template: SentTemplate | None = None


class MessageDelivered(MessageEventData):
    kind: ClassVar[str] = "messages.message.delivered.v1"
    wamid: Wamid


class MessageRead(MessageEventData):
    kind: ClassVar[str] = "messages.message.read.v1"
    wamid: Wamid


class MessageFailed(MessageEventData):
    """Refused at once, or accepted and failed later; ``code`` is Meta's."""

    kind: ClassVar[str] = "messages.message.failed.v1"
    wamid: Wamid | None = None
    code: int | None = None
    reason: NonEmptyStr


class MessageDropped(MessageEventData):
    """Never attempted, and never will be."""

    kind: ClassVar[str] = "messages.message.dropped.v1"
    reason: NonEmptyStr


class MessageUncertain(MessageEventData):
    """Attempted; it is not known yet whether WhatsApp accepted it."""

    kind: ClassVar[str] = "messages.message.uncertain.v1"
    reason: NonEmptyStr


class Resolution(StrEnum):
    SENT = "sent"
    NOT_SENT = "not_sent"
    RESENT = "resent"


class MessageResolved(MessageEventData):
    """An uncertain send was settled by evidence or by a person, or one that WhatsApp reported as failed goes again.

    ``wording`` and ``template`` are those of a message that was sent after all.
    """

    kind: ClassVar[str] = "messages.message.resolved.v1"
    resolution: Resolution
    evidence: NonEmptyStr
    wamid: Wamid | None = None
    wording: MessageForm | None = None
    template: SentTemplate | None = None


class MessageWithdrawn(MessageEventData):
    kind: ClassVar[str] = "messages.message.withdrawn.v1"
    reason: NonEmptyStr


class MessageTooLate(MessageEventData):
    """A withdrawal found it already attempted."""

    kind: ClassVar[str] = "messages.message.too_late.v1"
    wamid: Wamid | None = None


REQUEST_KINDS = kinds_by_type((SendMessage, AmendMessage, WithdrawMessage))
EVENT_KINDS = kinds_by_type(
    (
        MessageAccepted, MessageDelivered, MessageRead, MessageFailed, MessageDropped, MessageUncertain,
        MessageResolved, MessageWithdrawn, MessageTooLate,
    )
)  # fmt: skip


# ------------------------------------------------------------------ callback data
# The text of a send as ``biz_opaque_callback_data``: every status brings it back, to each receiver of the webhook.
# ``<message id>.<attempt>@<person id>:<version>``: the message and its attempt, and the person with the version of the
# state whose address it was sent to. Both ids are opaque. The part from the @ may be missing.

_CALLBACK = re.compile(r"(?P<message>.+)\.(?P<attempt>[0-9]{1,9})(@(?P<person>[^@:]{1,300}):(?P<version>[0-9]{1,18}))?")


def format_callback(message_id: str, attempt: int, person_id: str | None = None, version: int = 0) -> str:
    """WhatsApp allows at most 512 characters; our ids need far fewer."""
    callback = f"{message_id}.{attempt}"
    return callback if person_id is None else f"{callback}@{person_id}:{version}"


def parse_callback(callback: str | None) -> tuple[str, int] | None:
    """(message id, attempt), or None for callback data of another system."""
    match = _CALLBACK.fullmatch(callback or "")
    return None if match is None else (match["message"], int(match["attempt"]))


def parse_recipient(callback: str | None) -> tuple[PersonId, int] | None:
    """(person, version of their state), or None where the callback names none."""
    match = _CALLBACK.fullmatch(callback) if callback is not None and "@" in callback else None
    return None if match is None or match["person"] is None else (PersonId(match["person"]), int(match["version"]))

"""Events of WhatsApp: ``whatsapp.messages``, ``whatsapp.media``, ``whatsapp.statuses`` and ``whatsapp.account``."""

from enum import StrEnum
from typing import Any, ClassVar

import msgspec

from shared.contracts.envelope import EventData, kinds_by_type
from shared.contracts.ids import Line, PersonId, Wamid
from shared.contracts.values import Instant, NonEmptyStr, Value


class MessageKind(StrEnum):
    """How a person wrote. Orders, contacts, system notes and all unknown kinds are ``other``."""

    TEXT = "text"
    BUTTON = "button"
    LIST = "list"
    MEDIA = "media"
    REACTION = "reaction"
    LOCATION = "location"
    EDIT = "edit"
    REVOKE = "revoke"
    CALL = "call"
    UNSUPPORTED = "unsupported"
    OTHER = "other"


class Media(Value):
    """An attachment as the webhook names it; ``media_id`` lives seven days, ``sha256`` is base64 of the digest.

    ``size`` is in bytes and known only where the provider says it, which WhatsApp's webhook usually does not.
    ``file_id`` names it in the events of ``whatsapp.media``; None where files are not kept.
    """

    media_id: NonEmptyStr
    mime: str | None = None
    sha256: str | None = None
    filename: str | None = None
    size: int | None = None
    file_id: str | None = None


class MessageReceived(EventData):
    """A person wrote, tapped a button or sent a file.

    ``shared_with`` are others who are reached at the very address it came from, so may have written it.
    ``person_version`` is the version of the person's state by which the writer was found.
    """

    kind: ClassVar[str] = "whatsapp.message.received.v1"
    line: Line
    person_id: PersonId
    message_id: Wamid
    message_kind: MessageKind
    text: str | None = None
    media: Media | None = None
    button_id: str | None = None
    quoted_id: Wamid | None = None
    in_group: bool = False
    shared_with: tuple[PersonId, ...] = ()
    person_version: int | None = None
    at: Instant


class ScanVerdict(StrEnum):
    """``not_scanned``: no scanner is set up."""

    CLEAN = "clean"
    NOT_SCANNED = "not_scanned"


class MediaStored(EventData):
    """A file of an inbound message is in the file store, checked.

    ``url`` is where its store keeps it, or the publisher's own link to it. ``mime`` is the content's type,
    ``declared_mime`` the sender's. ``size`` is in bytes, ``sha256`` the digest in hex.
    """

    kind: ClassVar[str] = "whatsapp.media.stored.v1"
    file_id: NonEmptyStr
    person_id: PersonId
    url: NonEmptyStr
    mime: NonEmptyStr
    declared_mime: str | None = None
    size: int
    sha256: NonEmptyStr
    verdict: ScanVerdict
    at: Instant


class MediaRefusal(StrEnum):
    """Why a file of an inbound message is not kept.

    ``expired``: it could not be fetched within the seven days that WhatsApp keeps it.
    """

    EXPIRED = "expired"
    TOO_LARGE = "too_large"
    EMPTY = "empty"
    WRONG_TYPE = "wrong_type"
    HASH_MISMATCH = "hash_mismatch"
    INFECTED = "infected"


class MediaRefused(EventData):
    """A file of an inbound message will never be kept. ``mime`` is the content's type, where it was seen.

    ``most_bytes`` is the size up to which files are kept, where it was ``too_large``.
    """

    kind: ClassVar[str] = "whatsapp.media.refused.v1"
    file_id: NonEmptyStr
    person_id: PersonId
    reason: MediaRefusal
    mime: str | None = None
    most_bytes: int | None = None
    at: Instant


class IdentityChange(StrEnum):
    NUMBER = "number"
    BSUID = "bsuid"
    KEY = "key"


class IdentityChanged(EventData):
    """The person is the same; what they are reached by changed, and arrives on ``contacts``.

    ``shared_with`` are others who are reached at the same account.
    """

    kind: ClassVar[str] = "whatsapp.identity.changed.v1"
    person_id: PersonId
    change: IdentityChange
    shared_with: tuple[PersonId, ...] = ()
    at: Instant


class Preference(StrEnum):
    STOP = "stop"
    RESUME = "resume"
    SIGNUP = "signup"


class PreferenceChanged(EventData):
    """WhatsApp's own switch for marketing messages.

    ``shared_with`` are others who are reached at the same account.
    """

    kind: ClassVar[str] = "whatsapp.preference.changed.v1"
    line: Line | None = None
    person_id: PersonId
    category: str
    value: Preference
    shared_with: tuple[PersonId, ...] = ()
    at: Instant


class DeliveryStatus(StrEnum):
    """Ranks: sent < delivered < read < played; failed stands apart."""

    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    PLAYED = "played"
    FAILED = "failed"
    OTHER = "other"


class StatusReported(EventData):
    """``callback`` is what the send carried as biz_opaque_callback_data; ``code`` is Meta's error code.

    ``pricing_category`` is what Meta charges for (utility, marketing, authentication, service), ``pricing_type``
    whether it does: ``regular``, or free of charge for a reason (free_customer_service, free_entry_point). ``country``
    is that of the recipient's address (ISO 3166-1 alpha-2), and known only where ``pricing_category`` is.
    """

    kind: ClassVar[str] = "whatsapp.status.reported.v1"
    wamid: Wamid
    status: DeliveryStatus
    line: Line | None = None
    at: Instant
    callback: str | None = None
    code: int | None = None
    pricing_category: str | None = None
    pricing_type: str | None = None
    country: str | None = None


class AccountReported(EventData):
    """Anything WhatsApp says of the account, its numbers and templates, kept as it came (never personal fields)."""

    kind: ClassVar[str] = "whatsapp.account.reported.v1"
    account: NonEmptyStr
    field: NonEmptyStr
    value: dict[str, Any] = msgspec.field(default_factory=dict)
    at: Instant


class UnknownReceived(EventData):
    """An update of a kind this version does not know; its raw form is kept, and it has no effect."""

    kind: ClassVar[str] = "whatsapp.unknown.received.v1"
    account: NonEmptyStr
    field: NonEmptyStr
    at: Instant


class WebhookConfirmed(EventData):
    """The heartbeat: every webhook that reached ingest between ``since`` and ``until`` was taken (machine time)."""

    kind: ClassVar[str] = "whatsapp.webhook.confirmed.v1"
    account: NonEmptyStr
    since: Instant
    until: Instant


class WebhookGapOpened(EventData):
    """Ingest refused a webhook, or was away; until redelivered, statuses may be missing since then (machine time)."""

    kind: ClassVar[str] = "whatsapp.webhook.gap_opened.v1"
    account: NonEmptyStr
    since: Instant
    reason: NonEmptyStr


MESSAGE_KINDS = kinds_by_type((MessageReceived, IdentityChanged, PreferenceChanged))
MEDIA_KINDS = kinds_by_type((MediaStored, MediaRefused))
STATUS_KINDS = kinds_by_type((StatusReported,))
ACCOUNT_KINDS = kinds_by_type((AccountReported, UnknownReceived, WebhookConfirmed, WebhookGapOpened))

"""Every topic Stet has, declared once: what it carries, how its records are keyed, how long they are kept.

``stet topics create`` makes what is missing, ``check`` names what differs.
"""

from dataclasses import dataclass
from datetime import timedelta

from shared.contracts import consonance, contacts, decisions, evidence, messages, whatsapp, writes
from shared.contracts.envelope import Kinds

PARTITIONS = 12
"""Never changed: the order of a key depends on it."""

_MEBIBYTE = 1024 * 1024
SERVICES = ("ingest", "rules", "dispatcher", "writeback")


COMPACTED_WITHIN = timedelta(hours=6)
"""A compacted topic keeps an earlier state of a key no longer than this, once a newer record has come."""


@dataclass(frozen=True, slots=True)
class Topic:
    """``key`` says in words what a record's key names. ``keep`` None: compacted, the newest state of each key stays."""

    name: str
    kinds: Kinds
    key: str
    keep: timedelta | None
    max_message_bytes: int = _MEBIBYTE

    @property
    def kept(self) -> str:
        """How long a record is kept, for people to read."""
        if self.keep is not None:
            return f"{self.keep.days} days"
        hours = int(COMPACTED_WITHIN.total_seconds() // 3600)
        return f"the newest state of each person; earlier ones {hours} hours"


_PERSON = "tenant and person"
_WORK = "tenant and work, else the payee, contact or rights record"

CONSONANCE_EVENTS = Topic("consonance.events", consonance.KINDS, _WORK, timedelta(days=30))
CONTACTS = Topic("contacts", contacts.KINDS, _PERSON, None)
WHATSAPP_MESSAGES = Topic("whatsapp.messages", whatsapp.MESSAGE_KINDS, _PERSON, timedelta(days=7))
WHATSAPP_MEDIA = Topic("whatsapp.media", whatsapp.MEDIA_KINDS, _PERSON, timedelta(days=30))
WHATSAPP_STATUSES = Topic("whatsapp.statuses", whatsapp.STATUS_KINDS, "the pseudonym of the wamid", timedelta(days=7))
WHATSAPP_ACCOUNT = Topic(
    "whatsapp.account", whatsapp.ACCOUNT_KINDS, "the WhatsApp business account", timedelta(days=30)
)
MESSAGES_REQUESTED = Topic("messages.requested", messages.REQUEST_KINDS, _PERSON, timedelta(days=7))
MESSAGES_EVENTS = Topic("messages.events", messages.EVENT_KINDS, _PERSON, timedelta(days=30))
WRITES_REQUESTED = Topic("writes.requested", writes.REQUEST_KINDS, _WORK, timedelta(days=30))
WRITES_EVENTS = Topic("writes.events", writes.EVENT_KINDS, _WORK, timedelta(days=30))
EVIDENCE_REQUESTED = Topic("evidence.requested", evidence.KINDS, _WORK, timedelta(days=30))
METADATA_APPROVED = Topic("metadata.approved", writes.APPROVED_KINDS, _WORK, timedelta(days=30))
DECISIONS = Topic("decisions", decisions.KINDS, "the id of the event that was decided", timedelta(days=365))


def parked_topic(service: str) -> Topic:
    """Raw bytes as they came, the reason in the headers."""
    return Topic(f"parked.{service}", {}, "the record's own", timedelta(days=90), max_message_bytes=4 * _MEBIBYTE)


ALL_TOPICS = (
    CONSONANCE_EVENTS, CONTACTS, WHATSAPP_MESSAGES, WHATSAPP_MEDIA, WHATSAPP_STATUSES, WHATSAPP_ACCOUNT,
    MESSAGES_REQUESTED, MESSAGES_EVENTS, WRITES_REQUESTED, WRITES_EVENTS, EVIDENCE_REQUESTED, METADATA_APPROVED,
    DECISIONS,
    *map(parked_topic, SERVICES),
)  # fmt: skip

CONSUMED: dict[str, tuple[Topic, ...]] = {
    "ingest": (),
    "rules": (CONSONANCE_EVENTS, CONTACTS, WHATSAPP_MESSAGES, WHATSAPP_MEDIA, MESSAGES_EVENTS, WRITES_EVENTS),
    "dispatcher": (MESSAGES_REQUESTED, CONTACTS, WHATSAPP_MESSAGES, WHATSAPP_STATUSES, WHATSAPP_ACCOUNT),
    "writeback": (WRITES_REQUESTED, EVIDENCE_REQUESTED, CONTACTS, WHATSAPP_MEDIA),
}
PRODUCED: dict[str, tuple[Topic, ...]] = {
    "ingest": (
        CONSONANCE_EVENTS,
        CONTACTS,
        WHATSAPP_MESSAGES,
        WHATSAPP_MEDIA,
        WHATSAPP_STATUSES,
        WHATSAPP_ACCOUNT,
        parked_topic("ingest"),
    ),
    "rules": (MESSAGES_REQUESTED, WRITES_REQUESTED, EVIDENCE_REQUESTED, DECISIONS, parked_topic("rules")),
    "dispatcher": (MESSAGES_EVENTS, parked_topic("dispatcher")),
    "writeback": (WRITES_EVENTS, METADATA_APPROVED, parked_topic("writeback")),
}
"""By service. A service may also write what it reads: a parked record is replayed to its topic."""

READ_BACK: dict[str, tuple[Topic, ...]] = {"ingest": (CONSONANCE_EVENTS,), "rules": (DECISIONS,)}
"""By service: what it writes and its conservation audit reads again; it needs the right to."""

TRACED = (
    CONSONANCE_EVENTS, WHATSAPP_MESSAGES, WHATSAPP_STATUSES, DECISIONS, MESSAGES_REQUESTED, MESSAGES_EVENTS,
    WRITES_REQUESTED, WRITES_EVENTS, METADATA_APPROVED,
)  # fmt: skip
"""Read by people who look for an id, and for a person CONTACTS too; their login needs the right to."""

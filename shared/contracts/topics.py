"""Every topic Stet has, declared once: what it carries, how its records are keyed, how long they are kept.

``python -m ops topics create`` makes what is missing, ``check`` names what differs.
"""

from dataclasses import dataclass
from datetime import timedelta

from shared.contracts import consonance, contacts, decisions, messages, whatsapp, writes
from shared.contracts.envelope import Kinds

PARTITIONS = 12
"""Never changed: the order of a key depends on it."""

_MEBIBYTE = 1024 * 1024
SERVICES = ("ingest", "rules", "dispatcher", "writeback")


@dataclass(frozen=True, slots=True)
class Topic:
    """``keep`` None: compacted, the newest state of each key stays for good."""

    name: str
    kinds: Kinds
    keep: timedelta | None
    max_message_bytes: int = _MEBIBYTE


CONSONANCE_EVENTS = Topic("consonance.events", consonance.KINDS, timedelta(days=30))
CONTACTS = Topic("contacts", contacts.KINDS, None)
WHATSAPP_MESSAGES = Topic("whatsapp.messages", whatsapp.MESSAGE_KINDS, timedelta(days=7))
WHATSAPP_STATUSES = Topic("whatsapp.statuses", whatsapp.STATUS_KINDS, timedelta(days=7))
WHATSAPP_ACCOUNT = Topic("whatsapp.account", whatsapp.ACCOUNT_KINDS, timedelta(days=30))
MESSAGES_REQUESTED = Topic("messages.requested", messages.REQUEST_KINDS, timedelta(days=7))
MESSAGES_EVENTS = Topic("messages.events", messages.EVENT_KINDS, timedelta(days=30))
WRITES_REQUESTED = Topic("writes.requested", writes.REQUEST_KINDS, timedelta(days=30))
WRITES_EVENTS = Topic("writes.events", writes.EVENT_KINDS, timedelta(days=30))
METADATA_APPROVED = Topic("metadata.approved", writes.APPROVED_KINDS, timedelta(days=30))
DECISIONS = Topic("decisions", decisions.KINDS, timedelta(days=365))


def parked_topic(service: str) -> Topic:
    """Raw bytes as they came, the reason in the headers."""
    return Topic(f"parked.{service}", {}, timedelta(days=90), max_message_bytes=4 * _MEBIBYTE)


ALL_TOPICS = (
    CONSONANCE_EVENTS, CONTACTS, WHATSAPP_MESSAGES, WHATSAPP_STATUSES, WHATSAPP_ACCOUNT, MESSAGES_REQUESTED,
    MESSAGES_EVENTS, WRITES_REQUESTED, WRITES_EVENTS, METADATA_APPROVED, DECISIONS, *map(parked_topic, SERVICES),
)  # fmt: skip

CONSUMED: dict[str, tuple[Topic, ...]] = {
    "ingest": (),
    "rules": (CONSONANCE_EVENTS, CONTACTS, WHATSAPP_MESSAGES, MESSAGES_EVENTS, WRITES_EVENTS),
    "dispatcher": (MESSAGES_REQUESTED, CONTACTS, WHATSAPP_MESSAGES, WHATSAPP_STATUSES, WHATSAPP_ACCOUNT),
    "writeback": (WRITES_REQUESTED, CONTACTS),
}
PRODUCED: dict[str, tuple[Topic, ...]] = {
    "ingest": (
        CONSONANCE_EVENTS,
        CONTACTS,
        WHATSAPP_MESSAGES,
        WHATSAPP_STATUSES,
        WHATSAPP_ACCOUNT,
        parked_topic("ingest"),
    ),
    "rules": (MESSAGES_REQUESTED, WRITES_REQUESTED, DECISIONS, parked_topic("rules")),
    "dispatcher": (MESSAGES_EVENTS, parked_topic("dispatcher")),
    "writeback": (WRITES_EVENTS, METADATA_APPROVED, parked_topic("writeback")),
}
"""By service; what is read may also be written, where a parked record is replayed."""

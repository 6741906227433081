"""Facts of people, their consent and messages, of works and of rights records: immutable values."""

from collections.abc import Iterator
from datetime import date, datetime
from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple

from msgspec import field

from shared.contracts.consonance import WorkObserved
from shared.contracts.contacts import PLACEHOLDER_NAME, PersonObserved
from shared.contracts.envelope import Event
from shared.contracts.ids import ChainId, ContactId, Line, MessageId, PersonId, Wamid
from shared.contracts.values import Instant, Value
from shared.contracts.whatsapp import MediaRefusal, MediaRefused, MediaStored


class PersonFacts(Value):
    """A person without addresses: rules needs to know only whether there is one (``reachable``).

    ``moved_submission`` is the open submission of this id that moved to another id when the two were merged. It is
    stored as ``brought``.

    ``address_mark`` tells whether the address has changed: two bytes of a hash, too few to find an address by. It is of
    the number, where there is one: that a BSUID becomes known beside it changes nothing.
    ``address_marks`` are three bytes of a hash of each address, for the question whether two people had one in common.
    ``bsuid_mark`` tells whether WhatsApp shows another user at the address.
    """

    person_id: PersonId
    contact_id: ContactId | None = None
    display_name: str
    country: str | None = None
    language: str | None = None
    zone: str | None = None
    roles: tuple[str, ...] = ()
    reachable: bool
    erased: bool = False
    version: int = 0
    merged_into: PersonId | None = None
    merged_at: Instant | None = None
    address_mark: int | None = None
    subdivision: str | None = None
    moved_submission: str | None = field(default=None, name="brought")
    address_marks: tuple[int, ...] = ()
    bsuid_mark: int | None = None

    @classmethod
    def of(cls, seen: PersonObserved, zone: str | None) -> "PersonFacts":
        """``zone`` is the person's own time zone, or the one that country and phone number suggest."""
        return cls(
            person_id=seen.person_id,
            contact_id=seen.contact_id,
            display_name=seen.display_name or PLACEHOLDER_NAME,
            country=seen.country,
            language=seen.language,
            zone=zone,
            roles=tuple(seen.roles),
            erased=seen.erased,
            version=seen.version,
            reachable=bool(seen.addresses.phone or seen.addresses.bsuid),
            merged_into=seen.merged_into,
            merged_at=seen.observed_at if seen.merged_into else None,
            address_mark=_mark(seen, seen.addresses.phone or seen.addresses.bsuid),
            address_marks=_marks(seen),
            subdivision=seen.subdivision,
            bsuid_mark=_mark(seen, seen.addresses.bsuid) if seen.addresses.bsuid else None,
        )


def _mark(seen: PersonObserved, address: str | None) -> int:
    """Two bytes of a hash, which differs from person to person."""
    written = f"{seen.person_id} {address}"
    return int.from_bytes(blake2b(written.encode(), digest_size=2).digest())


def _marks(seen: PersonObserved) -> tuple[int, ...]:
    addresses = (seen.addresses.phone, seen.addresses.wa_id, seen.addresses.bsuid)
    return tuple(
        int.from_bytes(blake2b(address.encode(), digest_size=3).digest())
        for address in addresses
        if address is not None
    )


class Consent(Value):
    """The last opt-out and opt-in of one person id, with the message that proves the newest.

    - ``wrong_person_at``: a message from their address said that it is not this person's; a consent given there does
      not count any more.
    - ``marketing_in_at``, ``marketing_out_at``: of marketing alone.
    - ``lapsed_at``: the account became another one; what was agreed to before counts no more, whichever list or late
      message says so.

    A person may have several ids: ``Facts.opted_out`` says whether the person has stopped all messages, and
    ``Facts.allows_marketing`` whether marketing may go to them.
    """

    opted_out_at: Instant | None = None
    opted_in_at: Instant | None = None
    evidence: str | None = None
    wrong_person_at: Instant | None = None
    marketing_in_at: Instant | None = None
    marketing_out_at: Instant | None = None
    lapsed_at: Instant | None = None

    @property
    def is_wrong_person(self) -> bool:
        """Whether the address is another person's; it is until the address changes, or a message from there asks for
        messages.
        """
        if self.wrong_person_at is None:
            return False
        return self.opted_in_at is None or self.opted_in_at <= self.wrong_person_at

    @property
    def opted_out(self) -> bool:
        if self.opted_out_at is None:
            return False
        return self.opted_in_at is None or self.opted_in_at <= self.opted_out_at

    def with_opt_out(self, at: datetime, evidence: str | None) -> "Consent":
        """The newest of each kind counts, in whatever order they arrive."""
        newer = self.opted_out_at is None or self.opted_out_at < at
        return self.replace(opted_out_at=at, evidence=evidence) if newer else self

    def with_opt_in(self, at: datetime, evidence: str | None) -> "Consent":
        newer = self.opted_in_at is None or self.opted_in_at < at
        return self.replace(opted_in_at=at, evidence=evidence) if newer and not self.lapsed_since(at) else self

    def lapsed_since(self, at: datetime) -> bool:
        """Whether what was agreed to then has lapsed: in the second of the change the order is not known."""
        return self.lapsed_at is not None and at <= self.lapsed_at

    def with_lapse(self, at: datetime) -> "Consent":
        """An agreement after the change is the new account's own, and stays."""
        lapsed = self.replace(lapsed_at=max(at, self.lapsed_at or at))
        opted_in, marketing = self.opted_in_at, self.marketing_in_at
        return lapsed.replace(
            opted_in_at=None if opted_in is None or lapsed.lapsed_since(opted_in) else opted_in,
            marketing_in_at=None if marketing is None or lapsed.lapsed_since(marketing) else marketing,
        )

    def with_marketing(self, at: datetime, *, allowed: bool) -> "Consent":
        """The newest of each kind counts here too."""
        if allowed and self.lapsed_since(at):
            return self
        name = "marketing_in_at" if allowed else "marketing_out_at"
        known: datetime | None = getattr(self, name)
        return self.replace(**{name: at}) if known is None or known < at else self


class ConsentChange(StrEnum):
    """The cause of a change. ``lapsed``: the address may be another person's now, so an opt-in counts no more.

    ``address_changed``: the address that was another person's has changed. ``separated``: ids of one person are two
    people's again, and both keep the opt-out.
    """

    OPT_IN = "opt_in"
    OPT_OUT = "opt_out"
    MARKETING_OPT_IN = "marketing_opt_in"
    MARKETING_OPT_OUT = "marketing_opt_out"
    WRONG_PERSON = "wrong_person"
    LAPSED = "lapsed"
    ADDRESS_CHANGED = "address_changed"
    SEPARATED = "separated"


class ConsentSource(StrEnum):
    """Where it comes from: a message of the person, WhatsApp's own switch or refusal, a list, a change of identity."""

    MESSAGE = "message"
    WHATSAPP = "whatsapp"
    IMPORT = "import"
    IDENTITY = "identity"


class ConsentEntry(Value):
    """One line of the consent ledger; ``at`` is when the person said it, ``consent`` the state after it."""

    person_id: PersonId
    change: ConsentChange
    at: Instant
    source: ConsentSource
    evidence: str | None = None
    line: Line | None = None
    consent: Consent


class NoticeOutcome(NamedTuple):
    """The dispatcher's report of a message that belongs to no chain: WhatsApp's id, and whether it may go again."""

    wamid: Wamid | None
    uncertain: bool


class MessageFingerprint(Value):
    """An unsolicited message as hashes of its words, and the chain it would answer."""

    words: tuple[int, ...]
    about: ChainId | None = None
    at: Instant


class UnsolicitedMessages(Value, rename={"recent": "said", "reported_at": "told_at"}):
    """The messages a person wrote lately without being asked: when they were answered or started a rule, and hashes.

    ``reported_at``: when it was last reported to a colleague that the person is not answered any more.
    """

    answered: tuple[Instant, ...] = ()
    started: tuple[Instant, ...] = ()
    recent: tuple[MessageFingerprint, ...] = ()
    reported_at: Instant | None = None


class StrangersMessages(Value):
    """When messages of people whom Consonance does not know started chains lately, oldest first: one for each chain.

    ``reported_at``: when it was last logged that their messages are kept without an answer. ``version`` rises when it
    is stored.
    """

    started: tuple[Instant, ...] = ()
    reported_at: Instant | None = None
    version: int = 0


class Absence(Value):
    """A member of staff wrote that they are away from ``first`` to ``last``, both inclusive.

    ``covered_by`` gets what comes for them. ``returned_on`` is the day on which they wrote that they are back, which
    also ends what people.yaml says of that time. ``following`` is the next one that is announced already.
    """

    first: date
    last: date
    covered_by: PersonId | None = None
    returned_on: date | None = None
    evidence: Wamid | None = None
    following: "Absence | None" = None

    def on(self, today: date) -> "Absence":
        """The one that counts: the following one from the day on which this one is over."""
        return self.following.on(today) if self.following is not None and self.last < today else self

    def from_day(self, today: date) -> Iterator["Absence"]:
        """The absences that last until this day or longer and that no return has ended, each by itself."""
        if today <= self.last and self.is_in_effect:
            yield self.replace(following=None)
        if self.following is not None:
            yield from self.following.from_day(today)

    def returned(self, today: date, evidence: Wamid) -> "Absence":
        """The absence with a return on this day. A following one stands all the same, since the return is before it."""
        following = self.following and self.following.returned(today, self.following.evidence or evidence)
        return self.replace(returned_on=today, evidence=evidence, following=following)

    @property
    def is_in_effect(self) -> bool:
        """Whether no return has ended it; a return before its first day ended another absence."""
        return self.returned_on is None or self.returned_on < self.first

    def covers(self, today: date) -> bool:
        return self.first <= today <= self.last and self.is_in_effect


class CountedMessage(Value):
    message_id: MessageId
    at: Instant


class CountedMessages(Value):
    """The messages to one person that count for the caps, of the last days; ``version`` rises when they are stored."""

    messages: tuple[CountedMessage, ...] = ()
    version: int = 0


class RecentStarts(Value):
    """When the newest chains of a rule about one subject started, newest first; no more than are allowed."""

    at: tuple[Instant, ...] = ()


class FileReport(Value):
    """The report of ingest on a file that a person sent: its ``size`` in bytes and its type, or why it is not kept.

    ``mime`` is the type of the content; a report that an earlier version kept has none. ``most_bytes`` is the size up
    to which ingest keeps files, where the file was larger.
    """

    file_id: str
    person_id: PersonId
    refusal: MediaRefusal | None = None
    size: int | None = None
    mime: str | None = None
    most_bytes: int | None = None
    at: Instant

    @classmethod
    def of(cls, data: MediaStored | MediaRefused) -> "FileReport":
        if isinstance(data, MediaStored):
            return cls(file_id=data.file_id, person_id=data.person_id, size=data.size, mime=data.mime, at=data.at)
        return cls(
            file_id=data.file_id,
            person_id=data.person_id,
            refusal=data.reason,
            most_bytes=data.most_bytes,
            at=data.at,
        )


class SeenEvent(Value):
    """When the event that a fact is from happened (``at``), and when Stet saw it; ``name`` is what it is about."""

    at: Instant
    recorded_at: Instant
    name: str = ""

    @classmethod
    def of(cls, event: Event, name: str = "") -> "SeenEvent":
        return cls(at=event.time, recorded_at=event.recordedtime, name=name)

    def is_newer_than(self, event: Event) -> bool:
        """By both instants: the clocks of two senders may differ, and ours may have been set back."""
        return event.time < self.at and event.recordedtime < self.recorded_at


class WorkFacts(Value):
    """The last observed state of a work, and the ids of the blocks open on it; the newest event about each block.

    ``withdrawals`` are the newest ones of requests for approval, by the id of the request.
    """

    state: WorkObserved
    blocks: tuple[str, ...] = ()
    block_events: tuple[SeenEvent, ...] = ()
    withdrawals: tuple[SeenEvent, ...] = ()


class RightsFacts(Value):
    """``status_event`` is the event that the status is from."""

    status: str | None = None
    needs_signature: bool = False
    open_requests: tuple[str, ...] = ()
    status_event: SeenEvent | None = None

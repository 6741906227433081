"""The targets of mutated inputs in this process, and the checks afterwards.

Each target raises ``CheckFailed`` where an input was lost or got a wrong response; any other exception is a crash.
Handlers and signatures are the real ones; Kafka, PostgreSQL and the parked table are lists (``live.py`` has real ones).
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import orjson

from services.ingest import handlers
from services.ingest.cloudevents import PushSettings
from services.ingest.coverage import CoverageTracker
from services.ingest.erasure import erase_names, named_contacts
from services.ingest.handlers import ConsonanceEvents, WhatsAppWebhook
from services.ingest.identity import identify, visitor_id
from services.ingest.metrics import IngestMetrics
from services.ingest.person_directory import PersonDirectory
from services.ingest.poll.snapshot_parser import parse_contact, parse_page, parse_work
from services.ingest.poll.snapshots import ContactSnapshot, WorkSnapshot, work_observed
from services.ingest.poll.vocabulary import TenantVocabulary
from services.ingest.records import MAX_NAME_LENGTH, InvalidInput, KafkaRecord, WebhookContext
from services.ingest.webhook_parser import PersonUpdate, parse_webhook
from services.ingest.webhook_updates import KNOWN_ARRAYS, MAX_UPDATES
from services.writeback.executor import read_mutation_response
from services.writeback.protocol import MutationAnswer
from shared.contracts.envelope import Event, parse_event
from shared.contracts.errors import Unprocessable
from shared.contracts.topics import (
    ALL_TOPICS,
    CONSONANCE_EVENTS,
    CONTACTS,
    MESSAGES_EVENTS,
    WHATSAPP_MESSAGES,
    WRITES_EVENTS,
)
from shared.contracts.vocabulary import Stage, Version, VersionKind
from shared.runtime.clock import machine_now
from shared.runtime.http.router import HttpRequest, HttpResponse
from tests.fuzz import corpus
from tests.fuzz.rules import RulesUnderFuzz
from tests.services.ingest.payloads import CONTEXT, NOW, PSEUDONYMS
from tests.services.ingest.service import VERIFY_TOKEN

SECRET = b"app-secret"
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"secretsecretsecret!!").decode()
_TOKEN = "a version of a work"  # noqa: S105 -- no secret
LONDON = ZoneInfo("Europe/London")
_KNOWN_TO_RULES = (CONSONANCE_EVENTS, CONTACTS, WHATSAPP_MESSAGES, MESSAGES_EVENTS, WRITES_EVENTS)


class CheckFailed(Exception):
    """An input was lost, or got a wrong response."""


@dataclass
class Counts:
    """How many inputs ended in which way; ``refused``: told to the sender, or known for what cannot be read.

    ``not_ours``: updates of another product's number, which are kept out.
    """

    inputs: int = 0
    updates: int = 0
    events: int = 0
    parked: int = 0
    refused: int = 0
    not_ours: int = 0


class Target(Protocol):
    """``prepare`` is not measured, ``take`` is; ``check`` counts, and raises CheckFailed."""

    def prepare(self, body: bytes) -> Any: ...

    async def take(self, prepared: Any) -> Any: ...

    def check(self, prepared: Any, became: Any, counts: Counts) -> None: ...


class Now:
    def now(self) -> datetime:
        return NOW


@dataclass
class FakeStores:
    """Stands for Kafka, for the people in PostgreSQL, for the parked table and for the memory of pushed events."""

    records: list[KafkaRecord] = field(default_factory=list)
    parked: list[InvalidInput] = field(default_factory=list)
    directory: PersonDirectory = field(default_factory=PersonDirectory)

    async def publish(self, records: Sequence[KafkaRecord]) -> None:
        self.records += records

    async def park(self, inputs: Sequence[InvalidInput], origin: str) -> None:  # noqa: ARG002 -- the handlers' protocol
        self.parked += inputs

    async def resolve(self, updates: Sequence[PersonUpdate], context: WebhookContext) -> list[KafkaRecord]:
        records = []
        for update in updates:
            visitor = visitor_id(update.identity, context.tenant, context.pseudonyms)
            person = identify(self.directory, update.identity, visitor, context.now)
            event = context.event(update.draft.replace(person_id=person), id=update.id, key=person, at=update.at)
            records.append(KafkaRecord(WHATSAPP_MESSAGES, person.encode(), event.to_bytes(), update.kind, []))
        return records

    async def find(self, events: Sequence[Event]) -> set[tuple[str, str]]:  # noqa: ARG002 -- nothing is known
        return set()

    async def begin(self, events: Sequence[Event]) -> None:
        """No erasure is carried out."""

    async def forget_names(self, documents: Sequence[Any]) -> None:
        """As a real one reads them; no person is erased."""
        named_contacts(documents)
        for document in documents:
            erase_names(document, ())

    async def add(self, events: Sequence[Event]) -> None:
        """As PostgreSQL would: what its index or its encoding refuses is an error."""
        for event in events:
            entry = f"{event.tenantid}{event.source}{event.id}".encode()
            if len(entry) > _INDEX_BYTES or b"\0" in entry:
                raise CheckFailed("an event was published whose id PostgreSQL refuses")

    def clear(self) -> None:
        self.records, self.parked, self.directory = [], [], PersonDirectory()


_INDEX_BYTES = 2_600


def _without_deadline() -> None:
    """A busy machine may stop this process for longer than a request may take; processor time is judged instead."""
    handlers.HANDLING_SECONDS = _NO_DEADLINE


_NO_DEADLINE = 3600.0  # seconds


class Webhooks:
    """The signed webhook: each update is an event or parked, whatever is beside it."""

    def __init__(self, metrics: IngestMetrics) -> None:
        _without_deadline()
        self.kept = FakeStores()
        self._handler = WhatsAppWebhook(
            publisher=self.kept, persons=self.kept, parking=self.kept, coverage=CoverageTracker(), metrics=metrics,
            clock=Now(), tenant=CONTEXT.tenant, lines=corpus.frame().lines, app_secrets=(SECRET,),
            verify_token=VERIFY_TOKEN,
            pseudonyms=PSEUDONYMS,
        )  # fmt: skip

    def prepare(self, body: bytes) -> HttpRequest:
        self.kept.clear()
        digest = hmac.new(SECRET, body, hashlib.sha256).hexdigest().encode()
        return HttpRequest("POST", "/whatsapp/webhook", {b"x-hub-signature-256": b"sha256=" + digest}, b"", body)

    async def take(self, request: HttpRequest) -> HttpResponse:
        return await self._handler.receive(request)

    def check(self, request: HttpRequest, response: HttpResponse, counts: Counts) -> None:
        others = sum(parse_webhook(request.body, corpus.frame()).foreign_numbers.values())
        expected, events, parked = count(request.body), len(self.kept.records), len(self.kept.parked)
        counts.not_ours += others
        counts.updates += expected
        counts.events += events
        counts.parked += parked
        if response.status != 200:
            raise CheckFailed(f"answered {response.status.value}")
        whole = any(one.raw == request.body for one in self.kept.parked)
        if events + parked + others != expected and not (whole and events + parked + others <= expected):
            raise CheckFailed(f"{expected} updates became {events} events and {parked} parked rows")
        for record in self.kept.records:
            parse_event(record.value, record.topic.kinds)
            if len(record.key) + len(record.value) > _LARGEST_RECORD:
                raise CheckFailed("a record is larger than its topic takes")


_LARGEST_RECORD = 1_040_000


def count(body: bytes) -> int:
    """Updates of a webhook, by its JSON alone: items of known arrays, else one per change; of what is none, one."""
    body = body.replace(rb"\\", b"/").replace(rb"\u0000", b"")  # NUL is no character of any name
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = _leniently(body)
    entries = document.get("entry") if isinstance(document, dict) else None
    named = isinstance(document, dict) and document.get("object", _OBJECT) == _OBJECT
    if not isinstance(entries, list) or not entries or not named:
        return 1
    total = sum(map(_of_entry, entries))
    return total if total <= MAX_UPDATES else 1


_OBJECT = "whatsapp_business_account"


def _leniently(body: bytes) -> Any:
    """Half surrogates are all that is mended."""
    text = body.decode("utf-8", "strict") if _is_text(body) else ""
    for code in range(0xD8, 0xE0):
        for spelling in (f"\\u{code:x}", f"\\u{code:X}"):
            text = text.replace(spelling, "\\u00")
    try:
        return orjson.loads(text.encode())
    except orjson.JSONDecodeError:
        return None


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _of_entry(entry: Any) -> int:
    changes = entry.get("changes") if isinstance(entry, dict) else None
    if not isinstance(changes, list) or not changes:
        return 1
    return sum(_of_change(change, entry) for change in changes)


def _of_change(change: Any, entry: dict[str, Any]) -> int:
    """One where the names of account and field are too long to be kept: then the change is parked whole."""
    value = change.get("value") if isinstance(change, dict) else None
    if not isinstance(value, dict):
        return 1
    fields = [name for holder in (change, value, entry) if _is_name(name := holder.get("field"))]
    if max(len(str(name)) for name in ("", *filter(_is_name, [entry.get("id")]), *fields[:1])) > MAX_NAME_LENGTH:
        return 1
    return sum(len(value[name]) for name in KNOWN_ARRAYS & value.keys() if isinstance(value[name], list)) or 1


def _is_name(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and bool(str(value).strip())


class Pushes:
    """Pushed CloudEvents: each is an event, or named in the answer and parked, or told by the poll."""

    def __init__(self, metrics: IngestMetrics) -> None:
        _without_deadline()
        self.kept = FakeStores()
        settings = PushSettings(frozenset({"work.stage_changed"}), 5, LONDON, "GB")
        self._handler = ConsonanceEvents(
            self.kept, self.kept, self.kept, self.kept, metrics, Now(), CONTEXT.tenant, settings, (WEBHOOK_SECRET,)
        )

    def prepare(self, body: bytes) -> HttpRequest:
        self.kept.clear()
        seconds = int(machine_now().timestamp())
        signed = b"m1.%d." % seconds + body
        key = base64.b64decode(WEBHOOK_SECRET.removeprefix("whsec_"))
        signature = b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256"))
        headers = {
            b"webhook-id": b"m1", b"webhook-timestamp": b"%d" % seconds, b"webhook-signature": signature,
            b"content-type": b"application/cloudevents+json",
        }  # fmt: skip
        return HttpRequest("POST", "/consonance/events", headers, b"", body)

    async def take(self, request: HttpRequest) -> HttpResponse:
        return await self._handler.receive(request)

    def check(self, request: HttpRequest, response: HttpResponse, counts: Counts) -> None:
        answer = orjson.loads(response.body)
        events, parked = len(self.kept.records), len({one.sentence for one in self.kept.parked})
        counts.updates += 1
        counts.events += events
        counts.parked += parked
        counts.refused += response.status == 400
        if response.status not in {200, 202, 400, 401}:
            raise CheckFailed(f"answered {response.status.value}")
        if response.status == 401 and _is_text(request.body):
            raise CheckFailed("a signature that is right was refused")
        if response.status == 400 and not answer["faults"]:
            raise CheckFailed("refused without a field")
        if response.status == 202 and not events:
            raise CheckFailed("taken, and not published")
        for record in self.kept.records:
            parse_event(record.value, CONSONANCE_EVENTS.kinds)


class Records:
    """Polled records: one that names itself gives a view whose events can be read; every other is parked."""

    def __init__(self, metrics: IngestMetrics) -> None:
        del metrics

    def prepare(self, body: bytes) -> Any:
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            return None

    async def take(self, node: Any) -> tuple[int, int]:
        vocabulary = TenantVocabulary()
        works, invalid = parse_page(WorkSnapshot, [node], lambda one, reader: parse_work(one, vocabulary, reader))
        people, also_invalid = parse_page(
            ContactSnapshot, [node], lambda one, reader: parse_contact(one, vocabulary, reader)
        )
        for read in works:
            version = Version(token=_TOKEN, kind=VersionKind.CONTENT_HASH, observed_at=NOW)
            data = work_observed(read.snapshot, Stage.UNMAPPED, version, CONTEXT.tenant)
            parse_event(CONTEXT.event(data, id="e", key="k", at=NOW).to_bytes(), CONSONANCE_EVENTS.kinds)
            list(read.invalid_fields("work 1", ()))
        for person in people:
            list(person.invalid_fields("contact 1", ()))
        return len(works) + len(people), len(invalid) + len(also_invalid)

    def check(self, node: Any, became: tuple[int, int], counts: Counts) -> None:  # noqa: ARG002 -- a target's shape
        counts.updates += 2
        counts.events += became[0]
        counts.parked += became[1]
        if sum(became) != 2:
            raise CheckFailed("a record is neither read nor parked")


class Contracts:
    """Records as services read them from topics: an event, or Unprocessable."""

    def __init__(self, metrics: IngestMetrics) -> None:
        del metrics

    def prepare(self, body: bytes) -> bytes:
        return body

    async def take(self, body: bytes) -> int:
        read = 0
        for topic in ALL_TOPICS:
            try:
                event = parse_event(body, topic.kinds)
                parse_event(event.to_bytes(), topic.kinds)
                read += 1
            except Unprocessable:
                continue
        return read

    def check(self, body: bytes, read: int, counts: Counts) -> None:  # noqa: ARG002 -- a target's shape
        counts.updates += 1
        counts.events += bool(read)
        counts.refused += not read


class Answers:
    """Responses of Consonance to a write: no success without a payload."""

    def __init__(self, metrics: IngestMetrics) -> None:
        del metrics

    def prepare(self, body: bytes) -> Any:
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            return None

    async def take(self, body: Any) -> MutationAnswer:
        return read_mutation_response(body, "errors").answer

    def check(self, body: Any, answer: MutationAnswer, counts: Counts) -> None:
        counts.updates += 1
        counts.refused += answer is not MutationAnswer.ACCEPTED
        data = body.get("data") if isinstance(body, dict) else None
        if answer is MutationAnswer.ACCEPTED and not (isinstance(data, dict) and data):
            raise CheckFailed("accepted without a payload")


class Rules:
    """Events that a contract lets through, judged by the project's own rules."""

    def __init__(self, metrics: IngestMetrics) -> None:
        del metrics
        self._rules = RulesUnderFuzz()

    def prepare(self, body: bytes) -> list[Event]:
        events = []
        for topic in _KNOWN_TO_RULES:
            try:
                events.append(parse_event(body, topic.kinds))
            except Unprocessable:
                continue
        return events

    async def take(self, events: list[Event]) -> int:
        for event in events:
            try:
                self._rules.handle(event)
            except Unprocessable:
                continue
        return len(events)

    def check(self, events: list[Event], judged: int, counts: Counts) -> None:  # noqa: ARG002 -- a target's shape
        counts.updates += 1
        counts.events += judged
        counts.refused += not judged


@dataclass(frozen=True)
class Aim:
    """A target, what its inputs are made of, and its share of a hundred inputs."""

    make: Callable[[IngestMetrics], Target]
    corpus: Callable[[], tuple[Any, ...]]
    share: int


AIMS = {
    "webhooks": Aim(Webhooks, corpus.webhooks, 40),
    "pushed events": Aim(Pushes, corpus.pushed, 20),
    "polled records": Aim(Records, corpus.records, 12),
    "contracts": Aim(Contracts, corpus.contracts, 10),
    "judged by rules": Aim(Rules, corpus.contracts, 13),
    "answers to writes": Aim(Answers, corpus.answers, 5),
}

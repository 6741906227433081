"""Handlers of the two HTTP endpoints: a request is verified, parsed by pure modules, and stored before its response.

A response of 200 or 202 means that everything in the request is durable: in Kafka, or in a committed transaction. A
request that cannot be made durable in time gets 503, and its sender sends it again.
"""

import asyncio
import hmac
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol

from opentelemetry.semconv.attributes.http_attributes import HTTP_RESPONSE_STATUS_CODE

from services.ingest.cloudevents import (
    POLLED_KIND,
    PushedDocuments,
    PushSettings,
    ValidatedEvent,
    decode_request,
    validate_event,
)
from services.ingest.coverage import CoverageTracker
from services.ingest.deadlines import Deadlines, run_detachable
from services.ingest.fields import to_invalid_inputs
from services.ingest.identity import ReachedAddress
from services.ingest.metrics import Endpoint, IngestMetrics, RejectionReason
from services.ingest.records import EventContext, InvalidInput, KafkaRecord, WebhookContext, to_parkable_json
from services.ingest.signatures import (
    RateLimitedLog,
    SignatureCounts,
    has_meta_signature_format,
    is_signed_by_meta,
    is_signed_for_consonance,
    seconds_after_signing,
)
from services.ingest.webhook_parser import ParsedWebhook, PersonUpdate, parse_webhook
from services.ingest.webhook_updates import to_webhook
from shared.contracts.envelope import Event
from shared.contracts.errors import Unavailable, Unprocessable
from shared.contracts.ids import Line, TenantId
from shared.contracts.topics import CONSONANCE_EVENTS
from shared.runtime.batch import bisect
from shared.runtime.clock import Clock, machine_now
from shared.runtime.credentials import Pseudonymizer
from shared.runtime.failures import describe_failure, parking_reason
from shared.runtime.http.router import HttpRequest, HttpResponse, json_response
from shared.runtime.telemetry import get_logger
from shared.runtime.tracing import annotate, server_span

WEBHOOK_PATH = "/whatsapp/webhook"
EVENTS_PATH = "/consonance/events"

HANDLING_SECONDS = 4.0
"""For everything after the body is read: a sender gets its response within five seconds, whatever is unavailable."""

_log = get_logger()


class RecordPublisher(Protocol):
    async def publish(self, records: Sequence[KafkaRecord]) -> None:
        """Return when the broker has all of them. Raises Unavailable."""


class PersonResolver(Protocol):
    async def resolve(self, updates: Sequence[PersonUpdate], context: WebhookContext) -> list[KafkaRecord]:
        """The records of these updates, in order. Raises Unavailable."""


class InputParking(Protocol):
    async def park(self, inputs: Sequence[InvalidInput], origin: str) -> None:
        """Return when they are stored. Raises Unavailable."""


class ReceivedEvents(Protocol):
    async def find(self, events: Sequence[Event]) -> set[tuple[str, str]]:
        """(source, id) of those received before. Raises Unavailable."""

    async def add(self, events: Sequence[Event]) -> None:
        """Record them as received. Raises Unavailable."""


class Erasures(Protocol):
    async def begin(self, events: Sequence[Event]) -> None:
        """Begin the erasures that these events request. Raises Unavailable."""

    async def forget_names(self, documents: Sequence[Any]) -> None:
        """Replace the names of erased contacts in the pushed documents. Raises Unavailable."""


# ------------------------------------------------------------------ POST and GET /whatsapp/webhook


def meta_signature_counts() -> SignatureCounts:
    return SignatureCounts(
        "WhatsApp webhook",
        "STET_WHATSAPP_APP_SECRETS",
        "the app secret at developers.facebook.com: your app, App settings, Basic",
    )


@dataclass(frozen=True, slots=True)
class WhatsAppWebhook:
    """Statuses are published without the database; messages get their person from it before they are published.

    ``learn`` is called with the addresses at which messages of ours arrived, and returns at once.
    """

    publisher: RecordPublisher
    persons: PersonResolver
    parking: InputParking
    coverage: CoverageTracker
    metrics: IngestMetrics
    clock: Clock
    tenant: TenantId
    lines: Mapping[str, Line]
    app_secrets: tuple[bytes, ...]
    verify_token: str
    pseudonyms: Pseudonymizer
    keeps_files: bool = False
    signatures: SignatureCounts = field(default_factory=meta_signature_counts)
    learn: Callable[[Iterable[ReachedAddress]], None] | None = None
    foreign_numbers: RateLimitedLog = field(default_factory=lambda: RateLimitedLog("number.ignored"))
    deadlines: Deadlines = field(default_factory=lambda: Deadlines(HANDLING_SECONDS))

    async def verify(self, request: HttpRequest) -> HttpResponse:
        """https://developers.facebook.com/docs/graph-api/webhooks/getting-started#verification-requests"""
        token = request.query.get("hub.verify_token", "")
        is_known = hmac.compare_digest(token.encode(), self.verify_token.encode())
        if request.query.get("hub.mode") != "subscribe" or not is_known:
            return self._reject(HTTPStatus.FORBIDDEN, RejectionReason.VERIFY_TOKEN)
        return HttpResponse(HTTPStatus.OK, request.query.get("hub.challenge", "").encode())

    async def receive(self, request: HttpRequest) -> HttpResponse:
        """200 when every update of the body is durable. WhatsApp redelivers after any other status."""
        signature = request.headers.get(b"x-hub-signature-256")
        if not is_signed_by_meta(request.body, signature, self.app_secrets):
            return self._reject_signature(signature)
        self.signatures.count_accepted(time.monotonic())
        self.coverage.record_valid_signature()
        token, is_accepted = self.coverage.begin_request(), False
        try:
            with self.deadlines.enforce():
                await self._accept(request.body)
            is_accepted = True
        except (Unavailable, TimeoutError) as fault:
            _log.warning("webhook.rejected", fault=str(fault) or "too slow")
            return self._reject(HTTPStatus.SERVICE_UNAVAILABLE, RejectionReason.UNAVAILABLE)
        finally:
            if not is_accepted:
                self.coverage.record_miss("refused")
            self.coverage.end_request(token)
        return HttpResponse(HTTPStatus.OK)

    def _reject_signature(self, signature: bytes | None) -> HttpResponse:
        """Count and log the rejection. Where a secret was changed at Meta alone, nothing else shows that no webhook can
        be accepted.
        """
        self.signatures.count_rejected(time.monotonic())
        if has_meta_signature_format(signature):
            self.coverage.record_suspect_signature()
        return self._reject(HTTPStatus.UNAUTHORIZED, RejectionReason.SIGNATURE)

    async def _accept(self, body: bytes) -> None:
        with server_span("POST", WEBHOOK_PATH) as traceparent:
            context = self._context(traceparent)
            parsed = parse_webhook(body, context)
            began = time.monotonic()
            records = parsed.records
            if parsed.person_updates or parsed.invalid:
                records = [*records, *await run_detachable(self._store(parsed, context))]
            await self.publisher.publish(records)
            annotate({HTTP_RESPONSE_STATUS_CODE: HTTPStatus.OK})
            self.metrics.observe_publish(time.monotonic() - began)
        self.metrics.count_updates(_update_kinds(parsed))
        if self.learn is not None and parsed.reached:
            self.learn(parsed.reached)
        self._count_foreign_numbers(parsed.foreign_numbers)

    def _context(self, traceparent: str | None) -> WebhookContext:
        return WebhookContext(
            self.tenant,
            self.clock.now(),
            self.lines,
            traceparent,
            pseudonyms=self.pseudonyms,
            keeps_files=self.keeps_files,
        )

    async def _store(self, parsed: ParsedWebhook, context: WebhookContext) -> list[KafkaRecord]:
        """Do what needs the database; an update that the database refuses is parked, and the others go on."""
        records: list[KafkaRecord] = []
        if parsed.invalid:
            await self.parking.park(parsed.invalid, WEBHOOK_PATH)

        async def resolve(updates: Sequence[PersonUpdate]) -> None:
            records.extend(await self.persons.resolve(updates, context))

        async def park(update: PersonUpdate, fault: Exception) -> None:
            invalid = InvalidInput(to_webhook(update.update), parking_reason(fault), describe_failure(fault))
            await self.parking.park([invalid], WEBHOOK_PATH)

        await bisect(parsed.person_updates, resolve, park)
        return records

    def _count_foreign_numbers(self, counts: Mapping[str, int]) -> None:
        """Messages to another product's number are counted, and not published."""
        for number, count in counts.items():
            self.metrics.count_updates(["other_number"] * count)
            shown = number if number.isdecimal() else "(not a number)"
            self.foreign_numbers.warning(
                time.monotonic(), shown, count, phone_number_id=shown, setting="STET_WHATSAPP_LINES"
            )

    def _reject(self, status: HTTPStatus, reason: RejectionReason) -> HttpResponse:
        self.metrics.count_rejection(Endpoint.WHATSAPP, reason)
        return HttpResponse(status)


def _update_kinds(parsed: ParsedWebhook) -> list[str]:
    records = [record.update_kind for record in parsed.records]
    return records + [update.kind for update in parsed.person_updates] + ["parked"] * len(parsed.invalid)


# ------------------------------------------------------------------ POST /consonance/events


def consonance_signature_counts() -> SignatureCounts:
    return SignatureCounts(
        "Consonance events", "STET_CONSONANCE_WEBHOOK_SECRETS", "the signing secret where the sender is set up"
    )


@dataclass(frozen=True, slots=True)
class ValidatedBatch:
    """``faults`` are for the response, ``invalid`` is parked."""

    events: list[ValidatedEvent] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    invalid: list[InvalidInput] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ConsonanceEvents:
    """Pushed CloudEvents: signed, validated, published, and remembered, so that a repetition is not published again."""

    publisher: RecordPublisher
    received: ReceivedEvents
    erasures: Erasures
    parking: InputParking
    metrics: IngestMetrics
    clock: Clock
    tenant: TenantId
    settings: PushSettings
    secrets: tuple[str, ...]
    signatures: SignatureCounts = field(default_factory=consonance_signature_counts)

    async def receive(self, request: HttpRequest) -> HttpResponse:
        """202 when all are in Kafka; 200 when all were received before; 400 naming each invalid field.

        The valid events of a batch are published; the others are parked and named in the response.
        """
        if not is_signed_for_consonance(request.body, request.headers, self.secrets):
            age = seconds_after_signing(request.headers, machine_now().timestamp())
            self.signatures.count_rejected(time.monotonic(), age)
            return self._reject(HTTPStatus.UNAUTHORIZED, RejectionReason.SIGNATURE)
        self.signatures.count_accepted(time.monotonic())
        try:
            pushed = decode_request(request.body, request.headers)
            async with asyncio.timeout(HANDLING_SECONDS):
                return await run_detachable(self._accept(pushed, request))
        except Unprocessable as fault:
            return self._reject(HTTPStatus.BAD_REQUEST, RejectionReason.SHAPE, str(fault))
        except (Unavailable, TimeoutError) as fault:
            _log.warning("events.rejected", fault=str(fault) or "too slow")
            return self._reject(HTTPStatus.SERVICE_UNAVAILABLE, RejectionReason.UNAVAILABLE)

    async def _accept(self, pushed: PushedDocuments, request: HttpRequest) -> HttpResponse:
        sender_trace = request.headers.get(b"traceparent", b"").decode("latin-1") or None
        with server_span("POST", EVENTS_PATH, sender_trace) as traceparent:
            response = await self._publish(pushed, EventContext(self.tenant, self.clock.now(), {}, traceparent))
            annotate({HTTP_RESPONSE_STATUS_CODE: response.status})
            return response

    async def _publish(self, pushed: PushedDocuments, context: EventContext) -> HttpResponse:
        await self.erasures.forget_names(pushed.documents)
        batch = self._validate(pushed, context)
        before = await self.received.find([each.event for each in batch.events])
        new = [each for key, each in _by_id(batch.events).items() if key not in before]
        unreadable = [one for each in new for one in to_invalid_inputs(each.label, each.fields.unreadable, ())]
        if batch.invalid or unreadable:
            await self.parking.park([*batch.invalid, *unreadable], EVENTS_PATH)
        if new:
            await self.erasures.begin([each.event for each in new])
            await self.publisher.publish([KafkaRecord.of(CONSONANCE_EVENTS, each.event, "pushed") for each in new])
            await self.received.add([each.event for each in new])
        self.metrics.count_updates(["pushed"] * len(new) + ["parked"] * len(batch.invalid))
        if batch.faults:
            return self._reject(HTTPStatus.BAD_REQUEST, RejectionReason.SHAPE, *batch.faults, accepted=len(new))
        return json_response(HTTPStatus.ACCEPTED if new else HTTPStatus.OK, accepted=len(new))

    def _validate(self, pushed: PushedDocuments, context: EventContext) -> ValidatedBatch:
        """An event of a kind that the poll publishes is a fault of its sender, but is not parked."""
        batch = ValidatedBatch()
        for position, document in enumerate(pushed.documents):
            try:
                batch.events.append(validate_event(document, context, self.settings))
            except Unprocessable as fault:
                batch.faults.append(f"[{position}].{fault}" if pushed.is_batch else str(fault))
                if fault.reason != POLLED_KIND:
                    batch.invalid.append(InvalidInput(to_parkable_json(document), fault.reason, str(fault)))
        return batch

    def _reject(self, status: HTTPStatus, reason: RejectionReason, *faults: str, **more: Any) -> HttpResponse:
        self.metrics.count_rejection(Endpoint.CONSONANCE, reason)
        if reason is not RejectionReason.SIGNATURE:  # any sender can cause those: they are only counted
            _log.info("events.rejected", reason=reason.value, faults=faults)
        return json_response(status, error=reason.value, faults=faults, **more)


def _by_id(events: Iterable[ValidatedEvent]) -> dict[tuple[str, str], ValidatedEvent]:
    """The events by source and id, in their order; of an event that is twice in a batch the first counts."""
    found: dict[tuple[str, str], ValidatedEvent] = {}
    for each in events:
        found.setdefault((each.event.source, each.event.id), each)
    return found

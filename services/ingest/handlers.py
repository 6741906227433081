"""What is behind the door: a request is read, decided on by the pure modules, and acted on before it is answered.

An answer of 200 or 202 means that all of the request is durable: in Kafka, or in a committed transaction. Everything
that cannot be made so in time is answered 503, and sent again by its sender.
"""

import hmac
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

from services.ingest.door import Reply, Request
from services.ingest.measures import Door, Measures, Refusal
from services.ingest.normalise import normalise
from services.ingest.parking import Parks
from services.ingest.patience import Patience, leavable
from services.ingest.records import Personal, Record, Sorted, WebhookFrame
from services.ingest.seldom import SeldomLog
from services.ingest.signatures import SignatureCounts, looks_like_metas, signed_by_meta
from services.ingest.updates import Bad, one_update
from services.ingest.watch import Stream
from shared.contracts.errors import Unavailable
from shared.contracts.ids import Line, TenantId
from shared.runtime.bisect import bisect
from shared.runtime.clock import Clock
from shared.runtime.failures import describe_failure, parking_reason
from shared.runtime.pseudonyms import Pseudonymizer
from shared.runtime.telemetry import get_logger, intake_span

PATH = "/whatsapp/webhook"

ACT_SECONDS = 4.0
"""For everything after the body has been read: a sender is answered within five seconds, whatever is away."""


def signatures_of_meta() -> SignatureCounts:
    return SignatureCounts(
        "WhatsApp webhook",
        "STET_WHATSAPP_APP_SECRETS",
        "the app secret at developers.facebook.com: your app, App settings, Basic",
    )


_TAKEN = Reply(HTTPStatus.OK)

_log = get_logger()


class Records(Protocol):
    async def publish(self, records: Sequence[Record]) -> None:
        """Return once the broker has all. Raises Unavailable."""


class Persons(Protocol):
    async def settle(self, updates: Sequence[Personal], frame: WebhookFrame) -> list[Record]:
        """The records of these updates, in order. Raises Unavailable."""


@dataclass(frozen=True, slots=True)
class WhatsApp:
    """The webhook. Statuses never touch the database; messages get their person there before they go to Kafka."""

    records: Records
    persons: Persons
    parking: Parks
    stream: Stream
    measures: Measures
    clock: Clock
    tenant: TenantId
    lines: Mapping[str, Line]
    app_secrets: tuple[bytes, ...]
    verify_token: str
    pseudonyms: Pseudonymizer
    signatures: SignatureCounts = field(default_factory=signatures_of_meta)
    other_numbers: SeldomLog = field(default_factory=lambda: SeldomLog("number.not_ours"))
    patience: Patience = field(default_factory=lambda: Patience(ACT_SECONDS))

    async def verify(self, request: Request) -> Reply:
        """https://developers.facebook.com/docs/graph-api/webhooks/getting-started#verification-requests"""
        token = request.query.get("hub.verify_token", "")
        known = hmac.compare_digest(token.encode(), self.verify_token.encode())
        if request.query.get("hub.mode") != "subscribe" or not known:
            return self._refuse(HTTPStatus.FORBIDDEN, Refusal.VERIFY_TOKEN)
        return Reply(HTTPStatus.OK, request.query.get("hub.challenge", "").encode())

    async def receive(self, request: Request) -> Reply:
        """200 once every update of the body is durable. WhatsApp counts nothing else as taken."""
        signature = request.headers.get(b"x-hub-signature-256")
        if not signed_by_meta(request.body, signature, self.app_secrets):
            return self._refuse_signature(signature)
        self.signatures.accept(time.monotonic())
        self.stream.trust()
        arrival, taken = self.stream.begin(), False
        try:
            with self.patience.limit():
                await self._take(request.body)
            taken = True
        except (Unavailable, TimeoutError) as fault:
            _log.warning("webhook.refused", fault=str(fault) or "too slow")
            return self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, Refusal.UNAVAILABLE)
        finally:
            if not taken:
                self.stream.tear("refused")
            self.stream.end(arrival)
        return _TAKEN

    def _refuse_signature(self, signature: bytes | None) -> Reply:
        """Of a secret that was changed at Meta alone we see nothing but this: then no webhook is taken."""
        self.signatures.refuse(time.monotonic())
        if looks_like_metas(signature):
            self.stream.doubt()
        return self._refuse(HTTPStatus.UNAUTHORIZED, Refusal.SIGNATURE)

    async def _take(self, body: bytes) -> None:
        with intake_span("ingest.webhook") as traceparent:
            frame = WebhookFrame(self.tenant, self.clock.now(), self.lines, traceparent, pseudonyms=self.pseudonyms)
            sorted_ = normalise(body, frame)
            began = time.monotonic()
            records = sorted_.records
            if sorted_.personal or sorted_.bad:
                records = [*records, *await leavable(self._settle(sorted_, frame))]
            await self.records.publish(records)
        self.measures.published(time.monotonic() - began)
        self.measures.updates(_whats(sorted_))
        self._tell_others(sorted_.others)

    async def _settle(self, sorted_: Sorted, frame: WebhookFrame) -> list[Record]:
        """What needs the database; an update it refuses is parked, and its neighbours go on."""
        records: list[Record] = []
        if sorted_.bad:
            await self.parking.park(sorted_.bad, PATH)

        async def attempt(some: Sequence[Personal]) -> None:
            records.extend(await self.persons.settle(some, frame))

        async def refuse(one: Personal, fault: Exception) -> None:
            await self.parking.park([Bad(one_update(one.update), parking_reason(fault), describe_failure(fault))], PATH)

        await bisect(sorted_.personal, attempt, refuse)
        return records

    def _tell_others(self, others: Mapping[str, int]) -> None:
        """Counted and kept out: whoever writes to another product's number does not talk to us."""
        for number, count in others.items():
            self.measures.updates(["other_number"] * count)
            named = number if number.isdecimal() else "(not a number)"
            self.other_numbers.report(
                time.monotonic(), named, count, phone_number_id=named, setting="STET_WHATSAPP_LINES"
            )

    def _refuse(self, status: HTTPStatus, refusal: Refusal) -> Reply:
        self.measures.refused(Door.WHATSAPP, refusal)
        return Reply(status)


def _whats(sorted_: Sorted) -> list[str]:
    counted: list[Record | Personal] = [*sorted_.records, *sorted_.personal]
    return [one.what for one in counted] + ["parked"] * len(sorted_.bad)

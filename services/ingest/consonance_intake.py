"""The door for pushed CloudEvents: signed, validated, published, remembered; a repetition is answered as one."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol

from services.ingest.cloudevents_http import Pushed, read_cloudevents
from services.ingest.door import Reply, Request, json_reply
from services.ingest.handlers import ACT_SECONDS, Records
from services.ingest.measures import Door, Measures, Refusal
from services.ingest.notes import to_park
from services.ingest.parking import Parks
from services.ingest.patience import leavable
from services.ingest.pushed import TOLD_BY_POLL, Accepted, House, judge
from services.ingest.records import Frame, Record
from services.ingest.signatures import SignatureCounts, signed_for_consonance
from services.ingest.updates import Bad, spell_to_keep
from shared.contracts.envelope import Event, trace_headers
from shared.contracts.errors import Unavailable, Unprocessable
from shared.contracts.ids import TenantId
from shared.contracts.topics import CONSONANCE_EVENTS
from shared.runtime.clock import Clock
from shared.runtime.telemetry import get_logger, intake_span

PATH = "/consonance/events"

_log = get_logger()


class Seen(Protocol):
    async def among(self, events: Sequence[Event]) -> set[tuple[str, str]]:
        """(source, id) of those taken before. Raises Unavailable."""

    async def remember(self, events: Sequence[Event]) -> None:
        """They are taken. Raises Unavailable."""


@dataclass(frozen=True, slots=True)
class Judged:
    """``bad``: what to park of events that do not fit."""

    accepted: list[Accepted] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)


def signatures_of_consonance() -> SignatureCounts:
    return SignatureCounts(
        "Consonance events", "STET_CONSONANCE_WEBHOOK_SECRETS", "the signing secret where the sender is set up"
    )


@dataclass(frozen=True, slots=True)
class Consonance:
    records: Records
    seen: Seen
    parking: Parks
    measures: Measures
    clock: Clock
    tenant: TenantId
    house: House
    secrets: tuple[str, ...]
    signatures: SignatureCounts = field(default_factory=signatures_of_consonance)

    async def receive(self, request: Request) -> Reply:
        """202 once all are in Kafka; 200 where all were before; 400 naming the field that does not fit.

        Of a batch the fitting events go on; the others are parked and named in the answer.
        """
        if not signed_for_consonance(request.body, request.headers, self.secrets):
            self.signatures.refuse(time.monotonic())
            return self._refuse(HTTPStatus.UNAUTHORIZED, Refusal.SIGNATURE)
        self.signatures.accept(time.monotonic())
        try:
            pushed = read_cloudevents(request.body, request.headers)
            async with asyncio.timeout(ACT_SECONDS):
                return await leavable(self._take(pushed, request))
        except Unprocessable as fault:
            return self._refuse(HTTPStatus.BAD_REQUEST, Refusal.SHAPE, str(fault))
        except (Unavailable, TimeoutError) as fault:
            _log.warning("events.refused", fault=str(fault) or "too slow")
            return self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, Refusal.UNAVAILABLE)

    async def _take(self, pushed: Pushed, request: Request) -> Reply:
        sender = request.headers.get(b"traceparent", b"").decode("latin-1") or None
        with intake_span("ingest.push", sender) as traceparent:
            return await self._publish(pushed, Frame(self.tenant, self.clock.now(), {}, traceparent))

    async def _publish(self, pushed: Pushed, frame: Frame) -> Reply:
        judged = self._judge(pushed, frame)
        before = await self.seen.among([each.event for each in judged.accepted])
        new = [each for each in judged.accepted if (each.event.source, each.event.id) not in before]
        bad = [*judged.bad, *(one for each in new for one in to_park(each.record, each.notes.unread, ()))]
        if bad:
            await self.parking.park(bad, PATH)
        if new:
            await self.records.publish([_record(each.event) for each in new])
            await self.seen.remember([each.event for each in new])
        self.measures.updates(["pushed"] * len(new) + ["parked"] * len(judged.bad))
        if judged.faults:
            return self._refuse(HTTPStatus.BAD_REQUEST, Refusal.SHAPE, *judged.faults, accepted=len(new))
        return json_reply(HTTPStatus.ACCEPTED if new else HTTPStatus.OK, accepted=len(new))

    def _judge(self, pushed: Pushed, frame: Frame) -> Judged:
        """Of a batch the others go on without one that does not fit. What the poll tells anyway is not parked."""
        judged = Judged()
        for place, document in enumerate(pushed.documents):
            try:
                judged.accepted.append(judge(document, frame, self.house))
            except Unprocessable as fault:
                judged.faults.append(f"[{place}].{fault}" if pushed.batched else str(fault))
                if fault.reason != TOLD_BY_POLL:
                    judged.bad.append(Bad(spell_to_keep(document), fault.reason, str(fault)))
        return judged

    def _refuse(self, status: HTTPStatus, refusal: Refusal, *faults: str, **more: Any) -> Reply:
        self.measures.refused(Door.CONSONANCE, refusal)
        if refusal is not Refusal.SIGNATURE:  # anybody can cause those: they are told in numbers
            _log.info("events.refused", reason=refusal.value, faults=faults)
        return json_reply(status, error=refusal.value, faults=faults, **more)


def _record(event: Event) -> Record:
    headers = trace_headers(event.traceparent)
    return Record(CONSONANCE_EVENTS, event.partitionkey.encode(), event.to_bytes(), "pushed", headers)

"""Pushes events to the webhook: signed, in order, one at a time, repeated until they are accepted or refused."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

import aiohttp
import orjson
from standardwebhooks import Webhook

from dev.consonance.edits import contact_of, work_of
from dev.consonance.publisher import PublisherRecords, credits_of
from shared.contracts.consonance import PREFIX, kind_of
from shared.runtime.clock import machine_now


def work_ref(publisher: PublisherRecords, work_id: int) -> dict[str, Any]:
    work = work_of(publisher, work_id)
    return {
        "work_id": work.id,
        "title": work.title,
        "subtitle": work.subtitle,
        "inhouse_ref": work.in_house_work_reference,
        "imprint": {"id": work.imprint_id, "name": publisher.imprints[work.imprint_id]},
        "contributors_display": credits_of(publisher, work.id) or None,
        "stage": publisher.stages[work.project_stage_id],
        "url": f"https://web.consonance.app/works/{work.id}",
    }


def expand(publisher: PublisherRecords, data: Any) -> Any:
    """A ``work`` that is a number becomes a WorkRef, so do ``works``; a party with a contact id gets kind and name."""
    if isinstance(data, list):
        return [expand(publisher, one) for one in data]
    if not isinstance(data, dict):
        return data
    filled = {name: expand(publisher, value) for name, value in data.items()}
    if isinstance(filled.get("work"), int):
        filled["work"] = work_ref(publisher, filled["work"])
    if isinstance(filled.get("works"), list):
        filled["works"] = [work_ref(publisher, one) if isinstance(one, int) else one for one in filled["works"]]
    return _party(publisher, filled) if {"contact_id", "role"} <= filled.keys() else filled


def _party(publisher: PublisherRecords, party: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(party["contact_id"], int):
        return party
    contact = contact_of(publisher, party["contact_id"])
    return {"kind": str(contact.kind), "display_name": contact.name, **party}


SOURCE = "https://web.consonance.app/{}"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0  # seconds of machine time
_ANSWER_SECONDS = 10.0
_RETRIED = frozenset({408, 425, 429})


class PushState(StrEnum):
    WAITING = "waiting"
    TAKEN = "taken"
    REFUSED = "refused"


@dataclass
class EventPush:
    """``statuses`` holds what every attempt was answered; 0 stands for no answer."""

    id: str
    content_type: str
    body: bytes
    types: list[str]
    state: PushState = PushState.WAITING
    statuses: list[int] = field(default_factory=list)


def full_type(name: str) -> str:
    """``work.blocked`` → ``consonance.work.blocked.v1``; a full name stays."""
    return name if name.startswith(PREFIX) else kind_of(name)


def cloud_event(
    name: str, subject: str | None, data: Mapping[str, Any], *, id_: str | None, tenant: str, now: datetime
) -> dict[str, Any]:
    """``now`` is business time: when it happened in Consonance."""
    event = {
        "specversion": "1.0",
        "id": id_ or f"evt_{uuid4().hex}",
        "source": SOURCE.format(tenant),
        "type": full_type(name),
        "time": now.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": dict(data),
    }
    return event if subject is None else {**event, "subject": subject}


class EventPushes:
    def __init__(self, url: str | None, secret: str) -> None:
        self._url = url
        self._webhook = Webhook(secret)
        self._arrived = asyncio.Event()
        self.all: list[EventPush] = []
        self.attempts = 0

    def send(self, event: Mapping[str, Any]) -> EventPush:
        """Queue an event for the webhook, in structured mode."""
        return self._queue(event["id"], "application/cloudevents+json", event, [event["type"]])

    def send_batch(self, events: list[dict[str, Any]]) -> EventPush:
        types = [event["type"] for event in events]
        return self._queue(f"batch_{uuid4().hex}", "application/cloudevents-batch+json", events, types)

    def waiting(self) -> list[EventPush]:
        return [push for push in self.all if push.state is PushState.WAITING]

    def forget(self) -> None:
        self.all.clear()

    async def run(self) -> None:
        """Run until cancelled. A push that is not accepted holds back those behind it, so order is kept."""
        limit = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=limit) as session:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while waiting := self.waiting():
                    await self._deliver(session, waiting[0])

    def _queue(self, id_: str, content_type: str, body: object, types: list[str]) -> EventPush:
        push = EventPush(id_, content_type, orjson.dumps(body), types)
        if self._url is None:
            push.state = PushState.REFUSED
        self.all.append(push)
        self._arrived.set()
        return push

    async def _deliver(self, session: aiohttp.ClientSession, push: EventPush) -> None:
        pause = _FIRST_PAUSE
        while push in self.all:
            status = await self._attempt(session, push)
            push.statuses.append(status)
            if 200 <= status < 300:
                push.state = PushState.TAKEN
                return
            if 400 <= status < 500 and status not in _RETRIED:
                push.state = PushState.REFUSED
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _attempt(self, session: aiohttp.ClientSession, push: EventPush) -> int:
        """Post it; returns the status, or 0 without an answer."""
        self.attempts += 1
        signed_at = machine_now()
        headers = {
            "content-type": push.content_type,
            "webhook-id": push.id,
            "webhook-timestamp": str(int(signed_at.timestamp())),
            "webhook-signature": self._webhook.sign(push.id, signed_at, push.body.decode()),
        }
        try:
            async with session.post(self._url or "", data=push.body, headers=headers) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0

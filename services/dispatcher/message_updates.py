"""The one way to change messages: lock them, let the state machine apply each update, save, and publish the events.
Handlers, the sender and the reconciliation all use it, so a row and its event never differ. The transition of nearly
every message, from its intent to ``accepted``, is made by one query for a batch where nothing came between: to read the
rows, change them one by one and write them again cost three times as much.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from services.dispatcher.message_state import EndedAttempt, MessageState, StateChange, TrackedMessage, sent_template
from services.dispatcher.metrics import MessageTally
from services.dispatcher.people_store import PeopleStore
from services.dispatcher.provider_responses import SendError
from services.dispatcher.store import MessageStore, RequestOrigin
from services.dispatcher.templates import TemplateKey
from services.dispatcher.throttle_store import ThrottleStore
from services.dispatcher.throttles import SendTarget
from shared.contracts.envelope import Event
from shared.contracts.ids import EventId, MessageId, PersonId, TenantId, Wamid, derive_id, partition_key
from shared.contracts.messages import MessageAccepted, MessageEventData, MessageForm, MessageResolved
from shared.contracts.topics import MESSAGES_EVENTS
from shared.runtime.outbox import Transaction
from shared.runtime.tracing import is_recorded, past_span

SERVICE = "dispatcher"
SOURCE = "stet/dispatcher"

_AHEAD = frozenset({MessageState.WAITING, MessageState.INTENT})  # later messages of the chat wait for it
_WINDOW_WAS_CLOSED = 131047  # Meta: more than 24 hours since the person's last message


class ApplyUpdate(Protocol):
    """A function of the state machine with all arguments given except the message and the time."""

    def __call__(self, message: TrackedMessage, *, now: datetime) -> StateChange: ...


class MessageUpdate(Struct, frozen=True):
    """``cause`` is the event that brought the update; without one, the message's own request is the cause."""

    message_id: str
    apply: ApplyUpdate
    cause: EventId | None = None


class AcceptedSend(Struct, frozen=True):
    """An attempt that WhatsApp accepted, with what was known of its message when it began."""

    message_id: MessageId
    attempt: int
    wording: MessageForm
    wamid: Wamid
    origin: RequestOrigin
    template: TemplateKey | None = None


@dataclass(slots=True)
class _UnitOfWork:
    """The updates of one transaction, in order; ``messages`` begins as loaded and ends as it is to be saved.

    ``freed_chats`` are the chats (person, line) of messages that later ones do not wait for any more.
    """

    messages: dict[str, TrackedMessage]
    changed: dict[str, TrackedMessage] = field(default_factory=dict)
    ended: dict[tuple[str, int], EndedAttempt] = field(default_factory=dict)
    errors: list[tuple[SendError, SendTarget]] = field(default_factory=list)
    freed_chats: set[tuple[str, str]] = field(default_factory=set)

    def apply(self, update: MessageUpdate, now: datetime) -> StateChange | None:
        before = self.messages.get(update.message_id)
        if before is None:
            return None
        change = update.apply(before, now=now)
        if change.ended is not None:
            self.ended[update.message_id, change.ended.attempt] = change.ended
        if change.error is not None:
            self.errors.append((change.error, _target(before)))
        if change.message is not before:
            self.messages[update.message_id] = self.changed[update.message_id] = change.message
            if before.state in _AHEAD and change.message.state not in _AHEAD:
                self.freed_chats.add((before.person_id, before.line))
        return change


@dataclass(frozen=True, slots=True)
class MessageUpdater:
    """Stateless: each call works in the transaction it is given."""

    tenant: TenantId
    store: MessageStore
    people: PeopleStore
    throttles: ThrottleStore

    async def apply(self, tx: Transaction, updates: Sequence[MessageUpdate]) -> Mapping[str, TrackedMessage]:
        """The messages afterwards, by id; unknown messages are missing.

        Raises InvalidTransition, and whatever the database raises; the caller's transaction then saves nothing.
        """
        if not updates:
            return {}
        loaded = await self.store.load(tx.connection, (update.message_id for update in updates))
        tx.read_clock()
        unit = _UnitOfWork({message_id: message for message_id, (message, _) in loaded.items()})
        tally = MessageTally()
        for update in updates:
            change = unit.apply(update, tx.now)
            if change is not None:
                origin = loaded[update.message_id][1]
                if update.cause is not None and change.events:
                    origin = _with_span(origin, change.events[-1])
                for data in change.events:
                    event = message_event(data, change.message.attempts, origin, self.tenant, tx.now, update.cause)
                    tx.publish(MESSAGES_EVENTS, event)
                    tally.add(data, origin)
        tx.on_commit(tally.publish)
        await self._save(tx, unit)
        return unit.messages

    async def accept(self, tx: Transaction, sends: Sequence[AcceptedSend]) -> Collection[str]:
        """Accept those of the sends to whose messages nothing else happened since they began; returns their ids."""
        if not sends:
            return ()
        attempts = [(send.message_id, send.attempt, send.wamid) for send in sends]
        people = await self.store.accept_attempts(tx.connection, attempts, tx.now)
        tally = MessageTally()
        for send in sends:
            if (person_id := people.get(send.message_id)) is not None:
                data = MessageAccepted(
                    message_id=send.message_id,
                    person_id=PersonId(person_id),
                    at=tx.now,
                    wamid=send.wamid,
                    wording=send.wording,
                    template=sent_template(send.template),
                )
                tx.publish(MESSAGES_EVENTS, message_event(data, send.attempt, send.origin, self.tenant, tx.now))
                tally.add(data, send.origin)
        tx.on_commit(tally.publish)
        return people.keys()

    async def _save(self, tx: Transaction, unit: _UnitOfWork) -> None:
        if unit.changed:
            await self.store.save(tx.connection, list(unit.changed.values()), unit.freed_chats, tx.now)
        if unit.ended:
            await self.store.end_attempts(tx.connection, unit.ended, tx.now)
        if unit.errors:
            await self.throttles.record_errors(tx, unit.errors)
        closed = [attempt for attempt, ended in unit.ended.items() if ended.code == _WINDOW_WAS_CLOSED]
        if closed:
            await self.people.close_windows(tx.connection, closed)


def message_event(
    data: MessageEventData,
    attempt: int,
    origin: RequestOrigin,
    tenant: TenantId,
    now: datetime,
    cause: EventId | None = None,
) -> Event:
    """The event with an id that follows from its content, so that a repetition has the same id."""
    resolution = (data.resolution,) if isinstance(data, MessageResolved) else ()
    return Event(
        id=EventId(derive_id(data.message_id, data.kind, attempt, *resolution)),
        source=SOURCE,
        type=data.kind,
        time=data.at,
        recordedtime=now,
        tenantid=tenant,
        partitionkey=partition_key(tenant, "persons", data.person_id),
        correlationid=origin.correlation_id,
        causationid=cause or origin.request_event,
        traceparent=origin.traceparent,
        data=data,
    )


def _with_span(origin: RequestOrigin, data: MessageEventData) -> RequestOrigin:
    """A span for what an event did to a message, in the trace of the message and linked to the batch of the event."""
    if not is_recorded(origin.traceparent):
        return origin
    attributes = {"stet.event": data.kind}
    return replace(origin, traceparent=past_span("dispatcher.update", origin.traceparent, time.time_ns(), attributes))


def _target(message: TrackedMessage) -> SendTarget:
    template = message.used_template if message.wording is MessageForm.TEMPLATE else None
    return SendTarget(message.line, message.person_id, template)

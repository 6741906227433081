"""WhatsApp between a business and its people: accepts a send, delivers or fails it, and brings replies back."""

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Protocol

from dev.whatsapp.chance import Chance, Direction
from dev.whatsapp.directory import HOME_CODE, BusinessLine, BusinessLines, WhatsAppPeople, WhatsAppPerson
from dev.whatsapp.graph_errors import GraphError
from dev.whatsapp.limits import ProviderLimits
from dev.whatsapp.media import MediaFiles
from dev.whatsapp.messages import (
    AcceptedMessage,
    Counts,
    MessageLog,
    MessageType,
    PersonReply,
    SendRequest,
    SimulatedStatus,
)
from dev.whatsapp.scripted_people import PersonMessage, Script, ScriptAction, Scripts, media_id, message_of_script, node
from dev.whatsapp.send_validation import is_bsuid, phone_digits
from dev.whatsapp.webhook_payloads import (
    AccountUpdate,
    StatusFailure,
    WebhookUpdate,
    accepted,
    contact,
    inbound,
    status,
)
from shared.contracts.values import JsonObject
from shared.runtime.clock import Clock

_CHECK_SECONDS = 0.01  # seconds of machine time between looks at a clock that jumps


class Schedule:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: list[tuple[datetime, int, Callable[[], None]]] = []
        self._order = count()
        self._added = asyncio.Event()

    @property
    def next_due(self) -> datetime | None:
        return self._due[0][0] if self._due else None

    def add(self, at: datetime, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (at, next(self._order), action))
        self._added.set()

    def clear(self) -> None:
        self._due.clear()

    def run_due(self) -> None:
        while self._due and self._due[0][0] <= self._clock.now():
            heapq.heappop(self._due)[2]()

    async def run(self) -> None:
        """Run what falls due until cancelled; idle while nothing is planned."""
        while True:
            await self._added.wait()
            self._added.clear()
            while self._due:
                self.run_due()
                await asyncio.sleep(_CHECK_SECONDS)


_READ_AT_ONCE = 0.4  # of messages, at full disorder: Meta then sends read without delivered
_WITHOUT_CONTACTS = 0.5  # of statuses, at full disorder: contacts are optional there


class WebhookQueue(Protocol):
    def put(self, update: WebhookUpdate | AccountUpdate) -> None:
        """Hand one update over for delivery to the webhook."""


class Disorder(Protocol):
    disorder: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The simulated network. A reset throws its state away, but for the few fields that are kept."""

    clock: Clock
    chance: Chance
    delivery: Disorder
    wire: WebhookQueue
    lines: BusinessLines
    people: WhatsAppPeople
    limits: ProviderLimits
    message_log: MessageLog
    media: MediaFiles
    scripts: Scripts
    schedule: Schedule
    counters: Counts

    def send(self, line: BusinessLine, send: SendRequest) -> JsonObject:
        """Accept a validated send and answer as the Graph API does; raises GraphError where it would refuse."""
        person = self._recipient(line, send)
        address = send.to or send.recipient or ""
        is_template = send.content.kind is MessageType.TEMPLATE
        if person is None:
            self.counters.add("dropped_silently")
            return accepted(self._wamid("out", person), address, {"wa_id": ""}, template=is_template)
        now = self.clock.now()
        self.limits.sent(line.phone_number_id, person.id, now)
        message = AcceptedMessage(
            self._wamid("out", person), person, address, line.phone_number_id, send.content, send.callback, now
        )
        self.message_log.add(message)
        self.counters.add("sends")
        self._deliver(line, message, now)
        known_as = {"wa_id": person.phone or ""} if send.to else {"user_id": person.bsuid}
        return accepted(message.wamid, address, known_as, template=is_template)

    def send_from_person(self, line: BusinessLine, person: WhatsAppPerson, reply: PersonMessage) -> str:
        """Deliver a message of a person, who has then read all earlier messages; returns its wamid."""
        now = self.clock.now()
        wamid = self._wamid("in", person)
        self.limits.received(line.phone_number_id, person.id, now)
        self._read_all(line, person, now)
        if reply.file is not None:
            self.media.add(media_id(wamid, self.chance), *reply.file)
        content = node(reply, line, wamid, self.chance, self.delivery.disorder)
        self.message_log.replies.append(PersonReply(wamid, person, line.phone_number_id, now, content))
        self.counters.add("replies")
        blank = self._blank(wamid)
        item = inbound(wamid, person, now, content, blank=blank)
        self.wire.put(WebhookUpdate(wamid, line, "messages", item, contact(person, blank=blank)))
        return wamid

    def _recipient(self, line: BusinessLine, send: SendRequest) -> WhatsAppPerson | None:
        """None where Meta accepts the address and delivers to no person."""
        if send.to is None:
            person = self.people.at_bsuid(send.recipient or "")
            if person is None:
                raise GraphError(131026, "no such business-scoped user id")
            return person
        if is_bsuid(send.to):
            return None
        digits = phone_digits(send.to, HOME_CODE)
        if digits == line.display:
            raise GraphError(131021, "to is the sending number itself")
        return self.people.at_phone(digits)

    def _deliver(self, line: BusinessLine, message: AcceptedMessage, now: datetime) -> None:
        failure = self._failure(message, now)
        if failure is not None:
            self.counters.add(f"errors.webhook.{failure.code}")
            self._report_status(line, message, SimulatedStatus.FAILED, now, failure)
            return
        self._report_status(line, message, SimulatedStatus.SENT, now)
        at_once = self.chance.happens(_READ_AT_ONCE * self.delivery.disorder, message.wamid, "read at once")
        self._report_status(line, message, SimulatedStatus.READ if at_once else SimulatedStatus.DELIVERED, now)
        script = self.scripts.take(message, line.name)
        if script is not None:
            self.schedule.add(now + timedelta(seconds=script.after), partial(self._play, script, line, message))

    def _failure(self, message: AcceptedMessage, now: datetime) -> StatusFailure | None:
        person = message.person
        if not person.on_whatsapp:
            return StatusFailure(131026, "the person cannot receive this message")
        is_template = message.content.kind is MessageType.TEMPLATE
        if not is_template and not self.limits.window_is_open(message.line, person.id, now):
            return StatusFailure(131047, "more than 24 hours have passed since the person last wrote")
        return None

    def _play(self, script: Script, line: BusinessLine, message: AcceptedMessage) -> None:
        reply = message_of_script(script, message)
        if script.do is ScriptAction.READ:
            self._read(line, message, self.clock.now())
        elif reply is not None:
            self.send_from_person(line, message.person, reply)
        elif script.do is not ScriptAction.IGNORE:
            self.counters.add("scripts_failed")
        self.counters.add("scripts_played")

    def _read_all(self, line: BusinessLine, person: WhatsAppPerson, now: datetime) -> None:
        for message in self.message_log.newest_first(person.id):
            if message.line == line.phone_number_id:
                self._read(line, message, now)

    def _read(self, line: BusinessLine, message: AcceptedMessage, now: datetime) -> None:
        if message.unread:
            self._report_status(line, message, SimulatedStatus.READ, now)

    def _report_status(
        self,
        line: BusinessLine,
        message: AcceptedMessage,
        word: SimulatedStatus,
        now: datetime,
        failure: StatusFailure | None = None,
    ) -> None:
        message.statuses.append(word)
        name = f"{message.wamid}:{word}"
        blank = self._blank(name)
        silent = self.chance.happens(_WITHOUT_CONTACTS * self.delivery.disorder, name, "contacts")
        item = status(message, word, now, blank=blank, failure=failure)
        about = None if silent else contact(message.person, blank=blank)
        self.wire.put(WebhookUpdate(name, line, "statuses", item, about))

    def _blank(self, name: str) -> bool:
        return self.chance.happens(0.5, name, "blank")

    def _wamid(self, direction: Direction, person: WhatsAppPerson | None) -> str:
        """A wamid with the person's number; with an invented one for a person known by BSUID only."""
        number = self.message_log.next_number()
        within = (person and person.phone) or self.chance.whole(15, "within", person.id if person else number)
        return self.chance.wamid(direction, number, within)

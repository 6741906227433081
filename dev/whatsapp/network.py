"""What WhatsApp does between a business and its people: it takes a send, delivers or fails it, and carries replies."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from dev.whatsapp.chance import Chance, Direction
from dev.whatsapp.errors import GraphError
from dev.whatsapp.ledger import Ledger, Message, Reply, Status, Tally
from dev.whatsapp.limits import Limits
from dev.whatsapp.lines import HOME_CODE, Line, Lines
from dev.whatsapp.outbound import Kind, Send
from dev.whatsapp.payloads import Failure, Json, Update, accepted, contact, inbound, status
from dev.whatsapp.people import People, Person
from dev.whatsapp.replies import Said, Saying, node
from dev.whatsapp.schedule import Schedule
from dev.whatsapp.scripts import Act, Script, Scripts
from dev.whatsapp.validate import is_bsuid, phone_digits
from shared.runtime.clock import Clock

_READ_AT_ONCE = 0.4  # of messages, at full disorder: Meta then sends read without delivered
_WITHOUT_CONTACTS = 0.5  # of statuses, at full disorder: contacts are optional there


class Wire(Protocol):
    def put(self, update: Update) -> None:
        """Hand one update over for delivery to the webhook."""


class Disorder(Protocol):
    disorder: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Its fields are the state a reset throws away, and the few things that outlive one."""

    clock: Clock
    chance: Chance
    trouble: Disorder
    wire: Wire
    lines: Lines
    people: People
    limits: Limits
    ledger: Ledger
    scripts: Scripts
    schedule: Schedule
    tally: Tally

    def send(self, line: Line, send: Send) -> Json:
        """Accept a validated send and answer as the Graph API does; raises GraphError where it would refuse."""
        person = self._addressee(line, send)
        address = send.to or send.recipient or ""
        is_template = send.content.kind is Kind.TEMPLATE
        if person is None:
            self.tally.add("dropped_silently")
            return accepted(self._wamid("out", person), address, {"wa_id": ""}, template=is_template)
        now = self.clock.now()
        self.limits.sent(line.phone_number_id, person.id, now)
        message = Message(
            self._wamid("out", person), person, address, line.phone_number_id, send.content, send.callback, now
        )
        self.ledger.add(message)
        self.tally.add("sends")
        self._carry(line, message, now)
        known_as = {"wa_id": person.phone or ""} if send.to else {"user_id": person.bsuid}
        return accepted(message.wamid, address, known_as, template=is_template)

    def say(self, line: Line, person: Person, said: Said) -> str:
        """A person says something, having read what came before; the wamid comes back."""
        now = self.clock.now()
        wamid = self._wamid("in", person)
        self.limits.heard(line.phone_number_id, person.id, now)
        self._read_all(line, person, now)
        content = node(said, line, wamid, self.chance, self.trouble.disorder)
        self.ledger.replies.append(Reply(wamid, person, line.phone_number_id, now, content))
        self.tally.add("replies")
        blank = self._blank(wamid)
        item = inbound(wamid, person, now, content, blank=blank)
        self.wire.put(Update(wamid, line, "messages", item, contact(person, blank=blank)))
        return wamid

    def _addressee(self, line: Line, send: Send) -> Person | None:
        """None where Meta accepts the address and delivers to nobody."""
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

    def _carry(self, line: Line, message: Message, now: datetime) -> None:
        failure = self._failure(message, now)
        if failure is not None:
            self.tally.add(f"errors.webhook.{failure.code}")
            self._tell(line, message, Status.FAILED, now, failure)
            return
        self._tell(line, message, Status.SENT, now)
        at_once = self.chance.happens(_READ_AT_ONCE * self.trouble.disorder, message.wamid, "read at once")
        self._tell(line, message, Status.READ if at_once else Status.DELIVERED, now)
        script = self.scripts.take(message, line.name)
        if script is not None:
            self.schedule.add(now + timedelta(seconds=script.after), partial(self._play, script, line, message))

    def _failure(self, message: Message, now: datetime) -> Failure | None:
        person = message.person
        if not person.on_whatsapp:
            return Failure(131026, "the person cannot receive this message")
        is_template = message.content.kind is Kind.TEMPLATE
        if not is_template and not self.limits.window_is_open(message.line, person.id, now):
            return Failure(131047, "more than 24 hours have passed since the person last wrote")
        return None

    def _play(self, script: Script, line: Line, message: Message) -> None:
        said = said_by(script, message)
        if script.do is Act.READ:
            self._read(line, message, self.clock.now())
        elif said is not None:
            self.say(line, message.person, said)
        elif script.do is not Act.IGNORE:
            self.tally.add("scripts_failed")
        self.tally.add("scripts_played")

    def _read_all(self, line: Line, person: Person, now: datetime) -> None:
        for message in self.ledger.newest_first(person.id):
            if message.line == line.phone_number_id:
                self._read(line, message, now)

    def _read(self, line: Line, message: Message, now: datetime) -> None:
        if message.unread:
            self._tell(line, message, Status.READ, now)

    def _tell(self, line: Line, message: Message, word: Status, now: datetime, failure: Failure | None = None) -> None:
        message.statuses.append(word)
        name = f"{message.wamid}:{word}"
        blank = self._blank(name)
        silent = self.chance.happens(_WITHOUT_CONTACTS * self.trouble.disorder, name, "contacts")
        item = status(message, word, now, blank=blank, failure=failure)
        about = None if silent else contact(message.person, blank=blank)
        self.wire.put(Update(name, line, "statuses", item, about))

    def _blank(self, name: str) -> bool:
        return self.chance.happens(0.5, name, "blank")

    def _wamid(self, direction: Direction, person: Person | None) -> str:
        """With the person's number; whoever is known by a BSUID alone is some other number in it."""
        number = self.ledger.next_number()
        within = (person and person.phone) or self.chance.whole(15, "within", person.id if person else number)
        return self.chance.wamid(direction, number, within)


def said_by(script: Script, message: Message) -> Said | None:
    """What a script has its person say about a message; None where there is nothing to say or to tap."""
    match script.do:
        case Act.TAP:
            return tap(message, script.value)
        case Act.TYPE:
            return Said(Saying.TEXT, script.value or "")
        case Act.STOP:
            return Said(Saying.TEXT, script.value or "STOP")
        case Act.REACT:
            return Said(Saying.REACTION, script.value or "\N{THUMBS UP SIGN}", about=message.wamid)
        case Act.DOCUMENT:
            return Said(Saying.DOCUMENT, filename=script.value or "pitch.pdf")
        case Act.READ | Act.IGNORE:
            return None


def tap(message: Message, wanted: str | None) -> Said | None:
    """A tap on the button of this id or title (the first where none is named)."""
    content = message.content
    choice = content.choice(wanted) if wanted is not None else next(iter(content.choices), None)
    if choice is None:
        return None
    return Said(Saying.TAP, about=message.wamid, choice=choice, tap=content.tap)

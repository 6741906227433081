"""The control API below ``/_simulator``: commands for people, templates, scripts and faults, and queries."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout, web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from dev.whatsapp.directory import BusinessLine, PersonRegistration, WhatsAppPerson
from dev.whatsapp.faults import SendFault
from dev.whatsapp.graph_errors import GraphError
from dev.whatsapp.messages import AcceptedMessage, PersonReply
from dev.whatsapp.scripted_people import InboundCommand, Script, referenced_message, to_person_message
from dev.whatsapp.simulator import WhatsAppSimulator
from dev.whatsapp.template_account import ReviewOutcome, TemplateChange
from dev.whatsapp.templates import RegisteredTemplate
from shared.contracts.errors import Malformed


class NewSettings(BaseModel):
    """Only what is named changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    webhook_url: str | None = None
    disorder: float | None = Field(default=None, ge=0, le=1)
    accept_any_template: bool | None = None
    qualities: dict[str, str] = Field(default_factory=dict)
    upgraded: tuple[str, ...] = ()
    people_a_day: str | None = None


_PEOPLE = TypeAdapter(list[PersonRegistration])
_TEMPLATES = TypeAdapter(list[RegisteredTemplate])
_TEMPLATE_CHANGES = TypeAdapter(list[TemplateChange])
_REVIEWS = TypeAdapter(list[ReviewOutcome])
_SCRIPTS = TypeAdapter(list[Script])
_FAULTS = TypeAdapter(list[SendFault])


@web.middleware
async def explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a body that cannot be used with 400 and the sentence that says why."""
    try:
        return await handler(request)
    except (Malformed, ValidationError) as error:
        return as_json({"error": str(error)}, status=400)


@dataclass(frozen=True, slots=True)
class SimulatorCommands:
    simulator: WhatsAppSimulator

    async def people(self, request: web.Request) -> web.Response:
        added = [self.simulator.people.add(person) for person in _PEOPLE.validate_python(await _several(request))]
        return as_json({"people": [person.model_dump() for person in added]})

    async def templates(self, request: web.Request) -> web.Response:
        templates = _TEMPLATES.validate_python(await _several(request))
        for template in templates:
            self.simulator.templates.add(template)
        return as_json({"templates": len(templates)})

    async def template_changes(self, request: web.Request) -> web.Response:
        """Meta's own doing: a pause, a quality, another category."""
        changes = _TEMPLATE_CHANGES.validate_python(await _several(request))
        for change in changes:
            try:
                self.simulator.template_account.change(change)
            except GraphError as error:
                raise Malformed(error.details) from error
        return as_json({"template_changes": len(changes)})

    async def reviews(self, request: web.Request) -> web.Response:
        """How the next reviews end."""
        outcomes = _REVIEWS.validate_python(await _several(request))
        self.simulator.template_account.outcomes += outcomes
        return as_json({"reviews": len(outcomes)})

    async def scripts(self, request: web.Request) -> web.Response:
        scripts = _SCRIPTS.validate_python(await _several(request))
        actors = [self._person(script.person) for script in scripts]
        for script, person in zip(scripts, actors, strict=True):
            self.simulator.network.scripts.add(person.id, script)
        return as_json({"scripts": len(scripts)})

    async def faults(self, request: web.Request) -> web.Response:
        faults = _FAULTS.validate_python(await _several(request))
        for fault in faults:
            self.simulator.faults.add(fault)
        return as_json({"faults": len(faults)})

    async def settings(self, request: web.Request) -> web.Response:
        new = NewSettings.model_validate(await _body(request))
        delivery, templates = self.simulator.delivery, self.simulator.templates
        if "webhook_url" in new.model_fields_set:
            delivery.webhook_url = new.webhook_url
        if new.disorder is not None:
            delivery.disorder = new.disorder
        if new.accept_any_template is not None:
            templates.accept_any = new.accept_any_template
        self.simulator.qualities |= new.qualities
        self.simulator.upgraded.update(new.upgraded)
        self.simulator.people_a_day = new.people_a_day or self.simulator.people_a_day
        return as_json({"webhook_url": delivery.webhook_url, "disorder": delivery.disorder})

    async def inbound(self, request: web.Request) -> web.Response:
        command = InboundCommand.model_validate(await _body(request))
        network = self.simulator.network
        person = self._person(command.sender)
        line = self._line(command.line) if command.line else None
        about = referenced_message(command, network.message_log, person.id, line.phone_number_id if line else None)
        message = to_person_message(command, about)
        line = line or self._line(about.line if about else next(iter(self.simulator.lines)).name)
        return as_json({"wamid": network.send_from_person(line, person, message)})

    async def verify(self, _: web.Request) -> web.Response:
        return as_json({"verified": await _proves_its_token(self.simulator)})

    async def reset(self, _: web.Request) -> web.Response:
        self.simulator.reset()
        return as_json({"reset": True})

    def _person(self, who: str) -> WhatsAppPerson:
        person = self.simulator.people.find(who)
        if person is None:
            raise Malformed(f"nobody is called {who}")
        return person

    def _line(self, word: str) -> BusinessLine:
        line = self.simulator.lines.find(word)
        if line is None:
            raise Malformed(f"there is no line {word}")
        return line


def as_json(body: dict[str, Any] | list[dict[str, Any]], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


async def _proves_its_token(simulator: WhatsAppSimulator) -> bool:
    """Meta's handshake: the webhook echoes the bare challenge, and only for the right token."""
    url = simulator.delivery.webhook_url
    if url is None:
        return False
    challenge = simulator.chance.whole(10, "challenge", simulator.counters.total)
    asked = {
        "hub.mode": "subscribe",
        "hub.challenge": challenge,
        "hub.verify_token": simulator.options.verify_token,
    }
    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=5)) as session,
            session.get(url, params=asked) as answer,
        ):
            return answer.status == 200 and await answer.text() == challenge
    except (ClientError, TimeoutError):
        return False


async def _body(request: web.Request) -> Any:
    try:
        return orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise Malformed("the body is not JSON") from error


async def _several(request: web.Request) -> list[Any]:
    body = await _body(request)
    return body if isinstance(body, list) else [body]


_Found = TypeVar("_Found", AcceptedMessage, PersonReply)
_COUNTED = ("sends", "replies", "read_receipts", "dropped_silently", "scripts_played", "scripts_failed")


@dataclass(frozen=True, slots=True)
class MessageQueries:
    simulator: WhatsAppSimulator

    async def messages(self, request: web.Request) -> web.Response:
        found = self._asked_for(request, self.simulator.network.message_log.messages())
        return as_json([message.as_json_object() for message in found])

    async def replies(self, request: web.Request) -> web.Response:
        found = self._asked_for(request, self.simulator.network.message_log.replies)
        return as_json([reply.as_json_object() for reply in found])

    async def counts(self, _: web.Request) -> web.Response:
        counters = self.simulator.counters
        return as_json(
            {
                **{name: counters.of(name) for name in _COUNTED},
                "repeated_callbacks": self.simulator.network.message_log.repeated_callbacks(),
                "errors": {"answer": counters.under("errors.answer."), "webhook": counters.under("errors.webhook.")},
                "faults": counters.under("faults."),
                "media": counters.under("media."),
                "webhooks": {**counters.under("webhooks."), "undelivered": self.simulator.webhooks.undelivered},
            }
        )

    async def idle(self, _: web.Request) -> web.Response:
        busy = self.simulator.busy_tasks()
        due = self.simulator.schedule.next_due
        next_due = due.isoformat() if due else None
        return as_json({"busy": busy, "next_due": next_due, "counter": self.simulator.counters.total})

    async def healthz(self, _: web.Request) -> web.Response:
        return as_json({"ok": True})

    def _asked_for(self, request: web.Request, all_of_them: Iterable[_Found]) -> Iterator[_Found]:
        who, word = request.query.get("person"), request.query.get("line")
        person = self.simulator.people.find(who) if who else None
        line = self.simulator.lines.find(word) if word else None
        since = _instant(request.query["since"]) if "since" in request.query else None
        for found in all_of_them:
            theirs = who is None or (person is not None and found.person.id == person.id)
            there = word is None or (line is not None and found.line == line.phone_number_id)
            if theirs and there and (since is None or found.at >= since):
                yield found


def _instant(text: str) -> datetime:
    """An ISO instant; one without a zone is UTC."""
    try:
        found = datetime.fromisoformat(text.replace(" ", "+"))  # a plus in a query arrives as a space
    except ValueError as error:
        raise Malformed("since must be an ISO instant") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)

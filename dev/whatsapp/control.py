"""The control API's commands under ``/_simulator``: who exists, what they will do and say, and what goes wrong."""

from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout, web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from dev.whatsapp.faults import Fault
from dev.whatsapp.lines import Line
from dev.whatsapp.people import NewPerson, Person
from dev.whatsapp.saying import Say, meant, said
from dev.whatsapp.scripts import Script
from dev.whatsapp.simulator import Simulator
from dev.whatsapp.templates import Template
from shared.contracts.errors import Malformed


class NewSettings(BaseModel):
    """Only what is named changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    webhook_url: str | None = None
    disorder: float | None = Field(default=None, ge=0, le=1)
    accept_any_template: bool | None = None


_PEOPLE = TypeAdapter(list[NewPerson])
_TEMPLATES = TypeAdapter(list[Template])
_SCRIPTS = TypeAdapter(list[Script])
_FAULTS = TypeAdapter(list[Fault])


@web.middleware
async def explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a body that cannot be used with 400 and the sentence that says why."""
    try:
        return await handler(request)
    except (Malformed, ValidationError) as error:
        return as_json({"error": str(error)}, status=400)


@dataclass(frozen=True, slots=True)
class Control:
    simulator: Simulator

    async def people(self, request: web.Request) -> web.Response:
        added = [self.simulator.people.add(person) for person in _PEOPLE.validate_python(await _several(request))]
        return as_json({"people": [person.model_dump() for person in added]})

    async def templates(self, request: web.Request) -> web.Response:
        templates = _TEMPLATES.validate_python(await _several(request))
        for template in templates:
            self.simulator.templates.add(template)
        return as_json({"templates": len(templates)})

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
        trouble, templates = self.simulator.trouble, self.simulator.templates
        if "webhook_url" in new.model_fields_set:
            trouble.webhook_url = new.webhook_url
        if new.disorder is not None:
            trouble.disorder = new.disorder
        if new.accept_any_template is not None:
            templates.accept_any = new.accept_any_template
        return as_json({"webhook_url": trouble.webhook_url, "disorder": trouble.disorder})

    async def say(self, request: web.Request) -> web.Response:
        say = Say.model_validate(await _body(request))
        network = self.simulator.network
        person = self._person(say.sender)
        line = self._line(say.line) if say.line else None
        about = meant(say, network.ledger, person.id, line.phone_number_id if line else None)
        words = said(say, about)
        line = line or self._line(about.line if about else next(iter(self.simulator.lines)).name)
        return as_json({"wamid": network.say(line, person, words)})

    async def verify(self, _: web.Request) -> web.Response:
        return as_json({"verified": await _proves_its_token(self.simulator)})

    async def reset(self, _: web.Request) -> web.Response:
        self.simulator.reset()
        return as_json({"reset": True})

    def _person(self, who: str) -> Person:
        person = self.simulator.people.find(who)
        if person is None:
            raise Malformed(f"nobody is called {who}")
        return person

    def _line(self, word: str) -> Line:
        line = self.simulator.lines.find(word)
        if line is None:
            raise Malformed(f"there is no line {word}")
        return line


def as_json(body: dict[str, Any] | list[dict[str, Any]], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


async def _proves_its_token(simulator: Simulator) -> bool:
    """Meta's handshake: the webhook echoes the bare challenge, and only for the right token."""
    url = simulator.trouble.webhook_url
    if url is None:
        return False
    challenge = simulator.chance.whole(10, "challenge", simulator.tally.total)
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

"""Messages of people: sent by a command, or by scripts that react to messages. Pure."""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dev.whatsapp.chance import Chance
from dev.whatsapp.directory import BusinessLine
from dev.whatsapp.media import sample_content, webhook_digest
from dev.whatsapp.messages import AcceptedMessage, Choice, MessageLog, TapKind
from shared.contracts.errors import Malformed

_CONTEXT_LOST = 0.4  # of template taps, at full disorder: Meta leaves their context out now and then


class PersonMessageKind(StrEnum):
    TEXT = "text"
    TAP = "tap"
    DOCUMENT = "document"
    REACTION = "reaction"
    IMAGE = "image"


_MIMES = {PersonMessageKind.DOCUMENT: "application/pdf", PersonMessageKind.IMAGE: "image/jpeg"}


@dataclass(frozen=True, slots=True)
class PersonMessage:
    """``about`` is the wamid tapped, reacted to or quoted; ``text`` is a body, caption or emoji."""

    kind: PersonMessageKind
    text: str = ""
    about: str | None = None
    choice: Choice | None = None
    tap: TapKind | None = None
    filename: str = "pitch.pdf"
    mime: str | None = None
    content: bytes | None = None

    @property
    def file(self) -> tuple[str, bytes] | None:
        """Content type and bytes of the file that comes with it, if any."""
        mime = _MIMES.get(self.kind)
        if mime is None:
            return None
        mime = self.mime or mime
        return mime, sample_content(mime, self.filename) if self.content is None else self.content


def media_id(wamid: str, chance: Chance) -> str:
    """The id of the file that comes with a message."""
    return chance.whole(16, "media", wamid)


def node(message: PersonMessage, line: BusinessLine, wamid: str, chance: Chance, disorder: float) -> dict[str, Any]:
    """``type``, the node of that type, and ``context`` where there is one."""
    if message.kind is PersonMessageKind.REACTION:
        emoji = {"emoji": message.text} if message.text else {}
        return {"type": "reaction", "reaction": {"message_id": message.about, **emoji}}
    lost = message.tap is TapKind.QUICK_REPLY and chance.happens(_CONTEXT_LOST * disorder, wamid, "context")
    context = {"context": {"from": line.display, "id": message.about}} if message.about and not lost else {}
    return {**context, **_content(message, wamid, chance)}


def _content(message: PersonMessage, wamid: str, chance: Chance) -> dict[str, Any]:
    match message.kind:
        case PersonMessageKind.TAP:
            return _tapped(message)
        case PersonMessageKind.DOCUMENT:
            return {"type": "document", "document": {"filename": message.filename, **_media(message, wamid, chance)}}
        case PersonMessageKind.IMAGE:
            return {"type": "image", "image": _media(message, wamid, chance)}
        case _:
            return {"type": "text", "text": {"body": message.text}}


def _tapped(message: PersonMessage) -> dict[str, Any]:
    choice = message.choice or Choice("", "")
    if message.tap is TapKind.QUICK_REPLY:
        return {"type": "button", "button": {"payload": choice.id, "text": choice.title}}
    kind = message.tap or TapKind.BUTTON
    reply = {"id": choice.id, "title": choice.title}
    if choice.description:
        reply["description"] = choice.description
    return {"type": "interactive", "interactive": {"type": kind.value, kind.value: reply}}


def _media(message: PersonMessage, wamid: str, chance: Chance) -> dict[str, Any]:
    mime, content = message.file or ("", b"")
    media = {"id": media_id(wamid, chance), "mime_type": mime, "sha256": webhook_digest(content)}
    return {**media, **({"caption": message.text} if message.text else {})}


class ScriptAction(StrEnum):
    TAP = "tap"
    TYPE = "type"
    READ = "read"
    IGNORE = "ignore"
    STOP = "stop"
    REACT = "react"
    DOCUMENT = "document"


class Trigger(BaseModel):
    """Every condition given must hold; ``any`` stands for none."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    any: bool = False
    template: str | None = None
    contains: str | None = None
    button: str | None = None
    line: str | None = None

    @model_validator(mode="after")
    def _has_condition(self) -> "Trigger":
        if not (self.any or self.template or self.contains or self.button or self.line):
            raise ValueError("say template, contains, button, line or any: true")
        return self

    def fits(self, message: AcceptedMessage, line_name: str) -> bool:
        content = message.content
        return (
            (self.template is None or same_template(self.template, content.template))
            and (self.contains is None or self.contains in content.text)
            and (self.button is None or content.choice(self.button) is not None)
            and (self.line is None or self.line in {line_name, message.line})
        )


class Script(BaseModel):
    """``after`` is in seconds of business time; ``times`` None means always."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    person: str
    on: Trigger
    do: ScriptAction
    value: str | None = None
    after: float = Field(default=0.0, ge=0)
    times: int | None = Field(default=1, ge=1)


def same_template(wanted: str, sent: str | None) -> bool:
    return sent is not None and re.fullmatch(re.escape(wanted) + r"(_v\d+)?", sent) is not None


@dataclass(slots=True)
class _ActiveScript:
    script: Script
    left: int | None


class Scripts:
    """Each person's scripts in the order they were given."""

    def __init__(self) -> None:
        self._by_person: dict[str, list[_ActiveScript]] = {}

    def add(self, person_id: str, script: Script) -> None:
        self._by_person.setdefault(person_id, []).append(_ActiveScript(script, script.times))

    def take(self, message: AcceptedMessage, line_name: str) -> Script | None:
        """The first script that fits, one use of it spent."""
        for active in self._by_person.get(message.person.id, ()):
            if active.left != 0 and active.script.on.fits(message, line_name):
                if active.left is not None:
                    active.left -= 1
                return active.script
        return None


def message_of_script(script: Script, message: AcceptedMessage) -> PersonMessage | None:
    """The message that a script sends about a message; None where there is none, or nothing to tap."""
    match script.do:
        case ScriptAction.TAP:
            return tap(message, script.value)
        case ScriptAction.TYPE:
            return PersonMessage(PersonMessageKind.TEXT, script.value or "")
        case ScriptAction.STOP:
            return PersonMessage(PersonMessageKind.TEXT, script.value or "STOP")
        case ScriptAction.REACT:
            return PersonMessage(PersonMessageKind.REACTION, script.value or "\N{THUMBS UP SIGN}", about=message.wamid)
        case ScriptAction.DOCUMENT:
            return PersonMessage(PersonMessageKind.DOCUMENT, filename=script.value or "pitch.pdf")
        case ScriptAction.READ | ScriptAction.IGNORE:
            return None


def tap(message: AcceptedMessage, wanted: str | None) -> PersonMessage | None:
    """A tap on the button of this id or title (the first where none is named)."""
    content = message.content
    choice = content.choice(wanted) if wanted is not None else next(iter(content.choices), None)
    if choice is None:
        return None
    return PersonMessage(PersonMessageKind.TAP, about=message.wamid, choice=choice, tap=content.tap)


class InboundCommand(BaseModel):
    """``button`` is a title or id; ``message`` the wamid tapped or reacted to; ``quoted`` a wamid, or true.

    ``line`` None stands for the line of the message that is tapped, reacted to or quoted, else for the first line.
    ``content`` is a file's bytes in base64; a small file of its type where absent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    sender: str = Field(alias="from")
    line: str | None = None
    kind: PersonMessageKind = PersonMessageKind.TEXT
    text: str = ""
    button: str | None = None
    message: str | None = None
    quoted: str | bool = False
    filename: str = "pitch.pdf"
    mime: str | None = None
    content: str | None = None

    @field_validator("content")
    @classmethod
    def _check_content(cls, content: str | None) -> str | None:
        if content is not None:
            try:
                base64.b64decode(content, validate=True)
            except binascii.Error:
                raise ValueError("it must be base64") from None
        return content

    @property
    def file_content(self) -> bytes | None:
        return None if self.content is None else base64.b64decode(self.content)


def referenced_message(
    command: InboundCommand, message_log: MessageLog, person_id: str, line: str | None
) -> AcceptedMessage | None:
    """The message that is tapped, reacted to or quoted: by its wamid, else the newest one that fits."""
    wamid = command.message or (command.quoted if isinstance(command.quoted, str) else None)
    if wamid is not None:
        return message_log.find(wamid)
    return next(_candidates(command, message_log, person_id, line), None)


def to_person_message(command: InboundCommand, about: AcceptedMessage | None) -> PersonMessage:
    """Raises Malformed where there is nothing to tap, react to or quote."""
    if command.kind is PersonMessageKind.TAP:
        tapped = tap(about, command.button) if about is not None else None
        if tapped is None:
            raise Malformed(f"{command.sender} has no message that offers {command.button}")
        return tapped
    needs_one = command.kind is PersonMessageKind.REACTION or command.quoted is True
    if about is None and needs_one and command.message is None:
        raise Malformed(f"{command.sender} has no message to react to or to quote")
    wamid = about.wamid if about is not None else command.message or command.quoted or None
    quoted = wamid if command.quoted or command.kind is PersonMessageKind.REACTION else None
    about_wamid, file = str(quoted) if quoted else None, command.file_content
    return PersonMessage(
        command.kind, command.text, about_wamid, filename=command.filename, mime=command.mime, content=file
    )


def _candidates(
    command: InboundCommand, message_log: MessageLog, person_id: str, line: str | None
) -> Iterator[AcceptedMessage]:
    for message in message_log.newest_first(person_id):
        fits = command.kind is not PersonMessageKind.TAP or tap(message, command.button) is not None
        if fits and message.arrived and line in {None, message.line}:
            yield message

"""What people say back, as the node of an inbound message. Pure; the ids of media follow from the seed."""

import base64
import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dev.whatsapp.chance import Chance
from dev.whatsapp.lines import Line
from dev.whatsapp.outbound import Choice, Tap

_CONTEXT_LOST = 0.4  # of template taps, at full disorder: Meta leaves their context out now and then


class Saying(StrEnum):
    TEXT = "text"
    TAP = "tap"
    DOCUMENT = "document"
    REACTION = "reaction"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Said:
    """``about`` is the wamid tapped, reacted to or quoted; ``text`` is a body, caption or emoji."""

    kind: Saying
    text: str = ""
    about: str | None = None
    choice: Choice | None = None
    tap: Tap | None = None
    filename: str = "pitch.pdf"
    mime: str | None = None


def node(said: Said, line: Line, wamid: str, chance: Chance, disorder: float) -> dict[str, Any]:
    """``type``, the node of that type, and ``context`` where there is one."""
    if said.kind is Saying.REACTION:
        emoji = {"emoji": said.text} if said.text else {}
        return {"type": "reaction", "reaction": {"message_id": said.about, **emoji}}
    lost = said.tap is Tap.QUICK_REPLY and chance.happens(_CONTEXT_LOST * disorder, wamid, "context")
    context = {"context": {"from": line.display, "id": said.about}} if said.about and not lost else {}
    return {**context, **_content(said, wamid, chance)}


def _content(said: Said, wamid: str, chance: Chance) -> dict[str, Any]:
    match said.kind:
        case Saying.TAP:
            return _tapped(said)
        case Saying.DOCUMENT:
            mime = said.mime or "application/pdf"
            return {"type": "document", "document": {"filename": said.filename, **_media(said, mime, wamid, chance)}}
        case Saying.IMAGE:
            return {"type": "image", "image": _media(said, said.mime or "image/jpeg", wamid, chance)}
        case _:
            return {"type": "text", "text": {"body": said.text}}


def _tapped(said: Said) -> dict[str, Any]:
    choice = said.choice or Choice("", "")
    if said.tap is Tap.QUICK_REPLY:
        return {"type": "button", "button": {"payload": choice.id, "text": choice.title}}
    kind = said.tap or Tap.BUTTON
    reply = {"id": choice.id, "title": choice.title}
    if choice.description:
        reply["description"] = choice.description
    return {"type": "interactive", "interactive": {"type": kind.value, kind.value: reply}}


def _media(said: Said, mime: str, wamid: str, chance: Chance) -> dict[str, Any]:
    digest = hashlib.sha256(f"{wamid}:{said.filename}".encode()).digest()
    media = {"id": chance.whole(16, "media", wamid), "mime_type": mime, "sha256": base64.b64encode(digest).decode()}
    return {**media, **({"caption": said.text} if said.text else {})}

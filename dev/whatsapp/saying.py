"""``POST /_simulator/say``: turning what a tester asks a person to say into what WhatsApp carries."""

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field

from dev.whatsapp.ledger import Ledger, Message
from dev.whatsapp.network import tap
from dev.whatsapp.replies import Said, Saying
from shared.contracts.errors import Malformed


class Say(BaseModel):
    """``button`` is a title or id; ``message`` the wamid tapped or reacted to; ``quoted`` a wamid, or true.

    ``line`` None stands for the line of the message meant, else the first line.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    sender: str = Field(alias="from")
    line: str | None = None
    kind: Saying = Saying.TEXT
    text: str = ""
    button: str | None = None
    message: str | None = None
    quoted: str | bool = False
    filename: str = "pitch.pdf"
    mime: str | None = None


def meant(say: Say, ledger: Ledger, person_id: str, line: str | None) -> Message | None:
    """The message tapped, reacted to or quoted: by its wamid, else the newest that fits."""
    wamid = say.message or (say.quoted if isinstance(say.quoted, str) else None)
    if wamid is not None:
        return ledger.find(wamid)
    return next(_candidates(say, ledger, person_id, line), None)


def said(say: Say, about: Message | None) -> Said:
    """Raises Malformed where there is nothing to tap, react to or quote."""
    if say.kind is Saying.TAP:
        tapped = tap(about, say.button) if about is not None else None
        if tapped is None:
            raise Malformed(f"{say.sender} has no message that offers {say.button}")
        return tapped
    needs_one = say.kind is Saying.REACTION or say.quoted is True
    if about is None and needs_one and say.message is None:
        raise Malformed(f"{say.sender} has no message to react to or to quote")
    wamid = about.wamid if about is not None else say.message or say.quoted or None
    quoted = wamid if say.quoted or say.kind is Saying.REACTION else None
    return Said(say.kind, say.text, str(quoted) if quoted else None, filename=say.filename, mime=say.mime)


def _candidates(say: Say, ledger: Ledger, person_id: str, line: str | None) -> Iterator[Message]:
    for message in ledger.newest_first(person_id):
        fits = say.kind is not Saying.TAP or tap(message, say.button) is not None
        if fits and message.arrived and line in {None, message.line}:
            yield message

"""The verbs of a story: what Consonance and people do, and what has to follow. Each act waits until all is at rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dev.demo.cast import Cast, Player
from dev.demo.downstream import Downstream
from dev.demo.ledger import Ledger
from dev.demo.mailbox import Mailbox, Message
from dev.demo.outside import Outside
from dev.demo.story import Story
from dev.demo.timeline import Timeline
from dev.demo.transcript import Kind, Transcript
from dev.stack import Stack
from shared.contracts.errors import StetError

CONSONANCE = "Consonance"
_POLLED = ("works/", "products/", "contacts/")


class NotAsTold(StetError):
    """What had to follow did not, or something else did."""


@dataclass(frozen=True)
class World:
    """What all stories of a performance share."""

    stack: Stack
    outside: Outside
    timeline: Timeline
    cast: Cast
    mailbox: Mailbox
    ledger: Ledger
    downstream: Downstream


@dataclass
class Stage:
    """One story's view of the world, and its transcript."""

    story: Story
    world: World
    transcript: Transcript = field(default_factory=Transcript)

    @property
    def now(self) -> datetime:
        return self.world.timeline.now

    def tell(self, kind: Kind, who: str, text: str, at: datetime | None = None) -> None:
        self.transcript.add(at or self.now, kind, who, text)

    # ------------------------------------------------------------------ time

    async def at(self, instant: datetime) -> None:
        """Go on at ``instant``, after everything that is due until then."""
        await self.world.timeline.until(instant)

    # ------------------------------------------------------------------ what is done

    async def consonance(self, what: str, path: str, body: Mapping[str, Any], method: str = "POST") -> Any:
        """Somebody does ``what`` in Consonance; where ingest learns of it by polling, it polls."""
        self.tell(Kind.DID, CONSONANCE, what)
        said = await self.world.outside.in_consonance(path, body, method)
        if path.startswith(_POLLED):
            await self.world.outside.poll()
        await self.world.timeline.settled()
        return said

    async def edit(self, what: str, path: str, **fields: object) -> Any:
        return await self.consonance(what, path, fields, "PATCH")

    async def push(self, what: str, name: str, **data: object) -> None:
        await self.consonance(what, "push", {"type": name, "data": data})

    async def poll(self) -> int:
        """Ingest looks at Consonance; returns how many events that told."""
        told = await self.world.outside.poll()
        await self.world.timeline.settled()
        return told

    async def taps(self, who: Player, button: str, **more: object) -> None:
        await self.says(who, f"taps “{button}”", kind="tap", button=button, **more)

    async def writes(self, who: Player, text: str, **more: object) -> None:
        await self.says(who, f"writes “{text}”", text=text, **more)

    async def says(self, who: Player, what: str, **said: object) -> None:
        """Whatever the WhatsApp simulator's ``say`` takes; ``what`` goes into the transcript."""
        self.tell(Kind.SAID, self.called(who), what)
        await self.world.outside.at_whatsapp("say", {"from": who.handle, **said})
        await self.world.timeline.settled()

    # ------------------------------------------------------------------ what follows

    def hears(
        self,
        who: Player,
        words: str,
        *,
        buttons: Sequence[str] | None = None,
        at: datetime | None = None,
        aloud: bool = True,
    ) -> Message:
        """Exactly one message that was not expected yet has these ``words``, and is in the person's language.

        ``at`` is when it was sent; ``aloud``: it goes into the transcript.
        """
        waiting = self.world.mailbox.unexpected(self.story)
        found = [message for message in waiting if message.to == who.handle and words in message.text]
        if len(found) != 1:
            got = "; ".join(f"“{message.text}”" for message in waiting if message.to == who.handle) or "nothing"
            raise NotAsTold(f"{who.name} was to be sent one message with “{words}”, and got: {got}")
        message = found[0]
        message.expected = True
        if message.language not in {None, who.language}:
            raise NotAsTold(f"{who.name} was written to in {message.language}, not in {who.language}: {message.text}")
        if buttons is not None and message.buttons != tuple(buttons):
            raise NotAsTold(f"{who.name} was offered {message.buttons}, not {tuple(buttons)}")
        if at is not None and message.at != at:
            raise NotAsTold(f"{who.name} was written to at {message.at}, not at {at}: {message.text}")
        if aloud:
            shown = " ".join(message.text.split()) + "".join(f" [{title}]" for title in message.buttons)
            self.tell(Kind.HEARD, self.called(who, language=True), shown, message.at)
        return message

    def silence(self) -> None:
        """Nobody was sent anything but what was expected."""
        left = self.world.mailbox.unexpected(self.story)
        if left:
            said = "; ".join(f"{message.to} at {message.at:%a %d %b %H:%M}: “{message.text}”" for message in left)
            raise NotAsTold(f"nothing more was to be said, but: {said}")

    async def wrote(self, operation: str, /, *, aloud: bool = True, **wanted: object) -> Mapping[str, Any]:
        """Exactly one write that was not expected yet; returns what Consonance was given."""
        entry = await self.world.ledger.take(operation, wanted)
        if entry is None:
            log = [f"{one['operation']} {one['input']}: {one['fate']}" for one in await self.world.ledger.unexpected()]
            raise NotAsTold(f"{operation} {wanted} was to be written once; in the log: {'; '.join(log) or 'nothing'}")
        told = ", ".join(f"{name} {value}" for name, value in wanted.items())
        if aloud:
            self.tell(Kind.WROTE, CONSONANCE, f"{operation}: {told}", datetime.fromisoformat(entry["at"]))
        return dict(entry["input"])

    async def reads(self, kind: str, which: Mapping[str, object], /, **wanted: object) -> Mapping[str, Any]:
        """The one record of ``kind`` with the fields of ``which`` now also has those ``wanted``."""
        records = await self.world.outside.in_consonance(f"state/{kind}")
        found = [record for record in records if which.items() <= record.items()]
        if len(found) != 1:
            raise NotAsTold(f"there were to be one of {kind} with {dict(which)}, not {len(found)}")
        wrong = {name: found[0][name] for name, value in wanted.items() if found[0][name] != value}
        if wrong:
            raise NotAsTold(f"{kind} with {dict(which)} was to have {wanted}, but has {wrong}")
        told = ", ".join(f"{name} {value}" for name, value in wanted.items())
        self.tell(Kind.READ, CONSONANCE, f"{kind} {' '.join(map(str, which.values()))}: {told}")
        return dict(found[0])

    def expect(self, holds: bool, sentence: str, *, aloud: bool = True) -> None:  # noqa: FBT001 -- expect(this, "…")
        """For what has no verb of its own: ``sentence`` says what is expected."""
        if not holds:
            raise NotAsTold(f"expected: {sentence}")
        if aloud:
            self.tell(Kind.NOTED, "", sentence)

    def called(self, who: Player, *, language: bool = False) -> str:
        known = [self.story.role_of(who), *([who.language] if language else [])]
        return f"{who.name} ({', '.join(filter(None, known))})"

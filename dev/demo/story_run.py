"""One run of a story: what people and Consonance do, and what has to follow.

Each action returns when every process is idle again. Each ``expect_…`` raises StoryFailed where its sentence is not
true.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dev.demo.effects import ApprovedMetadata, ConsonanceWrites, SentMessage, SentMessages
from dev.demo.people import DemoPeople, DemoPerson
from dev.demo.simulators import DemoStack, Simulators
from dev.demo.story import DemoStory, LineKind, Transcript
from dev.demo.timeline import Timeline
from shared.contracts.errors import StetError

CONSONANCE = "Consonance"
_POLLED = ("works/", "products/", "contacts/")


class StoryFailed(StetError):
    """An expected effect is missing, or another one came."""


@dataclass(frozen=True)
class DemoContext:
    """Everything that all stories of a run share."""

    stack: DemoStack
    simulators: Simulators
    timeline: Timeline
    people: DemoPeople
    sent_messages: SentMessages
    writes: ConsonanceWrites
    approved_metadata: ApprovedMetadata


@dataclass
class StoryRun:
    """A story with what it shares with the others, and its transcript."""

    story: DemoStory
    context: DemoContext
    transcript: Transcript = field(default_factory=Transcript)

    @property
    def now(self) -> datetime:
        """Business time."""
        return self.context.timeline.now

    @property
    def people(self) -> DemoPeople:
        return self.context.people

    def note(self, kind: LineKind, who: str, text: str, at: datetime | None = None) -> None:
        """Add a line to the transcript, at ``at`` or now."""
        self.transcript.add(at or self.now, kind, who, text)

    async def wait_until(self, instant: datetime) -> None:
        """Return at ``instant``, after everything that is due until then."""
        await self.context.timeline.until(instant)

    # ------------------------------------------------------------------ actions

    async def change(self, what: str, path: str, body: Mapping[str, Any], method: str = "POST") -> Any:
        """Change something in Consonance, and poll where ingest polls for it; ``what`` is for the transcript."""
        self.note(LineKind.CHANGED, CONSONANCE, what)
        response = await self.context.simulators.consonance(path, body, method)
        if path.startswith(_POLLED):
            await self.context.simulators.poll()
        await self.context.timeline.settled()
        return response

    async def edit(self, what: str, path: str, **fields: object) -> Any:
        return await self.change(what, path, fields, "PATCH")

    async def push(self, what: str, name: str, **data: object) -> None:
        """Push the event ``name`` to ingest."""
        await self.change(what, "push", {"type": name, "data": data})

    async def poll(self) -> int:
        """Let ingest poll Consonance; returns how many events that published."""
        events = await self.context.simulators.poll()
        await self.context.timeline.settled()
        return events

    async def tap(self, who: DemoPerson, button: str, **more: object) -> None:
        await self.send(who, f"taps “{button}”", kind="tap", button=button, **more)

    async def send_text(self, who: DemoPerson, text: str, **more: object) -> None:
        await self.send(who, f"writes “{text}”", text=text, **more)

    async def send(self, who: DemoPerson, what: str, **message: object) -> None:
        """Send any message that the WhatsApp simulator's ``say`` takes; ``what`` is for the transcript."""
        self.note(LineKind.REPLIED, self.label(who), what)
        await self.context.simulators.whatsapp("inbound", {"from": who.handle, **message})
        await self.context.timeline.settled()

    # ------------------------------------------------------------------ expected effects

    def expect_message(
        self,
        who: DemoPerson,
        words: str,
        *,
        buttons: Sequence[str] | None = None,
        at: datetime | None = None,
        in_transcript: bool = True,
    ) -> SentMessage:
        """One message that no line expected yet contains ``words``, in the person's language; sent at ``at`` if given.

        Raises StoryFailed.
        """
        message = self._match_message(who, words)
        if message.language not in {None, who.language}:
            raise StoryFailed(f"{who.name} was written to in {message.language}, not in {who.language}: {message.text}")
        if buttons is not None and message.buttons != tuple(buttons):
            raise StoryFailed(f"{who.name} was offered {message.buttons}, not {tuple(buttons)}")
        if at is not None and message.at != at:
            raise StoryFailed(f"{who.name} was written to at {message.at}, not at {at}: {message.text}")
        if in_transcript:
            shown = " ".join(message.text.split()) + "".join(f" [{title}]" for title in message.buttons)
            self.note(LineKind.SENT, self.label(who, language=True), shown, message.at)
        return message

    def _match_message(self, who: DemoPerson, words: str) -> SentMessage:
        unexpected = [
            message for message in self.context.sent_messages.unexpected(self.story) if message.to == who.handle
        ]
        found = [message for message in unexpected if words in message.text]
        if len(found) != 1:
            got = "; ".join(f"“{message.text}”" for message in unexpected) or "nothing"
            raise StoryFailed(f"{who.name} should have got one message with “{words}”, but got: {got}")
        found[0].expected = True
        return found[0]

    def expect_no_message(self) -> None:
        """Every message so far was expected. Raises StoryFailed."""
        left = self.context.sent_messages.unexpected(self.story)
        if left:
            sent = "; ".join(f"{message.to} at {message.at:%a %d %b %H:%M}: “{message.text}”" for message in left)
            raise StoryFailed(f"no more messages were expected, but these were sent: {sent}")

    async def expect_write(
        self, operation: str, /, *, in_transcript: bool = True, **wanted: object
    ) -> Mapping[str, Any]:
        """One write that no line expected yet; returns the input that Consonance got. Raises StoryFailed."""
        entry = await self.context.writes.match(operation, wanted)
        if entry is None:
            log = [
                f"{one['operation']} {one['input']}: {one['outcome']}" for one in await self.context.writes.unexpected()
            ]
            raise StoryFailed(f"{operation} {wanted} was expected once; in the log: {'; '.join(log) or 'nothing'}")
        if in_transcript:
            text = f"{operation}: {_listed(wanted)}"
            self.note(LineKind.WRITTEN, CONSONANCE, text, datetime.fromisoformat(entry["at"]))
        return dict(entry["input"])

    async def expect_record(self, kind: str, which: Mapping[str, object], /, **wanted: object) -> Mapping[str, Any]:
        """The one record of ``kind`` with the fields of ``which`` also has those ``wanted``. Raises StoryFailed."""
        records = await self.context.simulators.consonance(f"state/{kind}")
        found = [record for record in records if which.items() <= record.items()]
        if len(found) != 1:
            raise StoryFailed(f"one of {kind} with {dict(which)} was expected, not {len(found)}")
        wrong = {name: found[0][name] for name, value in wanted.items() if found[0][name] != value}
        if wrong:
            raise StoryFailed(f"{kind} with {dict(which)} should have {wanted}, but has {wrong}")
        self.note(LineKind.READ_BACK, CONSONANCE, f"{kind} {' '.join(map(str, which.values()))}: {_listed(wanted)}")
        return dict(found[0])

    def expect(self, holds: bool, sentence: str, *, in_transcript: bool = True) -> None:  # noqa: FBT001 -- expect(this, "…")
        """For an effect without a function of its own; ``sentence`` says what is expected. Raises StoryFailed."""
        if not holds:
            raise StoryFailed(f"expected: {sentence}")
        if in_transcript:
            self.note(LineKind.CHECKED, "", sentence)

    def label(self, who: DemoPerson, *, language: bool = False) -> str:
        known = [self.story.role_of(who), *([who.language] if language else [])]
        return f"{who.name} ({', '.join(filter(None, known))})"


def _listed(fields: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in fields.items())

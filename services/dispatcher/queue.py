"""The queue's door to PostgreSQL: what waits, what may go now, and the intents that are committed before they leave."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from msgspec import Struct

from services.dispatcher.payload import Address, Spoken
from services.dispatcher.plan import Queued, TemplateState
from shared.contracts.envelope import Event
from shared.contracts.ids import MessageId
from shared.contracts.messages import Lane, SendMessage, Wording
from shared.contracts.values import to_builtins
from shared.runtime.postgres import Connection, load_queries

_sql = load_queries(__file__, "queue.sql")
_LANES = {Lane.CRITICAL: 0, Lane.NORMAL: 1, Lane.BULK: 2}
_UNIT_SEPARATOR = "\x1f"  # between the button ids of one message


class Candidate(Struct, frozen=True):
    """A waiting message that is due, with what the database knows of its person and its template."""

    message: Queued
    person_known: bool
    address: Address | None
    window_opened_at: datetime | None
    template: TemplateState
    traceparent: str | None


class Unreadable(Struct, frozen=True):
    """A waiting message whose row is not what this version writes."""

    message_id: str
    error: Exception


@dataclass(frozen=True, slots=True)
class LineQueue:
    """What waits on a line: the next instant one may go, and the first expiry; business time."""

    next: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits on all lines: how many messages, and when the oldest was asked for (business time)."""

    waiting: int
    oldest: datetime | None
    set_aside: int


@dataclass(frozen=True, slots=True)
class Queue:
    tenant: str

    async def add(self, connection: Connection, requests: Sequence[tuple[SendMessage, Event]], now: datetime) -> None:
        columns = zip(*(_columns(message, event) for message, event in requests), strict=True)
        await connection.execute(_sql.add, self.tenant, now, *columns)

    async def remember_withdrawals(
        self, connection: Connection, reasons: Mapping[MessageId, str], now: datetime
    ) -> None:
        await connection.execute(_sql.remember_withdrawals, self.tenant, now, list(reasons), list(reasons.values()))

    async def due(
        self, connection: Connection, rooms: Mapping[str, int], busy: Collection[str], now: datetime, machine: datetime
    ) -> list[Candidate | Unreadable]:
        """At most as many as there is room on each line; nobody in ``busy`` is among them."""
        rows = await connection.fetch(
            _sql.due, self.tenant, list(rooms), list(rooms.values()), now, machine, list(busy), max(rooms.values())
        )
        return [_candidate_or_not(row) for row in rows]

    async def begin(
        self, connection: Connection, sends: Mapping[str, Wording], now: datetime, machine: datetime, lease: datetime
    ) -> dict[str, int]:
        """The attempt number of each message that still waited; committed when this returns."""
        rows = await connection.fetch(
            _sql.begin, self.tenant, now, machine, lease, list(sends), [wording.value for wording in sends.values()]
        )
        return {row["message_id"]: row["attempts"] for row in rows}

    async def wait(self, connection: Connection, waits: Sequence[tuple[str, datetime, str]]) -> None:
        await connection.execute(_sql.wait, self.tenant, *map(list, zip(*waits, strict=True)))

    async def release_met(self, connection: Connection, now: datetime) -> None:
        """What waits for a person or a template that is there goes now."""
        await connection.execute(_sql.release_met, self.tenant, now)

    async def expired(self, connection: Connection, now: datetime, at_most: int) -> list[str]:
        return _ids(await connection.fetch(_sql.expired, self.tenant, now, at_most))

    async def of_other_lines(
        self, connection: Connection, lines: Collection[str], now: datetime, at_most: int
    ) -> list[str]:
        return _ids(await connection.fetch(_sql.strangers, self.tenant, list(lines), now, at_most))

    async def recent_attempts(self, connection: Connection, since: datetime) -> list[tuple[str, str, datetime]]:
        """(line, person, business time), oldest first."""
        return [tuple(row) for row in await connection.fetch(_sql.recent_attempts, self.tenant, since)]

    async def begun_lines(self, connection: Connection, ours: Collection[str]) -> list[str]:
        """Lines with sends in flight that are not ours: a predecessor began them."""
        return [row["line"] for row in await connection.fetch(_sql.begun_lines, self.tenant, list(ours))]

    async def lines(self, connection: Connection) -> dict[str, LineQueue]:
        rows = await connection.fetch(_sql.waiting_lines, self.tenant)
        return {row["line"]: LineQueue(row["next"], row["expires"]) for row in rows}

    async def waiting(self, connection: Connection) -> Waiting:
        return Waiting(**await connection.fetchrow(_sql.waiting, self.tenant))


def _ids(rows: Sequence[Any]) -> list[str]:
    return [row["message_id"] for row in rows]


def _columns(message: SendMessage, event: Event) -> tuple[Any, ...]:
    template = message.template
    return (
        message.message_id, message.person_id, message.line, _LANES[message.lane], _spell(message),
        _UNIT_SEPARATOR.join(button.button_id for button in message.buttons),
        template.name if template else None, template.language if template else None,
        message.resend.value, message.expires_at, event.id, event.correlationid, event.traceparent,
        message.say, message.rule, message.chain_id,
    )  # fmt: skip


def _spell(message: SendMessage) -> str:
    """Only what a payload needs, so that nothing has to be validated again when it is sent."""
    spoken = {
        "body": message.body,
        "buttons": [(button.button_id, button.title) for button in message.buttons],
        "template": to_builtins(message.template) if message.template else None,
        "reply_to": message.reply_to,
    }
    return orjson.dumps(spoken).decode()


def _candidate_or_not(row: Any) -> Candidate | Unreadable:
    try:
        return _candidate(row)
    except Exception as error:  # noqa: BLE001 -- one row that cannot be read must not keep the others
        return Unreadable(row["message_id"], error)


def _candidate(row: Any) -> Candidate:
    queued = Queued(
        message_id=row["message_id"],
        person_id=row["person_id"],
        line=row["line"],
        spoken=Spoken(**orjson.loads(row["spoken"])),
        requested_at=row["requested_at"],
        expires_at=row["expires_at"],
        template_only=row["template_only"],
        attempts=row["attempts"],
    )
    reachable = row["phone"] or row["bsuid"]
    return Candidate(
        message=queued,
        person_known=row["known"] is not None,
        address=Address(row["phone"], row["bsuid"]) if reachable else None,
        window_opened_at=row["opened_at"],
        template=TemplateState(row["template_state"] or TemplateState.USABLE),
        traceparent=row["traceparent"],
    )

"""The dispatcher's queue in PostgreSQL: messages with their attempts."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from msgspec import Struct, convert
from msgspec.json import Decoder

from services.dispatcher.message_state import EndedAttempt, TrackedMessage
from services.dispatcher.payload import MessageContent, RecipientAddress
from services.dispatcher.planner import OpenHours, QueuedMessage
from services.dispatcher.reasons import MAY_BE_PASSED, MessageReason
from services.dispatcher.templates import TemplateKey, TemplateState, known_state
from shared.contracts.envelope import Event
from shared.contracts.ids import MessageId, derive_id
from shared.contracts.messages import AmendMessage, Lane, MessageForm, OpenSpan, SendMessage
from shared.contracts.values import to_builtins
from shared.runtime.postgres import Connection, load_queries

QUERIES = load_queries(__file__, "store.sql")

_LANES = {Lane.CRITICAL: 0, Lane.NORMAL: 1, Lane.BULK: 2}
_LANE_OF_NUMBER = {number: lane for lane, number in _LANES.items()}
_EXPIRED = {
    MessageReason.PAUSED_BY_OPERATOR.value: MessageReason.EXPIRED_WHILE_PAUSED,
    MessageReason.BUDGET_SPENT.value: MessageReason.EXPIRED_OVER_BUDGET,
}
_MAY_BE_PASSED = frozenset(reason.value for reason in MAY_BE_PASSED)
_LOOKED_BEYOND = 500  # due messages of a lane that a claim looks at beyond what it may take
_LOOKED_AT = 600  # due messages of a lane that are looked at for followers
MANY_FOLLOWERS = 64
"""So many due messages behind earlier ones of their chats are taken out of the claim's way; fewer cost less to pass."""

_HELD_FOR = timedelta(hours=1)  # then they are looked at again; the end of the earlier message releases them at once
_READ_CONTENT = Decoder(MessageContent).decode
_UNIT_SEPARATOR = "\x1f"  # between the button ids of one message


QueuePlace = tuple[datetime, int]
"""Of a waiting message: until when it waits, and its number among those that wait as long."""

LAST_PLACE: QueuePlace = (datetime(9999, 1, 1, tzinfo=UTC), 0)


class RequestOrigin(Struct, frozen=True):
    """The request that brought a message, and to which its events are correlated.

    ``decided_at`` is when rules decided on it (business time). ``open_hours`` are those in which it might leave. Of a
    withdrawal that came before its message, the last four are not known.
    """

    request_event: str
    correlation_id: str | None
    traceparent: str | None
    rule: str | None = None
    lane: Lane | None = None
    decided_at: datetime | None = None
    open_hours: OpenHours = ()


class DueMessage(Struct, frozen=True):
    """A waiting message that is due, with the stored facts about its person and its template.

    ``category`` is the one by Meta, where it is known. ``place`` counts the
    due messages of its lane, from 1; some of them may stand behind earlier messages of their chats. ``row_version`` is
    another one after each change of the message's row.
    """

    message: QueuedMessage
    person_known: bool
    address: RecipientAddress | None
    window_opened_at: datetime | None
    template: TemplateState
    origin: RequestOrigin
    category: str | None = None
    place: int = 0
    row_version: str = ""


class UnreadableMessage(Struct, frozen=True):
    """A waiting message whose row this version cannot read."""

    message_id: str
    error: Exception


class LaneCapacity(Struct, frozen=True):
    """How many messages of one lane of a line may be fetched; ``head_start``: turns that it lost in earlier claims.

    ``account`` is the one whose templates count, None for any.
    """

    line: str
    lane: Lane
    capacity: int
    head_start: int = 0
    account: str | None = None


@dataclass(frozen=True, slots=True)
class LineSchedule:
    """The next instant at which a message of a lane of the line may go, and the first expiry; business time."""

    next: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class OpenSends:
    """Sends without an outcome; instants are business time."""

    in_flight: int
    uncertain: int
    oldest_uncertain: datetime | None
    next_unproven: datetime | None


@dataclass(frozen=True, slots=True)
class MessageStore:
    """The tables ``messages``, ``attempts`` and ``withdrawals``: the queue, and the state of each message."""

    tenant: str

    async def add(self, connection: Connection, requests: Sequence[tuple[SendMessage, Event]], now: datetime) -> None:
        *columns, hours = zip(*(_request_columns(message, event) for message, event in requests), strict=True)
        numbers = {spans: number for number, spans in enumerate(dict.fromkeys(filter(None, hours)), 1)}
        of_messages = [numbers.get(spans) for spans in hours]
        await connection.execute(QUERIES.add_messages, self.tenant, now, *columns, of_messages, list(numbers))
        if urgent := [message for message, _ in requests if message.lane is not Lane.BULK]:
            await self._raise_earlier(connection, urgent, now)

    async def _raise_earlier(self, connection: Connection, messages: Sequence[SendMessage], now: datetime) -> None:
        """Move the earlier messages of a chat to the lane of an urgent one, which would otherwise wait behind them."""
        chats = {(message.person_id, message.line) for message in messages}
        columns = [list(column) for column in zip(*sorted(chats), strict=True)]
        lane = min(_LANES[message.lane] for message in messages)
        if await connection.fetchval(QUERIES.has_less_urgent, self.tenant, sorted({line for _, line in chats}), lane):
            ids = [message.message_id for message in messages]
            await connection.execute(QUERIES.raise_earlier, self.tenant, ids, *columns, lane, now)

    async def lock(self, connection: Connection, message_ids: Iterable[str]) -> set[str]:
        """The known ones of these messages, locked in one order until the transaction ends."""
        rows = await connection.fetch(QUERIES.lock_messages, self.tenant, sorted(set(message_ids)))
        return set(_ids(rows))

    async def amend(self, connection: Connection, amendments: Sequence[AmendMessage], now: datetime) -> None:
        """Amend locked messages that may still go. A message keeps its row and its place, so it goes once.

        Of the amendments of one field, the one with the highest number counts, whichever comes last.
        """
        if calls := [one for one in amendments if (one.fallback, one.marketing_consent) != (None, None)]:
            await self.amend_templates(connection, calls, now)
        hours: dict[MessageId, tuple[Sequence[OpenSpan], int]] = {}
        for one in amendments:
            if one.open_hours is not None and not _is_older(one.number, hours.get(one.message_id, (None, 0))[1]):
                hours[one.message_id] = one.open_hours, one.number
        if hours:
            await self.set_open_hours(connection, hours, now)

    async def add_early_amendments(
        self, connection: Connection, amendments: Iterable[AmendMessage], now: datetime
    ) -> None:
        """Keep amendments of messages that are not known yet."""
        merged: dict[str, dict[str, Any]] = {}
        for one in amendments:
            _merge_early(merged.setdefault(one.message_id, {"numbers": {}}), one)
        if merged:
            people = [given["person_id"] for given in merged.values()]
            texts = [orjson.dumps(given).decode() for given in merged.values()]
            await connection.execute(QUERIES.add_early_amendments, self.tenant, now, list(merged), people, texts)

    async def take_early_amendments(self, connection: Connection, message_ids: Iterable[str]) -> Sequence[AmendMessage]:
        """The amendments that came before these messages, one for each field; each is returned once."""
        rows = await connection.fetch(QUERIES.take_early_amendments, self.tenant, list(message_ids))
        return [amendment for row in rows for amendment in _read_early(orjson.loads(row["amendment"]))]

    async def matched_early_amendments(self, connection: Connection, at_most: int) -> list[str]:
        """Messages whose request and an amendment were committed in the same moment."""
        return _ids(await connection.fetch(QUERIES.matched_early_amendments, self.tenant, at_most))

    async def matched_early_withdrawals(self, connection: Connection, since: datetime, at_most: int) -> dict[str, str]:
        """The reasons by message, of withdrawals that were committed in the same moment as the request."""
        rows = await connection.fetch(QUERIES.matched_early_withdrawals, self.tenant, since, at_most)
        return {row["message_id"]: row["reason"] for row in rows}

    async def delete_old_early_amendments(self, connection: Connection, before: datetime, at_most: int) -> None:
        await connection.execute(QUERIES.delete_old_early_amendments, self.tenant, before, at_most)

    async def amend_templates(self, connection: Connection, amendments: Sequence[AmendMessage], now: datetime) -> None:
        """Change the fallback or the consent of messages that have not gone. Those that wait for their template are
        planned again.
        """
        message_ids = sorted({amendment.message_id for amendment in amendments})
        rows = await connection.fetch(QUERIES.lock_templates_of_open, self.tenant, message_ids)
        contents: dict[str, dict[str, Any]] = {row["message_id"]: orjson.loads(row["content"]) for row in rows}
        numbers: dict[str, dict[str, int]] = {row["message_id"]: orjson.loads(row["amended"] or b"{}") for row in rows}
        for amendment in amendments:
            if (content := contents.get(amendment.message_id)) is not None:
                content["template"] |= _take_newer(_amended(amendment), amendment.number, numbers[amendment.message_id])
        columns = ([orjson.dumps(each).decode() for each in found.values()] for found in (contents, numbers))
        await connection.execute(QUERIES.save_contents, self.tenant, now, list(contents), *columns)

    async def set_open_hours(
        self, connection: Connection, hours: Mapping[MessageId, tuple[Sequence[OpenSpan], int]], now: datetime
    ) -> None:
        """Save the amended hours of messages that have not left, with the number of the amendment.

        The messages that wait for their hours are planned again.
        """
        rows = [(message_id, _encode_hours(spans), number) for message_id, (spans, number) in sorted(hours.items())]
        await connection.execute(QUERIES.save_open_hours, self.tenant, now, *map(list, zip(*rows, strict=True)))

    async def add_early_withdrawals(
        self, connection: Connection, reasons: Mapping[MessageId, str], now: datetime
    ) -> None:
        await connection.execute(QUERIES.add_early_withdrawals, self.tenant, now, list(reasons), list(reasons.values()))

    async def find_due(
        self,
        connection: Connection,
        lanes: Sequence[LaneCapacity],
        busy: Collection[str],
        moment: tuple[datetime, datetime],
        at_most: int,
    ) -> list[DueMessage | UnreadableMessage]:
        """At most as many of each lane as it has capacity for, and none of the people in ``busy``.

        ``moment`` is business and machine time.
        """
        rows_of_lanes = ((one.line, _LANES[one.lane], one.capacity, one.head_start, one.account) for one in lanes)
        *columns, accounts = map(list, zip(*rows_of_lanes, strict=True))
        rows = await connection.fetch(
            QUERIES.find_due,
            self.tenant,
            *columns,
            *(*moment, list(busy), at_most, MAY_BE_PASSED, at_most + _LOOKED_BEYOND, accounts),
        )
        return [_read_due(row) for row in rows]

    async def hold_followers(
        self,
        connection: Connection,
        lanes: Sequence[LaneCapacity],
        excluded: Collection[str],
        moment: tuple[datetime, datetime],
    ) -> int:
        """Take due messages behind earlier ones of their chats out of the claim's way; returns how many.

        Holds none where they are few. ``excluded`` are people whose messages are left out.
        """
        columns = zip(*((one.line, _LANES[one.lane]) for one in lanes), strict=True)
        business, machine = moment
        limits = (business, business + _HELD_FOR, _LOOKED_AT, MANY_FOLLOWERS, MAY_BE_PASSED, machine, list(excluded))
        held: int = await connection.fetchval(QUERIES.hold_followers, self.tenant, *map(list, columns), *limits)
        return held

    async def release_followers(self, connection: Connection, chats: Collection[tuple[str, str]]) -> None:
        """The next message of each chat (person, line) that was held behind an earlier one, where none is left."""
        columns = map(list, zip(*sorted(chats), strict=True))
        await connection.execute(QUERIES.release_followers, self.tenant, *columns, MAY_BE_PASSED)

    async def begin_attempts(
        self,
        connection: Connection,
        sends: Mapping[str, tuple[MessageForm, TemplateKey | None]],
        now: datetime,
        machine: datetime,
        lease: datetime,
    ) -> dict[str, int]:
        """Commit intents; returns the attempt number of each message that still waited.

        ``sends`` has the form of each, and the template as which it goes.
        """
        wordings = [wording.value for wording, _ in sends.values()]
        templates = [template or (None, None) for _, template in sends.values()]
        columns = (list(sends), wordings, [name for name, _ in templates], [language for _, language in templates])
        rows = await connection.fetch(QUERIES.begin_attempts, self.tenant, now, machine, lease, *columns)
        return {row["message_id"]: row["attempts"] for row in rows}

    async def postpone(self, connection: Connection, waits: Sequence[tuple[str, datetime, str, str]]) -> None:
        """(message id, until, reason, row version) of each; one that has changed since it was read stays due.

        Messages held behind them that may overtake them now are released with them, or else after an hour.
        """
        passed = [message_id for message_id, _, reason, _ in waits if reason in _MAY_BE_PASSED]
        columns = map(list, zip(*waits, strict=True))
        if not passed:
            await connection.execute(QUERIES.postpone, self.tenant, *columns)
            return
        async with connection.transaction():
            await connection.execute(QUERIES.postpone, self.tenant, *columns)
            await connection.execute(QUERIES.release_other_chains, self.tenant, passed)

    async def release_crossed(self, connection: Connection, now: datetime, after: int, at_most: int) -> int:
        """Release messages whose reason to wait is over: their person or document is there, or no message before them.

        It looks at ``at_most`` messages behind ``after``, and returns the place for the next call: 0 is the beginning,
        and the end.
        """
        place: int = await connection.fetchval(QUERIES.release_crossed, self.tenant, now, after, at_most, MAY_BE_PASSED)
        return place

    async def release_far_ahead(
        self, connection: Connection, now: datetime, below: QueuePlace, at_most: int, *, is_set_back: bool
    ) -> tuple[int, QueuePlace | None]:
        """Release messages that wait by a clock that has been set back; returns how many, and the place to go on.

        These are the messages that came more than an hour ahead of ``now``; where ``is_set_back`` says that the clock
        was seen to go back, all of them. Begin with ``LAST_PLACE``; None is the end.
        """
        query = QUERIES.release_far_ahead
        row = await connection.fetchrow(query, self.tenant, now, *below, at_most, is_set_back)
        if row is None:
            return 0, None
        return row["released"], (row["not_before"], row["sequence"]) if row["has_more"] else None

    async def find_expired(self, connection: Connection, now: datetime, at_most: int) -> dict[str, MessageReason]:
        """Expired messages with the reason to drop each, which tells whether a pause or the budget held it."""
        rows = await connection.fetch(QUERIES.find_expired, self.tenant, now, at_most)
        return {row["message_id"]: _EXPIRED.get(row["reason"], MessageReason.EXPIRED) for row in rows}

    async def find_on_unknown_lines(
        self, connection: Connection, lines: Collection[str], now: datetime, at_most: int
    ) -> list[str]:
        return _ids(await connection.fetch(QUERIES.find_on_unknown_lines, self.tenant, list(lines), now, at_most))

    async def line_schedules(self, connection: Connection) -> dict[tuple[str, Lane], LineSchedule]:
        rows = await connection.fetch(QUERIES.line_schedules, self.tenant, MAY_BE_PASSED)
        return {(row["line"], _LANE_OF_NUMBER[row["lane"]]): LineSchedule(row["next"], row["expires"]) for row in rows}

    async def waiting_by_lane(self, connection: Connection, now: datetime) -> dict[Lane, tuple[int, datetime | None]]:
        """How many messages of each lane wait, and when the oldest was decided on (business time); see the query."""
        rows = await connection.fetch(QUERIES.waiting_by_lane, self.tenant, now)
        return {_LANE_OF_NUMBER[row["lane"]]: (row["waiting"], row["oldest"]) for row in rows}

    async def count_set_aside(self, connection: Connection) -> int:
        messages: int = await connection.fetchval(QUERIES.count_set_aside, self.tenant)
        return messages

    async def oldest_pauses(self, connection: Connection) -> dict[str, datetime]:
        """The beginning of the oldest pause of an operator, by kind of pause; machine time."""
        rows = await connection.fetch(QUERIES.oldest_pauses, self.tenant)
        return {row["kind"]: row["since"] for row in rows}

    async def set_aside(self, connection: Connection, message_id: str, reason: str) -> None:
        """The message keeps its row and its state, and no loop reads it until ``set_aside`` is null again."""
        row = await connection.fetchrow(QUERIES.set_aside, self.tenant, message_id, reason)
        if row is not None:
            await self.release_followers(connection, [(row["person_id"], row["line"])])

    async def load(
        self, connection: Connection, message_ids: Iterable[str]
    ) -> dict[str, tuple[TrackedMessage, RequestOrigin]]:
        """The messages by id, each with its request; their rows are locked until the transaction ends."""
        rows = await connection.fetch(QUERIES.load_messages, self.tenant, sorted(set(message_ids)))
        return {row["message_id"]: (_read_message(row), _read_origin(row)) for row in rows}

    async def save(
        self,
        connection: Connection,
        messages: Sequence[TrackedMessage],
        gone: Collection[tuple[str, str]],
        now: datetime,
    ) -> None:
        """``gone`` are the chats (person, line) of those that later ones do not wait for any more."""
        columns = zip(*map(_state_columns, messages), strict=True)
        are_any_held = await connection.fetchval(QUERIES.save_messages, self.tenant, now, *columns)
        if are_any_held and gone:
            await self.release_followers(connection, gone)

    async def end_attempts(
        self, connection: Connection, ended: Mapping[tuple[str, int], EndedAttempt], now: datetime
    ) -> None:
        rows = [
            (message_id, attempt, end.result.value, end.wamid, end.code) for (message_id, attempt), end in ended.items()
        ]
        await connection.execute(QUERIES.end_attempts, self.tenant, now, *zip(*rows, strict=True))

    async def accept_attempts(
        self, connection: Connection, accepted: Sequence[tuple[str, int, str]], now: datetime
    ) -> dict[str, str]:
        """End (message id, attempt, wamid) as accepted where nothing else happened to the message meanwhile.

        Returns the person of each of those messages.
        """
        columns = map(list, zip(*accepted, strict=True))
        rows = await connection.fetch(QUERIES.accept_attempts, self.tenant, now, *columns)
        if rows and rows[0]["are_any_held"]:
            await self.release_followers(connection, {(row["person_id"], row["line"]) for row in rows})
        return {row["message_id"]: row["person_id"] for row in rows}

    async def attempts_of_wamids(self, connection: Connection, wamids: Collection[str]) -> dict[str, tuple[str, int]]:
        """(message id, attempt) by wamid."""
        rows = await connection.fetch(QUERIES.attempts_of_wamids, self.tenant, list(wamids))
        return {row["wamid"]: (row["message_id"], row["attempt"]) for row in rows}

    async def unproven_with_buttons(
        self, connection: Connection, taps: Sequence[tuple[str, str, str | None]]
    ) -> dict[int, str]:
        """Per tap (person, button, quoted wamid), by its place in ``taps``: the unproven message with that button."""
        rows = await connection.fetch(QUERIES.unproven_with_buttons, self.tenant, *map(list, zip(*taps, strict=True)))
        return {row["place"] - 1: row["message_id"] for row in rows}

    async def expired_leases(
        self, connection: Connection, machine: datetime, in_flight: Collection[str], at_most: int
    ) -> list[str]:
        """Intents whose lease ended before ``machine``, except those ``in_flight`` in this process."""
        return _ids(await connection.fetch(QUERIES.expired_leases, self.tenant, machine, list(in_flight), at_most))

    async def settled_by_silence(
        self, connection: Connection, begun_before: datetime, machine: tuple[datetime, datetime], at_most: int
    ) -> list[str]:
        """Uncertain sends begun before a business instant and within a span of machine time."""
        rows = await connection.fetch(QUERIES.settled_by_silence, self.tenant, begun_before, *machine, at_most)
        return _ids(rows)

    async def open_sends(self, connection: Connection) -> OpenSends:
        return OpenSends(**await connection.fetchrow(QUERIES.open_sends, self.tenant))

    async def uncertain_sends(self, connection: Connection, message_id: str | None = None) -> list[Any]:
        """All of them, or one: rows for an operator to read."""
        rows: list[Any] = await connection.fetch(QUERIES.uncertain_sends, self.tenant, message_id)
        return rows

    async def attempts_of_message(self, connection: Connection, message_id: str) -> list[Any]:
        rows: list[Any] = await connection.fetch(QUERIES.attempts_of_message, self.tenant, message_id)
        return rows

    async def recent_attempts(self, connection: Connection, since: datetime) -> list[tuple[str, str, datetime]]:
        """(line, person, business time), oldest first."""
        return [tuple(row) for row in await connection.fetch(QUERIES.recent_attempts, self.tenant, since)]

    async def lines_with_intents(self, connection: Connection, in_flight: Collection[str]) -> list[str]:
        """Lines with sends that an earlier leader began; those ``in_flight`` in this process do not count."""
        return [row["line"] for row in await connection.fetch(QUERIES.lines_with_intents, self.tenant, list(in_flight))]


def _ids(rows: Sequence[Any]) -> list[str]:
    return [row["message_id"] for row in rows]


def _request_columns(message: SendMessage, event: Event) -> tuple[Any, ...]:
    """The columns, in the order of the query add_messages; the last are the hours, which it takes by number."""
    template = message.template
    return (
        message.message_id, message.person_id, message.line, _LANES[message.lane], _encode_content(message),
        _UNIT_SEPARATOR.join(button.button_id for button in message.buttons),
        template.name if template else None, template.language if template else None,
        message.resend.value, message.expires_at, event.id, event.correlationid, event.traceparent,
        message.say, message.rule, message.chain_id,
        document_id(message.document.address) if message.document else None, message.mandatory, event.recordedtime,
        _encode_hours(message.open_hours),
    )  # fmt: skip


def _encode_hours(hours: Sequence[OpenSpan]) -> str | None:
    """The text of an array: unnest would flatten an array of arrays. Its elements may be quoted as those of JSON are,
    and orjson writes an instant in a fifth of the time that ``isoformat`` takes.
    """
    instants = orjson.dumps([instant for one in hours for instant in (one.opens, one.closes)])
    return f"{{{instants[1:-1].decode()}}}" if hours else None


def document_id(address: str) -> str:
    """The name of a document in the tables, which does not say where it is."""
    return derive_id("document", address)


def _encode_content(message: SendMessage) -> str:
    """Only what a payload needs, so that nothing has to be validated again when it is sent."""
    content: dict[str, Any] = {
        "body": message.body,
        "buttons": [(button.button_id, button.title) for button in message.buttons],
        "template": _encode_template(message),
        "reply_to": message.reply_to,
    }
    if (document := message.document) is not None:
        named = {"document_id": document_id(document.address), "name": document.name}
        content["document"] = {**named, "optional": document.optional}
    return orjson.dumps(content).decode()


def _encode_template(message: SendMessage) -> dict[str, Any] | None:
    """The call with its fallback, where a version that does not know them ignores them."""
    if message.template is None:
        return None
    call: dict[str, Any] = to_builtins(message.template)
    if message.fallback is not None:
        call["fallback"] = to_builtins(message.fallback)
    return {**call, "marketing_consent": True} if message.marketing_consent else call


def _is_older(number: int, known: int) -> bool:
    """Whether an amendment was decided before another of the same field; 0, without a number, counts as it comes."""
    return 0 < number < known


def _take_newer(given: Mapping[str, Any], number: int, numbers: dict[str, int]) -> dict[str, Any]:
    """The fields of an amendment that no newer one has amended; their numbers are noted in ``numbers``."""
    taken = {name: value for name, value in given.items() if not _is_older(number, numbers.get(name, 0))}
    if number:
        numbers.update(dict.fromkeys(taken, number))
    return taken


_AMENDED = ("fallback", "open_hours", "marketing_consent")


def _merge_early(known: dict[str, Any], amendment: AmendMessage) -> None:
    built = to_builtins(amendment)
    given = {name: built[name] for name in _AMENDED if built.get(name) is not None}
    known |= _take_newer(given, amendment.number, known["numbers"])
    known |= {"message_id": amendment.message_id, "person_id": amendment.person_id}


def _read_early(kept: dict[str, Any]) -> list[AmendMessage]:
    """One amendment for each field; those that an earlier version kept have no numbers."""
    subject, numbers = {"message_id": kept["message_id"], "person_id": kept["person_id"]}, kept.get("numbers", {})
    fields = [name for name in _AMENDED if name in kept]
    return [convert({**subject, name: kept[name], "number": numbers.get(name, 0)}, AmendMessage) for name in fields]


def _amended(amendment: AmendMessage) -> dict[str, Any]:
    """The part of a template call that an amendment changes."""
    fallback = {} if amendment.fallback is None else {"fallback": to_builtins(amendment.fallback)}
    consent = amendment.marketing_consent
    return fallback if consent is None else {**fallback, "marketing_consent": consent}


def _read_due(row: Any) -> DueMessage | UnreadableMessage:
    try:
        return _read_due_message(row)
    except Exception as error:  # noqa: BLE001 -- one row that cannot be read must not keep the others
        return UnreadableMessage(row["message_id"], error)


def _read_due_message(row: Any) -> DueMessage:
    queued = QueuedMessage(
        message_id=row["message_id"],
        person_id=row["person_id"],
        line=row["line"],
        content=_READ_CONTENT(row["content"]),
        requested_at=row["requested_at"],
        expires_at=row["expires_at"],
        template_only=row["template_only"],
        attempts=row["attempts"],
        lane=_LANE_OF_NUMBER[row["lane"]],
        mandatory=row["mandatory"],
        open_hours=row["open_hours"] or (),
    )
    has_address = row["phone"] or row["bsuid"]
    address = (row["phone"], row["bsuid"], row["recipient"], row["version"])
    return DueMessage(
        message=queued,
        person_known=row["known"] is not None,
        address=RecipientAddress(*address) if has_address else None,
        window_opened_at=row["opened_at"],
        template=known_state(row["template_status"]),
        origin=RequestOrigin(
            row["request_event"],
            row["correlation_id"],
            row["traceparent"],
            row["rule"],
            _LANE_OF_NUMBER[row["asked_lane"]],
            row["decided_at"],
            queued.open_hours,
        ),
        category=row["template_category"],
        place=row["place"],
        row_version=row["row_version"],
    )


def _read_message(row: Any) -> TrackedMessage:
    own = row["template_name"], row["template_language"]
    used = row["used_template"] or own[0], row["used_language"] or own[1]
    templates = {"template": own if own[0] else None, "used_template": used if used[0] else None}
    return convert({**row, **templates}, TrackedMessage)


def _read_origin(row: Any) -> RequestOrigin:
    return RequestOrigin(
        request_event=row["request_event"],
        correlation_id=row["correlation_id"],
        traceparent=row["traceparent"],
        rule=row["rule"],
        lane=_LANE_OF_NUMBER[row["lane"]],
        decided_at=row["decided_at"],
        open_hours=row["open_hours"] or (),
    )


def _state_columns(message: TrackedMessage) -> tuple[Any, ...]:
    """The columns, in the order of the query save_messages."""
    return (
        message.message_id, message.state.value, message.reason.value if message.reason else None,
        message.not_before, message.hold_until, message.wamid, message.rank.value, message.failed_attempt,
        message.failed_code, message.template_only, message.withdrawal, message.failures,
    )  # fmt: skip

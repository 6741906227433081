"""Executes one write by the protocol: read Consonance, take the next step, read again.

``protocol`` decides; this module acts. Every failure on the way leaves the write in a state from which the next read
finds the truth.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, NamedTuple, assert_never

from services.writeback import metrics
from services.writeback.attachments import link_files, may_wait, open_files
from services.writeback.capabilities import Capabilities, OperationSupport
from services.writeback.changes import WriteChange, split_write
from services.writeback.circuit_breaker import RecordsUnreadable
from services.writeback.comparison import EarlierWrites, WriteReason, compare_change
from services.writeback.operation_mapping import ReadResult
from services.writeback.protocol import (
    MAX_FAILED_READS,
    MAX_UNUSABLE_ANSWERS,
    ComparedChange,
    FailedReads,
    MutationAnswer,
    OpenTask,
    ReadAgain,
    SendMutations,
    SettleWrite,
    WriteAttempt,
    failed_reads_of,
    is_in_doubt,
    next_step,
    step_after_failed_read,
)
from services.writeback.store import WriteStore
from services.writeback.write_state import StoredWrite
from shared.clients.consonance_graphql import (
    ConsonanceClient,
    KeyRefused,
    MutationRejected,
    NoAnswer,
    QueryFailed,
    RequestNotSent,
    UnusableAnswer,
    is_schema_error,
)
from shared.contracts.errors import Throttled, Unavailable
from shared.contracts.writes import WriteOperation, WriteOutcome
from shared.runtime.clock import MachineInstant, machine_now
from shared.runtime.retry import Backoff
from shared.runtime.telemetry import get_logger

_BACKOFF = Backoff(first=0.5, longest=30.0)
_MAX_INTENT_AGE = timedelta(seconds=5)
"""How old an intent may be when its request leaves: a process frozen for longer may have lost its lock meanwhile."""

_NOT_ASKED_AGAIN_SECONDS = 5.0
"""So long a record that was not shown counts as such, however many other writes cannot be read meanwhile."""

_WRONG_SHAPE = (AttributeError, LookupError, TypeError, ValueError)
"""The errors of a comparison where a text is a list, or a list a number."""

_MOST_MESSAGES, _LONGEST_MESSAGE = 20, 500
_NOT_EXECUTED = (RequestNotSent, KeyRefused, Throttled)

log = get_logger()


class MutationResponse(NamedTuple):
    """``messages`` are the server's own error texts; ``schema_changed``: it no longer knows a field or type."""

    answer: MutationAnswer
    messages: tuple[str, ...] = ()
    schema_changed: bool = False


class _PlannedChange(NamedTuple):
    change: WriteChange
    support: OperationSupport | None


class _Mutation(NamedTuple):
    document: str
    variables: Mapping[str, Any]
    errors_field: str


@dataclass(frozen=True, slots=True)
class _UnreadableRecords:
    """The records that were not shown lately. ``lock`` is held while others are asked for: one write at a time."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _seen: dict[tuple[str, str, WriteOperation], float] = field(default_factory=dict)

    def add(self, stored: StoredWrite) -> None:
        now = time.monotonic()
        for key in [key for key, at in self._seen.items() if now - at > _NOT_ASKED_AGAIN_SECONDS]:
            del self._seen[key]
        self._seen[_record_key(stored)] = now

    def __contains__(self, stored: StoredWrite) -> bool:
        at = self._seen.get(_record_key(stored))
        return at is not None and time.monotonic() - at <= _NOT_ASKED_AGAIN_SECONDS


def _record_key(stored: StoredWrite) -> tuple[str, str, WriteOperation]:
    return stored.tenant, stored.write.record, stored.write.input.operation


@dataclass(frozen=True, slots=True)
class WriteExecutor:
    """``effect_window``: how long after an attempt was last in flight its mutation can still take effect (machine
    time).
    """

    store: WriteStore
    client: ConsonanceClient
    capabilities: Capabilities
    effect_window: timedelta
    _unreadable: _UnreadableRecords = field(default_factory=_UnreadableRecords)

    async def execute(self, stored: StoredWrite) -> bool:
        """Carry the write on until it is settled or has to wait. Raises Unavailable where no write could go on now.

        Returns whether Consonance was asked for a record. It is not asked for a write that waits for its files, or that
        no query can read.
        """
        current = await self._with_attempt_not_ahead(stored)
        current = None if current is None else await self._with_files(current)
        is_asked = current is not None and any(each.support and each.support.read for each in self._plan(current))
        while current is not None:
            current = await self._read_and_step(current)
        return is_asked

    async def _with_attempt_not_ahead(self, stored: StoredWrite) -> StoredWrite | None:
        """The write, with an attempt that is not later than now: where it is, a clock was set back since it was noted.

        The effect window of such an attempt then begins now. None where another process has moved the write on.
        """
        attempt, now = stored.attempt, machine_now()
        if attempt is None or attempt.at <= now:
            return stored
        if not await self.store.renew_attempt(stored):
            return None
        return replace(stored, attempt=attempt._replace(at=now))

    async def _with_files(self, stored: StoredWrite) -> StoredWrite | None:
        """The write with the links of its files; None where it waits for one."""
        wanted = open_files(stored.write) if stored.attempt is None else []
        if not wanted:
            return stored
        files = await self.store.fetch_files(stored)
        missing = [file_id for file_id in wanted if file_id not in files]
        if missing and may_wait(stored.write, self.store.clock.now()):
            await self._wait(stored, is_unknown=False)
            return None
        if missing:
            files |= await self.store.await_files(stored, missing)
        linked = replace(stored, write=link_files(stored.write, files))
        await self.store.save_request(linked)
        return linked

    async def _read_and_step(self, stored: StoredWrite) -> StoredWrite | None:
        """Returns the write as it is after its mutations, to be read back; None where it is settled or waits."""
        planned, began = self._plan(stored), MachineInstant.read()
        try:
            compared = await self._compare(stored, planned)
        except (QueryFailed, UnusableAnswer) as error:
            await self._handle_failed_read(stored, planned, error)
            return None
        except Unavailable:
            await self._wait(stored, is_unknown=is_in_doubt(stored.attempt), failed_reads=stored.failed_reads)
            raise
        step = next_step(compared, stored.attempt, machine_now(), self.effect_window)
        match step:
            case SendMutations() if began.time_until(MachineInstant.read()) > self._longest_read(planned):
                log.warning("write.interrupted", write_id=stored.write.write_id, error="ReadTooOld")
                await self._wait(stored, is_unknown=False)
            case SendMutations():
                return await self._attempt(stored, step, compared, {p.change.key: p.support for p in planned})
            case ReadAgain():
                await self._wait(stored, is_unknown=step.is_in_doubt)
            case SettleWrite():
                await self.store.settle(stored, step, compared)
                self._record_outcome("write.settled", stored, step.outcome, step.detail)
            case OpenTask():
                await self._open_task(stored, step.reason, compared)
            case _:
                assert_never(step)
        return None

    def _plan(self, stored: StoredWrite) -> list[_PlannedChange]:
        changes = split_write(stored.tenant, stored.write)
        return [_PlannedChange(change, self.capabilities.choose(change)) for change in changes]

    # -------------------------------------------------------------- reading

    def _longest_read(self, planned: Sequence[_PlannedChange]) -> timedelta:
        """In a process frozen for longer since it began to read, a person may have changed what it read.

        ``effect_window`` holds the time of one request.
        """
        return len(planned) * self.effect_window + _MAX_INTENT_AGE

    async def _compare(self, stored: StoredWrite, planned: Sequence[_PlannedChange]) -> list[ComparedChange]:
        """Raises QueryFailed where Consonance answers with errors or in a wrong shape, Unavailable where it is away."""
        earlier = await self.store.fetch_earlier_writes(stored)
        answers = [await self._read(each) for each in planned]
        try:
            return [_compared(each, _result(each, data), earlier) for each, data in zip(planned, answers, strict=True)]
        except _WRONG_SHAPE as error:
            sentence = f"a query was answered in another shape than requested ({type(error).__name__})"
            raise QueryFailed(sentence, schema_changed=False) from None

    async def _read(self, planned: _PlannedChange) -> Mapping[str, Any] | None:
        change, support = planned
        if support is None or support.read is None:
            return None
        read = support.mapped.read
        data = await self.client.query(support.read, read.fill_variables(change.inputs))
        if not read.is_answered_by(data):
            raise UnusableAnswer("Consonance answered a query without the requested record")
        return data

    async def _handle_failed_read(
        self, stored: StoredWrite, planned: Sequence[_PlannedChange], error: QueryFailed | UnusableAnswer
    ) -> None:
        """Only a read that fails while others are answered counts, and brings the write to a person in the end.

        Raises RecordsUnreadable where Consonance shows no record: that is an outage, and everything waits for its end.
        """
        if isinstance(error, QueryFailed) and error.schema_changed:
            self.capabilities.mark_outdated()
            scope = FailedReads.RECORD
        else:
            scope = await self._find_scope(stored)
        if scope in {FailedReads.ALL, FailedReads.OPERATION}:
            await self._wait(stored, is_unknown=is_in_doubt(stored.attempt), failed_reads=stored.failed_reads)
            if scope is FailedReads.ALL:
                raise RecordsUnreadable("Consonance answers, but shows no record")
            return
        failed_reads = stored.failed_reads + 1
        most = MAX_FAILED_READS if isinstance(error, QueryFailed) else MAX_UNUSABLE_ANSWERS
        step = step_after_failed_read(stored.attempt, failed_reads, machine_now(), self.effect_window, most=most)
        if isinstance(step, OpenTask):
            await self._open_task(stored, step.reason, _unread(planned))
            return
        await self._wait(stored, is_unknown=step.is_in_doubt, failed_reads=failed_reads)
        if scope is FailedReads.UNKNOWN and isinstance(error, UnusableAnswer):
            raise error

    async def _find_scope(self, stored: StoredWrite) -> FailedReads:
        """Ask for the records of some other writes. Raises Unavailable where Consonance is away or asks for a pause."""
        try:
            async with self._unreadable.lock:
                self._unreadable.add(stored)
                asked = await self._ask_for_others(stored)
        except Unavailable:
            await self._wait(stored, is_unknown=is_in_doubt(stored.attempt), failed_reads=stored.failed_reads)
            raise
        return failed_reads_of(stored.write.input.operation, asked)

    async def _ask_for_others(self, stored: StoredWrite) -> list[tuple[WriteOperation, bool]]:
        """Ask for the records of other writes, those of the same operation first, until one record is shown."""
        asked = []
        for other in await self.store.fetch_others(stored):
            is_readable = other not in self._unreadable and await self._is_readable(other)
            if is_readable is not None:
                asked.append((other.write.input.operation, is_readable))
            if is_readable:
                break
        return asked

    async def _is_readable(self, stored: StoredWrite) -> bool | None:
        """Whether the record of a write is shown; None where this Consonance has no query for it."""
        try:
            answers = [await self._read(each) for each in self._plan(stored)[:1]]
        except (QueryFailed, UnusableAnswer):
            self._unreadable.add(stored)
            return False
        return None if None in answers else True

    # -------------------------------------------------------------- writing

    async def _attempt(
        self,
        stored: StoredWrite,
        step: SendMutations,
        compared: Sequence[ComparedChange],
        supports: Mapping[str, OperationSupport | None],
    ) -> StoredWrite | None:
        before = {each.change.key: each.comparison.current for each in compared}
        intended_at = MachineInstant.read()  # before the commit: after it, a frozen process may be overtaken already
        if not await self.store.start_attempt(stored, before):
            return None
        attempt = WriteAttempt(stored.attempts + 1, MutationAnswer.UNANSWERED, machine_now())
        started = replace(stored, attempt=attempt, before=stored.before or before, reads=0, failed_reads=0)
        mutations = [m for each in step.changes for m in _mutations(each, supports[each.change.key])]
        response = await self._send(started, mutations, intended_at)
        await self.store.record_answer(started, response.answer)
        answered = attempt._replace(answer=response.answer, at=machine_now())
        return replace(started, attempt=answered, error_messages=response.messages)

    async def _send(
        self, started: StoredWrite, mutations: Sequence[_Mutation], intended_at: MachineInstant
    ) -> MutationResponse:
        """Send mutations in order, up to the first that is not accepted; the next read shows the state of the rest.

        Before each mutation leaves, its instant is committed: if this process dies, the time in which it can still take
        effect counts from there.
        """
        response = MutationResponse(MutationAnswer.ACCEPTED)
        last_active = intended_at
        for number, mutation in enumerate(mutations):
            if number > 0 and not await self.store.renew_attempt(started):
                return MutationResponse(MutationAnswer.UNANSWERED)
            try:
                _check_intent_age(last_active)
                body = await self.client.mutate(mutation.document, mutation.variables)
                last_active = MachineInstant.read()
            except NoAnswer:
                return MutationResponse(MutationAnswer.UNANSWERED)
            except MutationRejected as error:
                return MutationResponse(MutationAnswer.FAILED, (str(error),))
            except _NOT_EXECUTED:
                await self._undo_attempt(started, is_nothing_sent=number == 0)
                raise
            response = read_mutation_response(body, mutation.errors_field)
            if response.schema_changed:
                self.capabilities.mark_outdated()
            if response.answer is not MutationAnswer.ACCEPTED:
                return response
        return response

    async def _undo_attempt(self, started: StoredWrite, *, is_nothing_sent: bool) -> None:
        if is_nothing_sent:
            await self.store.withdraw_attempt(started, machine_now() + timedelta(seconds=_BACKOFF.longest_wait(1)))
        else:
            await self.store.record_answer(started, MutationAnswer.FAILED)

    # -------------------------------------------------------------- outcomes

    async def _open_task(self, stored: StoredWrite, reason: WriteReason, compared: Sequence[ComparedChange]) -> None:
        await self.store.open_task(stored, reason, compared)
        self._record_outcome("task.opened", stored, WriteOutcome.MANUAL, reason)

    async def _wait(self, stored: StoredWrite, *, is_unknown: bool, failed_reads: int = 0) -> None:
        wait = timedelta(seconds=_BACKOFF.longest_wait(stored.reads + 1))
        await self.store.postpone(stored, machine_now() + wait, is_unknown=is_unknown, failed_reads=failed_reads)
        if is_unknown and not stored.is_unknown_published:
            self._record_outcome("write.postponed", stored, WriteOutcome.UNKNOWN, None)

    def _record_outcome(self, event: str, stored: StoredWrite, outcome: WriteOutcome, detail: str | None) -> None:
        write = stored.write
        metrics.count_outcome(stored, outcome, self.store.clock.now())
        log.info(
            event,
            write_id=write.write_id,
            record=write.record,
            operation=write.input.operation,
            outcome=outcome,
            detail=detail,
            attempts=stored.attempts,
        )


def _result(planned: _PlannedChange, data: Mapping[str, Any] | None) -> ReadResult | None:
    return None if data is None or planned.support is None else planned.support.mapped.read.extract(data)


def _compared(planned: _PlannedChange, read: ReadResult | None, earlier: EarlierWrites) -> ComparedChange:
    change, support = planned
    expected_from = support.mapped.expected_from if support is not None else frozenset()
    comparison = compare_change(change, read, earlier, expected_from)
    return ComparedChange(change, comparison, is_supported=support is not None and support.allows(comparison))


def _unread(planned: Sequence[_PlannedChange]) -> list[ComparedChange]:
    return [_compared(each, None, EarlierWrites()) for each in planned]


def _mutations(compared: ComparedChange, support: OperationSupport | None) -> Iterator[_Mutation]:
    """The new value first, then the removal of the one that it replaces."""
    change, comparison, _ = compared
    inputs = {**change.inputs, "value": comparison.value, "current": comparison.current}
    if support is None:
        return
    write, remove = support.mapped.write, support.mapped.remove
    if comparison.create and support.write is not None:
        yield _Mutation(support.write, write.fill_variables(inputs), write.errors)
    if remove is not None and support.remove is not None:
        for stale in comparison.stale:
            yield _Mutation(support.remove, remove.fill_variables({**inputs, "stale_id": stale}), remove.errors)


def _check_intent_age(last_active: MachineInstant) -> None:
    """Raises RequestNotSent for an intent that is too old."""
    if last_active.time_until(MachineInstant.read()) > _MAX_INTENT_AGE:
        raise RequestNotSent("this process was frozen between its intent and its request")


# ------------------------------------------------------------------ the answer to a mutation


def read_mutation_response(body: Any, errors_field: str) -> MutationResponse:
    """``body`` is the decoded answer. A payload that is missing, or is no object, is no success either.

    Errors come beside ``data`` or inside the payload, there in three shapes: (field, message), (attribute, message),
    (field, messages). Their texts may quote a person, so they go to a task and never to a log.
    """
    if not isinstance(body, Mapping):
        return MutationResponse(MutationAnswer.FAILED)
    if errors := body.get("errors"):
        return MutationResponse(MutationAnswer.FAILED, error_messages(errors), is_schema_error(errors))
    payloads = body.get("data")
    if not isinstance(payloads, Mapping) or not payloads:
        return MutationResponse(MutationAnswer.FAILED)
    if not all(payload and isinstance(payload, Mapping) for payload in payloads.values()):
        return MutationResponse(MutationAnswer.FAILED)
    refusals = [error for payload in payloads.values() for error in _as_list(payload.get(errors_field))]
    if refusals:
        return MutationResponse(MutationAnswer.REFUSED, error_messages(refusals))
    return MutationResponse(MutationAnswer.ACCEPTED)


def error_messages(errors: Any) -> tuple[str, ...]:
    """The texts of the errors: at most 20, each of at most 500 characters."""
    return tuple(_message(error)[:_LONGEST_MESSAGE] for error in _as_list(errors)[:_MOST_MESSAGES])


def _as_list(errors: Any) -> list[Any]:
    if not errors:
        return []
    return errors if isinstance(errors, list) else [errors]


def _message(error: Any) -> str:
    if not isinstance(error, Mapping):
        return _text(error)
    field = error.get("field") or error.get("attribute")
    messages = _as_list(error.get("messages")) or [error.get("message") or "no reason given"]
    joined = "; ".join(map(_text, messages))
    return f"{_text(field)}: {joined}" if field else joined


def _text(value: Any) -> str:
    """A text or a number as text; any other value may be nested as deep as JSON allows."""
    return str(value) if isinstance(value, str | int | float) else "(no text)"

"""Carries one write through the protocol: look at Consonance, do what the decision says, look again.

The deciding is ``protocol.next_step``; here are its hands. Whatever fails on the way leaves the write in a state from
which the next look finds the truth.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol, assert_never

from services.writeback.abilities import Abilities
from services.writeback.answers import Reply, reply_of
from services.writeback.capability import Support
from services.writeback.changes import Change, changes_of
from services.writeback.compare import judge
from services.writeback.entries import Entry
from services.writeback.judgement import Known, Reason
from services.writeback.protocol import (
    Answer,
    Attempt,
    ByHand,
    Judged,
    LookAgain,
    Settle,
    WriteNow,
    after_failed_read,
    is_in_doubt,
    next_step,
)
from services.writeback.ways import Seen, answers, seen_in
from shared.clients.consonance_graphql import KeyRefused, NoAnswer, QueryFailed, RequestNotSent
from shared.contracts.errors import Throttled, Unavailable
from shared.contracts.writes import Outcome
from shared.runtime.clock import machine_now
from shared.runtime.telemetry import counter, get_logger

_FIRST_WAIT = timedelta(milliseconds=500)
_LONGEST_WAIT = timedelta(seconds=30)
_MOST_DOUBLINGS = 6
_FRESH = timedelta(seconds=5)
"""How old an intent may be when its request leaves: a process frozen for longer may have lost its lane meanwhile."""

_MISSHAPEN = (AttributeError, LookupError, TypeError, ValueError)
"""What comparing raises where a text is a list, or a list a number."""

_NOTHING_EXECUTED = (RequestNotSent, KeyRefused, Throttled)

log = get_logger()


class Ledger(Protocol):
    async def known(self, entry: Entry) -> Known: ...
    async def intend(self, entry: Entry, before: Mapping[str, str | None]) -> bool: ...
    async def note_answer(self, entry: Entry, answer: Answer) -> None: ...
    async def take_back(self, entry: Entry, due_at: datetime) -> None: ...
    async def postpone(self, entry: Entry, due_at: datetime, *, unknown: bool, failed_reads: int) -> None: ...
    async def settle(self, entry: Entry, step: Settle, judged: Sequence[Judged]) -> None: ...
    async def hand_over(self, entry: Entry, reason: Reason, judged: Sequence[Judged]) -> None: ...


class Graph(Protocol):
    async def query(self, document: str, variables: Mapping[str, Any]) -> dict[str, Any]: ...
    async def mutate(self, document: str, variables: Mapping[str, Any]) -> dict[str, Any]: ...


class _Planned(NamedTuple):
    change: Change
    support: Support | None


class _Mutation(NamedTuple):
    document: str
    variables: Mapping[str, Any]
    errors: str


@dataclass(frozen=True, slots=True)
class Carrier:
    """``may_land``: how long after the end of a request its mutation could still take effect (machine time)."""

    ledger: Ledger
    graph: Graph
    abilities: Abilities
    may_land: timedelta

    async def carry(self, entry: Entry) -> None:
        """Until it rests or has to wait. Raises Unavailable where nobody's write could go on now."""
        going: Entry | None = entry
        while going is not None:
            going = await self._turn(going)

    async def _turn(self, entry: Entry) -> Entry | None:
        planned = self._plan(entry)
        try:
            judged = await self._look(entry, planned)
        except QueryFailed as error:
            await self._could_not_read(entry, planned, error)
            return None
        except Unavailable:
            await self._wait(entry, unknown=is_in_doubt(entry.attempt), failed_reads=entry.failed_reads)
            raise
        step = next_step(judged, entry.attempt, machine_now(), self.may_land)
        match step:
            case WriteNow():
                return await self._write(entry, step, judged, {p.change.key: p.support for p in planned})
            case LookAgain():
                await self._wait(entry, unknown=step.unknown)
            case Settle():
                await self.ledger.settle(entry, step, judged)
                _tell(entry, step.outcome, step.detail)
            case ByHand():
                await self._hand_over(entry, step.reason, judged)
            case _:
                assert_never(step)
        return None

    def _plan(self, entry: Entry) -> list[_Planned]:
        changes = changes_of(entry.tenant, entry.write)
        return [_Planned(change, self.abilities.choose(change)) for change in changes]

    async def _look(self, entry: Entry, planned: Sequence[_Planned]) -> list[Judged]:
        known = await self.ledger.known(entry)
        shown = [await self._shown(each) for each in planned]
        try:
            return [_judged(each, _seen(each, data), known) for each, data in zip(planned, shown, strict=True)]
        except _MISSHAPEN as error:
            sentence = f"a read was answered in another shape than asked for ({type(error).__name__})"
            raise QueryFailed(sentence, schema_changed=False) from None

    async def _shown(self, planned: _Planned) -> Mapping[str, Any] | None:
        change, support = planned
        if support is None or support.read is None:
            return None
        read = support.way.read
        data = await self.graph.query(support.read, read.filled(change.facts))
        if not answers(read, data):
            raise Unavailable("Consonance answered a read without what was asked for")
        return data

    async def _write(
        self, entry: Entry, step: WriteNow, judged: Sequence[Judged], supports: Mapping[str, Support | None]
    ) -> Entry | None:
        before = {each.change.key: each.judgement.current for each in judged}
        if not await self.ledger.intend(entry, before):
            return None
        attempt = Attempt(entry.attempts + 1, Answer.UNANSWERED, machine_now())
        intended = replace(entry, attempt=attempt, before=entry.before or before, looks=0, failed_reads=0)
        mutations = [m for each in step.changes for m in _mutations(each, supports[each.change.key])]
        reply = await self._send(intended, mutations)
        await self.ledger.note_answer(intended, reply.answer)
        return replace(intended, attempt=attempt._replace(answer=reply.answer, at=machine_now()), said=reply.sentences)

    async def _send(self, entry: Entry, mutations: Sequence[_Mutation]) -> Reply:
        """In order, up to the first that is not accepted; what that means for the rest a look will show."""
        reply = Reply(Answer.ACCEPTED)
        awake_at = entry.attempt.at if entry.attempt is not None else machine_now()
        for number, mutation in enumerate(mutations):
            try:
                _check_fresh(awake_at)
                body = await self.graph.mutate(mutation.document, mutation.variables)
                reply = reply_of(body, mutation.errors)
                awake_at = machine_now()
            except NoAnswer:
                return Reply(Answer.UNANSWERED)
            except _NOTHING_EXECUTED:
                await self._not_executed(entry, first=number == 0)
                raise
            if reply.schema_changed:
                self.abilities.doubt()
            if reply.answer is not Answer.ACCEPTED:
                return reply
        return reply

    async def _not_executed(self, entry: Entry, *, first: bool) -> None:
        if first:
            await self.ledger.take_back(entry, machine_now() + _FIRST_WAIT)
        else:
            await self.ledger.note_answer(entry, Answer.FAILED)

    async def _could_not_read(self, entry: Entry, planned: Sequence[_Planned], error: QueryFailed) -> None:
        if error.schema_changed:
            self.abilities.doubt()
        failed_reads = entry.failed_reads + 1
        step = after_failed_read(entry.attempt, failed_reads, machine_now(), self.may_land)
        if isinstance(step, LookAgain):
            await self._wait(entry, unknown=step.unknown, failed_reads=failed_reads)
        else:
            blind = [_judged(each, None, Known()) for each in planned]
            await self._hand_over(entry, step.reason, blind)

    async def _hand_over(self, entry: Entry, reason: Reason, judged: Sequence[Judged]) -> None:
        await self.ledger.hand_over(entry, reason, judged)
        _tell(entry, Outcome.MANUAL, reason)

    async def _wait(self, entry: Entry, *, unknown: bool, failed_reads: int = 0) -> None:
        wait = min(_FIRST_WAIT * 2 ** min(entry.looks, _MOST_DOUBLINGS), _LONGEST_WAIT)
        await self.ledger.postpone(entry, machine_now() + wait, unknown=unknown, failed_reads=failed_reads)
        if unknown and not entry.unknown_told:
            _tell(entry, Outcome.UNKNOWN, None)


def _seen(planned: _Planned, data: Mapping[str, Any] | None) -> Seen | None:
    return None if data is None or planned.support is None else seen_in(planned.support.way.read, data)


def _judged(planned: _Planned, seen: Seen | None, known: Known) -> Judged:
    change, support = planned
    judgement = judge(change, seen, known, support.way.expected_from if support is not None else frozenset())
    return Judged(change, judgement, possible=support is not None and support.allows(judgement))


def _mutations(each: Judged, support: Support | None) -> Iterator[_Mutation]:
    """The new value first, then the removal of what it replaces."""
    change, judgement, _ = each
    facts = {**change.facts, "value": judgement.value, "current": judgement.current}
    if support is None:
        return
    way = support.way
    if judgement.create and support.write is not None:
        yield _Mutation(support.write, way.write.filled(facts), way.write.errors)
    if way.remove is not None and support.remove is not None:
        for stale in judgement.stale:
            yield _Mutation(support.remove, way.remove.filled({**facts, "stale_id": stale}), way.remove.errors)


def _check_fresh(awake_at: datetime) -> None:
    if machine_now() - awake_at > _FRESH:
        raise RequestNotSent("this process stood still between its intent and its request")


def _tell(entry: Entry, outcome: Outcome, detail: str | None) -> None:
    write = entry.write
    operation = write.input.operation
    counter("stet_writeback_outcomes_total", "Outcomes of writes", "operation", "outcome").labels(
        operation, outcome
    ).inc()
    log.info(
        "write.settled" if outcome is not Outcome.UNKNOWN else "write.unknown",
        write_id=write.write_id,
        record=write.record,
        operation=operation,
        outcome=outcome,
        detail=detail,
        attempts=entry.attempts,
    )

"""A pass over Consonance's works and their products: read a page, compare, tell; one transaction a page.

A pass that is interrupted goes on where it stood. The first complete one of a field is its baseline, and silent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

from services.ingest.compare import FIELDS, Comparison, compare
from services.ingest.database import reachable, writing
from services.ingest.house_words import Words
from services.ingest.notes import Node, Notes
from services.ingest.observe import work_view
from services.ingest.parking import Parks, park_all
from services.ingest.progress import Pass, next_pass
from services.ingest.reading import Read, ids_of, last_id, read_all, refused
from services.ingest.records import Frame
from services.ingest.snapshots import Snapshot, Snapshots, view_of
from services.ingest.views import WorkView
from shared.contracts.ids import TenantId, partition_key
from shared.contracts.topics import CONSONANCE_EVENTS
from shared.contracts.values import encode
from shared.runtime.bisect import bisect
from shared.runtime.clock import Clock, machine_now
from shared.runtime.postgres import Pool
from shared.runtime.telemetry import intake_span
from shared.runtime.transaction import Transaction

_ORIGIN = "polled works"


class Works(Protocol):
    async def works(self, after: int, changed_since: date | None) -> list[Any]:
        """The next page above ``after``; empty at the end."""

    async def work(self, work_id: int) -> list[Any]:
        """One, or none."""

    async def products(self, after: int, changed_since: date | None) -> list[Any]:
        """The next page above ``after``; empty at the end."""


@dataclass(frozen=True, slots=True)
class WorksPoll:
    """``source`` names Consonance in the events; ``polled`` are the kinds the poll tells."""

    works: Works
    pool: Pool
    clock: Clock
    tenant: TenantId
    words: Words
    parking: Parks
    polled: frozenset[str]
    source: str

    async def run(self) -> int:
        """One pass; returns how many events it told."""
        current = await self._begin()
        told, seen, after = 0, set[int](), current.after
        while page := await self.works.works(after, current.changed_since):
            told += await self._take(page, current)
            seen.update(ids_of(page))
            after = last_id(page, after)
            await self._advance(after)
        if current.changed_since is not None:
            told += await self._take_works_of_products(current, seen)
        await self._complete(current)
        return told

    async def _take_works_of_products(self, current: Pass, seen: set[int]) -> int:
        """Works that did not come by themselves although a product of theirs changed."""
        told, after = 0, 0
        while page := await self.works.products(after, current.changed_since):
            works = [product.get("work") for product in page if isinstance(product, dict)]
            for work_id in sorted({*ids_of(works)} - seen):
                seen.add(work_id)
                told += await self._take(await self.works.work(work_id), current)
            after = last_id(page, after)
        return told

    async def _take(self, page: Sequence[Any], current: Pass) -> int:
        read, bad = read_all(WorkView, page, self._view)
        if bad:
            await self.parking.park(bad, _ORIGIN)
        told: list[int] = []

        async def attempt(some: Sequence[Read[WorkView]]) -> None:
            told.append(await self._compare(some, current))

        async def refuse(one: Read[WorkView], fault: Exception) -> None:
            await self.parking.park([refused(one, fault)], _ORIGIN)

        await bisect(list({one.view.work_id: one for one in read}.values()), attempt, refuse)
        return sum(told)

    async def _compare(self, read: Sequence[Read[WorkView]], current: Pass) -> int:
        locks = [partition_key(self.tenant, "works", one.view.work_id) for one in read]
        async with writing(self.pool, self.clock, locks) as tx:
            before = await self._snapshots.load(tx.connection, [one.view.work_id for one in read])
            changed = [one for one in read if _before(before, one.view) != one.view]
            views = [one.view for one in changed]
            told = sum([self._tell(before, view, current, tx) for view in views])
            saved = [Snapshot(view.work_id, _next(before, view.work_id), encode(view).decode()) for view in views]
            await self._snapshots.save(tx.connection, saved, tx.now)
            for one in changed:
                former = _before(before, one.view)
                await park_all(tx, one.to_park(f"work {one.view.work_id}", former.unread if former else ()), _ORIGIN)
        return told

    def _view(self, node: Node, notes: Notes) -> WorkView:
        return work_view(node, self.words, notes)

    def _tell(self, before: Mapping[int, Snapshot], view: WorkView, current: Pass, tx: Transaction) -> int:
        """What happened to one work, in a trace of its own; how many events that is."""
        number, key = _next(before, view.work_id), partition_key(self.tenant, "works", view.work_id)
        at = Comparison(self.tenant, self.words, tx.now, number, current.fields, self.polled)
        told = compare(_before(before, view), view, at)
        with intake_span("ingest.poll") as traceparent:
            frame = Frame(self.tenant, tx.now, {}, traceparent)
            for one in told:
                event = frame.event(one.data, id=one.id, key=key, at=tx.now, source=self.source)
                tx.publish(CONSONANCE_EVENTS, event)
        return len(told)

    async def _begin(self) -> Pass:
        async with writing(self.pool, self.clock, [self._name]) as tx:
            last = await self._snapshots.last_pass(tx.connection)
            current = next_pass(last, tx.now, FIELDS)
            if current is not last:
                await self._snapshots.begin(tx.connection, current)
        return current

    async def _advance(self, after: int) -> None:
        with reachable():
            await self._snapshots.advance(self.pool, after)

    async def _complete(self, current: Pass) -> None:
        with reachable():
            await self._snapshots.complete(self.pool, machine_now(), current.fields | set(FIELDS))

    @property
    def _snapshots(self) -> Snapshots:
        return Snapshots(self.tenant, "works")

    @property
    def _name(self) -> str:
        return f"{self.tenant}/poll/works"


def _before(snapshots: Mapping[int, Snapshot], view: WorkView) -> WorkView | None:
    return view_of(WorkView, snapshots.get(view.work_id))


def _next(snapshots: Mapping[int, Snapshot], work_id: int) -> int:
    snapshot = snapshots.get(work_id)
    return 1 if snapshot is None else snapshot.version + 1

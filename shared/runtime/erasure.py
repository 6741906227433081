"""Carries out the erasure of people in a service's schema, table by table, as the inventory says (``personal_data``).

A pass looks through each table in slices of its pages, so that no transaction is long and no index is needed, and once
for all people whose pass is due (``PeopleIndex``). It is repeated for a day, because what was on its way when an
earlier pass ran arrives after it. Instants are business time.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import asyncpg

from shared.contracts.contacts import PLACEHOLDER_NAME, PersonObserved
from shared.contracts.errors import Unavailable
from shared.contracts.ids import PersonId
from shared.contracts.personal_data import TABLES, Erasure, TableData
from shared.contracts.topics import SERVICES
from shared.runtime.batch import Handler, ReceivedEvent
from shared.runtime.clock import Clock
from shared.runtime.failures import SERIALIZATION_FAILURES, TRANSIENT_ERRORS, FailureLog, record_loop_error
from shared.runtime.metrics import Metrics
from shared.runtime.outbox import Transaction
from shared.runtime.postgres import Connection, Pool, load_queries
from shared.runtime.redaction import ERASED, PeopleIndex, PersonWords, redact, redact_text
from shared.runtime.retention import Delete
from shared.runtime.telemetry import get_logger

QUERIES = load_queries(__file__, "erasure.sql")
log = get_logger()

PASSES_AFTER = (
    timedelta(0),
    timedelta(minutes=1),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=8),
    timedelta(hours=20),
)
"""How long after the request each pass begins; the last is four hours before the promised day ends."""

RETRY_AFTER = timedelta(minutes=10)
"""Between two passes where the last one left something over."""

_PAGES = 256
_PEOPLE_IN_A_ROUND = 500
"""A round reads every table once, whether for one person or for all of these."""

_SWEEPS_ALL_AFTER = 3
"""The passes after which what is under way for others is old enough to be emptied, too (``personal_data``)."""

_POLL_SECONDS = 1.0
_DELETED_AT_ONCE = 1000

_metrics = Metrics.of(*SERVICES)
_OPEN = _metrics.gauge("stet_erasures_open", "Erasures of people that are not complete.")
_OLDEST = _metrics.gauge(
    "stet_oldest_open_erasure_age_seconds", "Business time since the oldest erasure that is not complete was requested."
)
_ERASED_ROWS = _metrics.counter("stet_erased_rows_total", "Rows that erasures have deleted or redacted.")

_RETRIED = (*TRANSIENT_ERRORS, *SERIALIZATION_FAILURES, asyncpg.PostgresError, Unavailable)

RowPlace = tuple[int, int]
"""The page and the number of a row in its table (``ctid``)."""

LeftOver = Mapping[str, int]
"""How many rows, or partitions, still hold the person, by table or topic."""


class OtherStores(Protocol):
    """The stores of a service besides its tables."""

    async def erase(self, person_id: PersonId, passes: int) -> LeftOver:
        """Erase what these stores hold of one person, after ``passes`` earlier passes. Raises Unavailable."""

    async def erase_together(self) -> LeftOver:
        """Do what is done once for all people of a round, after ``erase`` of each. Raises Unavailable."""


# ------------------------------------------------------------------ one table


@dataclass(frozen=True, slots=True)
class TableSearch:
    """The rows of one table that may hold people. ``schema`` is where it is; ``types`` are those of its columns."""

    schema: str
    table: TableData
    types: Mapping[str, str]

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.table.name}"

    async def find(
        self,
        connection: Connection,
        pages: range,
        people: Container[PersonId],
        index: PeopleIndex,
        *,
        in_texts: bool = True,
    ) -> dict[PersonId, list[RowPlace]]:
        """The places of the rows of these pages that are about a person or, ``in_texts``, name one; by person."""
        about = self.table.people if self.table.rows else "null::text[]"
        texts = self.table.documents if in_texts else ()
        columns = ", ".join(["ctid", f"{about} as people", *map(self.read, texts)])
        query = f"select {columns} from {self.full_name} where {_slice_of_pages(1)}"  # noqa: S608 -- inventory
        rows = await connection.fetch(query, pages.start, pages.stop)
        return await asyncio.to_thread(_places_by_person, rows, people, index)

    def read(self, column: str) -> str:
        """A document as it is read: bytes, or text."""
        return column if self.types[column] == "bytea" else f"{column}::text as {column}"


def _slice_of_pages(first: int) -> str:
    """``first`` is the number of the parameter for the first page."""
    return f"ctid >= format('(%s,0)', ${first}::bigint)::tid and ctid < format('(%s,0)', ${first + 1}::bigint)::tid"


async def searches_of(connection: Connection, schema: str) -> list[TableSearch]:
    """The tables of a schema that may hold people. Tables that a newer version added are not there yet."""
    found = []
    for table in TABLES[schema]:
        if table.is_searched:
            rows = await connection.fetch(QUERIES.column_types, f"{schema}.{table.name}")
            found.append(TableSearch(schema, table, {row["attname"]: row["type"] for row in rows}))
    return [one for one in found if one.types]


async def slices(connection: Connection, name: str) -> list[range]:
    """The pages of a table, some at a time."""
    pages = await connection.fetchval(QUERIES.table_pages, name)
    return [range(start, start + _PAGES) for start in range(0, pages, _PAGES)]


# ------------------------------------------------------------------ one pass


@dataclass(frozen=True, slots=True)
class SchemaEraser:
    """Erases people in the tables of a service's schema."""

    pool: Pool
    service: str

    async def erase(self, tenant: str, people: Sequence[PersonWords]) -> dict[PersonId, dict[str, int]]:
        """Erases these people; returns how many rows must stay for now, by person and table, as they belong to work
        under way.

        A table with the condition ``swept`` is emptied once for all people, by the request of the first of them.
        """
        left_over: dict[PersonId, dict[str, int]] = {person.person_id: {} for person in people}
        async with self.pool.acquire() as connection:
            searches = await searches_of(connection, self.service)
        index, without_ids = PeopleIndex(people), PeopleIndex(people, with_ids=False)
        for search in searches:
            used = without_ids if search.table.erasure is Erasure.AWAIT else index
            for person, count in (await self._erase_in_table(search, tenant, people, used)).items():
                if count:
                    left_over[person][search.table.name] = count
        return left_over

    async def _erase_in_table(
        self, search: TableSearch, tenant: str, people: Sequence[PersonWords], index: PeopleIndex
    ) -> Mapping[PersonId, int]:
        """Rows that are left over, by person."""
        if search.table.erasure in {Erasure.REPLACE, Erasure.FILES, Erasure.NONE}:
            return {}
        left_over: Counter[PersonId] = Counter()
        if search.table.swept and people:
            await self._sweep(search, tenant, people[0])
        by_id = {person.person_id: person for person in people}
        for pages in await slices(self.pool, search.full_name):
            began = time.monotonic()
            found = await search.find(self.pool, pages, by_id, index, in_texts=not search.table.swept)
            await asyncio.sleep(time.monotonic() - began)  # half of the time is left to the service's own work
            for person_id, places in found.items():
                left_over[person_id] += await self._erase_places(search, tenant, by_id[person_id], places, index)
        for person in people:
            left_over[person.person_id] += await self._count_pending(search, tenant, person)
        return left_over

    async def _sweep(self, search: TableSearch, tenant: str, person: PersonWords) -> None:
        for pages in await slices(self.pool, search.full_name):
            async with self.pool.acquire() as connection, connection.transaction():
                where, arguments = _slice_of_pages(3), (tenant, person.person_id, pages.start, pages.stop)
                rows = await _lock_rows(connection, search, where, arguments)
                _ERASED_ROWS.inc(await _erase_rows(connection, search, person, rows))

    async def _erase_places(
        self, search: TableSearch, tenant: str, person: PersonWords, places: Sequence[RowPlace], index: PeopleIndex
    ) -> int:
        """Erase the rows at these places; returns how many were written again meanwhile.

        These are at another place now, where a later pass finds them.
        """
        if search.table.erasure is Erasure.AWAIT:
            return len(places)
        name = search.full_name
        async with self.pool.acquire() as connection, connection.transaction():
            lock = f"select ctid from {name} where ctid = any($1::tid[]) for update"  # noqa: S608 -- inventory
            there = await connection.fetch(lock, places)
            rows = await _lock_rows(connection, search, "ctid = any($3::tid[])", (tenant, person.person_id, places))
            if not search.table.swept:
                rows = [row for row in rows if row["is_about"] or _names(search, row, person, index)]
            _ERASED_ROWS.inc(await _erase_rows(connection, search, person, rows))
        return len(places) - len(there)

    async def _count_pending(self, search: TableSearch, tenant: str, person: PersonWords) -> int:
        if search.table.pending is None:
            return 0
        query = f"select count(*) from {search.full_name} where {search.table.pending}"  # noqa: S608 -- inventory
        return int(await self.pool.fetchval(query, tenant, person.person_id))


def _places_by_person(
    rows: Sequence[Mapping[str, Any]], people: Container[PersonId], index: PeopleIndex
) -> dict[PersonId, list[RowPlace]]:
    """The places of the rows that are about a person or name one."""
    found: dict[PersonId, list[RowPlace]] = {}
    for row in rows:
        place, about, *texts = row.values()
        concerned = {person for person in about or () if person in people}
        if any(texts):
            concerned |= index.named_in(*texts)
        for person in concerned:
            found.setdefault(person, []).append(place)
    return found


def _names(search: TableSearch, row: Mapping[str, Any], person: PersonWords, index: PeopleIndex) -> bool:
    """Whether the row names the person still; another row may stand at the place by now."""
    return person.person_id in index.named_in(*(row[name] for name in search.table.documents))


async def _lock_rows(
    connection: Connection, search: TableSearch, where: str, arguments: Sequence[Any]
) -> Sequence[Mapping[str, Any]]:
    """The rows that may be erased by now, with whether each is about the person: $1 the tenant, $2 the person."""
    table = search.table
    about = f"coalesce(({table.rows}), false)" if table.rows else "false"
    columns = ", ".join(["ctid", f"{about} as is_about", *map(search.read, table.documents)])
    conditions = [where, "$1::text is not null and $2::text is not null"]
    conditions += [f"({table.swept})"] if table.swept else []
    conditions += [f"not ({table.pending})"] if table.pending else []
    query = f"select {columns} from {search.full_name} where {' and '.join(conditions)} for update"  # noqa: S608
    rows: Sequence[Mapping[str, Any]] = await connection.fetch(query, *arguments)
    return rows


async def _erase_rows(
    connection: Connection, search: TableSearch, person: PersonWords, rows: Sequence[Mapping[str, Any]]
) -> int:
    """Rows changed."""
    table, name = search.table, search.full_name
    match table.erasure:
        case Erasure.DELETE:
            places = [(row["ctid"],) for row in rows]
            await connection.executemany(f"delete from {name} where ctid = $1", places)  # noqa: S608 -- inventory
            return len(rows)
        case Erasure.EMPTY:
            query = f"update {name} set {table.assign} where ctid = $1 and $2::text <> ''"  # noqa: S608 -- inventory
            await connection.executemany(query, [(row["ctid"], person.person_id) for row in rows])
            return len(rows)
        case Erasure.REDACT:
            return sum([await _redact_row(connection, search, person, row) for row in rows])
        case Erasure.REPLACE | Erasure.FILES | Erasure.AWAIT | Erasure.NONE:
            return 0


async def _redact_row(connection: Connection, search: TableSearch, person: PersonWords, row: Mapping[str, Any]) -> int:
    """1 where something was changed."""
    assign = search.table.assign if row["is_about"] else None
    changed = {
        column: value
        for column, value in _redacted_columns(search, person, row)
        if assign is None or f"{column} = " not in assign
    }
    sets = [f"{column} = {_parameter(search, column, place)}" for place, column in enumerate(changed, 2)]
    sets += [assign] if assign is not None else []
    if sets:
        query = f"update {search.full_name} set {', '.join(sets)} where ctid = $1"  # noqa: S608 -- inventory
        await connection.execute(query, row["ctid"], *changed.values())
    return int(bool(sets))


def _parameter(search: TableSearch, column: str, place: int) -> str:
    kind = search.types[column]
    return f"${place}::bytea" if kind == "bytea" else f"${place}::text::{kind}"


def _redacted_columns(
    search: TableSearch, person: PersonWords, row: Mapping[str, Any]
) -> Iterator[tuple[str, str | bytes]]:
    for name in search.table.documents:
        before = row[name]
        if before is None:
            continue
        after = redact_value(before, search.types[name], person, in_own_row=row["is_about"])
        if after != before:
            yield name, after


def redact_value(value: Any, kind: str, person: PersonWords, *, in_own_row: bool) -> Any:
    """The value itself where nothing of it changes."""
    if kind == "text":
        return redact_text(value, person, in_own_row=in_own_row)
    try:
        document = json.loads(value)
        after = redact(document, person, in_own_row=in_own_row)
    except (ValueError, RecursionError):  # no JSON, or nested too deeply to be read: nothing of it is kept
        return b"" if isinstance(value, bytes) else "null"
    if after == document:
        return value
    text = json.dumps(after, ensure_ascii=False, separators=(",", ":"))
    return text.encode() if isinstance(value, bytes) else text


# ------------------------------------------------------------------ the service's part


class ErasingHandler:
    """Notes the people whose erasure ``contacts`` demands, before the service's own handler forgets them."""

    def __init__(self, service: str, handler: Handler) -> None:
        self._service = service
        self._handler = handler

    def locks(self, batch: Sequence[ReceivedEvent]) -> Any:
        return self._handler.locks(batch)

    async def handle(self, tx: Transaction, batch: Sequence[ReceivedEvent]) -> None:
        erased = {
            (one.event.tenantid, one.event.data.person_id)
            for one in batch
            if isinstance(one.event.data, PersonObserved) and one.event.data.erased
        }
        for tenant, person_id in sorted(erased):
            words = await known_words(tx.connection, self._service, tenant, person_id)
            await tx.connection.execute(QUERIES.begin_erasure, tenant, person_id, tx.now, words)
        await self._handler.handle(tx, batch)


_KNOWN_WORDS = {
    "ingest": """
        select array_remove(array[
            state ->> 'display_name',
            case when not is_shared then state #>> '{addresses,phone}' end,
            case when not is_shared then state #>> '{addresses,wa_id}' end,
            case when not is_bsuid_shared then state #>> '{addresses,bsuid}' end
        ], null) || array(
            select f.address from ingest.former_addresses f
            where f.tenant = p.tenant and f.person_id = p.person_id and not exists (
                select from ingest.people o
                where o.tenant = f.tenant and o.person_id <> f.person_id
                    and (o.phone_key = f.address_key or o.wa_key = f.address_key or o.bsuid = f.address_key)
            ) and not exists (
                select from ingest.former_addresses o
                where o.tenant = f.tenant and o.address_key = f.address_key and o.person_id <> f.person_id
            )
        )
        from ingest.people p
        cross join lateral (
            select
                coalesce(bool_or(o.phone_key in (p.phone_key, p.wa_key) or o.wa_key = p.phone_key), false) as is_shared,
                coalesce(bool_or(o.bsuid = p.bsuid), false) as is_bsuid_shared
            from ingest.people o
            where o.tenant = p.tenant and o.person_id <> p.person_id
                and (o.phone_key in (p.phone_key, p.wa_key) or o.wa_key = p.phone_key or o.bsuid = p.bsuid)
                and not exists (
                    select from ingest.erasures e
                    where e.tenant = o.tenant and e.person_id = o.person_id and e.next_at is not null
                )
        ) as others
        where p.tenant = $1 and p.person_id = $2
    """,
    "rules": "select array_remove(array[document ->> 'display_name', document #>> '{addresses,phone}', "
    "document #>> '{addresses,bsuid}', document #>> '{addresses,wa_id}'], null) from rules.people "
    "where tenant = $1 and person_id = $2",
    "dispatcher": """
        select array_remove(array[
            case when not exists (
                select from dispatcher.people o
                where o.tenant = p.tenant and o.person_id <> p.person_id and o.phone = p.phone
            ) then phone end,
            case when not exists (
                select from dispatcher.people o
                where o.tenant = p.tenant and o.person_id <> p.person_id and o.bsuid = p.bsuid
            ) then bsuid end
        ], null)
        from dispatcher.people p
        where p.tenant = $1 and p.person_id = $2
    """,
    "writeback": "select array_remove(array[nullif(display_name, '')], null) from writeback.people "
    "where tenant = $1 and person_id = $2",
}
"""An address that another person has, too, is theirs: it stays with them, and what is theirs is not searched by it."""


_NO_NAMES = frozenset({"", PLACEHOLDER_NAME, ERASED})
"""These stand where a name is not known: they would be found in what is about others."""


async def known_words(connection: Connection, service: str, tenant: str, person_id: str) -> list[str]:
    """The names and addresses by which a service knows a person; nothing for one it does not know."""
    found = await connection.fetchval(_KNOWN_WORDS[service], tenant, person_id)
    return sorted({word for word in found or () if word not in _NO_NAMES})


async def delete_old_erasures(
    connection: Connection, forget: str, before: datetime, at_most: int
) -> tuple[int, list[tuple[str, str]]]:
    """Delete records of erasures that were completed before an instant, in the caller's transaction; returns how many,
    and the (tenant, person) of each visitor who is forgotten with them.

    ``forget`` is the service's query ``forget_visitors``: each knows in columns of its own who is erased.
    """
    rows = await connection.fetch(QUERIES.delete_old_erasures, before, at_most)
    if not rows:
        return 0, []
    columns = map(list, zip(*map(tuple, rows), strict=True))
    return len(rows), [tuple(row) for row in await connection.fetch(forget, *columns)]


def erasure_deletion(pool: Pool, forget: str) -> Delete:
    """``delete_old_erasures`` in transactions of its own."""

    async def delete(before: datetime) -> int:
        async with pool.acquire() as connection, connection.transaction():
            deleted, _ = await delete_old_erasures(connection, forget, before, _DELETED_AT_ONCE)
        return deleted

    return delete


@dataclass(slots=True)
class ErasureWorker:
    """Makes the passes that are due, for ever, some people in a round."""

    pool: Pool
    clock: Clock
    service: str
    others: OtherStores | None = None
    _failures: FailureLog = field(init=False, default_factory=lambda: FailureLog("erasure.retried"))

    async def run(self) -> None:
        while True:
            try:
                await self.run_due()
                await self._measure()
            except _RETRIED as error:
                self._failures.warn(error)
            await asyncio.sleep(_POLL_SECONDS)

    async def run_due(self) -> int:
        """The number of passes that were due. One that fails is due again in ten minutes; the others go on."""
        now = self.clock.now()
        rows = await self.pool.fetch(QUERIES.claim_passes, now, now + RETRY_AFTER, _PEOPLE_IN_A_ROUND)
        erased: list[tuple[Mapping[str, Any], LeftOver]] = []
        for tenant in sorted({row["tenant"] for row in rows}):
            of_tenant = [row for row in rows if row["tenant"] == tenant]
            of_tenant.sort(key=lambda row: (row["passes"] > _SWEEPS_ALL_AFTER, row["requested_at"]), reverse=True)
            for row, left_over in await self._erase_tables(tenant, of_tenant):
                with self._one_erasure():
                    others = await self._erase_others(row)
                    erased.append((row, {**left_over, **others}))
        if erased:
            with self._one_erasure():
                together = await self.others.erase_together() if self.others is not None else {}
                for row, left_over in erased:
                    await self._end_pass(row, {**left_over, **together})
        return len(rows)

    async def _erase_tables(
        self, tenant: str, rows: Sequence[Mapping[str, Any]]
    ) -> list[tuple[Mapping[str, Any], LeftOver]]:
        """Erase rows of the people; returns the people for whom that succeeded. A failure for one of them does not stop
        the others.
        """
        people = [PersonWords(PersonId(row["person_id"]), tuple(row["words"])) for row in rows]
        try:
            left_over = await SchemaEraser(self.pool, self.service).erase(tenant, people)
        except TRANSIENT_ERRORS as error:
            self._failures.warn(error)
            return []
        except Exception as error:  # noqa: BLE001 -- the boundary of some people's erasure
            if len(rows) == 1:
                record_loop_error("erasure", error)
                return []
            middle = len(rows) // 2
            return [*await self._erase_tables(tenant, rows[:middle]), *await self._erase_tables(tenant, rows[middle:])]
        return [(row, left_over[person.person_id]) for row, person in zip(rows, people, strict=True)]

    async def _erase_others(self, row: Mapping[str, Any]) -> LeftOver:
        return await self.others.erase(PersonId(row["person_id"]), row["passes"]) if self.others is not None else {}

    async def _end_pass(self, row: Mapping[str, Any], left_over: LeftOver) -> None:
        now = self.clock.now()
        next_at = next_pass(row["requested_at"], row["passes"], left_over, now)
        ended = (row["tenant"], row["person_id"], next_at, json.dumps(left_over), now, row["passes"])
        await self.pool.execute(QUERIES.end_pass, *ended)
        log.info("erasure.completed" if next_at is None else "erasure.continued", passes=row["passes"] + 1)

    @contextmanager
    def _one_erasure(self) -> Iterator[None]:
        """A failure within does not delay other erasures; the pass is due again in ten minutes."""
        try:
            yield
        except _RETRIED as error:
            self._failures.warn(error)
        except Exception as error:  # noqa: BLE001 -- the boundary of one person's erasure
            record_loop_error("erasure", error)

    async def _measure(self) -> None:
        row = await self.pool.fetchrow(QUERIES.open_erasures)
        _OPEN.set(row["open"])
        age = (self.clock.now() - row["oldest"]).total_seconds() if row["oldest"] is not None else 0.0
        _OLDEST.set(max(0.0, age))


def next_pass(requested_at: datetime, passes: int, left_over: LeftOver, now: datetime) -> datetime | None:
    """When the pass after this one begins, of which ``passes`` came before; None where this was the last."""
    if passes + 1 < len(PASSES_AFTER):
        return requested_at + PASSES_AFTER[passes + 1]
    return now + RETRY_AFTER if left_over else None

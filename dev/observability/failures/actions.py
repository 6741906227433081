"""The actions of the causes of failures: ask, answer, publish, move business time, hold locks."""

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
import psutil
from aiokafka import AIOKafkaProducer

from dev.demo.simulators import Simulators
from dev.layout import ROOT
from dev.observability.observed_stack import ObservedStack
from dev.processes import family_of
from dev.stack import Stack
from shared.contracts.canonical import canonical_hash
from shared.contracts.consonance import MetadataField
from shared.runtime.clock import DevelopmentClock
from shared.runtime.postgres import advisory_lock_key

_GOLDEN = ROOT / "shared" / "contracts" / "golden"
_OWNER, _AGENT, _HOLDER, _LICENSOR, _DESIGNER, _UNREACHABLE = 71, 900, 812, 814, 830, 835
_TERMS = {
    "summary": "the French translation",
    "territory": "world",
    "languages": ["fre"],
    "formats": [],
    "exclusivity": "exclusive",
}
_HOLDERS_OF_LOCK = """
select pg_terminate_backend(pid) from pg_locks
where locktype = 'advisory' and granted and objsubid = 1 and (classid::bigint << 32 | objid::bigint) = $1
"""


@dataclass(frozen=True)
class FailureContext:
    """The stack that the causes of failures share, with its simulators."""

    observed: ObservedStack
    simulators: Simulators
    _numbers: "count[int]" = field(default_factory=lambda: count(101))

    @property
    def stack(self) -> Stack:
        return self.observed.stack

    @property
    def clock(self) -> DevelopmentClock:
        if self.stack.clock is None:
            raise RuntimeError("failures are caused on a development clock")
        return self.stack.clock

    def pass_time(self, span: timedelta) -> None:
        """Move business time, whether or not everything is idle."""
        self.clock.set(self.clock.now() + span)

    def next_number(self) -> int:
        """A number for ids, another one at each call."""
        return next(self._numbers)

    async def settle(self) -> None:
        await self.stack.virtual_clock.settle()

    def processes(self, *names: str) -> list[psutil.Process]:
        return [process for name in names for process in family_of(self.stack.children[name].pid)]

    # ------------------------------------------------------------------ events

    async def block(self, work: int) -> None:
        """Consonance pushes that a title is blocked; its owner gets a critical message."""
        await self._push(
            "work.blocked",
            work=work, block_id=f"B-{self.next_number()}", cause="missing_approval", detail="no cover yet",
            blocking="files_to_press", owner={"contact_id": _OWNER, "role": "owner"}, escalation=[],
            severity="critical", since=self.clock.now().isoformat(),
        )  # fmt: skip

    async def ask_agent(self) -> None:
        """A permission is asked of an agent, in French."""
        await self._ask({"work_id": 61418, "rights_holder": _HOLDER})

    async def ask_licensor(self) -> None:
        """A licence is asked of a rights holder, in English."""
        asset = {"type": "translation", "description": "the translation"}
        licence = {"kind": "licence", "right_type": "translation", "terms": _TERMS, "asset": asset}
        await self._ask({"work_id": 61420, "rights_holder": _LICENSOR, **licence})

    async def agent_approves(self) -> None:
        """The agent taps the newest question."""
        await self.simulators.whatsapp("inbound", {"from": str(_AGENT), "kind": "tap", "button": "J’autorise"})

    async def write(self, who: str, line: str, text: str, **more: object) -> None:
        """A person writes to one of the numbers."""
        await self.simulators.whatsapp("inbound", {"from": who, "line": line, "text": text, **more})

    async def ask_unreachable(self) -> None:
        """A title to confirm, a date, a payment and a licence for a person without a usable number."""
        item = {
            "item_id": "I-1", "field": "subtitle", "level": "work", "target_ids": [61418], "current_value": "",
            "current_hash": canonical_hash(MetadataField.SUBTITLE, ""), "proposed_value": "another subtitle",
        }  # fmt: skip
        number = self.next_number()
        await self._push(
            "metadata.confirmation_requested",
            work=61418, request_id=f"MC-{number}", items=[item], quorum="all", respond_by=self._in_a_month(),
            confirmers=[{"contact_id": _UNREACHABLE, "role": "author"}],
        )  # fmt: skip
        party = {"contact_id": _UNREACHABLE, "role": "author"}
        await self._push("royalty.payment_issue", payment_id=f"P-{number}", payee=party, issue="bank_details_missing")
        await self._ask({"work_id": 61420, "rights_holder": _UNREACHABLE})
        await self._set_milestone(_UNREACHABLE)
        await self._set_milestone(_DESIGNER)

    async def designer_is_done(self) -> None:
        """The designer, who was asked about a date in the morning, taps that it is met."""
        await self.simulators.whatsapp("inbound", {"from": str(_DESIGNER), "kind": "tap", "button": "It is done"})

    async def _set_milestone(self, affected: int) -> None:
        """A date of the day after tomorrow, about which people are asked tomorrow morning."""
        milestone = {
            "milestone_id": f"M-2027-{self.next_number()}", "work_id": 61418, "name": "First layouts",
            "milestone_key": "first_layouts", "due_on": (self.clock.now() + timedelta(days=2)).date().isoformat(),
            "affected": [{"contact_id": affected, "role": "designer"}],
        }  # fmt: skip
        await self.simulators.consonance("milestones", milestone)

    async def _ask(self, request: dict[str, Any]) -> None:
        about = {"request_id": f"R-2027-{self.next_number()}", "respond_by": self._in_a_month()}
        await self.simulators.consonance("rights_requests", {**about, **request})

    async def _push(self, kind: str, **data: object) -> None:
        await self.simulators.consonance("push", {"type": kind, "data": data})

    def _in_a_month(self) -> str:
        return (self.clock.now() + timedelta(days=30)).date().isoformat()

    async def publish(self, topic: str, *values: bytes) -> None:
        """Publish records as they are, with one key."""
        producer = AIOKafkaProducer(bootstrap_servers=self.stack.neighbours.kafka_bootstrap)
        await producer.start()
        try:
            for value in values:
                await producer.send(topic, value, key=b"penrose/caused")
            await producer.flush()
        finally:
            await producer.stop()

    def golden(self, name: str, **changes: Any) -> bytes:
        """A golden event of the contracts as a new one of now; ``changes`` are merged into its data."""
        event = orjson.loads((_GOLDEN / f"{name}.json").read_bytes())
        now = self.clock.now().isoformat()
        later = (self.clock.now() + timedelta(days=2)).isoformat()
        event |= {"id": uuid4().hex, "time": now, "recordedtime": now, "data": _merged(event["data"], changes)}
        if "expirytime" in event:
            event["expirytime"] = event["data"]["expires_at"] = later
        return orjson.dumps(event)

    # ------------------------------------------------------------------ PostgreSQL

    async def take_lock(self, name: str) -> asyncpg.Connection:
        """Take a leader's lock away: its session is ended, and the connection that is returned holds the lock."""
        connection = await asyncpg.connect(self.stack.neighbours.postgres_dsn)
        key = advisory_lock_key(name)
        while not await connection.fetchval("select pg_try_advisory_lock($1)", key):
            await connection.fetch(_HOLDERS_OF_LOCK, key)
        return connection


def _merged(data: Any, changes: Any) -> Any:
    if isinstance(data, dict) and isinstance(changes, dict):
        return {**data, **{name: _merged(data.get(name), value) for name, value in changes.items()}}
    return changes

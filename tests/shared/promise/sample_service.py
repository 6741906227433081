"""A service small enough to count: each event leaves one row in ``effects``, and some publish an event.

The ``reason`` of an event tells the service what to do with it. STET_SAMPLE_PAUSE keeps every batch's transaction open
for so many seconds, so that a kill or a freeze happens inside it.
"""

import asyncio
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from shared.contracts.envelope import Event
from shared.contracts.errors import Misconfigured, Unprocessable
from shared.contracts.ids import EventId, derive_id
from shared.contracts.messages import MessageWithdrawn, WithdrawMessage
from shared.contracts.topics import MESSAGES_EVENTS, MESSAGES_REQUESTED
from shared.runtime.batch import ReceivedEvent
from shared.runtime.outbox import Transaction
from shared.runtime.progress import Fenced
from shared.runtime.service import run_service, service_process
from shared.runtime.settings import ServiceSettings, load_settings
from shared.runtime.telemetry import get_logger

SERVICE = "rules"
PAUSE = float(os.environ.get("STET_SAMPLE_PAUSE", "0"))
_KEEP = """
insert into effects (event_id, key, worker)
select event_id, key, $3 from unnest($1::text[], $2::text[]) with ordinality as e(event_id, key, place) order by place
"""


@dataclass(frozen=True)
class SampleService:
    worker: str

    def locks(self, batch: Sequence[ReceivedEvent]) -> Iterable[str]:
        return {received.event.partitionkey for received in batch}

    async def handle(self, tx: Transaction, batch: Sequence[ReceivedEvent]) -> None:
        events = [received.event for received in batch]
        for event in events:
            self._obey(tx, event)
        ids = [_marked(event) for event in events]
        await tx.connection.execute(_KEEP, ids, [event.partitionkey for event in events], self.worker)
        await asyncio.sleep(PAUSE)

    def _obey(self, tx: Transaction, event: Event) -> None:
        match cast("MessageWithdrawn", event.data).reason:
            case "unfit":
                raise Unprocessable("the sample cannot use it", reason="unusable")
            case "fault":
                raise RuntimeError("a fault of the sample")
            case "say":
                tx.publish(MESSAGES_REQUESTED, _answer(event))
            case _:
                pass


def _marked(event: Event) -> str:
    return event.id + ("\0" if cast("MessageWithdrawn", event.data).reason == "nul" else "")


def _answer(event: Event) -> Event:
    said = cast("MessageWithdrawn", event.data)
    data = WithdrawMessage(message_id=said.message_id, person_id=said.person_id, reason="said")
    return event.replace(id=EventId(derive_id(event.id, "said")), source="stet/sample", type=data.kind, data=data)


class Shaky:
    """A task that fails a few times before it works, each time as SAMPLE_FAILURES says next."""

    def __init__(self) -> None:
        self._fails = [name for name in os.environ.get("SAMPLE_FAILURES", "").split(",") if name]

    async def run(self) -> None:
        match self._fails.pop(0) if self._fails else "":
            case "error":
                raise KeyError("a surprise of a library")
            case "group":
                async with asyncio.TaskGroup() as group:
                    group.create_task(_fail(ValueError("one of several")))
            case "ends":
                return
            case "cancelled":
                answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                answer.cancel()
                await answer
            case "misconfigured":
                async with asyncio.TaskGroup() as group:
                    group.create_task(_fail(Misconfigured("SAMPLE_FAILURES", "cannot be so")))
            case "fenced":
                raise Fenced("somebody else has read on")
            case _:
                get_logger().info("shaky.works")
                await asyncio.Event().wait()


async def _fail(error: Exception) -> None:
    raise error


async def main() -> None:
    settings = load_settings(ServiceSettings)
    async with service_process(settings, SERVICE) as process:
        process.consume([MESSAGES_EVENTS], SampleService(f"worker-{os.getpid()}"))
        process.task("shaky", Shaky().run)
        await process.run_until_stopped()


if __name__ == "__main__":
    run_service(main)

"""The sample service, whose first consumer stops reading after its first records, as SAMPLE_STALL says.

``errors``: the client raises an error at every poll, as aiokafka does once a task of its own has died, and does not
stop. ``paused``: its partitions are paused for ever. The observations come twice a second instead of each ten seconds.
"""

import asyncio
import os
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from shared.runtime import consumer, progress
from shared.runtime.service import run_service
from tests.shared.promise.sample_service import main

_STALL = os.environ["SAMPLE_STALL"]
_poll, _stop = AIOKafkaConsumer.getmany, AIOKafkaConsumer.stop
_stalled: list[Any] = []


async def _getmany(self: Any, *partitions: Any, **options: Any) -> Any:
    if _stalled and _stalled[0] is self and _STALL == "errors":
        raise KafkaError("a task of the client has died")
    records = await _poll(self, *partitions, **options)
    if records and not _stalled:
        _stalled.append(self)
        if _STALL == "paused":
            self.pause(*self.assignment())
    return records


async def _never_stop(self: Any) -> None:
    if _stalled and _stalled[0] is self and _STALL == "errors":
        await asyncio.Event().wait()
    await _stop(self)


if __name__ == "__main__":
    AIOKafkaConsumer.getmany, AIOKafkaConsumer.stop = _getmany, _never_stop
    progress._RANGE_CHECK_SECONDS = 0.5
    consumer._STOP_SECONDS = 1.0
    run_service(main)

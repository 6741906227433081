"""Which files are fetched now: those that are due, and those put off by a clock that was set back since."""

from datetime import timedelta

import pytest

from services.ingest.media.file_rows import MediaQueue, add_files
from shared.contracts.ids import Line, PersonId, Wamid
from shared.contracts.whatsapp import Media, MessageKind, MessageReceived
from shared.runtime.clock import SystemClock, machine_now
from shared.runtime.postgres import Pool
from tests.services.ingest.payloads import CONTEXT

pytestmark = pytest.mark.integration
AHEAD = [(timedelta(minutes=10), False), (timedelta(days=3), True)]
"""How far ahead of the clock of now an instant is, and whether the one that noted it must have been set back."""


async def add_file(pool: Pool) -> None:
    message = MessageReceived(
        person_id=PersonId("p1"),
        message_id=Wamid("wamid.1"),
        line=Line("main"),
        at=machine_now(),
        message_kind=MessageKind.MEDIA,
        media=Media(media_id="4711", mime="application/pdf", file_id="9b2f0c6d"),
    )
    await add_files(pool, CONTEXT.tenant, [message], None)


async def test_a_file_is_fetched_again_in_time(pool: Pool) -> None:
    await add_file(pool)
    queue = MediaQueue(pool, SystemClock(), CONTEXT.tenant)
    for ahead, is_due in AHEAD:
        await pool.execute("update media_files set due_at = $1", machine_now() + ahead)
        assert (await queue.waiting()).due == int(is_due)
        assert len(await queue.claim(5, timedelta(minutes=1))) == int(is_due)

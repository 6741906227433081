"""What the heartbeat vouches for, and what opens a gap; in a real database."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus

import pytest

from services.ingest.door import Request
from services.ingest.handlers import WhatsApp
from services.ingest.measures import Measures
from services.ingest.records import Personal, Record, WebhookFrame
from services.ingest.updates import Bad
from services.ingest.watch import Stream, Watch
from shared.contracts.errors import Unavailable
from shared.contracts.ids import Line, TenantId
from shared.contracts.whatsapp import WebhookConfirmed, WebhookGapOpened
from shared.runtime.clock import SystemClock, machine_now
from shared.runtime.postgres import Pool
from tests.services.ingest.outbox import empty, left
from tests.services.ingest.payloads import PSEUDONYMS, status, statuses, webhook
from tests.services.ingest.service import APP_SECRET, VERIFY_TOKEN, signed

pytestmark = pytest.mark.integration
BODY = webhook(statuses(status()))


@dataclass
class Heart:
    """A watch whose readiness the test decides; each beat gives what it said."""

    pool: Pool
    measures: Measures
    stream: Stream = field(default_factory=Stream)
    ready: bool = True

    def __post_init__(self) -> None:
        hour = timedelta(hours=1)
        self.watch = Watch(
            self.stream, self.pool, SystemClock(), TenantId("pelican"), "1", hour, hour, self.measures, self.look
        )

    async def look(self) -> bool:
        return self.ready

    async def beat(self) -> tuple[list[str], bool]:
        """Reasons of gaps opened, and whether it vouches for the time since the beat before."""
        before = machine_now()
        await empty(self.pool)
        await self.watch.beat()
        said = [event.data for event in await left(self.pool)]
        spans = [one for one in said if isinstance(one, WebhookConfirmed)]
        assert all(span.since <= span.until for span in spans)
        vouched = any(span.since < before - timedelta(milliseconds=1) and span.since < span.until for span in spans)
        return [one.reason for one in said if isinstance(one, WebhookGapOpened)], vouched


@pytest.fixture
async def heart(pool: Pool, measures: Measures) -> Heart:
    """It has begun, and has vouched."""
    heart = Heart(pool, measures)
    await heart.beat()
    assert await heart.beat() == ([], True)
    return heart


async def test_it_begins_with_the_first_time_it_is_ready_and_still_is(pool: Pool, measures: Measures) -> None:
    heart = Heart(pool, measures, ready=False)
    heart.stream.tear("restarted")
    assert [await heart.beat() for _ in range(2)] == [([], False)] * 2
    assert await left(pool) == []
    heart.ready = True
    assert await heart.beat() == ([], False)
    assert await left(pool) == []
    assert [await heart.beat() for _ in range(2)] == [([], False), ([], True)]


async def test_unready_is_a_gap_until_it_was_ready_for_two_heartbeats(heart: Heart) -> None:
    heart.ready = False
    assert [await heart.beat() for _ in range(2)] == [(["unready"], False), ([], False)]
    heart.ready = True
    assert [await heart.beat() for _ in range(2)] == [([], False), ([], True)]


async def test_an_unready_answer_to_a_probe_between_two_heartbeats_is_a_gap(heart: Heart) -> None:
    heart.stream.miss()
    assert await heart.beat() == (["unready"], False)


async def test_room_that_was_wanting_is_a_gap(heart: Heart) -> None:
    heart.stream.tear("full")
    assert await heart.beat() == (["full"], False)


async def test_what_may_be_whatsapps_with_a_secret_we_lack_is_a_gap_unless_a_good_one_follows(heart: Heart) -> None:
    heart.stream.doubt()
    heart.stream.trust()
    assert await heart.beat() == ([], True)
    heart.stream.trust()
    heart.stream.doubt()
    assert await heart.beat() == (["signature"], False)


async def test_what_comes_while_it_asks_is_left_to_the_next_heartbeat(heart: Heart) -> None:
    async def refuses_meanwhile() -> bool:
        heart.stream.tear("refused")
        return True

    heart.watch = Watch(**{name: getattr(heart.watch, name) for name in Watch.__slots__} | {"ready": refuses_meanwhile})
    assert await heart.beat() == (["refused"], False)


class Neighbours:
    """A broker that may fail; the database is not needed for statuses."""

    def __init__(self, fault: Exception | None) -> None:
        self.fault = fault

    async def publish(self, records: Sequence[Record]) -> None:
        assert len(records) == 1
        if self.fault is not None:
            raise self.fault

    async def settle(self, updates: Sequence[Personal], frame: WebhookFrame) -> list[Record]:
        raise NotImplementedError

    async def park(self, bad: Sequence[Bad], door: str) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("fault", "torn"), [(None, False), (Unavailable("gone"), True), (RuntimeError(), True), (TimeoutError(), True)]
)
async def test_every_signed_webhook_that_is_not_answered_200_tears(
    measures: Measures, fault: Exception | None, *, torn: bool
) -> None:
    stream, neighbours = Stream(), Neighbours(fault)
    whatsapp = WhatsApp(
        records=neighbours, persons=neighbours, parking=neighbours, stream=stream, measures=measures,
        clock=SystemClock(), tenant=TenantId("pelican"), lines={"106540352242922": Line("house")},
        app_secrets=(APP_SECRET.encode(),), verify_token=VERIFY_TOKEN, pseudonyms=PSEUDONYMS,
    )  # fmt: skip
    headers = {name.lower().encode(): value.encode() for name, value in signed(BODY).items()}
    try:
        answer = (await whatsapp.receive(Request("POST", "/whatsapp/webhook", headers, b"", BODY))).status
    except RuntimeError:
        answer = HTTPStatus.INTERNAL_SERVER_ERROR
    assert (answer == HTTPStatus.OK, stream.torn is not None) == (not torn, torn)
    assert stream.arrived == {}

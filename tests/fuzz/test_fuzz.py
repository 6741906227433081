"""Some twenty thousand inputs in ``make test``; FUZZ_COUNT and FUZZ_SEED make it more, or others (``make fuzz``)."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rich.console import Console

from tests.fuzz.corpus import payloads_folder
from tests.fuzz.live import Live, pushed_bodies, running, webhook_bodies
from tests.fuzz.run import Failure, keep, run, show

COUNT, SEED = int(os.environ.get("FUZZ_COUNT", "20000")), int(os.environ.get("FUZZ_SEED", "20270303"))
KEPT = Path(__file__).parents[2] / ".run" / "fuzz"
LIVE = COUNT // 50
"""Go to a real process with a real broker and a real database."""


@pytest.mark.fuzz
@pytest.mark.timeout(0 if COUNT > 100_000 else 600)
def test_no_input_crashes_a_service_is_lost_or_takes_long() -> None:
    console = Console(file=sys.stdout, width=120)
    if payloads_folder() is None:
        console.print("no published webhooks here (STET_PAYLOADS): the project's own are changed instead")
    reports = run(SEED, COUNT - LIVE, console)
    show(console, SEED, reports)
    failures = [failure for report in reports.values() for failure in report.failures]
    assert keep(KEPT, SEED, failures) == []
    assert sum(report.counts.inputs for report in reports.values()) >= (COUNT - LIVE) * 0.99


@pytest.fixture
async def live(kafka_bootstrap: str, postgres_database: str, run_folder: Path) -> AsyncIterator[Live]:
    async with running(kafka_bootstrap, postgres_database, run_folder) as process:
        yield process


@pytest.mark.integration
@pytest.mark.timeout(0 if COUNT > 100_000 else 600)
async def test_each_update_is_published_or_parked_and_nothing_else_is(live: Live) -> None:
    console = Console(file=sys.stdout, width=120)
    webhooks, events = webhook_bodies(SEED, LIVE * 3 // 4), pushed_bodies(SEED, LIVE // 4)
    await live.send_webhooks(webhooks)
    await live.send_events(events)
    missing, unforeseen = await live.missing_and_unforeseen()
    found = [Failure("missing", each.encode(), "") for each in missing]
    found += [Failure("unforeseen", each.encode(), "") for each in unforeseen]
    assert keep(KEPT, SEED, found) == []
    console.print(f"seed {SEED}: {live.counts}")

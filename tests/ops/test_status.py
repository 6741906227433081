"""The metrics of running replicas, as ``stet status`` reads them."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web

from dev.ports import free_ports
from ops.status import ReplicaMetrics, fetch_metrics, replica_lines
from shared.runtime.clock import machine_now


@pytest.fixture
def headless(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name ``health-rules`` stands for three addresses, as that of a headless Service does."""
    resolve = asyncio.BaseEventLoop.getaddrinfo

    async def resolve_name(loop: Any, host: Any, *arguments: Any, **options: Any) -> Any:
        hosts = ("127.0.0.1", "127.0.0.2", "127.0.0.3") if host == "health-rules" else (host,)
        return [found for one in hosts for found in await resolve(loop, one, *arguments, **options)]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve_name)


@pytest.mark.usefixtures("headless")
async def test_every_replica_that_a_name_stands_for_is_asked() -> None:
    (port,) = free_ports(1)
    async with _metrics_page("127.0.0.1", port), _metrics_page("127.0.0.2", port):
        replicas = await fetch_metrics({f"http://health-rules:{port}": ""})
    assert replicas.asked == 3
    assert [value for _, value in replicas.values("stet_up")] == [1.0, 1.0]
    assert replicas.away == {f"health-rules http://127.0.0.3:{port}": "connection refused"}


async def test_a_name_that_stands_for_nothing_is_away() -> None:
    replicas = await fetch_metrics({"http://health-rules.invalid:9090": ""})
    assert replicas.away == {"http://health-rules.invalid:9090": "no host of this name"}


async def test_a_service_of_a_stack_that_is_away_is_named() -> None:
    (port,) = free_ports(1)
    replicas = await fetch_metrics({f"http://127.0.0.1:{port}": "writeback"})
    assert replicas.away == {f"writeback http://127.0.0.1:{port}": "connection refused"}


@pytest.mark.parametrize(
    ("metric", "label", "hint"),
    [
        ("stet_outbox_blocked_topics", {"service": "rules"}, "stet topics check"),
        ("stet_rulebook_refused", {}, "stet rules rollout status"),
        ("stet_secret_refused", {"secret": "STET_WHATSAPP_TOKEN"}, "docs/operations/runbooks/StetSecretRefused.md"),
    ],
)
def test_a_problem_that_replicas_report_is_shown_with_a_hint(metric: str, label: dict[str, str], hint: str) -> None:
    (wrong,) = [line for line in replica_lines(ReplicaMetrics(1, [(metric, label, 1.0)])) if line.wrong]
    assert wrong.hint == hint
    assert not any(line.wrong for line in replica_lines(ReplicaMetrics(1, [(metric, label, 0.0)])))


@asynccontextmanager
async def _metrics_page(host: str, port: int) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_get("/metrics", _page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def _page(_: web.Request) -> web.Response:
    return web.Response(text="stet_up 1\n", headers={"Date": format_datetime(machine_now() + _AHEAD[0], usegmt=True)})


_AHEAD = [timedelta()]


@pytest.mark.parametrize(
    ("ahead", "shown"),
    [(timedelta(seconds=3), []), (timedelta(hours=1), ["ahead of"]), (timedelta(minutes=-5), ["behind"])],
)
async def test_a_replica_whose_clock_differs_is_named(
    ahead: timedelta, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "_AHEAD", [ahead])
    (port,) = free_ports(1)
    async with _metrics_page("127.0.0.1", port):
        lines = replica_lines(await fetch_metrics({f"http://127.0.0.1:{port}": "rules"}))
    found = [line for line in lines if line.area == "clock"]
    assert [(line.name, line.wrong) for line in found] == [(f"rules http://127.0.0.1:{port}", True)] * len(shown)
    assert [f" s {word} the clock of this machine" in str(found[0].value) for word in shown] == [True] * len(shown)


def test_a_pause_of_writing_is_shown_with_its_reason() -> None:
    paused, not_paused = {"reason": "unreadable"}, {"reason": "down"}
    samples = [("stet_writes_paused", paused, 1.0), ("stet_writes_paused", not_paused, 0.0)]
    lines = [line for line in replica_lines(ReplicaMetrics(1, samples)) if line.area == "writes"]
    assert [(line.value, line.wrong) for line in lines] == [("unreadable", True)]


@pytest.mark.parametrize(("warning", "hint"), [(0.0, ""), (1.0, "StetBudgetNearlySpent.md")])
def test_the_cost_of_the_month_is_shown_beside_its_budget_and_wrong_once_it_warns(warning: float, hint: str) -> None:
    of_leader = {"month_budget_units": 500.0, "month_cost_units": 420.5, "budget_warning": warning}
    samples = [(f"stet_{name}", {"service": "dispatcher"}, value) for name, value in of_leader.items()]
    of_other = [(f"stet_{name}", {"service": "dispatcher"}, 0.0) for name in of_leader]
    (line,) = [one for one in replica_lines(ReplicaMetrics(2, [*of_other, *samples])) if one.area == "budget"]
    assert (line.value, line.wrong, line.hint.endswith(hint)) == ("420.50 of 500.00", bool(warning), True)
    assert not [one for one in replica_lines(ReplicaMetrics(1, of_other)) if one.area == "budget"]

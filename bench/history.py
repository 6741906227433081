"""Compares two rulebooks over 100,000 events, as ``stet rules diff`` does: one in ten matches a rule, and tells two."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.records import people_records, stage_change_records, work_records
from bench.results import BenchResult
from bench.rule_folders import write_notice_rules
from dev.layout import TENANT
from services.rules.analysis.bundle import EVENT_KINDS, Bundle, BundleHead
from services.rules.analysis.diff import diff_bundle
from services.rules.rulebook.rule_folder import read_folder
from shared.contracts.envelope import Event, parse_event
from shared.contracts.ids import TenantId

_EVENTS = 100_000
_PEOPLE = 2_000
_RULES = (200, 2_000)
_TARGET_SECONDS = 60.0
_START = datetime(2027, 3, 1, 8, tzinfo=UTC)
_APART = timedelta(seconds=12)


async def measure(_: float) -> AsyncIterator[BenchResult]:
    """The target is absolute: the time in which a pull request gets its comment."""
    for rules in _RULES:
        yield _compare(rules)


def _compare(rules: int) -> BenchResult:
    with TemporaryDirectory() as folder:
        base = read_folder(write_notice_rules(Path(folder) / "rules", rules))
    head = {
        name: text.replace(
            "say: bench_notice", "say: bench_notice\n  - after: 3 days\n    tell: author\n    say: bench_notice"
        )
        for name, text in base.items()
    }
    bundle = _bundle(rules)
    began = time.perf_counter()
    found = diff_bundle(base, head, bundle, f"{_EVENTS:,} events")
    seconds = time.perf_counter() - began
    return BenchResult(
        name=f"diff of {rules:,} changed rules over {_EVENTS:,} events ({len(found.changes):,} messages differ)",
        floor="",
        ours=f"{seconds:.1f} s",
        ratio=None,
        target=f"≤ {_TARGET_SECONDS:.0f} s",
        is_met=seconds <= _TARGET_SECONDS and bool(found.changes),
    )


def _bundle(rules: int) -> Bundle:
    known = [*people_records(_PEOPLE, _START), *work_records(_START)]
    changes = stage_change_records(0, _EVENTS, rules, _START)
    events = [_event(raw) for _, raw in known]
    events += [_at(_event(raw), _START + number * _APART) for number, (_, raw) in enumerate(changes)]
    until = _START + _EVENTS * _APART
    head = BundleHead(tenant=TenantId(TENANT), written_at=until, since=_START, until=until)
    return replace(Bundle(head), events=events)


def _event(raw: bytes) -> Event:
    return parse_event(raw, EVENT_KINDS)


def _at(event: Event, at: datetime) -> Event:
    return event.replace(time=at, recordedtime=at)

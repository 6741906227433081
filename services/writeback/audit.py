"""The checks of writeback's conservation audit: writes are settled or have a task, and evidence proves it."""

from collections.abc import Iterable
from datetime import timedelta

from services.writeback.attachments import FILES_WAIT
from shared.runtime.audit import Hop, StateHop, WindowHop
from shared.runtime.postgres import load_queries

QUERIES = load_queries(__file__, "audit.sql")

WRITE_BUDGET = FILES_WAIT + timedelta(minutes=5)
"""A write may wait for its files, and is then verified within a minute, if Consonance is not away for a while."""

TASK_BUDGET = timedelta(minutes=1)
EVIDENCE_BUDGET = timedelta(minutes=1)
"""Both are written in the transaction of the outcome."""


def audit_hops() -> Iterable[Hop]:
    yield StateHop("write", QUERIES.unsettled_writes, QUERIES.plant_write, WRITE_BUDGET)
    yield StateHop("task", QUERIES.writes_without_task, QUERIES.plant_manual_write, TASK_BUDGET)
    yield WindowHop("evidence", QUERIES.writes_without_evidence, QUERIES.plant_settled_write, EVIDENCE_BUDGET)

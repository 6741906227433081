"""The checks of the conservation audit of rules: events have decisions, due steps run, requests are answered."""

from collections.abc import Iterable, Iterator
from datetime import timedelta

import msgspec

from shared.contracts.topics import READ_BACK
from shared.runtime.audit import GapReason, Hop, StateHop
from shared.runtime.postgres import load_queries
from shared.runtime.settings import ServiceSettings
from shared.runtime.topic_audit import TopicHop, TopicReader, event_id

QUERIES = load_queries(__file__, "audit.sql")

DECISION_BUDGET = timedelta(minutes=5)
"""A decision follows within 30 seconds; the rest is what the relay may need after a kill, and a restart of a broker."""

RUN_BUDGET = timedelta(minutes=10)
"""A due step runs within seconds, once its partitions are read; a partition held for five minutes is logged."""

MESSAGE_BUDGET = timedelta(hours=1)
"""After its expiry, at which the dispatcher drops it; what it reports then comes within seconds."""

WRITE_BUDGET = timedelta(days=1)
"""Writeback reports a write at once, unless it stands behind a manual task: a person is given a day for that."""


class _Data(msgspec.Struct):
    about: str | None = None
    events: tuple[str, ...] = ()


class _Decision(msgspec.Struct):
    data: _Data


_DECODER = msgspec.json.Decoder(_Decision)


def decided_events(value: bytes) -> Iterator[str]:
    """The events that a record of the topic ``decisions`` is about; none for a record that cannot be read."""
    try:
        data = _DECODER.decode(value).data
    except msgspec.DecodeError:
        return
    if data.about is not None:
        yield data.about
    yield from data.events


def audit_hops(settings: ServiceSettings) -> Iterable[Hop]:
    (decisions,) = READ_BACK["rules"]
    yield TopicHop(
        "decision",
        TopicReader(settings, decisions),
        decided_events,
        event_id,
        QUERIES.entered_events,
        QUERIES.undecided_events,
        QUERIES.plant_event,
        GapReason.EVENT_NOT_DECIDED,
        DECISION_BUDGET,
    )
    yield StateHop("waiting_event", QUERIES.overdue_waits, QUERIES.plant_wait, RUN_BUDGET)
    yield StateHop("due_step", QUERIES.overdue_steps, QUERIES.plant_step, RUN_BUDGET)
    yield StateHop("message_outcome", QUERIES.unreported_messages, QUERIES.plant_message, MESSAGE_BUDGET)
    yield StateHop("write_outcome", QUERIES.unreported_writes, QUERIES.plant_write, WRITE_BUDGET)

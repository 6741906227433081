"""The checks of ingest's conservation audit: accepted events are published, webhooks arrive, polls end."""

from collections.abc import Iterable, Iterator
from datetime import timedelta

import msgspec

from shared.contracts.topics import READ_BACK
from shared.runtime.audit import GapReason, Hop, StateHop
from shared.runtime.postgres import load_queries
from shared.runtime.settings import ServiceSettings
from shared.runtime.topic_audit import TopicHop, TopicReader

QUERIES = load_queries(__file__, "audit.sql")

PUBLICATION_BUDGET = timedelta(minutes=5)
"""The event was published before its sender got an answer; the rest is for clocks that differ."""

COVERAGE_BUDGET = timedelta(minutes=10)
"""Heartbeats come every few seconds; a restart of all replicas takes less."""

POLL_BUDGET = timedelta(days=1)
"""A pass over a large catalogue may take hours, and goes on after a restart."""


class _Envelope(msgspec.Struct):
    id: str
    source: str
    tenantid: str


_DECODER = msgspec.json.Decoder(_Envelope)


def published_events(value: bytes) -> Iterator[str]:
    """The subject of a record of ``consonance.events``; none for a record that cannot be read."""
    try:
        event = _DECODER.decode(value)
    except msgspec.DecodeError:
        return
    yield f"{event.tenantid} {event.source} {event.id}"


def audit_hops(settings: ServiceSettings) -> Iterable[Hop]:
    (events,) = READ_BACK["ingest"]
    yield TopicHop(
        "event",
        TopicReader(settings, events),
        published_events,
        str,
        QUERIES.received_events,
        QUERIES.unpublished_events,
        QUERIES.plant_received_event,
        GapReason.EVENT_NOT_PUBLISHED,
        PUBLICATION_BUDGET,
    )
    yield StateHop(
        "coverage", QUERIES.unconfirmed_coverage, QUERIES.plant_coverage, COVERAGE_BUDGET, is_business_time=False
    )
    yield StateHop("poll", QUERIES.unfinished_polls, QUERIES.plant_poll, POLL_BUDGET)

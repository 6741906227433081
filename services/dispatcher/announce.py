"""``messages.events``: what became of a message, as an event with an id that follows from what it says. Pure."""

from datetime import datetime

from msgspec import Struct

from shared.contracts.envelope import Event
from shared.contracts.ids import EventId, TenantId, derive_id, partition_key
from shared.contracts.messages import MessageEventData, MessageResolved

SOURCE = "stet/dispatcher"


class Origin(Struct, frozen=True):
    """The request a message came with: what its events are correlated to."""

    request_event: str
    correlation_id: str | None
    traceparent: str | None


def event_of(
    news: MessageEventData, attempt: int, origin: Origin, tenant: TenantId, now: datetime, cause: EventId | None = None
) -> Event:
    """``cause`` is the event that brought the news; without one it is the request itself."""
    resolution = (news.resolution,) if isinstance(news, MessageResolved) else ()
    return Event(
        id=EventId(derive_id(news.message_id, news.kind, attempt, *resolution)),
        source=SOURCE,
        type=news.kind,
        time=news.at,
        recordedtime=now,
        tenantid=tenant,
        partitionkey=partition_key(tenant, "persons", news.person_id),
        correlationid=origin.correlation_id,
        causationid=cause or origin.request_event,
        traceparent=origin.traceparent,
        data=news,
    )

"""Messages, standings and instants for the dispatcher's tests."""

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from services.dispatcher.payload import Address, Spoken
from services.dispatcher.plan import History, Queued
from services.dispatcher.standing import Standing
from services.dispatcher.states import State
from shared.contracts.ids import MessageId, PersonId, Wamid
from shared.contracts.messages import Resend, Wording

NOON = datetime(2026, 9, 14, 12, 0, tzinfo=UTC)
WAMID = Wamid("wamid.one")
TEMPLATE = {"name": "stage_told_v1", "language": "en", "parameters": {"title": "The Long Way"}}
REACHED = Address("+441632960001", None)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def queued(**changes: Any) -> Queued:
    message = Queued(
        message_id="m1",
        person_id="p1",
        line="main",
        spoken=Spoken("The proofs are ready.", template=TEMPLATE),
        requested_at=NOON,
        expires_at=NOON + timedelta(days=2),
    )
    return replace(message, **changes)


def history(**changes: Any) -> History:
    return replace(History(line_known=True, person_known=True, address=REACHED, window_opened_at=NOON), **changes)


def standing(**changes: Any) -> Standing:
    message = Standing(
        message_id=MessageId("m1"),
        person_id=PersonId("p1"),
        line="main",
        state=State.WAITING,
        reason=None,
        resend=Resend.NEVER,
        has_template=True,
        expires_at=NOON + timedelta(days=2),
        not_before=NOON,
    )
    return replace(message, **changes)


def in_flight(**changes: Any) -> Standing:
    begun = {"state": State.INTENT, "attempts": 1, "wording": Wording.FREE_TEXT}
    return standing(**(begun | changes))

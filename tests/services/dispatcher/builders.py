"""Builds messages, contexts and instants for the tests of the dispatcher's pure parts."""

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from services.dispatcher.message_state import MessageState, TrackedMessage
from services.dispatcher.payload import MessageContent, RecipientAddress
from services.dispatcher.planner import QueuedMessage, SendContext
from shared.contracts.ids import MessageId, PersonId, Wamid
from shared.contracts.messages import MessageForm, Resend

NOON = datetime(2026, 9, 14, 12, 0, tzinfo=UTC)
WAMID = Wamid("wamid.one")
TEMPLATE = {"name": "stage_told_v1", "language": "en", "parameters": {"title": "The Long Way"}}
REACHED = RecipientAddress("+441632960001", None)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def queued_message(**changes: Any) -> QueuedMessage:
    message = QueuedMessage(
        message_id="m1",
        person_id="p1",
        line="main",
        content=MessageContent("The proofs are ready.", template=TEMPLATE),
        requested_at=NOON,
        expires_at=NOON + timedelta(days=2),
    )
    return replace(message, **changes)


def send_context(**changes: Any) -> SendContext:
    return replace(SendContext(person_known=True, address=REACHED, window_opened_at=NOON), **changes)


def tracked_message(**changes: Any) -> TrackedMessage:
    message = TrackedMessage(
        message_id=MessageId("m1"),
        person_id=PersonId("p1"),
        line="main",
        state=MessageState.WAITING,
        reason=None,
        resend=Resend.NEVER,
        expires_at=NOON + timedelta(days=2),
        not_before=NOON,
        template=("stage_told_v1", "en"),
    )
    return replace(message, **changes)


def begun_message(**changes: Any) -> TrackedMessage:
    begun = {"state": MessageState.INTENT, "attempts": 1, "wording": MessageForm.FREE_TEXT}
    return tracked_message(**(begun | changes))

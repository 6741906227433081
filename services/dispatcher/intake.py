"""What rules asks: messages join the queue, withdrawals take them out again while that is possible."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from services.dispatcher.advance import Change, Progress
from services.dispatcher.announce import Origin, event_of
from services.dispatcher.queue import Queue
from services.dispatcher.standing import Standing, Step, called_back
from services.dispatcher.states import State
from shared.contracts.envelope import Event
from shared.contracts.messages import MessageWithdrawn, SendMessage, WithdrawMessage
from shared.contracts.topics import MESSAGES_EVENTS
from shared.runtime.transaction import Transaction

WAKE = "stet_dispatcher_wake"
"""The channel that tells the sender there is something to do."""

CALLED_BACK = "stet_dispatcher_called_back"
"""The channel that names messages whose request must not begin any more."""


@dataclass(frozen=True, slots=True)
class Intake:
    queue: Queue
    progress: Progress

    async def add(self, tx: Transaction, requests: Sequence[tuple[SendMessage, Event]]) -> None:
        await self.queue.add(tx.connection, requests, tx.now)
        await tx.connection.execute("select pg_notify($1, '')", WAKE)

    async def withdraw(self, tx: Transaction, requests: Sequence[tuple[WithdrawMessage, Event]]) -> None:
        """A withdrawal that comes before its message is remembered, so that the message is never queued."""
        changes = [
            Change(request.message_id, partial(_withdrawn, request.reason, tx), event.id) for request, event in requests
        ]
        known = await self.progress.advance(tx, changes)
        for message_id, standing in known.items():
            if standing.state is State.INTENT:
                await tx.connection.execute("select pg_notify($1, $2)", CALLED_BACK, message_id)
        early = [(request, event) for request, event in requests if request.message_id not in known]
        if early:
            await self._remember(tx, early)

    async def _remember(self, tx: Transaction, requests: Sequence[tuple[WithdrawMessage, Event]]) -> None:
        reasons = {request.message_id: request.reason for request, _ in requests}
        await self.queue.remember_withdrawals(tx.connection, reasons, tx.now)
        for request, event in requests:
            news = MessageWithdrawn(
                message_id=request.message_id, person_id=request.person_id, at=tx.now, reason=request.reason
            )
            origin = Origin(event.id, event.correlationid, event.traceparent)
            tx.publish(MESSAGES_EVENTS, event_of(news, 0, origin, self.progress.tenant, tx.now))


def _withdrawn(reason: str, tx: Transaction, standing: Standing) -> Step:
    return called_back(standing, reason, tx.now)

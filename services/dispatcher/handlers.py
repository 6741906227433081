"""What each topic does to the ledger: one batch, one transaction, in an order that makes the batch's own harmless.

People and windows first (they only add what is known), then new messages, withdrawals, and at last what proves sends.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from services.dispatcher.evidence import Told
from services.dispatcher.windows import opens
from shared.contracts.contacts import PersonObserved
from shared.contracts.envelope import Event, EventData
from shared.contracts.ids import EventId
from shared.contracts.messages import SendMessage, WithdrawMessage
from shared.contracts.topics import CONTACTS, MESSAGES_REQUESTED, WHATSAPP_ACCOUNT, WHATSAPP_MESSAGES, WHATSAPP_STATUSES
from shared.contracts.whatsapp import (
    AccountReported,
    MessageReceived,
    StatusReported,
    WebhookConfirmed,
    WebhookGapOpened,
)
from shared.runtime.batch import ReceivedEvent
from shared.runtime.postgres import Connection
from shared.runtime.transaction import Transaction

TOPICS = (CONTACTS, WHATSAPP_MESSAGES, WHATSAPP_STATUSES, WHATSAPP_ACCOUNT, MESSAGES_REQUESTED)
_D = TypeVar("_D", bound=EventData)


class People(Protocol):
    async def observe(self, connection: Connection, states: Sequence[PersonObserved], now: datetime) -> None: ...
    async def open_windows(
        self, connection: Connection, messages: Sequence[MessageReceived], now: datetime
    ) -> None: ...


class Intake(Protocol):
    async def add(self, tx: Transaction, requests: Sequence[tuple[SendMessage, Event]]) -> None: ...
    async def withdraw(self, tx: Transaction, requests: Sequence[tuple[WithdrawMessage, Event]]) -> None: ...


class Proofs(Protocol):
    async def hear(self, tx: Transaction, told: Sequence[Told]) -> None: ...
    async def taps(self, tx: Transaction, messages: Sequence[tuple[MessageReceived, EventId]]) -> None: ...


class Account(Protocol):
    async def hear(
        self, connection: Connection, said: AccountReported | WebhookConfirmed | WebhookGapOpened, now: datetime
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """The handler of all the dispatcher's topics."""

    people: People
    intake: Intake
    proofs: Proofs
    account: Account

    def locks(self, batch: Sequence[ReceivedEvent]) -> Iterable[str]:
        """None: what two batches may both touch is a row, and rows are locked in one order."""
        del batch
        return ()

    async def handle(self, tx: Transaction, batch: Sequence[ReceivedEvent]) -> None:
        events = [received.event for received in batch]
        await self._hear_of_people(tx, events)
        if requests := _of(events, SendMessage):
            await self.intake.add(tx, requests)
        if withdrawals := _of(events, WithdrawMessage):
            await self.intake.withdraw(tx, withdrawals)
        if messages := _of(events, MessageReceived):
            await self.proofs.taps(tx, [(message, event.id) for message, event in messages])
        if statuses := _of(events, StatusReported):
            await self.proofs.hear(tx, [Told(status, event.id) for status, event in statuses])
        for event in events:
            if isinstance(event.data, AccountReported | WebhookConfirmed | WebhookGapOpened):
                await self.account.hear(tx.connection, event.data, tx.now)

    async def _hear_of_people(self, tx: Transaction, events: Sequence[Event]) -> None:
        if states := [state for state, _ in _of(events, PersonObserved)]:
            await self.people.observe(tx.connection, states, tx.now)
        if opening := [message for message, _ in _of(events, MessageReceived) if opens(message)]:
            await self.people.open_windows(tx.connection, opening, tx.now)


def _of(events: Sequence[Event], kind: type[_D]) -> list[tuple[_D, Event]]:
    return [(event.data, event) for event in events if isinstance(event.data, kind)]

"""Handles the batches of every topic: each batch is one transaction.

Its parts are applied in a fixed order, so that each finds what it refers to: people and windows, new messages, their
amendments and withdrawals, and last the evidence of sends.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from services.dispatcher.account_limits import parse_limit_reports, warning_of, warning_report
from services.dispatcher.account_store import AccountStore
from services.dispatcher.delivery_evidence import DeliveryEvidence, ReceivedStatus
from services.dispatcher.document_store import DocumentStore
from services.dispatcher.message_state import MessageState, withdraw
from services.dispatcher.message_updates import MessageUpdate, MessageUpdater, message_event
from services.dispatcher.metrics import MessageTally
from services.dispatcher.people_store import PeopleStore, is_merged
from services.dispatcher.planner import opens_window
from services.dispatcher.store import MessageStore, RequestOrigin
from services.dispatcher.templates import (
    TemplateReport,
    parse_category_update,
    parse_quality_update,
    parse_status_update,
)
from shared.contracts.contacts import PersonObserved
from shared.contracts.envelope import Event, EventData
from shared.contracts.ids import MessageId
from shared.contracts.messages import AmendMessage, MessageWithdrawn, SendMessage, WithdrawMessage
from shared.contracts.topics import CONSUMED, MESSAGES_EVENTS
from shared.contracts.whatsapp import (
    AccountReported,
    MessageReceived,
    StatusReported,
    WebhookConfirmed,
    WebhookGapOpened,
)
from shared.runtime.batch import ReceivedEvent
from shared.runtime.clock import machine_now
from shared.runtime.outbox import Transaction
from shared.runtime.telemetry import get_logger

log = get_logger()

TOPICS = CONSUMED["dispatcher"]

WAKE_CHANNEL = "stet_dispatcher_wake"
"""Notifies the leader that there is something to send."""

WITHDRAWN_CHANNEL = "stet_dispatcher_withdrawn"
"""Notifies the leader of messages whose request must not begin any more."""


_TEMPLATE_FIELDS: Mapping[str, Callable[[Mapping[str, Any], datetime], TemplateReport | None]] = {
    "message_template_status_update": parse_status_update,
    "message_template_quality_update": parse_quality_update,
    "template_category_update": parse_category_update,
}
_D = TypeVar("_D", bound=EventData)


@dataclass(frozen=True, slots=True)
class DispatcherHandler:
    """Handles all topics of the dispatcher.

    Reports on the templates of other accounts than ``own_accounts`` are not kept: those accounts belong to other
    products of the same app. None where settings do not name the accounts of all lines.
    """

    people: PeopleStore
    store: MessageStore
    updater: MessageUpdater
    evidence: DeliveryEvidence
    account: AccountStore
    documents: DocumentStore
    own_accounts: Collection[str] | None = None

    def locks(self, batch: Sequence[ReceivedEvent]) -> Iterable[str]:
        """One for merges of people, which change ids that other merges lead to.

        Otherwise none: two batches can meet only in rows, and rows are locked in one order.
        """
        states = (received.event.data for received in batch if isinstance(received.event.data, PersonObserved))
        return {f"{self.people.tenant}/merges"} if any(map(is_merged, states)) else ()

    async def handle(self, tx: Transaction, batch: Sequence[ReceivedEvent]) -> None:
        events = [received.event for received in batch]
        await self._save_people(tx, events)
        amendments, withdrawals = _of_type(events, AmendMessage), _of_type(events, WithdrawMessage)
        known = await self._lock(
            tx, [*(one.message_id for one, _ in amendments), *(one.message_id for one, _ in withdrawals)]
        )
        if requests := _of_type(events, SendMessage):
            await self._add_requests(tx, requests)
            known.update(message.message_id for message, _ in requests)
        if amendments:
            await self._amend(tx, [amendment for amendment, _ in amendments], known)
        if withdrawals:
            await self._withdraw(tx, withdrawals)
        if messages := _of_type(events, MessageReceived):
            await self.evidence.apply_taps(tx, [(message, event.id) for message, event in messages])
        if statuses := _of_type(events, StatusReported):
            await self.evidence.apply_statuses(tx, [ReceivedStatus(status, event.id) for status, event in statuses])
        for event in events:
            await self._save_account(tx, event)

    async def _save_people(self, tx: Transaction, events: Sequence[Event]) -> None:
        if states := [state for state, _ in _of_type(events, PersonObserved)]:
            await self.people.save(tx.connection, states, tx.now)
        if opening := [message for message, _ in _of_type(events, MessageReceived) if opens_window(message)]:
            await self.people.open_windows(tx.connection, opening, tx.now)

    async def _add_requests(self, tx: Transaction, requests: Sequence[tuple[SendMessage, Event]]) -> None:
        await self.store.add(tx.connection, requests, tx.now)
        await self.documents.request(tx.connection, [message for message, _ in requests], machine_now())
        early = await self.store.take_early_amendments(tx.connection, [one.message_id for one, _ in requests])
        if early:
            await self.store.amend(tx.connection, early, tx.now)
        await tx.connection.execute("select pg_notify($1, '')", WAKE_CHANNEL)

    async def _lock(self, tx: Transaction, message_ids: Sequence[MessageId]) -> set[str]:
        """The known ones of the messages that a batch amends or withdraws.

        All are locked first: two batches that take the same messages in several steps would wait for each other.
        """
        return await self.store.lock(tx.connection, message_ids) if message_ids else set()

    async def _amend(self, tx: Transaction, amendments: Sequence[AmendMessage], known: Collection[str]) -> None:
        """An amendment that comes before its message is kept, and changes it as it comes."""
        await self.store.amend(tx.connection, [one for one in amendments if one.message_id in known], tx.now)
        early = [one for one in amendments if one.message_id not in known]
        await self.store.add_early_amendments(tx.connection, early, tx.now)
        await tx.connection.execute("select pg_notify($1, '')", WAKE_CHANNEL)

    async def _withdraw(self, tx: Transaction, requests: Sequence[tuple[WithdrawMessage, Event]]) -> None:
        """A withdrawal that comes before its message is kept, so that the message never enters the queue."""
        updates = [
            MessageUpdate(request.message_id, partial(withdraw, reason=request.reason), event.id)
            for request, event in requests
        ]
        known = await self.updater.apply(tx, updates)
        for message_id, message in known.items():
            if message.state is MessageState.INTENT:
                await tx.connection.execute("select pg_notify($1, $2)", WITHDRAWN_CHANNEL, message_id)
        early = [(request, event) for request, event in requests if request.message_id not in known]
        if early:
            await self._keep_early_withdrawals(tx, early)

    async def _keep_early_withdrawals(self, tx: Transaction, requests: Sequence[tuple[WithdrawMessage, Event]]) -> None:
        reasons = {request.message_id: request.reason for request, _ in requests}
        await self.store.add_early_withdrawals(tx.connection, reasons, tx.now)
        tally = MessageTally()
        for request, event in requests:
            withdrawn = MessageWithdrawn(
                message_id=request.message_id, person_id=request.person_id, at=tx.now, reason=request.reason
            )
            origin = RequestOrigin(event.id, event.correlationid, event.traceparent)
            tx.publish(MESSAGES_EVENTS, message_event(withdrawn, 0, origin, self.updater.tenant, tx.now))
            tally.add(withdrawn, origin)
        tx.on_commit(tally.publish)

    async def _save_account(self, tx: Transaction, event: Event) -> None:
        match event.data:
            case WebhookConfirmed() as heartbeat:
                await self.account.save_coverage(tx.connection, heartbeat.account, heartbeat.since, heartbeat.until)
            case WebhookGapOpened() as gap:
                await self.account.save_gap(tx.connection, gap.account, gap.since)
            case AccountReported(field=field) as report if field in _TEMPLATE_FIELDS:
                if self._is_own(report.account):
                    await self._save_template(tx, report)
            case AccountReported() as report:
                limits = parse_limit_reports(report)
                if (warning := warning_of(report)) is not None and self._is_own(report.account):
                    tx.on_commit(partial(log.warning, "account.warned", account=report.account, warning=warning))
                    limits.append(warning_report(warning, report.at))
                if limits:
                    await self.account.save_limits(tx.connection, report.account, report.at, limits)
            case _:
                pass

    def _is_own(self, account: str) -> bool:
        return self.own_accounts is None or account in self.own_accounts

    async def _save_template(self, tx: Transaction, report: AccountReported) -> None:
        found = _TEMPLATE_FIELDS[report.field](report.value, report.at)
        if found is not None:
            await self.account.save_template(tx.connection, report.account, found)


def _of_type(events: Sequence[Event], kind: type[_D]) -> list[tuple[_D, Event]]:
    return [(event.data, event) for event in events if isinstance(event.data, kind)]

"""What WhatsApp and ingest say of the account: templates paused or disabled, and how whole the webhook stream is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.dispatcher.plan import TemplateState
from shared.contracts.topics import PARTITIONS, WHATSAPP_MESSAGES, WHATSAPP_STATUSES
from shared.contracts.whatsapp import AccountReported, WebhookConfirmed, WebhookGapOpened
from shared.runtime.postgres import Connection, load_queries

_sql = load_queries(__file__, "account.sql")
_TEMPLATE_STATUS = "message_template_status_update"
_STATES: Mapping[str, TemplateState] = {
    "APPROVED": TemplateState.USABLE,
    "FLAGGED": TemplateState.USABLE,
    "REINSTATED": TemplateState.USABLE,
    "PAUSED": TemplateState.PAUSED,
    "LOCKED": TemplateState.PAUSED,
    "PENDING": TemplateState.PAUSED,
    "IN_APPEAL": TemplateState.PAUSED,
    "REJECTED": TemplateState.DISABLED,
    "DISABLED": TemplateState.DISABLED,
    "DELETED": TemplateState.DISABLED,
    "ARCHIVED": TemplateState.DISABLED,
}


@dataclass(frozen=True, slots=True)
class Span:
    """Machine time over which every account's webhooks are vouched for."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Account:
    tenant: str

    async def hear(
        self, connection: Connection, said: AccountReported | WebhookConfirmed | WebhookGapOpened, now: datetime
    ) -> None:
        match said:
            case WebhookConfirmed():
                await connection.execute(_sql.heard_whole, self.tenant, said.account, said.since, said.until)
            case WebhookGapOpened():
                await connection.execute(_sql.heard_gap, self.tenant, said.account, said.since)
            case AccountReported(field=field) if field == _TEMPLATE_STATUS:
                await self._template_said(connection, said, now)
            case AccountReported():
                pass

    async def whole_span(self, connection: Connection) -> Span | None:
        row = await connection.fetchrow(_sql.whole_span, self.tenant)
        return Span(row["since"], row["until"]) if row["since"] is not None else None

    async def read_up_to(self, connection: Connection) -> datetime | None:
        """The business instant up to which all that can prove a send has been read."""
        topics = [WHATSAPP_STATUSES.name, WHATSAPP_MESSAGES.name]
        read: datetime | None = await connection.fetchval(_sql.read_up_to, topics, len(topics) * PARTITIONS)
        return read

    async def _template_said(self, connection: Connection, said: AccountReported, now: datetime) -> None:
        told = read_template(said.value)
        if told is None:
            return
        name, language, state = told
        await connection.execute(_sql.template_said, self.tenant, name, language, state.value, said.at)
        if state is not TemplateState.PAUSED:
            await connection.execute(_sql.release, self.tenant, name, language, now)


def read_template(value: Mapping[str, Any]) -> tuple[str, str, TemplateState] | None:
    """Name, language and state; None for an event that changes nothing here."""
    name, language = value.get("message_template_name"), value.get("message_template_language")
    state = _STATES.get(str(value.get("event")).upper())
    if state is None or not isinstance(name, str) or not isinstance(language, str):
        return None
    return name, language, state

"""The leader's copy of what is known of templates: read anew when it is notified, and once a minute."""

import time
from dataclasses import dataclass, field

from services.dispatcher.account_store import AccountStore
from services.dispatcher.templates import NOTHING_KNOWN, TemplateKnowledge
from shared.runtime.postgres import Connection

_EVERY_SECONDS = 60.0  # a notification is lost where the connection was


@dataclass(slots=True)
class TemplateCache:
    store: AccountStore
    known: TemplateKnowledge = NOTHING_KNOWN
    _read_at: float | None = field(default=None, init=False)

    def expire(self, *_: object) -> None:
        """More is known than was read; a listener of PostgreSQL's NOTIFY."""
        self._read_at = None

    async def refresh(self, connection: Connection) -> None:
        now = time.monotonic()
        if self._read_at is None or now - self._read_at >= _EVERY_SECONDS:
            self._read_at = now  # before the query: what comes while it runs is read by the next
            self.known = await self.store.load_templates(connection)

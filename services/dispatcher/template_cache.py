"""The leader's copy of what is known of templates: read anew when it is notified, and once a minute.

WhatsApp may refuse a template in answer to a send, before anything is reported of it; that throttles the template. A
later report that it is usable ends the throttle, and what waited for it is planned anew.
"""

import time
from dataclasses import dataclass, field
from datetime import datetime

from services.dispatcher.account_store import AccountStore
from services.dispatcher.releases import PortionedRelease
from services.dispatcher.templates import NOTHING_KNOWN, TemplateKnowledge
from services.dispatcher.throttles import Throttles
from shared.runtime.postgres import Connection

_EVERY_SECONDS = 60.0  # a notification is lost where the connection was


@dataclass(slots=True)
class TemplateCache:
    store: AccountStore
    throttles: Throttles
    known: TemplateKnowledge = NOTHING_KNOWN
    _read_at: float | None = field(default=None, init=False)
    _is_started: bool = field(default=False, init=False)
    _release: PortionedRelease = field(init=False)

    def __post_init__(self) -> None:
        self._release = self.store.release_of_throttled()

    def start(self) -> None:
        """This replica became the leader; an earlier one may not have released everything."""
        self.expire()
        self._is_started = False

    def expire(self, *_: object) -> None:
        """More is known than was read; a listener of PostgreSQL's NOTIFY."""
        self._read_at = None

    async def refresh(self, connection: Connection, business: datetime) -> None:
        now = time.monotonic()
        if self._read_at is None or now - self._read_at >= _EVERY_SECONDS:
            self._read_at = now  # before the query: what comes while it runs is read by the next
            self.known = await self.store.load_templates(connection)
        if self.throttles.end_of_usable(self.known) or not self._is_started:
            self._is_started = True
            self._release.begin(business)
        await self._release.go_on(connection)

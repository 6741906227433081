"""The leader's copy of what is known of templates: read anew when it is notified, and once a minute.

Where it changes, every message that waits for a template is planned anew, because its fallback may be usable now.
WhatsApp may also refuse a template in answer to a send, before anything is reported of it; that throttles the template,
and a later report that it is usable ends the throttle.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from services.dispatcher.account_store import AccountStore
from services.dispatcher.releases import PortionedRelease
from services.dispatcher.templates import NOTHING_KNOWN, TemplateKnowledge, of_any_account
from services.dispatcher.throttles import Throttles
from shared.runtime.postgres import Connection

_EVERY_SECONDS = 60.0  # a notification is lost where the connection was


@dataclass(slots=True)
class TemplateCache:
    """``accounts``: the WhatsApp business account of each line, where settings name it."""

    store: AccountStore
    throttles: Throttles
    accounts: Mapping[str, str] = field(default_factory=dict)
    known: TemplateKnowledge = NOTHING_KNOWN
    """Of any account."""
    _by_account: Mapping[str, TemplateKnowledge] = field(default_factory=dict, init=False)
    _read_at: float | None = field(default=None, init=False)
    _is_released: bool = field(default=False, init=False)
    _release: PortionedRelease = field(init=False)

    def __post_init__(self) -> None:
        self._release = self.store.release_for_templates()

    def start(self) -> None:
        """This replica became the leader; an earlier one may not have released everything."""
        self.contradict()

    def expire(self, *_: object) -> None:
        """More is known than was read; a listener of PostgreSQL's NOTIFY."""
        self._read_at = None

    def contradict(self) -> None:
        """A message was held for a state that is not this copy's, and may be over before the copy has it."""
        self.expire()
        self._is_released = False

    def of(self, line: str) -> TemplateKnowledge:
        """The templates of the account that the line belongs to."""
        return self._of_account(self.accounts.get(line, ""))

    def _of_account(self, account: str) -> TemplateKnowledge:
        """Those of any account where no name is given."""
        return self._by_account.get(account, NOTHING_KNOWN) if account else self.known

    async def refresh(self, connection: Connection, business: datetime) -> None:
        now, before = time.monotonic(), self._by_account
        if self._read_at is None or now - self._read_at >= _EVERY_SECONDS:
            self._read_at = now  # before the query: what comes while it runs is read by the next
            self._by_account = await self.store.load_templates(connection)
            self.known = of_any_account(self._by_account.values())
        has_ended = self.throttles.end_of_usable(self._of_account)
        if has_ended or not self._is_released or _judgements(self._by_account) != _judgements(before):
            self._is_released = True
            self._release.begin(business)
        await self._release.go_on(connection)

    async def is_behind(self, connection: Connection) -> bool:
        """Whether a message waits for something that is known, and that a refresh will find."""
        is_releasing = self._release.is_under_way or not self._is_released
        return is_releasing or await self.store.load_templates(connection) != self._by_account


def _judgements(accounts: Mapping[str, TemplateKnowledge]) -> Mapping[str, object]:
    return {account: knowledge.judgements() for account, knowledge in accounts.items()}

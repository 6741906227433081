"""Releases messages, portion by portion, that a pause, the month's budget, a template or a limit has held.

One statement for a million rows would lock them for a quarter of a minute, and none of them could be sent meanwhile. So
the leader releases one portion between two claims. Portions follow the order in which the messages were requested, and
all get the same instant, so the queue keeps that order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.runtime.postgres import Connection

PORTION = 1000
"""Messages that one statement looks at."""


@dataclass(slots=True)
class PortionedRelease:
    """At most one release under way, kept in memory: a new leader begins it again, for messages that are still held.

    ``query`` takes the tenant, the instant (business time), where to go on, how many to look at, and what ``begin`` was
    given. It returns the place to go on, 0 at the end.
    """

    query: str
    tenant: str
    _at: datetime | None = field(default=None, init=False)
    _after: int = field(default=0, init=False)
    _parameters: Sequence[object] = field(default=(), init=False)

    @property
    def is_under_way(self) -> bool:
        return self._at is not None

    def begin(self, at: datetime, *parameters: object) -> None:
        """Begin at the first message; a release under way is replaced."""
        self._at, self._after, self._parameters = at, 0, parameters

    def stop(self) -> None:
        """End the release; the rest of the messages stays held."""
        self._at = None

    async def go_on(self, connection: Connection) -> None:
        """Release the next portion, if a release is under way; after an error the same portion is next."""
        if self._at is None:
            return
        after = await connection.fetchval(self.query, self.tenant, self._at, self._after, PORTION, *self._parameters)
        self._after = after
        if not after:
            self._at = None

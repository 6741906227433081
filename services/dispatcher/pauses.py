"""Operators' pauses of a line, a template or the tenant. The leader reads them every second and holds their messages.

A held message waits with the reason ``paused_by_operator`` until its line, its template or the tenant is resumed. It
still expires: a question past its date is dropped as ``expired_while_paused``.
"""

import re
import time
from datetime import datetime, timedelta

from msgspec import Struct

from services.dispatcher.releases import PortionedRelease
from services.dispatcher.store import QUERIES, MessageStore
from shared.runtime.postgres import Connection
from shared.runtime.telemetry import get_logger

log = get_logger()

_HELD_FOR = timedelta(hours=1)  # then it is looked at again; resuming releases it at once
_EVERY_SECONDS = 1.0
_MOST = 1000  # messages held in one statement
_VERSION = re.compile(r"_v\d+$")


class PausedNames(Struct, frozen=True):
    """``templates`` are names with or without their version: ``rights_request`` pauses every version of it."""

    everything: bool = False
    lines: frozenset[str] = frozenset()
    templates: frozenset[str] = frozenset()

    def has_line(self, line: str) -> bool:
        return self.everything or line in self.lines

    def has_template(self, template: tuple[str, str] | None) -> bool:
        """``template`` is a name and a language; a pause concerns every language."""
        if template is None or not self.templates:
            return False
        return template[0] in self.templates or _VERSION.sub("", template[0]) in self.templates


class OperatorPauses:
    """The leader's copy of the table ``pauses``. A new leader also releases what was resumed before it became the
    leader.
    """

    def __init__(self, store: MessageStore) -> None:
        self.names = PausedNames()
        self._store = store
        self._release = PortionedRelease(QUERIES.release_resumed, store.tenant)
        self._read_at = 0.0
        self._has_read = False

    async def refresh(self, connection: Connection, business: datetime) -> None:
        """Once a second: read the pauses, release what was resumed, and hold what is due and paused."""
        now = time.monotonic()
        if not self._has_read or now - self._read_at >= _EVERY_SECONDS:
            await self._read(connection, business)
            self._read_at = now
        await self._release.go_on(connection)

    async def _read(self, connection: Connection, business: datetime) -> None:
        names = _names_of(await connection.fetch(QUERIES.load_pauses, self._store.tenant))
        if names != self.names:
            log.info(
                "pauses.changed",
                everything=names.everything,
                lines=sorted(names.lines),
                templates=sorted(names.templates),
            )
        if names != self.names or not self._has_read:
            self._begin_release(names, business)
        if names.everything or names.lines:
            await connection.execute(
                QUERIES.hold_paused,
                *(self._store.tenant, names.everything, list(names.lines), business, business + _HELD_FOR, _MOST),
            )
        self.names, self._has_read = names, True

    def _begin_release(self, names: PausedNames, business: datetime) -> None:
        if names.everything:
            self._release.stop()
        else:
            self._release.begin(business, list(names.lines))


def _names_of(rows: list[dict[str, str]]) -> PausedNames:
    named = [(row["kind"], row["name"]) for row in rows]
    return PausedNames(
        everything=any(kind == "tenant" for kind, _ in named),
        lines=frozenset(name for kind, name in named if kind == "line"),
        templates=frozenset(name for kind, name in named if kind == "template"),
    )

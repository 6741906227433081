"""The control API's questions under ``/_simulator``: what was sent and said, how often, and whether work is left."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from aiohttp import web

from dev.whatsapp.control import as_json
from dev.whatsapp.ledger import Message, Reply
from dev.whatsapp.simulator import Simulator
from shared.contracts.errors import Malformed

_Found = TypeVar("_Found", Message, Reply)
_COUNTED = ("sends", "replies", "read_receipts", "dropped_silently", "scripts_played", "scripts_failed")


@dataclass(frozen=True, slots=True)
class Inspection:
    simulator: Simulator

    async def messages(self, request: web.Request) -> web.Response:
        found = self._asked_for(request, self.simulator.network.ledger.messages())
        return as_json([message.shown() for message in found])

    async def replies(self, request: web.Request) -> web.Response:
        found = self._asked_for(request, self.simulator.network.ledger.replies)
        return as_json([reply.shown() for reply in found])

    async def counts(self, _: web.Request) -> web.Response:
        tally = self.simulator.tally
        return as_json(
            {
                **{name: tally.of(name) for name in _COUNTED},
                "repeated_callbacks": self.simulator.network.ledger.repeated_callbacks(),
                "errors": {"answer": tally.under("errors.answer."), "webhook": tally.under("errors.webhook.")},
                "faults": tally.under("faults."),
                "webhooks": {**tally.under("webhooks."), "undelivered": self.simulator.webhooks.undelivered},
            }
        )

    async def idle(self, _: web.Request) -> web.Response:
        busy = self.simulator.what_is_busy()
        due = self.simulator.schedule.next_due
        next_due = due.isoformat() if due else None
        return as_json({"busy": busy, "next_due": next_due, "counter": self.simulator.tally.total})

    async def healthz(self, _: web.Request) -> web.Response:
        return as_json({"ok": True})

    def _asked_for(self, request: web.Request, all_of_them: Iterable[_Found]) -> Iterator[_Found]:
        who, word = request.query.get("person"), request.query.get("line")
        person = self.simulator.people.find(who) if who else None
        line = self.simulator.lines.find(word) if word else None
        since = _instant(request.query["since"]) if "since" in request.query else None
        for found in all_of_them:
            theirs = who is None or (person is not None and found.person.id == person.id)
            there = word is None or (line is not None and found.line == line.phone_number_id)
            if theirs and there and (since is None or found.at >= since):
                yield found


def _instant(text: str) -> datetime:
    """An ISO instant; one without a zone is UTC."""
    try:
        found = datetime.fromisoformat(text.replace(" ", "+"))  # a plus in a query arrives as a space
    except ValueError as error:
        raise Malformed("since must be an ISO instant") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)

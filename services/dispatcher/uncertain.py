"""``python -m services.dispatcher.uncertain list|show|settle``: sends nobody can prove, decided by a person.

Settling as sent or as not sent is announced on messages.events; ``--resend`` puts a message that was not sent back into
the queue, where it is sent again only if its time is not over.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from services.dispatcher.advance import Change, Progress
from services.dispatcher.ledger import Ledger
from services.dispatcher.people import People
from services.dispatcher.results import SERVICE
from services.dispatcher.standing import Standing, Step, not_sent, proved, resent
from services.dispatcher.states import Evidence, State
from shared.contracts.errors import Misconfigured
from shared.contracts.ids import Wamid
from shared.runtime.postgres import Pool, connection_pool
from shared.runtime.settings import ServiceSettings, load_settings
from shared.runtime.transaction import Transaction, transaction

_SENT, _NOT_SENT = "sent", "not_sent"


async def show_all(pool: Pool, tenant: str) -> list[str]:
    """A line per uncertain send: when, to whom (our id), what, and whether it may be resent by itself."""
    return [_line(row) for row in await Ledger(tenant).uncertain(pool)]


async def show_one(pool: Pool, tenant: str, message_id: str) -> list[str]:
    rows = await Ledger(tenant).uncertain(pool, message_id)
    attempts = await Ledger(tenant).attempts(pool, message_id)
    return [_line(row) for row in rows] + [_attempt(attempt) for attempt in attempts]


async def settle(pool: Pool, settings: ServiceSettings, chosen: argparse.Namespace) -> bool:
    """Whether it was still uncertain."""
    progress = Progress(settings.tenant, Ledger(settings.tenant), People(settings.tenant))
    settled: list[bool] = []
    async with transaction(pool, settings.clock(), SERVICE) as tx:
        make = partial(_settle, _decision(chosen, tx), settled)
        await progress.advance(tx, [Change(chosen.message_id, make)])
    return any(settled)


def _decision(chosen: argparse.Namespace, tx: Transaction) -> Callable[[Standing], Step]:
    if chosen.settled_as == _SENT:
        wamid = Wamid(chosen.wamid) if chosen.wamid else None
        return lambda standing: proved(standing, wamid, Evidence.PERSON, tx.now)
    if chosen.resend:
        return lambda standing: resent(standing, Evidence.PERSON, tx.now)
    return lambda standing: not_sent(standing, Evidence.PERSON, tx.now)


def _settle(decide: Callable[[Standing], Step], settled: list[bool], standing: Standing) -> Step:
    settled.append(standing.state is State.UNCERTAIN)
    return decide(standing) if settled[-1] else Step(standing)


def _line(row: Any) -> str:
    withdrawn = "  withdrawn since" if row["withdrawal"] else ""
    return (
        f"{row['message_id']}  {row['begun_at']:%Y-%m-%d %H:%M:%S}Z  {row['line']}  {row['say']}"
        f"  to {row['person_id']}  {row['reason']}  resend {row['resend']}  expires {row['expires_at']:%Y-%m-%d %H:%M}Z"
        f"{withdrawn}"
    )


def _attempt(row: Any) -> str:
    ending = row["ending"] or "no answer yet"
    code = f"  code {row['code']}" if row["code"] is not None else ""
    return f"  attempt {row['attempt']}  {row['begun_at']:%Y-%m-%d %H:%M:%S}Z  {row['wording']}  {ending}{code}"


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m services.dispatcher.uncertain", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="all of them, the oldest first")
    commands.add_parser("show", help="one, with its attempts").add_argument("message_id")
    settling = commands.add_parser("settle", help="say what became of one")
    settling.add_argument("message_id")
    settling.add_argument("--as", dest="settled_as", choices=(_SENT, _NOT_SENT), required=True)
    settling.add_argument("--wamid", help="where it is known: WhatsApp's id of the message")
    settling.add_argument("--resend", action="store_true", help="with --as not_sent: send it again")
    chosen = parser.parse_args(arguments)
    if chosen.command == "settle" and chosen.resend and chosen.settled_as == _SENT:
        parser.error("what was sent is not sent again: --resend goes with --as not_sent")
    return chosen


async def run(settings: ServiceSettings, chosen: argparse.Namespace) -> int:
    async with connection_pool(settings, SERVICE) as pool:
        if chosen.command == "settle":
            done = await settle(pool, settings, chosen)
            print("settled" if done else "not uncertain (any more): nothing was changed")  # noqa: T201 -- its output
            return 0 if done else 1
        if chosen.command == "list":
            print("\n".join(await show_all(pool, settings.tenant)) or "nothing is uncertain")  # noqa: T201 -- its output
            return 0
        lines = await show_one(pool, settings.tenant, chosen.message_id)
        print("\n".join(lines) or f"no message {chosen.message_id} was ever sent")  # noqa: T201 -- its output
        return 0 if lines else 1


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _arguments(arguments)
    try:
        return asyncio.run(run(load_settings(ServiceSettings), chosen))
    except Misconfigured as error:
        print(f"misconfigured: {error}", file=sys.stderr)  # noqa: T201 -- its output
        return 2


if __name__ == "__main__":
    sys.exit(main())

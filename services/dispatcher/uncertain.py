"""``python -m services.dispatcher.uncertain list|show|settle``: an operator settles sends that nothing proves.

Settling as sent or as not sent is published on messages.events; ``--resend`` puts a message that was not sent back into
the queue until its expiry.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import Any

from services.dispatcher.message_updates import SERVICE
from services.dispatcher.reconciliation import Settlement, settle_by_operator
from services.dispatcher.store import MessageStore
from shared.contracts.errors import Misconfigured
from shared.contracts.ids import Wamid
from shared.runtime.postgres import Pool, connection_pool
from shared.runtime.settings import ServiceSettings, load_settings


async def show_all(pool: Pool, tenant: str) -> list[str]:
    """A line per uncertain send: when, to whom (our id), which text, and whether it may be sent again without you."""
    return [_line(row) for row in await MessageStore(tenant).uncertain_sends(pool)]


async def show_one(pool: Pool, tenant: str, message_id: str) -> list[str]:
    rows = await MessageStore(tenant).uncertain_sends(pool, message_id)
    attempts = await MessageStore(tenant).attempts_of_message(pool, message_id)
    return [_line(row) for row in rows] + [_attempt(attempt) for attempt in attempts]


async def settle(pool: Pool, settings: ServiceSettings, chosen: argparse.Namespace) -> bool:
    """Whether the send was still uncertain."""
    settlement = Settlement.RESEND if chosen.resend else Settlement(chosen.settled_as)
    wamid = Wamid(chosen.wamid) if chosen.wamid else None
    return await settle_by_operator(pool, settings.clock(), settings.tenant, chosen.message_id, settlement, wamid)


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
    settling = commands.add_parser("settle", help="decide about one")
    settling.add_argument("message_id")
    settling.add_argument("--as", dest="settled_as", choices=("sent", "not_sent"), required=True)
    settling.add_argument("--wamid", help="where it is known: WhatsApp's id of the message")
    settling.add_argument("--resend", action="store_true", help="with --as not_sent: send it again")
    chosen = parser.parse_args(arguments)
    if chosen.command == "settle" and chosen.resend and chosen.settled_as == "sent":
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

"""Sends that nothing proves: an operator settles them as sent or as not sent.

The settlement is published on messages.events; ``--resend`` puts a message that was not sent back into the queue until
its expiry.
"""

from enum import StrEnum
from typing import Annotated, Any

import typer

from ops.command_line import Json, command_group, load_command_settings, print_json, run
from services.dispatcher.message_updates import SERVICE
from services.dispatcher.reconciliation import Settlement, settle_by_operator
from services.dispatcher.store import MessageStore
from shared.contracts.ids import Wamid
from shared.runtime.postgres import connection_pool
from shared.runtime.settings import ServiceSettings

app = command_group("Sends that nothing proves.")
MessageIdArgument = Annotated[str, typer.Argument(help="As the list shows it.", metavar="MESSAGE_ID")]


class SettledAs(StrEnum):
    SENT = "sent"
    NOT_SENT = "not_sent"


@app.command("list")
def list_command(*, as_json: Json = False) -> None:
    """List all uncertain sends, the oldest first."""
    run(list_sends(load_command_settings(ServiceSettings), as_json=as_json))


@app.command("show")
def show_command(message_id: MessageIdArgument) -> None:
    """Show one uncertain send with its attempts; exit code 1 where the message was never sent."""
    run(show_send(load_command_settings(ServiceSettings), message_id))


@app.command("settle")
def settle_command(
    message_id: MessageIdArgument,
    settled_as: Annotated[SettledAs, typer.Option("--as", help="Whether it was sent.")],
    wamid: Annotated[str | None, typer.Option(help="WhatsApp's id of the message, where it is known.")] = None,
    *,
    resend: Annotated[bool, typer.Option("--resend", help="With --as not_sent: send it again.")] = False,
) -> None:
    """Settle one uncertain send; exit code 1 where it is not uncertain (any more)."""
    if resend and settled_as is SettledAs.SENT:
        raise typer.BadParameter("what was sent is not sent again: --resend goes with --as not_sent")
    settlement = Settlement.RESEND if resend else Settlement(settled_as)
    run(settle_send(load_command_settings(ServiceSettings), message_id, settlement, wamid))


async def list_sends(settings: ServiceSettings, *, as_json: bool = False) -> int:
    async with connection_pool(settings, SERVICE) as pool:
        rows = await MessageStore(settings.tenant).uncertain_sends(pool)
    if as_json:
        print_json(rows)
    else:
        typer.echo("\n".join(map(_line, rows)) or "nothing is uncertain")
    return 0


async def show_send(settings: ServiceSettings, message_id: str) -> int:
    store = MessageStore(settings.tenant)
    async with connection_pool(settings, SERVICE) as pool:
        lines = [_line(row) for row in await store.uncertain_sends(pool, message_id)]
        lines += [_attempt(row) for row in await store.attempts_of_message(pool, message_id)]
    typer.echo("\n".join(lines) or f"no message {message_id} was ever sent")
    return 0 if lines else 1


async def settle_send(
    settings: ServiceSettings, message_id: str, settlement: Settlement, wamid: str | None = None
) -> int:
    known = Wamid(wamid) if wamid else None
    async with connection_pool(settings, SERVICE) as pool:
        done = await settle_by_operator(pool, settings.clock(), settings.tenant, message_id, settlement, known)
    typer.echo("settled" if done else "not uncertain (any more): nothing was changed")
    return 0 if done else 1


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

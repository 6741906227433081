"""Sends that nothing proves: an operator settles them as sent or as not sent.

The settlement is published on messages.events; ``--resend`` puts a message that was not sent back into the queue until
its expiry.
"""

from enum import StrEnum
from typing import Annotated

import typer

from ops.changes import ReasonOption, Yes, audited, confirm
from ops.command_line import Format, OutputFormat, command_group, print_error, print_fields, print_result, print_rows
from ops.command_settings import TenantSettings, load_command_settings, run
from ops.database import operator_pool
from services.dispatcher.message_updates import SERVICE
from services.dispatcher.reconciliation import Settlement, settle_by_operator
from services.dispatcher.store import MessageStore
from shared.contracts.ids import Wamid
from shared.runtime.settings import ServiceSettings

app = command_group("Sends that nothing proves.")
MessageIdArgument = Annotated[str, typer.Argument(help="As the list shows it.", metavar="MESSAGE_ID")]

_COLUMNS = {
    "message_id": "message",
    "begun_at": "sent at",
    "line": "line",
    "say": "template",
    "person_id": "person",
    "reason": "reason",
    "resend": "resend",
    "expires_at": "expires",
    "withdrawal": "withdrawn for",
}
_ATTEMPT_COLUMNS = {"attempt": "attempt", "begun_at": "begun", "wording": "form", "ending": "ending", "code": "code"}


class SettledAs(StrEnum):
    SENT = "sent"
    NOT_SENT = "not_sent"


@app.command("list")
def list_command(output: Format = OutputFormat.TEXT) -> None:
    """List all uncertain sends, the oldest first."""
    run(list_sends(load_command_settings(TenantSettings), output))


@app.command("show")
def show_command(message_id: MessageIdArgument, output: Format = OutputFormat.TEXT) -> None:
    """Show one uncertain send with its attempts; exit code 1 where the message was never sent."""
    run(show_send(load_command_settings(TenantSettings), message_id, output))


@app.command("settle")
def settle_command(
    message_id: MessageIdArgument,
    settled_as: Annotated[SettledAs, typer.Option("--as", help="Whether it was sent.")],
    wamid: Annotated[str | None, typer.Option(help="WhatsApp's id of the message, where it is known.")] = None,
    *,
    resend: Annotated[bool, typer.Option("--resend", help="With --as not_sent: send it again.")] = False,
    reason: ReasonOption,
    yes: Yes = False,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Settle one uncertain send; exit code 1 where it is not uncertain (any more).

    For example “stet sends settle ID --as not_sent --resend --reason "she got nothing"”.
    """
    if resend and settled_as is SettledAs.SENT:
        raise typer.BadParameter("what was sent is not sent again: --resend goes with --as not_sent")
    settlement = Settlement.RESEND if resend else Settlement(settled_as)
    settings = load_command_settings(TenantSettings)
    confirm(f"Settle {message_id} as {settled_as}{', and send it again' if resend else ''}?", yes=yes)
    run(settle_send(settings, message_id, settlement, reason, wamid, output))


async def list_sends(settings: TenantSettings | ServiceSettings, output: OutputFormat = OutputFormat.TEXT) -> int:
    async with operator_pool(settings, SERVICE) as pool:
        rows = await MessageStore(settings.tenant).uncertain_sends(pool)
    print_rows(rows, _COLUMNS, output, empty="nothing is uncertain")
    return 0


async def show_send(
    settings: TenantSettings | ServiceSettings, message_id: str, output: OutputFormat = OutputFormat.TEXT
) -> int:
    store = MessageStore(settings.tenant)
    async with operator_pool(settings, SERVICE) as pool:
        uncertain = await store.uncertain_sends(pool, message_id)
        attempts = await store.attempts_of_message(pool, message_id)
    if not attempts:
        return print_error(f"no message {message_id} was ever sent")
    for row in uncertain:
        print_fields(row, output)
    print_rows(attempts, _ATTEMPT_COLUMNS, output, empty="")
    return 0


async def settle_send(
    settings: TenantSettings | ServiceSettings,
    message_id: str,
    settlement: Settlement,
    reason: str,
    wamid: str | None = None,
    output: OutputFormat = OutputFormat.TEXT,
) -> int:
    known = Wamid(wamid) if wamid else None
    async with operator_pool(settings, SERVICE) as pool:
        if not await MessageStore(settings.tenant).attempts_of_message(pool, message_id):
            return print_error(f"no message {message_id} was ever sent")
        async with audited(pool, "settle send", message_id, reason) as entry:
            done = await settle_by_operator(pool, settings.clock(), settings.tenant, message_id, settlement, known)
            entry.result = settlement.value if done else "not uncertain: nothing was changed"
    if not done:
        return print_error(f"{message_id} is not uncertain (any more): nothing was changed")
    print_result(f"{message_id} is settled", {"message_id": message_id, "settled_as": settlement}, output)
    return 0

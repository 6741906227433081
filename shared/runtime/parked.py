"""What could not be handled, to be shown, replayed or discarded with a reason: ``python -m shared.runtime.parked``."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from rich.console import Console
from rich.table import Table

from shared.contracts.errors import Misconfigured
from shared.contracts.topics import ALL_TOPICS, SERVICES
from shared.runtime.clock import machine_now
from shared.runtime.outbox import Transaction, unpack_headers
from shared.runtime.postgres import Connection, connect, load_queries
from shared.runtime.settings import PREFIX, load_settings

QUERIES = load_queries(__file__, "parked.sql")
_TOPICS = frozenset(topic.name for topic in ALL_TOPICS)
_SHOWN = ("id", "topic", "partition", "kafka_offset", "reason", "sentence", "parked_at", "state", "settled_at", "note")


class ParkedSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    postgres_dsn: SecretStr


async def show_list(connection: Connection, chosen: argparse.Namespace) -> int:
    states = ["parked", "replayed", "discarded"] if chosen.all else ["parked"]
    rows = await connection.fetch(QUERIES.list_parked, states, chosen.most)
    table = Table("id", "topic", "partition", "offset", "reason", "age", "bytes", "state", title=chosen.service)
    for row in rows:
        place = (row["topic"], _or_dash(row["partition"]), _or_dash(row["kafka_offset"]))
        table.add_row(
            str(row["id"]), *place, row["reason"], age(row["parked_at"]), f"{row['bytes']:,}", row["state"]
        )  # fmt: skip
    Console().print(table if rows else f"{chosen.service}: nothing is parked")
    return 0


async def show_one(connection: Connection, chosen: argparse.Namespace) -> int:
    row = await connection.fetchrow(QUERIES.show_parked, chosen.id)
    if row is None:
        return _no(f"{chosen.service} has no parked record {chosen.id}")
    console = Console()
    for name in _SHOWN:
        console.print(f"{name.removeprefix('kafka_'):>12}: {_or_dash(row[name])}", markup=False)
    if not chosen.raw:
        console.print("the record itself may hold personal data; --raw shows it")
        return 0
    for name, value in unpack_headers(row["headers"]):
        console.print(f"{'header':>12}: {name} = {printable(value)}", markup=False)
    console.print(f"{'key':>12}: {printable(row['key'] or b'')}", markup=False)
    console.print(printable(row["value"]), markup=False)
    return 0


async def replay(connection: Connection, chosen: argparse.Namespace) -> int:
    """Back to the topic it came from, by the outbox; a parked record never entered the inbox, so it is new there."""
    async with connection.transaction():
        row = await _unsettled(connection, chosen)
        if row is None:
            return 1
        if row["topic"] not in _TOPICS:
            return _no(f"{chosen.id} came in by {row['topic'] or 'no topic'}, which is no topic; send it there again")
        tx = Transaction(connection, chosen.service, machine_now())
        headers = [*unpack_headers(row["headers"]), ("stet-replayed", str(row["id"]).encode())]
        tx.publish_raw(row["topic"], row["key"], row["value"], headers)
        await tx.flush()
        await connection.execute(QUERIES.settle_parked, chosen.id, "replayed", chosen.note, machine_now())
    Console().print(f"{chosen.id} is on its way to {row['topic']}, as soon as {chosen.service} runs")
    return 0


async def discard(connection: Connection, chosen: argparse.Namespace) -> int:
    async with connection.transaction():
        if await _unsettled(connection, chosen) is None:
            return 1
        await connection.execute(QUERIES.settle_parked, chosen.id, "discarded", chosen.note, machine_now())
    Console().print(f"{chosen.id} is discarded: {chosen.note}", markup=False)
    return 0


async def _unsettled(connection: Connection, chosen: argparse.Namespace) -> Any:
    row = await connection.fetchrow(QUERIES.take_parked, chosen.id)
    if row is None:
        _no(f"{chosen.service} has no parked record {chosen.id}")
    elif row["state"] != "parked":
        _no(f"{chosen.id} is {row['state']} already")
        return None
    return row


def age(parked_at: datetime) -> str:
    """In its largest unit: 3 d, 5 h, 12 min, 4 s."""
    passed = machine_now() - parked_at
    units = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1)))
    for name, unit in units:
        if passed >= unit:
            return f"{passed // unit} {name}"
    return f"{max(0, int(passed.total_seconds()))} s"


def printable(raw: bytes) -> str:
    """Nothing in it can steer a terminal."""
    text = raw.decode(errors="backslashreplace")
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _no(sentence: str) -> int:
    Console(stderr=True).print(sentence, markup=False)
    return 1


Command = Callable[[Connection, argparse.Namespace], Awaitable[int]]


def parser() -> argparse.ArgumentParser:
    tree = argparse.ArgumentParser(prog="python -m shared.runtime.parked", description=__doc__)
    commands = tree.add_subparsers(required=True, metavar="list | show | replay | discard")
    listing = commands.add_parser("list", help="what is parked, oldest first")
    listing.add_argument("--service", choices=SERVICES, required=True)
    listing.add_argument("--all", action="store_true", help="settled ones too")
    listing.add_argument("--most", type=int, default=200, metavar="N", help="how many rows (default: %(default)s)")
    listing.set_defaults(run=show_list)
    shown = _one(commands.add_parser("show", help="one record and why it was parked"), show_one)
    shown.add_argument("--raw", action="store_true", help="show its bytes too (may hold personal data)")
    again = _one(commands.add_parser("replay", help="put it back on its topic, with its key and headers"), replay)
    again.add_argument("--note", help="why, for the next reader")
    gone = _one(commands.add_parser("discard", help="settle it without handling it"), discard)
    gone.add_argument("--note", required=True, help="why, for the next reader")
    return tree


def _one(command: argparse.ArgumentParser, run: Command) -> argparse.ArgumentParser:
    command.add_argument("--service", choices=SERVICES, required=True)
    command.add_argument("id", type=int, help="the number in the list")
    command.set_defaults(run=run)
    return command


async def _run(chosen: argparse.Namespace) -> int:
    settings = load_settings(ParkedSettings)
    connection = await connect(settings.postgres_dsn.get_secret_value(), chosen.service)
    try:
        return int(await chosen.run(connection, chosen))
    finally:
        await connection.close()


def main(argv: Sequence[str] | None = None) -> int:
    chosen = parser().parse_args(argv)
    try:
        return asyncio.run(_run(chosen))
    except Misconfigured as error:
        _no(str(error))
        return 2
    except (OSError, asyncpg.PostgresError) as error:
        return _no(f"STET_POSTGRES_DSN: {type(error).__name__}: {error}")


if __name__ == "__main__":
    sys.exit(main())

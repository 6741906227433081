"""``python -m shared.parked``: what could not be handled. Look at it, replay it, or discard it with a reason."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence

import asyncpg
import orjson
from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from rich.console import Console
from rich.table import Table

from shared.clock import machine_now
from shared.errors import Misconfigured
from shared.postgres import Connection, load_queries, role_of
from shared.settings import PREFIX, load
from shared.topics import ALL, SERVICES
from shared.transaction import QUERIES as DELIVERY
from shared.transaction import channel

QUERIES = load_queries(__file__, "parked.sql")
_TOPICS = frozenset(topic.name for topic in ALL)


class ParkedSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    postgres_dsn: SecretStr


async def show_list(connection: Connection, chosen: argparse.Namespace) -> int:
    states = ["parked", "replayed", "discarded"] if chosen.all else ["parked"]
    table = Table("id", "topic", "partition", "offset", "reason", "parked", "bytes", "state", title=chosen.service)
    rows = await connection.fetch(QUERIES.list_parked, states, chosen.most)
    for row in rows:
        place = (row["topic"], str(row["partition"]), str(row["kafka_offset"]))
        at = row["parked_at"].isoformat(timespec="seconds")
        table.add_row(str(row["id"]), *place, row["reason"], at, str(row["bytes"]), row["state"])
    Console().print(table if rows else f"{chosen.service}: nothing is parked")
    return 0


async def show_one(connection: Connection, chosen: argparse.Namespace) -> int:
    row = await connection.fetchrow(QUERIES.show_parked, chosen.id)
    if row is None:
        return _no(f"{chosen.service} has no parked record {chosen.id}")
    console = Console()
    for name in ("id", "topic", "partition", "kafka_offset", "reason", "sentence", "parked_at", "state", "note"):
        console.print(f"{name:>13}: {row[name]}", markup=False)
    if chosen.raw:
        console.print(row["value"].decode(errors="replace"), markup=False)
    else:
        console.print("the record itself may hold personal data; --raw prints it")
    return 0


async def replay(connection: Connection, chosen: argparse.Namespace) -> int:
    """Back to the topic it came from, by the outbox; a parked record never entered the inbox, so it is new there."""
    async with connection.transaction():
        row = await connection.fetchrow(QUERIES.take_parked, chosen.id)
        if row is None or row["state"] != "parked":
            return _no(f"{chosen.service} has no parked record {chosen.id} that is not settled")
        if row["topic"] not in _TOPICS:
            return _no(f"{chosen.id} came in by {row['topic']}, which is no topic; send it there again")
        headers = {**orjson.loads(row["headers"] or "{}"), "replayed": str(row["id"])}
        columns = ([row["topic"]], [row["key"]], [row["value"]], [orjson.dumps(headers).decode()])
        await connection.execute(DELIVERY.leave, *columns, machine_now())
        await connection.execute(QUERIES.settle_parked, chosen.id, "replayed", chosen.note)
        await connection.execute(DELIVERY.wake, channel(chosen.service))
    Console().print(f"{chosen.id} is on its way to {row['topic']}")
    return 0


async def discard(connection: Connection, chosen: argparse.Namespace) -> int:
    async with connection.transaction():
        row = await connection.fetchrow(QUERIES.take_parked, chosen.id)
        if row is None or row["state"] != "parked":
            return _no(f"{chosen.service} has no parked record {chosen.id} that is not settled")
        await connection.execute(QUERIES.settle_parked, chosen.id, "discarded", chosen.note)
    Console().print(f"{chosen.id} is discarded: {chosen.note}")
    return 0


def _no(sentence: str) -> int:
    Console(stderr=True).print(sentence, markup=False)
    return 1


Command = Callable[[Connection, argparse.Namespace], Awaitable[int]]


def parser() -> argparse.ArgumentParser:
    tree = argparse.ArgumentParser(prog="python -m shared.parked", description=__doc__)
    commands = tree.add_subparsers(required=True, metavar="list | show | replay | discard")
    _listing(commands.add_parser("list", help="what is parked, oldest first"))
    shown = _one(commands.add_parser("show", help="one record and why it was parked"), show_one)
    shown.add_argument("--raw", action="store_true", help="print the record itself (may hold personal data)")
    again = _one(commands.add_parser("replay", help="put it back on its topic"), replay)
    again.add_argument("--note", help="why, for the next reader")
    gone = _one(commands.add_parser("discard", help="settle it without handling it"), discard)
    gone.add_argument("--note", required=True, help="why, for the next reader")
    return tree


def _listing(command: argparse.ArgumentParser) -> None:
    command.add_argument("--service", choices=SERVICES, required=True)
    command.add_argument("--all", action="store_true", help="settled ones too")
    command.add_argument("--most", type=int, default=200, metavar="N", help="how many rows (default: %(default)s)")
    command.set_defaults(run=show_list)


def _one(command: argparse.ArgumentParser, run: Command) -> argparse.ArgumentParser:
    command.add_argument("--service", choices=SERVICES, required=True)
    command.add_argument("id", type=int, help="the number in the list")
    command.set_defaults(run=run)
    return command


async def _run(chosen: argparse.Namespace) -> int:
    settings = load(ParkedSettings)
    connection = await asyncpg.connect(
        settings.postgres_dsn.get_secret_value(),
        server_settings={"search_path": chosen.service, "role": role_of(chosen.service)},
    )
    try:
        return int(await chosen.run(connection, chosen))
    finally:
        await connection.close()


def main(argv: Sequence[str] | None = None) -> int:
    chosen = parser().parse_args(argv)
    try:
        return asyncio.run(_run(chosen))
    except Misconfigured as error:
        return _no(str(error)) + 1
    except (OSError, asyncpg.PostgresError) as error:
        return _no(f"STET_POSTGRES_DSN: {type(error).__name__}: {error}")


if __name__ == "__main__":
    sys.exit(main())

"""Lists, shows, replays and discards the records that a service could not handle."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ops.command_line import CommandSettings, Json, Service, command_group, print_error, print_json, run
from shared.contracts.topics import ALL_TOPICS
from shared.runtime.clock import machine_now
from shared.runtime.outbox import Transaction, unpack_headers
from shared.runtime.postgres import Connection, connect, load_queries
from shared.runtime.settings import load_settings

QUERIES = load_queries(__file__, "parked.sql")
_TOPIC_NAMES = frozenset(topic.name for topic in ALL_TOPICS)
_FIELDS = ("id", "topic", "partition", "kafka_offset", "reason", "sentence", "parked_at", "state", "settled_at", "note")

app = command_group("Records that a service could not handle.")
ServiceOption = Annotated[Service, typer.Option("--service", help="Whose records.")]
RecordId = Annotated[int, typer.Argument(help="The number in the list.", metavar="ID")]


@app.command("list")
def list_command(
    service: ServiceOption,
    *,
    settled: Annotated[bool, typer.Option("--all", help="Also replayed and discarded records.")] = False,
    limit: Annotated[int, typer.Option("--most", metavar="N", help="At most so many rows.")] = 200,
    as_json: Json = False,
) -> None:
    """List parked records, oldest first."""

    async def command() -> int:
        states = ["parked", "replayed", "discarded"] if settled else ["parked"]
        connection = await _connect(service)
        try:
            rows = await connection.fetch(QUERIES.list_parked, states, limit)
        finally:
            await connection.close()
        if as_json:
            print_json(rows)
        else:
            Console().print(_table(service, rows) if rows else f"{service}: nothing is parked")
        return 0

    run(command())


@app.command("show")
def show_command(
    service: ServiceOption,
    record_id: RecordId,
    *,
    raw: Annotated[bool, typer.Option("--raw", help="Show its bytes too (may hold personal data).")] = False,
) -> None:
    """Show one record and why it was parked."""

    async def command() -> int:
        connection = await _connect(service)
        try:
            row = await connection.fetchrow(QUERIES.show_parked, record_id)
        finally:
            await connection.close()
        if row is None:
            return print_error(f"{service} has no parked record {record_id}")
        _print_record(row, raw=raw)
        return 0

    run(command())


@app.command("replay")
def replay_command(
    service: ServiceOption,
    record_id: RecordId,
    note: Annotated[str | None, typer.Option(help="Why, for the next reader.")] = None,
) -> None:
    """Send a record to its topic again, with its key and headers."""
    run(_settle(service, record_id, "replayed", note))


@app.command("discard")
def discard_command(
    service: ServiceOption, record_id: RecordId, note: Annotated[str, typer.Option(help="Why, for the next reader.")]
) -> None:
    """Settle a record without handling it."""
    run(_settle(service, record_id, "discarded", note))


async def _settle(service: Service, record_id: int, state: str, note: str | None) -> int:
    connection = await _connect(service)
    try:
        async with connection.transaction():
            row = await connection.fetchrow(QUERIES.take_parked, record_id)
            if problem := _problem(row, service, record_id, state):
                return print_error(problem)
            if state == "replayed":
                await _publish_again(connection, service, row)
            await connection.execute(QUERIES.settle_parked, record_id, state, note, machine_now())
    finally:
        await connection.close()
    done = (
        f"is on its way to {row['topic']}, as soon as {service} runs"
        if state == "replayed"
        else f"is discarded: {note}"
    )
    Console().print(f"{record_id} {done}", markup=False)
    return 0


def _problem(row: Any, service: Service, record_id: int, state: str) -> str | None:
    if row is None:
        return f"{service} has no parked record {record_id}"
    if row["state"] != "parked":
        return f"{record_id} is {row['state']} already"
    if state == "replayed" and row["topic"] not in _TOPIC_NAMES:
        return f"{record_id} came in by {row['topic'] or 'no topic'}, which is no topic; send it there again"
    return None


async def _publish_again(connection: Connection, service: Service, row: Any) -> None:
    """By the outbox. A parked record never entered the inbox, so it is new to the service."""
    tx = Transaction(connection, service, machine_now())
    headers = [*unpack_headers(row["headers"]), ("stet-replayed", str(row["id"]).encode())]
    tx.publish_raw(row["topic"], row["key"], row["value"], headers)
    await tx.flush()


async def _connect(service: Service) -> Connection:
    return await connect(load_settings(CommandSettings).dsn, service)


def _table(service: Service, rows: Any) -> Table:
    table = Table("id", "topic", "partition", "offset", "reason", "age", "bytes", "state", title=service)
    for row in rows:
        place = (row["topic"], _or_dash(row["partition"]), _or_dash(row["kafka_offset"]))
        size = f"{row['bytes']:,}"
        table.add_row(str(row["id"]), *place, row["reason"], age(row["parked_at"]), size, row["state"])
    return table


def _print_record(row: Any, *, raw: bool) -> None:
    console = Console()
    for name in _FIELDS:
        console.print(f"{name.removeprefix('kafka_'):>12}: {_or_dash(row[name])}", markup=False)
    if not raw:
        console.print("the record itself may hold personal data; --raw shows it")
        return
    for name, value in unpack_headers(row["headers"]):
        console.print(f"{'header':>12}: {name} = {printable(value)}", markup=False)
    console.print(f"{'key':>12}: {printable(row['key'] or b'')}", markup=False)
    console.print(printable(row["value"]), markup=False)


def age(parked_at: datetime) -> str:
    """In its largest unit: 3 d, 5 h, 12 min, 4 s."""
    passed = machine_now() - parked_at
    units = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1)))
    for name, unit in units:
        if passed >= unit:
            return f"{passed // unit} {name}"
    return f"{max(0, int(passed.total_seconds()))} s"


def printable(raw: bytes) -> str:
    """As text in which nothing can control a terminal."""
    text = raw.decode(errors="backslashreplace")
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)

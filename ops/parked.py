"""Lists, shows, replays and discards the records that a service could not handle."""

from typing import Annotated, Any

import typer

from ops.changes import ReasonOption, Yes, audited, confirm, reason_to_read
from ops.command_line import (
    Format,
    OutputFormat,
    Service,
    age_of,
    command_group,
    print_error,
    print_fields,
    print_json,
    print_lines,
    print_result,
    print_rows,
    printable,
)
from ops.command_settings import CommandSettings, load_command_settings, run
from ops.database import operator_pool
from shared.contracts.topics import ALL_TOPICS
from shared.runtime.clock import machine_now
from shared.runtime.outbox import Transaction, unpack_headers
from shared.runtime.postgres import Connection, load_queries

QUERIES = load_queries(__file__, "parked.sql")
_TOPIC_NAMES = frozenset(topic.name for topic in ALL_TOPICS)
_FIELDS = ("id", "topic", "partition", "kafka_offset", "reason", "sentence", "parked_at", "state", "settled_at", "note")
_COLUMNS = {
    "service": "service",
    "id": "id",
    "topic": "topic",
    "partition": "partition",
    "kafka_offset": "offset",
    "reason": "reason",
    "age": "age",
    "bytes": "bytes",
    "state": "state",
}

app = command_group("Records that a service could not handle.")
ServiceOption = Annotated[Service, typer.Option("--service", help="Whose records.")]
RecordId = Annotated[int, typer.Argument(help="The number in the list.", metavar="ID")]


@app.command("list")
def list_command(
    *,
    service: Annotated[Service | None, typer.Option("--service", help="Only this service's (default: all).")] = None,
    settled: Annotated[bool, typer.Option("--all", help="Also replayed and discarded records.")] = False,
    limit: Annotated[int, typer.Option("--most", metavar="N", min=1, help="At most so many rows.")] = 200,
    output: Format = OutputFormat.TEXT,
) -> None:
    """List parked records of each service, oldest first."""

    async def command() -> int:
        states = ["parked", "replayed", "discarded"] if settled else ["parked"]
        shown: list[dict[str, Any]] = []
        async with operator_pool(load_command_settings(CommandSettings)) as pool:
            for whose in [service] if service else Service:
                rows = await pool.fetch(QUERIES.list_parked.replace("SCHEMA", whose), states, limit)
                shown += [{"service": whose, **row, "age": age_of(row["parked_at"], machine_now())} for row in rows]
        print_rows(shown, _COLUMNS, output, empty=f"{service}: nothing is parked" if service else "nothing is parked")
        return 0

    run(command())


@app.command("show")
def show_command(
    service: ServiceOption,
    record_id: RecordId,
    *,
    raw: Annotated[
        bool, typer.Option("--raw", help="Show its bytes too (personal data); needs --reason, is audited.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why you read its bytes; it stands in the audit log.")
    ] = None,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Show one record and why it was parked."""

    async def command() -> int:
        async with operator_pool(load_command_settings(CommandSettings), service) as pool:
            if raw:
                why = reason_to_read(reason, "--raw")
                async with audited(pool, "show parked record", f"{service} {record_id}", why) as entry:
                    row = await pool.fetchrow(QUERIES.show_parked, record_id)
                    entry.result = "done" if row else "there was none"
            else:
                row = await pool.fetchrow(QUERIES.show_parked, record_id)
        if row is None:
            return print_error(f"{service} has no parked record {record_id}")
        _print_record(_record(row, raw=raw), output, raw=raw)
        return 0

    run(command())


@app.command("replay")
def replay_command(
    service: ServiceOption,
    record_id: RecordId,
    *,
    reason: ReasonOption,
    yes: Yes = False,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Send a record to its topic again, with its key and headers.

    For example “stet parked replay --service rules 7 --reason "the template is mended"”.
    """
    confirm(f"Send parked record {record_id} of {service} to its topic again?", yes=yes)
    run(_settle(service, record_id, "replayed", reason, output))


@app.command("discard")
def discard_command(
    service: ServiceOption,
    record_id: RecordId,
    *,
    reason: ReasonOption,
    yes: Yes = False,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Settle a record without handling it."""
    confirm(f"Discard parked record {record_id} of {service}?", yes=yes)
    run(_settle(service, record_id, "discarded", reason, output))


async def _settle(service: Service, record_id: int, state: str, reason: str, output: OutputFormat) -> int:
    action = "replay parked record" if state == "replayed" else "discard parked record"
    async with (
        operator_pool(load_command_settings(CommandSettings), service) as pool,
        audited(pool, action, f"{service} {record_id}", reason) as entry,
        pool.acquire() as connection,
        connection.transaction(),
    ):
        row = await connection.fetchrow(QUERIES.take_parked, record_id)
        if problem := _problem(row, service, record_id, state):
            entry.result = f"nothing was changed: {problem}"
            return print_error(problem)
        if state == "replayed":
            await _publish_again(connection, service, row)
        await connection.execute(QUERIES.settle_parked, record_id, state, reason, machine_now())
    done = (
        f"is on its way to {row['topic']}, as soon as {service} runs"
        if state == "replayed"
        else f"is discarded: {reason}"
    )
    print_result(f"{record_id} {done}", {"service": service, "id": record_id, "state": state}, output)
    return 0


def _problem(row: Any, service: Service, record_id: int, state: str) -> str | None:
    if row is None:
        return f"{service} has no parked record {record_id}"
    if row["state"] != "parked":
        return f"{record_id} is {row['state']} already"
    if state == "replayed" and row["topic"] not in _TOPIC_NAMES:
        return f"{record_id} came in by {row['topic'] or 'no topic'}, which is no topic: {_without_topic(row['topic'])}"
    return None


def _without_topic(source: str | None) -> str:
    """The next action of an operator for a record that came by no topic, so that it cannot be replayed."""
    if source is not None and source.startswith("polled "):
        return "mend it in Consonance, where it is read again as soon as it changes, then discard it"
    if source is not None and source.startswith("/"):
        return "let its sender send it again, then discard it"
    return "discard it once you have looked at it"


async def _publish_again(connection: Connection, service: Service, row: Any) -> None:
    """Publish a record again by the outbox. It never entered the inbox, so it is new to the service."""
    tx = Transaction(connection, service, machine_now())
    headers = [*unpack_headers(row["headers"]), ("stet-replayed", str(row["id"]).encode())]
    tx.publish_raw(row["topic"], row["key"], row["value"], headers)
    await tx.flush()


def _record(row: Any, *, raw: bool) -> dict[str, Any]:
    shown = {_bare(name): row[name] for name in _FIELDS}
    if raw:
        shown["headers"] = {name: printable(value) for name, value in unpack_headers(row["headers"])}
        shown["key"] = printable(row["key"] or b"")
        shown["value"] = printable(row["value"])
    return shown


def _print_record(record: dict[str, Any], output: OutputFormat, *, raw: bool) -> None:
    """Print a record; as text its value comes last, since it may be long."""
    if output is OutputFormat.JSON:
        print_json([record])
        return
    print_fields({name: record[name] for name in map(_bare, _FIELDS)}, output)
    if not raw:
        print_lines(["the record itself may hold personal data; --raw shows it"])
    if record["topic"] not in _TOPIC_NAMES:
        print_lines([f"it cannot be replayed: {_without_topic(record['topic'])}"])
    if not raw:
        return
    print_lines([*(f"header: {name} = {value}" for name, value in record["headers"].items()), f"key: {record['key']}"])
    print_lines([record["value"]])


def _bare(name: str) -> str:
    return name.removeprefix("kafka_")

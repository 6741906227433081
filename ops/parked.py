"""Lists, shows, replays and discards the records that a service could not handle."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
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
from shared.runtime.postgres import Connection, Pool, load_queries

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
ParkedAs = Annotated[
    str | None, typer.Option("--parked-as", metavar="WORD", help="Only those with this reason, as listed.")
]
Since = Annotated[
    datetime | None,
    typer.Option("--since", help="Only those parked since this moment (UTC).", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"]),
]


@app.command("list")
def list_command(
    *,
    service: Annotated[Service | None, typer.Option("--service", help="Only this service's (default: all).")] = None,
    parked_as: ParkedAs = None,
    since: Since = None,
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
                query = QUERIES.list_parked.replace("SCHEMA", whose)
                rows = await pool.fetch(query, states, limit, parked_as, _in_utc(since))
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
    record_ids: Annotated[list[int] | None, typer.Argument(help="The numbers in the list.", metavar="[ID]...")] = None,
    *,
    parked_as: ParkedAs = None,
    since: Since = None,
    reason: ReasonOption,
    yes: Yes = False,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Send records to their topics again, with keys and headers: those named, or those of --parked-as and --since.

    It says how many of which reason and topic, asks, and writes a row of the audit log for each. Exit code 1 where one
    of them could not be sent. For example “stet parked replay --service rules 7 8 --reason "the template is mended"”.
    """
    is_filtered = parked_as is not None or since is not None
    if bool(record_ids) is is_filtered:
        raise typer.BadParameter("name the records to replay, or give --parked-as or --since")

    async def command() -> int:
        async with operator_pool(load_command_settings(CommandSettings), service) as pool:
            rows = await pool.fetch(QUERIES.select_parked, record_ids, parked_as, _in_utc(since))
            chosen = list(dict.fromkeys(record_ids)) if record_ids else _replayable(rows)
            if not chosen:
                return print_error(f"{service} has no parked record like this that came by a topic")
            confirm(_question(service, chosen, rows), yes=yes)
            return max([await _settle(pool, service, one, "replayed", reason, output) for one in chosen])

    run(command())


def _replayable(rows: Sequence[Any]) -> list[int]:
    return [row["id"] for row in rows if row["topic"] in _TOPIC_NAMES]


def _question(service: Service, chosen: Sequence[int], rows: Sequence[Any]) -> str:
    """Names one record, or counts several by reason and topic."""
    if len(chosen) == 1:
        return f"Send parked record {chosen[0]} of {service} to its topic again?"
    counted = Counter((row["reason"], row["topic"]) for row in rows if row["id"] in set(chosen))
    listed = ", ".join(f"{count} {reason} of {topic}" for (reason, topic), count in sorted(counted.items(), key=str))
    return f"Send {len(chosen)} parked records of {service} to their topics again ({listed})?"


def _in_utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment else None


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

    async def command() -> int:
        async with operator_pool(load_command_settings(CommandSettings), service) as pool:
            return await _settle(pool, service, record_id, "discarded", reason, output)

    run(command())


async def _settle(pool: Pool, service: Service, record_id: int, state: str, reason: str, output: OutputFormat) -> int:
    action = "replay parked record" if state == "replayed" else "discard parked record"
    async with (
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

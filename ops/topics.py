"""Creates the topics on STET_KAFKA_BOOTSTRAP, compares them with their declaration, and has one read again.

A service reads on from its progress in PostgreSQL. Where the topic was deleted and created again, or has lost records,
it ends with an error; ``reread`` lets it begin at the oldest record, and the inbox drops what was handled before.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from difflib import get_close_matches
from typing import Annotated

import typer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from pydantic import Field

from ops.changes import ReasonOption, Yes, audited, confirm
from ops.command_line import (
    ExitCode,
    Format,
    OutputFormat,
    Service,
    command_group,
    print_error,
    print_json,
    print_result,
)
from ops.command_settings import CommandSettings, broker_away, load_command_settings, run
from ops.database import operator_pool
from shared.contracts.topics import CONSUMED
from shared.runtime.connection_settings import KafkaSettings
from shared.runtime.kafka import client_options, connection_fault
from shared.runtime.postgres import load_queries
from shared.runtime.settings import load_settings
from shared.runtime.topic_setup import create_topics, topic_differences

QUERIES = load_queries(__file__, "topics.sql")
app = command_group("The topics of Stet on STET_KAFKA_BOOTSTRAP.")
_ANSWER_MS = 10_000


class TopicSettings(KafkaSettings):
    """The broker alone."""

    kafka_replication: Annotated[
        int | None, Field(gt=0, description="Copies of a new topic; by default three, or as many as there are brokers.")
    ] = None


@app.command("create")
def create_command(output: Format = OutputFormat.TEXT) -> None:
    """Create missing topics, then check all."""
    run(_check(output, create=True))


@app.command("check")
def check_command(output: Format = OutputFormat.TEXT) -> None:
    """Name every topic that is missing or differs from its declaration; exit code 1 where one does."""
    run(_check(output, create=False))


@app.command("reread")
def reread_command(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="Without the prefix of STET_TOPIC_PREFIX.")],
    service: Annotated[Service, typer.Option("--service", help="Whose progress begins again.")],
    partition: Annotated[
        int | None, typer.Option("--partition", min=0, help="Only this one; without it, all of the topic.")
    ] = None,
    *,
    reason: ReasonOption,
    yes: Yes = False,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Let a service read a topic again from its oldest record, after the topic was lost or created again.

    Records that it has handled in the last STET_KEEP_INBOX_DAYS have no effect twice. A service that runs begins within
    seconds.
    """
    settings = load_command_settings(CommandSettings)
    if (problem := _unread(service, topic)) is not None:
        raise typer.Exit(print_error(problem, code=ExitCode.CANNOT_RUN))
    place = topic if partition is None else f"{topic}:{partition}"

    async def command() -> int:
        async with (
            operator_pool(settings) as pool,
            audited(pool, "reread topic", f"{service} {place}", reason) as entry,
        ):
            rows = await pool.fetch(QUERIES.delete_progress.replace("SCHEMA", service), topic, partition)
            read_to = ", ".join(f"{row['partition']}: {row['next_offset']}" for row in rows)
            entry.result = f"had read to {read_to}" if rows else "had read nothing"
        if not rows:
            return print_error(f"{service} has read nothing of {place}: it begins at the oldest record anyway")
        count = "1 partition" if len(rows) == 1 else f"{len(rows)} partitions"
        sentence = f"{service} reads {count} of {topic} again, from the oldest record"
        print_result(sentence, {"service": service, "topic": topic, "partitions": len(rows)}, output)
        return ExitCode.FINE

    confirm(f"Let {service} read {place} again from its oldest record?", yes=yes)
    run(command())


def _unread(service: Service, topic: str) -> str | None:
    """The problem of a topic that the service does not read."""
    read = [one.name for one in CONSUMED[service]]
    if topic in read:
        return None
    near = get_close_matches(topic, read, n=1)
    hint = f"did you mean {near[0]}?" if near else f"it reads {', '.join(read) or 'no topic'}"
    return f"{service} does not read {topic}; {hint}"


@asynccontextmanager
async def admin_client(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """Raises Misconfigured where no broker takes the login, or answers in time."""
    admin = AIOKafkaAdminClient(**client_options(settings), request_timeout_ms=_ANSWER_MS)
    try:
        await admin.start()
        yield admin
    except (KafkaError, OSError) as error:
        raise await connection_fault(settings) or broker_away(error, settings.kafka_bootstrap) from error
    finally:
        await admin.close()


async def _check(output: OutputFormat, *, create: bool) -> int:
    settings, created = load_settings(TopicSettings), list[str]()
    async with admin_client(settings) as admin:
        if create:
            created = await create_topics(admin, settings.topic_prefix, settings.kafka_replication)
        differences = await topic_differences(admin, settings.topic_prefix)
    if output is OutputFormat.JSON:
        print_json([*({"created": name} for name in created), *({"difference": one} for one in differences)])
    else:
        if create:
            typer.echo("\n".join(f"created {name}" for name in created) or "nothing to do: every topic is there")
        typer.echo("\n".join(differences) or "every topic is as declared")
    return ExitCode.FINDINGS if differences else ExitCode.FINE

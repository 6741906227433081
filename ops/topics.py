"""Creates the topics on STET_KAFKA_BOOTSTRAP, and compares them with their declaration."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from pydantic import Field

from ops.command_line import ExitCode, Format, OutputFormat, broker_away, command_group, print_json, run
from shared.runtime.connection_settings import KafkaSettings
from shared.runtime.kafka import client_options, connection_fault
from shared.runtime.settings import load_settings
from shared.runtime.topic_setup import create_topics, topic_differences

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

"""Creates the topics on STET_KAFKA_BOOTSTRAP, and compares them with their declaration."""

from typing import Annotated

import typer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from pydantic import Field, SecretStr

from ops.command_line import command_group, print_error, run
from shared.runtime.kafka import security
from shared.runtime.settings import ServiceSettings, load_settings
from shared.runtime.topic_setup import create_topics, topic_differences

app = command_group("The topics of Stet on STET_KAFKA_BOOTSTRAP.")


class TopicSettings(ServiceSettings):
    """The settings of the broker; the others are not needed here."""

    tenant: Annotated[str, Field()] = "none"  # type: ignore[assignment] # not needed for this
    postgres_dsn: SecretStr = SecretStr("")  # not needed for this
    kafka_replication: int | None = None  # none: three, or as many as there are brokers

    def dependencies(self) -> dict[str, str]:
        return {"STET_KAFKA_BOOTSTRAP": self.kafka_bootstrap}


@app.command("create")
def create_command() -> None:
    """Create missing topics, then check all."""
    run(_check(create=True))


@app.command("check")
def check_command() -> None:
    """Name every topic that is missing or differs from its declaration; exit code 1 where one does."""
    run(_check(create=False))


async def _check(*, create: bool) -> int:
    settings = load_settings(TopicSettings)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap, **security(settings))
    try:
        await admin.start()
        if create:
            created = await create_topics(admin, settings.topic_prefix, settings.kafka_replication)
            typer.echo("\n".join(f"created {name}" for name in created) or "nothing to do: every topic is there")
        differences = await topic_differences(admin, settings.topic_prefix)
    except (KafkaError, OSError) as error:
        return print_error(f"STET_KAFKA_BOOTSTRAP: {type(error).__name__}: {error}")
    finally:
        await admin.close()
    typer.echo("\n".join(differences) or "every topic is as declared")
    return 1 if differences else 0

"""The doctor asks a real database what a service needs of it."""

from typing import Any

import pytest

from dev.postgres import login_of
from ops import doctor
from ops.command_line import Service
from ops.findings import Result
from services.writeback.settings import WritebackSettings
from shared.contracts.topics import SERVICES
from tests.ops.rows import execute

pytestmark = pytest.mark.integration


async def faults(dsn: str, service: Service) -> dict[str, str]:
    """The faults of the database of a service, by check; every service has the same settings of it."""
    given: dict[str, Any] = {"kafka_bootstrap": "127.0.0.1:1", "tenant": "penrose", "consonance_key": "k"}
    settings = WritebackSettings(
        **given, postgres_dsn=login_of(dsn, service), consonance_url="http://127.0.0.1:1/graphql"
    )
    findings = await doctor._check_database(settings, service)
    return {finding.check: finding.sentence for finding in findings if finding.result is Result.WRONG}


@pytest.mark.parametrize("service", SERVICES)
async def test_a_migrated_database_gives_every_service_its_rights(postgres_database: str, service: str) -> None:
    assert await faults(postgres_database, Service(service)) == {}


async def test_tables_that_a_restore_left_to_another_owner_are_named(postgres_database: str) -> None:
    await execute(postgres_database, "alter table dispatcher.messages owner to postgres")
    await execute(postgres_database, "revoke delete on dispatcher.pauses from stet_dispatcher")
    found = await faults(postgres_database, Service.DISPATCHER)
    assert found.keys() == {"rights"}
    assert "stet_dispatcher may not use messages, messages_sequence_seq, pauses:" in found["rights"]
    assert "owner to stet_dispatcher" in found["rights"]

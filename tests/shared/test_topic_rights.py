"""Topics on a broker with access control lists: a service sees what it uses, and what it may not see is not missing."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest
from pydantic import SecretStr

from dev.deploy.kafka_resources import operator_user
from dev.kafka import EmbeddedKafka
from ops.topic_reader import TopicScan, kept_ranges
from shared.contracts.errors import Misconfigured
from shared.contracts.ids import TenantId
from shared.contracts.topics import ALL_TOPICS, CONSUMED, CONTACTS, PRODUCED, TRACED, Topic
from shared.runtime import topic_setup as topics_check
from shared.runtime.connection_settings import SaslMechanism, SecurityProtocol
from shared.runtime.kafka import client_options
from shared.runtime.settings import ServiceSettings
from shared.runtime.topic_setup import NOT_ALLOWED, create_topics, topic_differences, topic_problems, wait_for_topics

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
_USERS = {"rules": "password-of-rules", "operator": "password-of-people", "stranger": "password-of-a-stranger"}
_TOPIC, _LITERAL, _ALLOW = 2, 3, 3
_READ, _WRITE = 3, 4
_OPERATIONS = {"Read": _READ, "Describe": 8, "DescribeConfigs": 10}


@pytest.fixture
async def broker(run_folder: Path) -> AsyncIterator[EmbeddedKafka]:
    """It has every topic; rules may read and write those it uses, the stranger none."""
    kafka = EmbeddedKafka(run_folder / "kafka", users=_USERS)
    try:
        await kafka.start()
        async with administrator(kafka) as admin:
            await create_topics(admin, "", None)
            await allow(admin, "rules", CONSUMED["rules"], _READ)
            await allow(admin, "rules", PRODUCED["rules"], _WRITE)
        yield kafka
    finally:
        await kafka.stop()


@asynccontextmanager
async def administrator(kafka: EmbeddedKafka) -> AsyncIterator[AIOKafkaAdminClient]:
    async with connected(AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
        yield admin


@asynccontextmanager
async def connected(admin: AIOKafkaAdminClient) -> AsyncIterator[AIOKafkaAdminClient]:
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def allow(admin: AIOKafkaAdminClient, user: str, topics: Iterable[Topic], operation: int) -> None:
    for topic in topics:
        request = CreateAclsRequest(_TOPIC, topic.name, _LITERAL, f"User:{user}", "*", operation, _ALLOW)
        response = await admin._send_to_controller(request)
        assert [error for error, _ in response.creation_responses] == [0]


def login(kafka: EmbeddedKafka, user: str) -> ServiceSettings:
    return ServiceSettings(
        tenant=TenantId("t"), kafka_bootstrap=kafka.users_bootstrap, postgres_dsn=SecretStr("postgresql://none"),
        kafka_security_protocol=SecurityProtocol.SASL_PLAINTEXT, kafka_sasl_mechanism=SaslMechanism.PLAIN,
        kafka_sasl_username=user, kafka_sasl_password=SecretStr(_USERS[user]),
    )  # fmt: skip


def client(kafka: EmbeddedKafka, user: str) -> AIOKafkaAdminClient:
    settings = login(kafka, user)
    return AIOKafkaAdminClient(**client_options(settings))


async def test_rights_on_its_own_topics_are_enough_for_a_service(
    broker: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    await wait_for_topics(login(broker, "rules"), "rules")
    async with connected(client(broker, "rules")) as admin:
        found = await topic_differences(admin, "")
    assert "parked.writeback: this login may not see it" in found
    assert not [line for line in found if "missing" in line or f"{CONTACTS.name}: this login" in line]
    async with connected(client(broker, "stranger")) as admin:
        assert set((await topic_problems(admin, "", CONSUMED["rules"])).values()) == {NOT_ALLOWED}
    monkeypatch.setattr(topics_check, "_MAX_TRIES", 1)
    with pytest.raises(Misconfigured, match=r"this login may not see it.*; let the login of rules read and write"):
        await wait_for_topics(login(broker, "stranger"), "rules")


async def test_the_login_of_people_is_enough_for_the_lag_a_trace_and_a_comparison(broker: EmbeddedKafka) -> None:
    topics = {topic.name: topic for topic in ALL_TOPICS}
    async with administrator(broker) as admin:
        for rule in operator_user()["spec"]["authorization"]["acls"]:
            for operation in rule["operations"]:
                await allow(admin, "operator", [topics[rule["resource"]["name"]]], _OPERATIONS[operation])
    settings = login(broker, "operator")
    assert {name for name, _ in await kept_ranges(settings)} == {t.name for read in CONSUMED.values() for t in read}
    scan = TopicScan(settings, (*TRACED, CONTACTS))
    assert await scan.find(["any"]) == []
    async with connected(client(broker, "operator")) as admin:
        assert await topic_differences(admin, "") == []

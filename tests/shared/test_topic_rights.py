"""Topics on a broker with access control lists: a service sees what it uses, and what it may not see is not missing."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest
from pydantic import SecretStr

from dev.deploy.kafka_resources import operator_user
from dev.kafka import EmbeddedKafka
from ops import doctor
from ops.command_line import Service
from ops.topic_reader import TopicScan, kept_ranges
from shared.contracts.errors import Misconfigured
from shared.contracts.ids import TenantId
from shared.contracts.topics import ALL_TOPICS, CONSUMED, CONTACTS, DECISIONS, PRODUCED, READ_BACK, TRACED, Topic
from shared.runtime import topic_setup as topics_check
from shared.runtime.connection_settings import SaslMechanism, SecurityProtocol
from shared.runtime.kafka import client_options
from shared.runtime.settings import ServiceSettings
from shared.runtime.topic_rights import group_rights, missing_rights, topic_rights
from shared.runtime.topic_setup import NOT_ALLOWED, create_topics, topic_differences, topic_problems, wait_for_topics

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
_USERS = {"rules": "password-of-rules", "operator": "password-of-people", "stranger": "password-of-a-stranger"}
_TOPIC, _GROUP, _LITERAL, _ALLOW = 2, 3, 3, 3
_READ, _WRITE = 3, 4
_APPLIED_SECONDS = 30
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
        await until_seen(kafka, "rules", PRODUCED["rules"])
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


async def allow_group(admin: AIOKafkaAdminClient, user: str, group: str) -> None:
    request = CreateAclsRequest(_GROUP, group, _LITERAL, f"User:{user}", "*", _READ, _ALLOW)
    response = await admin._send_to_controller(request)
    assert [error for error, _ in response.creation_responses] == [0]


async def until_seen(kafka: EmbeddedKafka, user: str, topics: Sequence[Topic]) -> None:
    """The broker applies a list some moments after it took it."""
    async with asyncio.timeout(_APPLIED_SECONDS), connected(client(kafka, user)) as admin:
        while await topic_problems(admin, "", topics):
            await asyncio.sleep(0.1)


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


async def test_a_login_that_lacks_a_right_is_told_which(broker: EmbeddedKafka) -> None:
    """It may describe all that it reads or writes, so every topic is there."""
    async with administrator(broker) as admin, connected(client(broker, "rules")) as rules:
        assert await missing_rights(admin, "", "ingest") == []
        lacks = await missing_rights(rules, "", "rules")
        assert "stet.rules: this login has no right to READ, DESCRIBE on the consumer group" in lacks
        assert f"{CONTACTS.name}: this login has no right to WRITE on the topic" in lacks
        assert f"{DECISIONS.name}: this login has no right to READ on the topic" in lacks
        assert len(lacks) == len(CONSUMED["rules"]) + 2
        await allow(admin, "rules", CONSUMED["rules"], _WRITE)
        await allow_group(admin, "rules", "stet.rules")
        await allow(admin, "rules", READ_BACK["rules"], _READ)
        async with asyncio.timeout(_APPLIED_SECONDS):
            while await missing_rights(rules, "", "rules"):
                await asyncio.sleep(0.2)
    findings = await doctor._check_broker(login(broker, "rules"), Service.RULES)
    assert [(each.check, each.result) for each in findings] == [("broker", "fine"), ("topics", "fine")], findings
    async with connected(client(broker, "stranger")) as admin:
        assert len(await missing_rights(admin, "", "ingest")) == len(
            {**topic_rights("ingest"), **group_rights("ingest")}
        )


async def test_the_login_of_people_is_enough_for_the_lag_a_trace_and_a_comparison(broker: EmbeddedKafka) -> None:
    topics = {topic.name: topic for topic in ALL_TOPICS}
    async with administrator(broker) as admin:
        for rule in operator_user()["spec"]["authorization"]["acls"]:
            for operation in rule["operations"]:
                await allow(admin, "operator", [topics[rule["resource"]["name"]]], _OPERATIONS[operation])
    await until_seen(broker, "operator", ALL_TOPICS)
    settings = login(broker, "operator")
    assert {name for name, _ in await kept_ranges(settings)} == {t.name for read in CONSUMED.values() for t in read}
    scan = TopicScan(settings, (*TRACED, CONTACTS))
    assert await scan.find(["any"]) == []
    async with connected(client(broker, "operator")) as admin:
        assert await topic_differences(admin, "") == []

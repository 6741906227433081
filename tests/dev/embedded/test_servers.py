"""The broker and the database as servers of their own: what `stet-dev` runs in a container or a pod."""

import asyncio
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaClient
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from dev.ports import free_ports

PASSWORD = "a pass'word"  # noqa: S105 -- of a database that lives for one test


@asynccontextmanager
async def server(module: str, *arguments: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, *arguments)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def until_it_answers(bootstrap: str) -> AIOKafkaClient:
    while True:
        client = AIOKafkaClient(bootstrap_servers=bootstrap)
        try:
            await client.bootstrap()
        except KafkaError:
            await client.close()
            await asyncio.sleep(0.1)
        else:
            return client


async def until_it_connects(port: int, user: str, password: str | None) -> asyncpg.Connection:
    while True:
        with suppress(OSError, asyncpg.CannotConnectNowError):
            return await asyncpg.connect(host="127.0.0.1", port=port, user=user, password=password, database="postgres")
        await asyncio.sleep(0.1)


@pytest.mark.integration
async def test_the_broker_tells_clients_the_advertised_address_and_keeps_its_topics(run_folder: Path) -> None:
    port = free_ports(1)[0]
    arguments = ("--data", str(run_folder), "--host", "0.0.0.0", "--port", str(port))  # noqa: S104 -- as a pod does
    async with server("dev.broker", *arguments, "--advertise", f"broker.example:{port}"):
        client = await until_it_answers(f"127.0.0.1:{port}")
        told = {(broker.host, broker.port) for broker in client.cluster.brokers()}
        await client.close()
    assert told == {("broker.example", port)}
    async with server("dev.broker", *arguments, "--advertise", f"127.0.0.1:{port}"):
        await (await until_it_answers(f"127.0.0.1:{port}")).close()
        admin = AIOKafkaAdminClient(bootstrap_servers=f"127.0.0.1:{port}")
        await admin.start()
        assert await admin.list_topics() == []
        await admin.close()


@pytest.mark.integration
async def test_the_database_has_a_login_for_each_service_and_stops_while_a_client_is_connected(
    run_folder: Path,
) -> None:
    port = free_ports(1)[0]
    arguments = ("--data", str(run_folder), "--port", str(port), "--password", PASSWORD)
    async with server("dev.database", *arguments) as process:
        connection = await until_it_connects(port, "stet_rules", PASSWORD)
        assert await connection.fetchval("select current_user") == "stet_rules"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
        await connection.close(timeout=1)


@pytest.mark.integration
async def test_from_elsewhere_the_database_asks_for_a_password(run_folder: Path) -> None:
    port = free_ports(1)[0]
    async with server("dev.database", "--data", str(run_folder), "--port", str(port), "--password", PASSWORD):
        connection = await until_it_connects(port, "postgres", None)
        rules = await connection.fetch("select address, auth_method from pg_hba_file_rules where address is not null")
        await connection.close()
    assert [method for address, method in rules if address == "all"] == ["scram-sha-256", "scram-sha-256"]
    assert {method for address, method in rules if address != "all"} == {"trust"}

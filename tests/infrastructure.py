"""Fixtures that lend a test a real Kafka and a real PostgreSQL.

Both are taken from STET_KAFKA_BOOTSTRAP and STET_POSTGRES_DSN where set, else from Docker where a daemon answers, else
embedded: started once per session, when the first test asks, and ended with it even if it crashes.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from dev.kafka import EmbeddedKafka
from dev.postgres import EmbeddedPostgres, give_passwords
from dev.processes import Child, family_of
from shared.runtime.topic_setup import create_topics
from tests import containers

ROOT = Path(__file__).parent.parent
_TEMPLATE = "migrated"
_LENT_SETTINGS = {"fsync": "off", "full_page_writes": "off"}
"""Of the server that all tests share, which no test kills: a database for each test writes much, and is thrown away."""
Server = TypeVar("Server", EmbeddedKafka, EmbeddedPostgres)

_has_docker = cache(containers.docker_answers)


@pytest.fixture(scope="session")
def kafka_bootstrap() -> Iterator[str]:
    """The address of a broker the whole session shares: name topics with ``unique_suffix``."""
    given = os.environ.get("STET_KAFKA_BOOTSTRAP")
    with ExitStack() as stack:
        if given is None:
            given = stack.enter_context(containers.kafka_container() if _has_docker() else _embedded_kafka())
        yield given


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """A superuser's address of a server the whole session shares: take ``postgres_database`` for a database."""
    given = os.environ.get("STET_POSTGRES_DSN")
    with ExitStack() as stack:
        if given is None:
            given = stack.enter_context(containers.postgres_container() if _has_docker() else _embedded_postgres())
        yield given


@pytest.fixture(scope="session")
def postgres_template(postgres_dsn: str) -> Iterator[str]:
    """The name of a database that is migrated once and copied for each test."""
    name = f"template_{uuid.uuid4().hex[:8]}"
    _in_a_loop(_execute(postgres_dsn, f'CREATE DATABASE "{name}"'))
    if find_spec("ops.migrate") is not None:
        _migrate(at_database(postgres_dsn, name))
        _in_a_loop(give_passwords(postgres_dsn))
    yield name
    _in_a_loop(_execute(postgres_dsn, f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture
async def postgres_database(postgres_dsn: str, postgres_template: str, unique_suffix: str) -> AsyncIterator[str]:
    """The address of a migrated database of the test's own, dropped after it."""
    name = f"test_{unique_suffix}"
    await _execute(postgres_dsn, f'CREATE DATABASE "{name}" TEMPLATE "{postgres_template}"')
    yield at_database(postgres_dsn, name)
    await _execute(postgres_dsn, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def unique_suffix() -> str:
    """For names of topics and groups that no other test meets."""
    return uuid.uuid4().hex[:12]


@pytest.fixture
async def own_kafka(run_folder: Path) -> AsyncIterator[EmbeddedKafka]:
    """A broker of the test's own, to be killed and started again."""
    kafka = EmbeddedKafka(run_folder / "kafka")
    try:
        await kafka.start()
        yield kafka
    finally:
        await kafka.stop()


@pytest.fixture
async def own_postgres(run_folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A server of the test's own, to be killed and started again; it has no database but ``postgres``."""
    postgres = EmbeddedPostgres(run_folder / "postgres")
    try:
        await postgres.start()
        yield postgres
    finally:
        await postgres.stop()


@pytest.fixture(scope="module")
def _kafka_of_file() -> Iterator[EmbeddedKafka]:
    with _embedded(EmbeddedKafka) as kafka:
        yield kafka


@pytest.fixture(scope="module")
def _postgres_of_file() -> Iterator[EmbeddedPostgres]:
    with _embedded(EmbeddedPostgres) as postgres:
        _in_a_loop(_execute(postgres.dsn, f'CREATE DATABASE "{_TEMPLATE}"'))
        _migrate(at_database(postgres.dsn, _TEMPLATE))
        yield postgres


@pytest.fixture
async def killable_kafka(_kafka_of_file: EmbeddedKafka) -> AsyncIterator[EmbeddedKafka]:
    """A broker of the file's own: a test may kill, freeze and start it, and the next one finds it running."""
    yield _kafka_of_file
    await _recover(_kafka_of_file)


@pytest.fixture
async def killable_postgres(_postgres_of_file: EmbeddedPostgres) -> AsyncIterator[EmbeddedPostgres]:
    """A server of the file's own: a test may kill, freeze and start it, and the next one finds it running."""
    yield _postgres_of_file
    await _recover(_postgres_of_file)


@pytest.fixture
async def killable_database(killable_postgres: EmbeddedPostgres, unique_suffix: str) -> str:
    """The address of a migrated database of the test's own on ``killable_postgres``."""
    name = f"test_{unique_suffix}"
    await _execute(killable_postgres.dsn, f'CREATE DATABASE "{name}" TEMPLATE "{_TEMPLATE}"')
    return at_database(killable_postgres.dsn, name)


async def _recover(server: EmbeddedKafka | EmbeddedPostgres) -> None:
    """Thaw or start a server that a test left frozen or dead."""
    for process in family_of(server.child.pid):
        process.resume()
    if not server.child.alive:
        await server.start()


@pytest.fixture
def run_folder() -> Iterator[Path]:
    with _scratch() as folder:
        yield folder


async def stop_and_show_log(child: Child) -> None:
    """Stop a process, and print the end of its log, which pytest shows for a test that failed."""
    await child.stop()
    print(f"{child.log}:\n{child.log.read_text()[-_SHOWN_OF_A_LOG:]}")  # noqa: T201 -- pytest shows it


_SHOWN_OF_A_LOG = 4_000  # characters


async def declare_topics(bootstrap: str, prefix: str) -> None:
    """Create every topic under ``prefix``, as ``stet topics create`` does in a process of its own."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await create_topics(admin, prefix, replication=1)
    finally:
        await admin.close()


def at_database(dsn: str, name: str) -> str:
    """The same server and user, another database."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


@contextmanager
def _embedded_kafka() -> Iterator[str]:
    with _embedded(EmbeddedKafka) as kafka:
        yield kafka.bootstrap


@contextmanager
def _embedded_postgres() -> Iterator[str]:
    with _embedded(lambda folder: EmbeddedPostgres(folder, settings=_LENT_SETTINGS)) as postgres:
        yield postgres.dsn


@contextmanager
def _embedded(server_in: Callable[[Path], Server]) -> Iterator[Server]:
    with _scratch() as folder:
        server = server_in(folder)
        try:
            _in_a_loop(server.start())
            yield server
        finally:
            _in_a_loop(server.stop())


@contextmanager
def _scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="stet-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _in_a_loop(job: Coroutine[object, object, None]) -> None:
    """A session's fixtures outlive the event loop of any test, so they use one of their own, on a thread of its own."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, job).result()


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _migrate(dsn: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "ops", "migrate"],
        check=True,
        cwd=ROOT,
        env=os.environ | {"STET_POSTGRES_DSN": dsn},
    )

"""The operators' command line on a real database, as a person called ada."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr
from typer.testing import CliRunner

from dev.postgres import login_of
from ops.command_settings import CommandSettings
from ops.database import operator_pool
from services.rules.rulebook.rule_folder import read_folder
from shared.runtime.postgres import Pool
from tests.ops.rows import ACTIVATION, MESSAGE, PEOPLE, execute
from tests.services.rules.stories import FOLDER


@pytest.fixture
async def pool(postgres_database: str) -> AsyncIterator[Pool]:
    settings = CommandSettings(postgres_dsn=SecretStr(login_of(postgres_database, "operator")))
    async with operator_pool(settings) as pool:
        yield pool


@pytest.fixture
def stet(postgres_database: str, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("STET_POSTGRES_DSN", login_of(postgres_database, "operator"))
    monkeypatch.setenv("STET_TENANT", "penrose")
    monkeypatch.setenv("STET_OPERATOR", "ada")
    return CliRunner()


@pytest.fixture
async def message(postgres_database: str) -> None:
    await execute(postgres_database, MESSAGE)


@pytest.fixture
async def people(postgres_database: str) -> None:
    files = json.dumps(read_folder(FOLDER))
    connection = await asyncpg.connect(postgres_database)
    await connection.execute(PEOPLE)
    await connection.execute(
        "insert into rules.rulebooks (revision, files, first_seen) values ('r1', $1, now())", files
    )
    await connection.execute(ACTIVATION)
    await connection.close()


@pytest.fixture
def signing_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ed25519PrivateKey:
    key, file = Ed25519PrivateKey.generate(), tmp_path / "evidence-key.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    monkeypatch.setenv("STET_EVIDENCE_KEY_FILE", str(file))
    return key

"""A real broker and a real database that ask for certificates and logins; what they refuse is named."""

import asyncio
import base64
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import BasicAuth, web
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from faststream.kafka import KafkaBroker
from pydantic import SecretStr

from dev.kafka import EmbeddedKafka, SecuredListeners
from dev.ports import LOOPBACK
from dev.postgres import EmbeddedPostgres
from shared.runtime.connection_settings import KafkaSettings, SaslMechanism, SecurityProtocol
from shared.runtime.consumer import broker_options
from shared.runtime.kafka import OutgoingRecord, Producer, client_options, connection_fault
from shared.runtime.postgres import connect_writable
from tests.shared.certificates import Authority, CertificateFiles
from tests.web_servers import serving

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]
USER, LOGIN, CLIENT, KEY = "stet-rules", "password-of-rules", "secret-of-rules", "opens-the-key"
TOPIC = "greetings"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
async def broker(authority: Authority, run_folder: Path) -> AsyncIterator[EmbeddedKafka]:
    secured = SecuredListeners(authority.issue("broker").keystore, authority.ca_file, USER, LOGIN)
    kafka = EmbeddedKafka(run_folder / "kafka", secured=secured)
    try:
        await kafka.start()
        yield kafka
    finally:
        await kafka.stop()


@asynccontextmanager
async def token_endpoint() -> AsyncIterator[str]:
    """Gives unsigned tokens to the client that knows its secret."""

    async def answer(request: web.Request) -> web.Response:
        form = await request.post()
        login = BasicAuth.decode(request.headers["Authorization"])
        if (login.login, login.password, form["grant_type"]) != (USER, CLIENT, "client_credentials"):
            return web.json_response({"error": "invalid_client"}, status=401)
        now = int(time.time())
        parts = [{"alg": "none"}, {"sub": USER, "iat": now, "exp": now + 300, "scope": form["scope"]}]
        encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
        return web.json_response({"access_token": ".".join([*encoded, ""]), "expires_in": 300})

    async with serving([web.post("/token", answer)]) as url:
        yield f"{url}/token"


async def works(settings: KafkaSettings) -> bool:
    """With each kind of client: producer, consumer, administrator and FastStream's broker."""
    assert await connection_fault(settings) is None
    producer = Producer(settings)
    await producer.start()
    (acknowledged,) = await producer.send_together([OutgoingRecord(TOPIC, None, b"hello", [])])
    await acknowledged
    await producer.stop()
    broker = KafkaBroker(**broker_options(settings), consumer_only=True)
    subscriber = broker.subscriber(TOPIC, auto_offset_reset="earliest", group_id=None)
    await broker.start()
    message = await subscriber.get_one(timeout=20)
    await broker.stop()
    async with AIOKafkaConsumer(**client_options(settings)) as consumer:
        topics = await consumer.topics()
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    described = await admin.describe_topics([TOPIC])
    await admin.close()
    return message is not None and TOPIC in topics and bool(described)


async def named(settings: KafkaSettings, **other: Any) -> str:
    """The setting that is named where these differ."""
    fault = await connection_fault(KafkaSettings(**{**settings.model_dump(), **other}))
    return fault.setting if fault is not None else ""


async def test_every_client_connects_by_certificate_and_by_every_login(
    broker: EmbeddedKafka, authority: Authority, tmp_path: Path
) -> None:
    async with AsyncAdmin(broker) as admin:
        await admin.create_topics([NewTopic(TOPIC, 1, 1)])
    user, stranger = authority.issue(USER, KEY), Authority(tmp_path / "strangers")
    mtls = KafkaSettings(
        kafka_bootstrap=broker.mtls_bootstrap, kafka_security_protocol=SecurityProtocol.SSL,
        kafka_tls_ca_file=authority.ca_file, kafka_tls_certificate_file=user.certificate, kafka_tls_key_file=user.key,
        kafka_tls_key_password=SecretStr(KEY),
    )  # fmt: skip
    assert await works(mtls)
    no_certificate: dict[str, Any] = {
        "kafka_tls_certificate_file": None, "kafka_tls_key_file": None, "kafka_tls_key_password": None,
    }  # fmt: skip
    foreign = stranger.issue(USER)
    foreign_certificate = {
        **no_certificate,
        "kafka_tls_certificate_file": foreign.certificate,
        "kafka_tls_key_file": foreign.key,
    }
    assert await named(mtls, **no_certificate) == "STET_KAFKA_TLS_CERTIFICATE_FILE"
    assert await named(mtls, **foreign_certificate) == "STET_KAFKA_TLS_CERTIFICATE_FILE"
    assert await named(mtls, kafka_tls_ca_file=stranger.ca_file) == "STET_KAFKA_TLS_CA_FILE"

    login = KafkaSettings(
        kafka_bootstrap=broker.login_bootstrap, kafka_security_protocol=SecurityProtocol.SASL_SSL,
        kafka_tls_ca_file=authority.ca_file, kafka_sasl_username=USER, kafka_sasl_password=SecretStr(LOGIN),
    )  # fmt: skip
    for mechanism in ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"):
        chosen = KafkaSettings(**{**login.model_dump(), "kafka_sasl_mechanism": mechanism})
        assert await works(chosen), mechanism
        assert await named(chosen, kafka_sasl_password=SecretStr("wrong")) == "STET_KAFKA_SASL_PASSWORD"

    async with token_endpoint() as url:
        oauth = KafkaSettings(
            kafka_bootstrap=broker.login_bootstrap, kafka_security_protocol=SecurityProtocol.SASL_SSL,
            kafka_tls_ca_file=authority.ca_file, kafka_sasl_mechanism=SaslMechanism.OAUTHBEARER,
            kafka_oauth_token_url=url, kafka_oauth_client_id=USER,
            kafka_oauth_client_secret=SecretStr(CLIENT), kafka_oauth_scope="kafka",
        )  # fmt: skip
        assert await works(oauth)
        assert await named(oauth, kafka_oauth_client_secret=SecretStr("wrong")) == "STET_KAFKA_OAUTH_CLIENT_SECRET"


class AsyncAdmin:
    """An administrator on the port without a login."""

    def __init__(self, broker: EmbeddedKafka) -> None:
        self._client = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)

    async def __aenter__(self) -> AIOKafkaAdminClient:
        await self._client.start()
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()


_SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")


@asynccontextmanager
async def tls_before(postgres: EmbeddedPostgres, files: CertificateFiles, client_ca: Path) -> AsyncIterator[int]:
    """The port of a server that ends TLS, asks for a certificate, and hands on to ``postgres``, whose build has no TLS.

    https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(client_ca))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(files.certificate, files.key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            assert await reader.readexactly(8) == _SSL_REQUEST
            writer.write(b"S")
            await writer.start_tls(context)
            host, _, port = postgres.address.rpartition(":")
            there, back = await asyncio.open_connection(host, int(port))
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        writer.close()

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while part := await reader.read(65536):
        writer.write(part)
        await writer.drain()
    writer.close()


async def test_the_database_is_reached_by_verify_full_with_a_certificate_among_several_hosts(
    own_postgres: EmbeddedPostgres, authority: Authority, tmp_path: Path
) -> None:
    user = authority.issue("stet_rules")
    certificate = f"sslcert={user.certificate}&sslkey={user.key}"

    def dsn(hosts: str, ca_file: Path = authority.ca_file, more: str = certificate) -> str:
        return f"postgresql://postgres@{hosts}/postgres?sslmode=verify-full&sslrootcert={ca_file}&{more}"

    async with tls_before(own_postgres, authority.issue("database"), authority.ca_file) as port:
        connection = await connect_writable(dsn(f"{LOOPBACK}:1,{LOOPBACK}:{port}"))
        assert await connection.fetchval("select 1") == 1
        assert connection._transport.get_extra_info("ssl_object") is not None
        await connection.close()
        with pytest.raises(OSError, match="certificate verify failed"):  # another authority
            await connect_writable(dsn(f"{LOOPBACK}:{port}", Authority(tmp_path / "strangers").ca_file))
        with pytest.raises(OSError, match="certificate verify failed"):  # a name that the certificate does not have
            await connect_writable(dsn(f"localhost:{port}"))
        with pytest.raises((OSError, asyncpg.PostgresConnectionError)):  # no certificate
            await connect_writable(dsn(f"{LOOPBACK}:{port}", more="target_session_attrs=primary"))

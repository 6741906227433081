"""Reads settings from ``STET_…`` variables or files of a secrets folder, once, at the start of the process.

A ``STET_…`` name that is not declared here was misspelt, and its service would run without it: it stops the start.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Self, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from shared.contracts.errors import Misconfigured
from shared.contracts.ids import TenantId
from shared.runtime.clock import Clock, DevelopmentClock, SystemClock

PREFIX = "STET_"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost", ""})
DEVELOPMENT_HOSTS = frozenset({"dev-broker", "dev-database", "dev-whatsapp", "dev-consonance"})
"""The Services of deploy/k8s/components/dev, as pods of their namespace call them; nothing real has such a name."""


class ServiceSettings(BaseSettings):
    """The settings of all four services. Secrets may also be files, named like the variables, in STET_SECRETS_DIR.

    ``instance``: this replica's own name, the same after a restart (a StatefulSet's ordinal), unlike any other's. With
    one, a restart keeps its partitions without a rebalance; without, the group waits for a killed replica's session.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    tenant: Annotated[TenantId, Field(min_length=1, pattern=r"^[a-z0-9][a-z0-9-]*$")]
    kafka_bootstrap: Annotated[str, Field(min_length=1)]
    kafka_security_protocol: str = "PLAINTEXT"
    kafka_sasl_mechanism: str = "SCRAM-SHA-512"
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_tls_ca_file: Path | None = None
    topic_prefix: str = ""
    postgres_dsn: SecretStr
    postgres_pool: int = 10
    health_host: str = "0.0.0.0"  # noqa: S104 -- the cluster's probes and Prometheus come from outside
    health_port: Annotated[int, Field(ge=0, le=65535)] = 0
    instance: str | None = None
    log_level: str = "info"
    otlp_endpoint: str | None = None
    development_clock: Path | None = None
    allow_development_clock: bool = False

    @model_validator(mode="after")
    def _require_development_hosts_for_development_clock(self) -> Self:
        """A virtual clock could send messages at 3 a.m.: it needs its flag, and dependencies made for development."""
        if self.development_clock is None:
            return self
        if not self.allow_development_clock:
            raise ValueError("STET_DEVELOPMENT_CLOCK also needs STET_ALLOW_DEVELOPMENT_CLOCK=1")
        addresses = {**self.dependencies(), "STET_POSTGRES_DSN": ",".join(_postgres_hosts(self._dsn))}
        far = [name for name, address in addresses.items() if not _is_for_development(address)]
        if far:
            raise ValueError(
                f"STET_DEVELOPMENT_CLOCK is for loopback and the Services of components/dev only, not {', '.join(far)}"
            )
        return self

    def dependencies(self) -> dict[str, str]:
        """The address of each system this service connects to, by setting."""
        return {
            "STET_KAFKA_BOOTSTRAP": self.kafka_bootstrap,
            "STET_POSTGRES_DSN": self._dsn,
        }

    @property
    def _dsn(self) -> str:
        return self.postgres_dsn.get_secret_value()

    def clock(self) -> Clock:
        return SystemClock() if self.development_clock is None else DevelopmentClock(self.development_clock)


def _postgres_hosts(dsn: str) -> list[str]:
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
    """In a query an IPv6 address has no brackets; as a host it needs them."""
    return f"[{host}]" if host.count(":") > 1 and "[" not in host else host


def _is_for_development(address: str) -> bool:
    hosts = [urlsplit(part if "//" in part else f"//{part}").hostname or "" for part in address.split(",")]
    return all(host in _LOOPBACK or host in DEVELOPMENT_HOSTS for host in hosts)


def graphql_endpoint(url: str) -> str:
    """Consonance's GraphQL endpoint: its login address, with ``/graphql`` appended where it has no path."""
    return url if urlsplit(url).path.strip("/") else url.rstrip("/") + "/graphql"


S = TypeVar("S", bound=BaseSettings)


def load_settings(settings: type[S]) -> S:
    """Read settings from the environment. Raises Misconfigured naming the variable, never its value.

    A ``STET_…`` name that no service knows stops the start too: it was meant for one.
    """
    secrets = os.environ.get(f"{PREFIX}SECRETS_DIR")
    if secrets is not None and not Path(secrets).is_dir():
        raise Misconfigured(f"{PREFIX}SECRETS_DIR", "this folder does not exist")
    check_names(os.environ, Path(secrets) if secrets is not None else None)
    try:
        return settings(_secrets_dir=secrets)
    except ValidationError as error:
        raise Misconfigured(*_describe_all(error)) from None
    except SettingsError as error:
        field = str(error).partition('field "')[2].partition('"')[0]
        raise Misconfigured(f"{PREFIX}{field.upper()}", "not JSON, and it must be") from None


def _describe_all(error: ValidationError) -> tuple[str, str]:
    """The first invalid setting and its error, followed by all others."""
    (name, sentence), *others = map(
        _describe, error.errors(include_url=False, include_context=False, include_input=False)
    )
    return name, "; ".join([sentence, *(f"{other}: {also}" for other, also in others)])


def _describe(fault: ErrorDetails) -> tuple[str, str]:
    if not fault["loc"]:  # an error of a model validator, which begins with the setting
        name, _, sentence = fault["msg"].removeprefix("Value error, ").partition(" ")
        return name, sentence
    sentence = "not set" if fault["type"] == "missing" else fault["msg"].removeprefix("Value error, ")
    place = f"entry {fault['loc'][1] + 1}: " if len(fault["loc"]) > 1 and isinstance(fault["loc"][1], int) else ""
    sentence = place + sentence
    return PREFIX + str(fault["loc"][0]).upper(), sentence


# ------------------------------------------------------------------ names

SERVICE_SETTINGS = frozenset(
    PREFIX + name
    for name in (
        # all services
        "ALLOW_DEVELOPMENT_CLOCK", "DEVELOPMENT_CLOCK", "HEALTH_HOST", "HEALTH_PORT", "INSTANCE", "KAFKA_BOOTSTRAP",
        "KAFKA_SASL_MECHANISM", "KAFKA_SASL_PASSWORD", "KAFKA_SASL_USERNAME", "KAFKA_SECURITY_PROTOCOL",
        "KAFKA_TLS_CA_FILE", "LOG_LEVEL", "OTLP_ENDPOINT", "POSTGRES_DSN", "POSTGRES_POOL", "TENANT", "TOPIC_PREFIX",
        # ingest
        "APPROVALS", "CONSONANCE_KEY", "CONSONANCE_POLLED", "CONSONANCE_POLL_SECONDS", "CONSONANCE_URL",
        "CONSONANCE_WEBHOOK_SECRETS", "CONTACT_TAGS", "DRAIN_SECONDS", "HOUSE_COUNTRY", "HOUSE_ZONE", "LISTEN_ADDRESS",
        "LISTEN_BODY_BYTES", "LISTEN_BODY_SECONDS", "LISTEN_CONNECTIONS", "LISTEN_HEADER_SECONDS",
        "LISTEN_IDLE_SECONDS", "LISTEN_PORT", "PSEUDONYM_KEY", "RESPOND_WITHIN", "STAGES",
        "WHATSAPP_APP_SECRETS", "WHATSAPP_BUSINESS_ACCOUNT", "WHATSAPP_HEARTBEAT_SECONDS", "WHATSAPP_LINES",
        "WHATSAPP_REDELIVERY_SECONDS", "WHATSAPP_VERIFY_TOKEN",
        # rules
        "RULES_DIR", "SIGNING_KEYS",
        # dispatcher
        "LIMITS_LIFTED", "SENDS_IN_FLIGHT", "SEND_TIMEOUT_SECONDS", "UNPROVEN_AFTER_SECONDS", "WHATSAPP_GRAPH_URL",
        "WHATSAPP_GRAPH_VERSION", "WHATSAPP_RATES", "WHATSAPP_TOKEN",
        # writeback
        "CONSONANCE_MAPPING", "CONSONANCE_MAY_LAND", "CONSONANCE_TIMEOUT", "WRITES_AT_ONCE",
        # tools: python -m ops topics
        "KAFKA_REPLICATION",
    )
)  # fmt: skip
"""The names of all settings, in alphabetical order under the first service that has them. A test compares them."""

OTHER_SETTINGS = frozenset(
    PREFIX + name
    for name in (
        "SECRETS_DIR",  # where settings may also be files
        "CASES", "HOUSE_PAUSE", "PAYLOADS",  # of tests
    )
)  # fmt: skip
"""Variables read outside the settings."""

KNOWN_SETTINGS = SERVICE_SETTINGS | OTHER_SETTINGS

_SERVICE_LINK = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$")
_LINK_ADDRESS = re.compile(r"^(tcp|udp|sctp)://")


def check_names(environment: Mapping[str, str], secrets_dir: Path | None = None) -> None:
    """Raises Misconfigured for a variable, or a file in the secrets folder, named ``STET_…`` that is never read."""
    names = [name for name, value in environment.items() if not _is_service_link(name.upper(), value)]
    files = [path.name for path in secrets_dir.iterdir()] if secrets_dir is not None else []
    unknown = [*_unknown(names, ""), *_unknown(files, "a file in STET_SECRETS_DIR that ")]
    if unknown:
        (name, sentence), *others = unknown
        raise Misconfigured(name, "; ".join([sentence, *(f"{other}: {also}" for other, also in others)]))


def _unknown(names: Iterable[str], what: str) -> Iterator[tuple[str, str]]:
    for name in sorted(names):
        if name.upper().startswith(PREFIX) and name.upper() not in KNOWN_SETTINGS:
            near = get_close_matches(name.upper(), sorted(KNOWN_SETTINGS), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield name, f"{what}no service or tool reads{hint}" if what else f"no service or tool reads it{hint}"


def _is_service_link(name: str, value: str) -> bool:
    """Whether Kubernetes set the variable for a Service named ``stet-…``.

    https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    """
    return bool(_SERVICE_LINK.search(name)) or (name.endswith("_PORT") and bool(_LINK_ADDRESS.match(value)))

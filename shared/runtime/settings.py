"""Every service's settings: ``STET_…`` variables or files of a secrets folder, read once, at the top of the process."""

import os
from pathlib import Path
from typing import Annotated, Self, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from shared.contracts.errors import Misconfigured
from shared.contracts.ids import TenantId
from shared.runtime.clock import Clock, DevelopmentClock, SystemClock
from shared.runtime.setting_names import PREFIX, check_names

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost", ""})


class ServiceSettings(BaseSettings):
    """What all four services need. Secrets may also be files, named like the variables, in STET_SECRETS_DIR.

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
    def _development_clock_stays_home(self) -> Self:
        """A driven clock could send at 3 a.m.; it needs its flag, and neighbours on this machine only."""
        if self.development_clock is None:
            return self
        if not self.allow_development_clock:
            raise ValueError("STET_DEVELOPMENT_CLOCK also needs STET_ALLOW_DEVELOPMENT_CLOCK=1")
        neighbours = {**self.dependencies(), "STET_POSTGRES_DSN": ",".join(_postgres_hosts(self._dsn))}
        far = [name for name, address in neighbours.items() if not _is_loopback(address)]
        if far:
            raise ValueError(f"STET_DEVELOPMENT_CLOCK is for loopback neighbours only, not {', '.join(far)}")
        return self

    def dependencies(self) -> dict[str, str]:
        """Setting → address of everything this service talks to."""
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

    A service file (``service=``, PGSERVICE) may name any host, so it stands as a host itself.
    """
    address = urlsplit(dsn)
    query = parse_qs(address.query)
    listed = [address.netloc.rpartition("@")[2], *query.get("host", ()), *query.get("hostaddr", ())]
    named = [host for hosts in listed for host in hosts.split(",") if host] or os.environ.get("PGHOST", "").split(",")
    service = [*query.get("service", ()), *filter(None, [os.environ.get("PGSERVICE")])]
    return [_bracketed(unquote(host)) for host in named if not unquote(host).startswith(("/", "@"))] + service


def _bracketed(host: str) -> str:
    """In a query the address of IPv6 stands as it is."""
    return f"[{host}]" if host.count(":") > 1 and "[" not in host else host


def _is_loopback(address: str) -> bool:
    hosts = [urlsplit(part if "//" in part else f"//{part}").hostname or "" for part in address.split(",")]
    return all(host in _LOOPBACK for host in hosts)


def graphql_endpoint(url: str) -> str:
    """Where Consonance answers: the address one logs in at, plus ``/graphql`` where it is not written already."""
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
        raise Misconfigured(*_fault(error)) from None
    except SettingsError as error:
        field = str(error).partition('field "')[2].partition('"')[0]
        raise Misconfigured(f"{PREFIX}{field.upper()}", "not JSON, and it must be") from None


def _fault(error: ValidationError) -> tuple[str, str]:
    """The first setting at fault and what is wrong with it, then all the others."""
    (name, sentence), *others = map(_said, error.errors(include_url=False, include_context=False, include_input=False))
    return name, "; ".join([sentence, *(f"{other}: {also}" for other, also in others)])


def _said(fault: ErrorDetails) -> tuple[str, str]:
    if not fault["loc"]:  # a validator of ours, whose sentence begins with the setting
        name, _, sentence = fault["msg"].removeprefix("Value error, ").partition(" ")
        return name, sentence
    sentence = "not set" if fault["type"] == "missing" else fault["msg"].removeprefix("Value error, ")
    place = f"entry {fault['loc'][1] + 1}: " if len(fault["loc"]) > 1 and isinstance(fault["loc"][1], int) else ""
    sentence = place + sentence
    return PREFIX + str(fault["loc"][0]).upper(), sentence

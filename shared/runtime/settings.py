"""The settings that all services share, and how settings are read: once, at the start of the process."""

import os
from pathlib import Path
from typing import Annotated, Self, TypeVar
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsError

from shared.contracts.errors import Misconfigured
from shared.contracts.ids import TenantId
from shared.runtime.clock import Clock, DevelopmentClock, SystemClock
from shared.runtime.connection_settings import (
    KafkaSettings,
    PostgresSettings,
    TelemetrySettings,
    is_for_development,
    postgres_hosts,
)
from shared.runtime.setting_names import PREFIX, check_names

# ------------------------------------------------------------------ settings of two services


def _check_zone(zone: str) -> str:
    if zone not in available_timezones():
        raise ValueError("no such time zone")
    return zone


TimeZoneName = Annotated[str, AfterValidator(_check_zone)]

KeepChainsDays = Annotated[
    int,
    Field(
        ge=1,
        description="For how many days chains are kept after they ended, with what was asked and answered; of "
        "writeback, settled writes.",
    ),
]
KeepMediaDays = Annotated[
    int,
    Field(
        ge=8,
        description="For how many days the files that people sent are kept in the file store, and the links to "
        "them; then the files are deleted.",
    ),
]


# ------------------------------------------------------------------ settings of all services


class ServiceSettings(KafkaSettings, PostgresSettings, TelemetrySettings):
    """The settings of all four services. Secrets may also be files, named like the variables, in STET_SECRETS_DIR."""

    tenant: Annotated[
        TenantId,
        Field(
            min_length=1,
            pattern=r"^[a-z0-9][a-z0-9-]*$",
            description="Your name in every envelope, key and row: lower case, digits, hyphens.",
            examples=["penrose"],
        ),
    ]
    postgres_pool: Annotated[int, Field(gt=0, description="How many connections to PostgreSQL are kept at most.")] = 10
    health_host: Annotated[
        str, Field(description="The address on which `/healthz`, `/readyz` and `/metrics` are served.")
    ] = "0.0.0.0"  # noqa: S104 -- the cluster's probes and Prometheus come from outside
    health_port: Annotated[
        int, Field(ge=0, le=65535, description="Their port, apart from the public one; 0 for any.", examples=["9090"])
    ] = 0
    instance: Annotated[
        str | None,
        Field(
            description=(
                "This replica's own name, the same after a restart (a StatefulSet's ordinal), unlike any other's. With "
                "one, a restart keeps its partitions without a rebalance; without, the group waits for a killed "
                "replica's session."
            ),
            examples=["rules-0"],
        ),
    ] = None
    keep_inbox_days: Annotated[
        int,
        Field(
            ge=35,
            description="For how many days ids of handled events are kept (machine time): longer than any topic.",
        ),
    ] = 100
    keep_parked_days: Annotated[
        int, Field(ge=1, description="For how many days settled parked records are kept (machine time).")
    ] = 90
    secrets_restart_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=3600,
            description=(
                "Where the process is started again when it ends, as by Kubernetes: a changed file of a secret or a "
                "certificate ends it, like SIGTERM, at a moment drawn from so many seconds, once the new files can be "
                "used. 0: never."
            ),
            examples=["120"],
        ),
    ] = 0
    development_clock: Annotated[
        Path | None, Field(description="The file of a virtual clock, for development and tests on loopback alone.")
    ] = None
    allow_development_clock: Annotated[bool, Field(description="Must be set where a virtual clock is.")] = False

    @model_validator(mode="after")
    def _require_development_hosts_for_development_clock(self) -> Self:
        """A virtual clock could send messages at 3 a.m.: it needs its flag, and dependencies made for development."""
        if self.development_clock is None:
            return self
        if not self.allow_development_clock:
            raise ValueError("STET_DEVELOPMENT_CLOCK also needs STET_ALLOW_DEVELOPMENT_CLOCK=1")
        addresses = {**self.dependencies(), "STET_POSTGRES_DSN": ",".join(postgres_hosts(self.dsn))}
        far = [name for name, address in addresses.items() if not is_for_development(address)]
        if far:
            raise ValueError(
                f"STET_DEVELOPMENT_CLOCK is for loopback and the Services of components/dev only, not {', '.join(far)}"
            )
        return self

    def dependencies(self) -> dict[str, str]:
        """The address of each system this service connects to, by setting."""
        return {
            "STET_KAFKA_BOOTSTRAP": self.kafka_bootstrap,
            "STET_POSTGRES_DSN": self.dsn,
        }

    def certificate_files(self) -> list[Path]:
        """Every certificate and key that is read from a file."""
        tls = (self.kafka_tls, self.kafka_oauth_tls, self.otlp_tls)
        return [*(file for files in tls for file in files.files), *self.postgres_tls_files]

    def clock(self) -> Clock:
        return SystemClock() if self.development_clock is None else DevelopmentClock(self.development_clock)


def graphql_endpoint(url: str) -> str:
    """Consonance's GraphQL endpoint: its login address, with ``/graphql`` appended where it has no path."""
    return url if urlsplit(url).path.strip("/") else url.rstrip("/") + "/graphql"


def secrets_folder() -> Path | None:
    """The folder in which settings may also be files."""
    name = os.environ.get(f"{PREFIX}SECRETS_DIR")
    return Path(name) if name is not None else None


S = TypeVar("S", bound=BaseSettings)


def load_settings(settings: type[S]) -> S:
    """Read settings from the environment. Raises Misconfigured naming the variable, never its value.

    A ``STET_…`` name that no service knows stops the start too: it was meant for one.
    """
    secrets = secrets_folder()
    if secrets is not None and not secrets.is_dir():
        raise Misconfigured(f"{PREFIX}SECRETS_DIR", "this folder does not exist")
    check_names(os.environ, secrets)
    try:
        return settings(_secrets_dir=secrets)
    except ValidationError as error:
        raise Misconfigured(*_describe_all(error)) from None
    except SettingsError as error:
        field = str(error).partition('field "')[2].partition('"')[0]
        raise Misconfigured(f"{PREFIX}{field.upper()}", "not JSON, and it must be") from None


_SENTENCES = {"missing": "not set", "too_short": "it has too few entries", "string_type": "it must be text"}
"""By pydantic's types of faults, whose own sentences speak of Python."""


def _describe_all(error: ValidationError) -> tuple[str, str]:
    """The first invalid setting and its error, followed by all others.

    Pydantic counts a list without its invalid entries, and so calls it too short as well: that is said of a list of
    valid entries alone.
    """
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    in_entries = {fault["loc"][0] for fault in faults if len(fault["loc"]) > 1}
    told = [fault for fault in faults if fault["type"] != "too_short" or fault["loc"][0] not in in_entries]
    (name, sentence), *others = map(_describe, told)
    return name, "; ".join([sentence, *(f"{other}: {also}" for other, also in others)])


def _describe(fault: ErrorDetails) -> tuple[str, str]:
    if not fault["loc"]:  # an error of a model validator, which begins with the setting
        name, _, sentence = fault["msg"].removeprefix("Value error, ").partition(" ")
        return name, sentence
    sentence = _SENTENCES.get(fault["type"], fault["msg"].removeprefix("Value error, "))
    place = f"entry {fault['loc'][1] + 1}: " if len(fault["loc"]) > 1 and isinstance(fault["loc"][1], int) else ""
    sentence = place + sentence
    return PREFIX + str(fault["loc"][0]).upper(), sentence

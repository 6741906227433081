"""The parts of a development stack: its ports, its secrets, each process with its settings. It starts nothing."""

import base64
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import orjson

from dev.ports import LOOPBACK, free_ports
from dev.postgres import login_of
from dev.processes import Command

ROOT = Path(__file__).parent.parent
SERVICES = ("ingest", "rules", "dispatcher", "writeback")
SIMULATORS = ("whatsapp", "consonance")
LINES = ("main", "acquisitions")
TENANT = "penrose"
_GRAPH_VERSION = "v25.0"
_BUSINESS_ACCOUNT_DIGITS = _PHONE_NUMBER_DIGITS = 15


def _webhook_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


@dataclass(frozen=True)
class Secrets:
    """New ones for each run; the formats are those of the real providers."""

    whatsapp_token: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    whatsapp_app_secret: str = field(default_factory=lambda: secrets.token_hex(16))
    whatsapp_verify_token: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    consonance_key: str = field(default_factory=lambda: secrets.token_hex(16))
    consonance_webhook_secret: str = field(default_factory=_webhook_secret)
    signing_key: str = field(default_factory=lambda: secrets.token_hex(32))
    pseudonym_key: str = field(default_factory=lambda: secrets.token_hex(32))


@dataclass(frozen=True)
class Neighbours:
    """The addresses of the broker and the database, embedded or external."""

    kafka_bootstrap: str
    postgres_dsn: str


class StackAddresses(Protocol):
    """Where the parts of a running stack answer, on this machine or in a cluster."""

    @property
    def whatsapp_url(self) -> str: ...

    @property
    def consonance_url(self) -> str: ...

    def health_url(self, service: str) -> str: ...


class Layout:
    """The addresses and settings of a stack; ``clock`` is the development clock's file, None on the real clock."""

    def __init__(self, folder: Path, clock: Path | None = None) -> None:
        self.folder = folder
        self.clock = clock
        self.secrets = Secrets()
        self.business_account = _digits(_BUSINESS_ACCOUNT_DIGITS)
        self.lines = {line: _digits(_PHONE_NUMBER_DIGITS) for line in LINES}
        names = ("listen", *SIMULATORS, *SERVICES)
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))

    @property
    def ingest_url(self) -> str:
        return self._url("listen")

    @property
    def whatsapp_url(self) -> str:
        return self._url("whatsapp")

    @property
    def consonance_url(self) -> str:
        return self._url("consonance")

    def health_url(self, service: str) -> str:
        return self._url(service)

    def idle_url(self, participant: str) -> str:
        """Where a service or a simulator says whether it has anything left to do."""
        path = "_simulator/idle" if participant in SIMULATORS else "development/idle"
        return f"{self._url(participant)}/{path}"

    def ready_url(self, participant: str) -> str:
        return self.idle_url(participant) if participant in SIMULATORS else f"{self._url(participant)}/readyz"

    def simulator(self, name: str, more: tuple[str, ...] = ()) -> Command:
        arguments = self._whatsapp_arguments() if name == "whatsapp" else self._consonance_arguments()
        clock = () if self.clock is None else ("--development-clock", str(self.clock))
        return _python(name, f"dev.{name}", ("--port", str(self._ports[name]), *arguments, *clock, *more), {})

    def service(self, name: str, neighbours: Neighbours, more: Mapping[str, str]) -> Command:
        own = {"STET_HEALTH_PORT": str(self._ports[name]), "STET_INSTANCE": name}  # one replica of each
        neighbours = replace(neighbours, postgres_dsn=login_of(neighbours.postgres_dsn, name))
        settings = self.settings(neighbours) | own | dict(more)
        return _python(name, f"services.{name}", (), settings)

    def settings(self, neighbours: Neighbours) -> dict[str, str]:
        """Every STET_ variable the processes have in common; each reads those it knows."""
        clock = {} if self.clock is None else _clock_settings(self.clock)
        return _neighbour_settings(neighbours) | self._provider_settings() | self._publisher_settings() | clock

    def document(self, neighbours: Neighbours) -> dict[str, object]:
        """The content of ``stack.json``: how to reach the stack."""
        return {
            "ingest_url": self.ingest_url,
            "whatsapp_graph_url": self.whatsapp_url,
            "consonance_url": self.consonance_url,
            "kafka_bootstrap": neighbours.kafka_bootstrap,
            "postgres_dsn": neighbours.postgres_dsn,
            "whatsapp_app_secret": self.secrets.whatsapp_app_secret,
            "whatsapp_verify_token": self.secrets.whatsapp_verify_token,
            "consonance_webhook_secret": self.secrets.consonance_webhook_secret,
            "phone_number_ids": list(self.lines.values()),
            "tenant": TENANT,
            "lines": self.lines,
            "whatsapp_business_account": self.business_account,
            "whatsapp_token": self.secrets.whatsapp_token,
            "consonance_key": self.secrets.consonance_key,
            "logs": str(self.folder / "logs"),
        }

    def _url(self, name: str) -> str:
        return f"http://{LOOPBACK}:{self._ports[name]}"

    def _whatsapp_arguments(self) -> tuple[str, ...]:
        """Each in one piece: a secret may begin with a dash."""
        lines = ",".join(f"{line}={number}" for line, number in self.lines.items())
        return (
            f"--webhook-url={self.ingest_url}/whatsapp/webhook",
            f"--app-secret={self.secrets.whatsapp_app_secret}",
            f"--verify-token={self.secrets.whatsapp_verify_token}",
            f"--token={self.secrets.whatsapp_token}",
            f"--business-account={self.business_account}",
            f"--lines={lines}",
        )

    def _consonance_arguments(self) -> tuple[str, ...]:
        return (
            f"--webhook-url={self.ingest_url}/consonance/events",
            f"--webhook-secret={self.secrets.consonance_webhook_secret}",
            f"--key={self.secrets.consonance_key}",
            f"--tenant={TENANT}",
        )

    def _provider_settings(self) -> dict[str, str]:
        return {
            "STET_WHATSAPP_GRAPH_URL": self.whatsapp_url,
            "STET_WHATSAPP_GRAPH_VERSION": _GRAPH_VERSION,
            "STET_WHATSAPP_TOKEN": self.secrets.whatsapp_token,
            "STET_WHATSAPP_APP_SECRETS": _json([self.secrets.whatsapp_app_secret]),
            "STET_WHATSAPP_VERIFY_TOKEN": self.secrets.whatsapp_verify_token,
            "STET_WHATSAPP_LINES": _json(self.lines),
            "STET_WHATSAPP_BUSINESS_ACCOUNT": self.business_account,
            "STET_WHATSAPP_TEMPLATES_SECONDS": "0",  # they are registered after the start
            "STET_MEDIA_STORE": (self.folder / "data" / "files").as_uri(),
            "STET_MEDIA_HOSTS": _json([self.whatsapp_url]),
            "STET_CONSONANCE_URL": self.consonance_url,
            "STET_CONSONANCE_KEY": self.secrets.consonance_key,
            "STET_CONSONANCE_WEBHOOK_SECRETS": _json([self.secrets.consonance_webhook_secret]),
            "STET_CONSONANCE_POLL_SECONDS": "1",
        }

    def _publisher_settings(self) -> dict[str, str]:
        return {
            "STET_TENANT": TENANT,
            "STET_RULES_DIR": str(ROOT / "rules"),
            "STET_SIGNING_KEYS": _json([self.secrets.signing_key]),
            "STET_PSEUDONYM_KEY": self.secrets.pseudonym_key,
            "STET_LISTEN_PORT": str(self._ports["listen"]),
            "STET_DRAIN_SECONDS": "0",  # no load balancer sends here
        }


def _neighbour_settings(neighbours: Neighbours) -> dict[str, str]:
    return {"STET_KAFKA_BOOTSTRAP": neighbours.kafka_bootstrap, "STET_POSTGRES_DSN": neighbours.postgres_dsn}


def _clock_settings(clock: Path) -> dict[str, str]:
    return {"STET_DEVELOPMENT_CLOCK": str(clock), "STET_ALLOW_DEVELOPMENT_CLOCK": "1"}


def _python(name: str, module: str, arguments: tuple[str, ...], settings: Mapping[str, str]) -> Command:
    argv = (sys.executable, "-m", module, *arguments)
    return Command(name, argv, {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **settings})


def preparation(name: str, neighbours: Neighbours, *arguments: str) -> Command:
    """A command of ``stet`` that runs once before the services start."""
    return _python(name, "ops", arguments, _neighbour_settings(neighbours) | {"STET_TENANT": TENANT})


def _digits(count: int) -> str:
    return "".join(secrets.choice("123456789") for _ in range(count))


def _json(value: object) -> str:
    return orjson.dumps(value).decode()

"""The settings of ingest, read from STET_ variables."""

from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, field_validator

from services.ingest.cloudevents import PushSettings
from services.ingest.http.connections import ConnectionLimits
from services.ingest.http.router import MAX_BODY_BYTES
from services.ingest.poll.vocabulary import TenantVocabulary
from shared.contracts import consonance
from shared.contracts.consonance import ComponentState
from shared.contracts.ids import Line
from shared.contracts.vocabulary import Stage
from shared.runtime.credentials import AccessKey, AppSecret, Pseudonymizer, PseudonymKey, VerifyToken, WebhookSecret
from shared.runtime.settings import ServiceSettings, graphql_endpoint

POLLED_KINDS = (
    "work.observed",
    "work.stage_changed",
    "metadata.changed",
    "product.pub_date_changed",
    "product.publishing_status_changed",
    "launch.component_changed",
)
_KINDS = frozenset(map(consonance.short_name, consonance.KINDS))


class IngestSettings(ServiceSettings):
    """``consonance_polled`` are the kinds of event that the poll publishes; all other kinds are pushed.

    For ``drain_seconds`` after SIGTERM the public port stays open while ``/readyz`` already answers 503. Without
    ``whatsapp_heartbeat_seconds`` (0) it confirms no coverage of the webhook: a process that polls and gets no webhook
    would confirm it while those that get them are away.
    """

    listen_address: str = "127.0.0.1"
    listen_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    listen_connections: Annotated[int, Field(ge=64)] = 2048
    listen_body_bytes: Annotated[int, Field(ge=MAX_BODY_BYTES)] = 64 * 1024 * 1024
    listen_header_seconds: Annotated[float, Field(gt=0)] = 5
    listen_body_seconds: Annotated[float, Field(gt=0)] = 10
    listen_idle_seconds: Annotated[float, Field(gt=0)] = 30
    drain_seconds: Annotated[float, Field(ge=0, le=300)] = 5

    whatsapp_app_secrets: Annotated[tuple[AppSecret, ...], Field(min_length=1)]
    whatsapp_verify_token: VerifyToken
    pseudonym_key: PseudonymKey
    whatsapp_lines: Annotated[dict[Line, Annotated[str, Field(pattern=r"^\d+$")]], Field(min_length=1)]
    whatsapp_business_account: Annotated[str, Field(min_length=1)] = "whatsapp"
    whatsapp_heartbeat_seconds: Annotated[float, Field(ge=0)] = 5
    whatsapp_redelivery_seconds: Annotated[float, Field(ge=0)] = 900

    consonance_url: Annotated[str, Field(pattern=r"^https?://")]
    consonance_key: AccessKey
    consonance_webhook_secrets: Annotated[tuple[WebhookSecret, ...], Field(min_length=1)]
    consonance_poll_seconds: Annotated[float, Field(ge=0)] = 60
    consonance_polled: frozenset[str] = frozenset(POLLED_KINDS)

    stages: dict[str, Stage] = Field(default_factory=dict)
    approvals: dict[str, ComponentState] = Field(default_factory=dict)
    contact_tags: dict[str, str] = Field(default_factory=dict)
    respond_within: Annotated[int, Field(ge=1)] = 5
    house_zone: str = "Europe/London"
    house_country: str | None = "GB"

    def dependencies(self) -> dict[str, str]:
        return {**super().dependencies(), "STET_CONSONANCE_URL": self.consonance_url}

    @field_validator("house_zone")
    @classmethod
    def _check_zone(cls, zone: str) -> str:
        if zone not in available_timezones():
            raise ValueError("no such time zone")
        return zone

    @field_validator("consonance_polled")
    @classmethod
    def _check_kinds(cls, polled: frozenset[str]) -> frozenset[str]:
        unknown = sorted(polled - _KINDS)
        if unknown:
            raise ValueError(f"no such event: {', '.join(unknown)}")
        return polled

    @property
    def pseudonyms(self) -> Pseudonymizer:
        return Pseudonymizer(self.pseudonym_key.get_secret_value().encode())

    @property
    def limits(self) -> ConnectionLimits:
        return ConnectionLimits(
            connections=self.listen_connections,
            body_bytes=self.listen_body_bytes,
            header_seconds=self.listen_header_seconds,
            body_seconds=self.listen_body_seconds,
            idle_seconds=self.listen_idle_seconds,
        )

    @property
    def consonance_endpoint(self) -> str:
        return graphql_endpoint(self.consonance_url)

    @property
    def consonance_source(self) -> str:
        """The ``source`` of polled events, whatever ``consonance_url`` is."""
        return f"https://web.consonance.app/{self.tenant}"

    @property
    def push_settings(self) -> PushSettings:
        return PushSettings(self.consonance_polled, self.respond_within, ZoneInfo(self.house_zone), self.house_country)

    @property
    def vocabulary(self) -> TenantVocabulary:
        return TenantVocabulary(self.stages, self.approvals, self.contact_tags)

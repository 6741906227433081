"""The settings of ingest, read from STET_ variables."""

from enum import StrEnum
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationInfo, ValidatorFunctionWrapHandler, field_validator, model_validator
from pydantic_core import PydanticCustomError

from services.ingest.cloudevents import PushSettings
from services.ingest.poll.vocabulary import TenantVocabulary
from shared.clients.file_types import ACCEPTED_TYPES
from shared.clients.object_stores import STORE_URL
from shared.contracts import consonance
from shared.contracts.consonance import ComponentState
from shared.contracts.ids import Line
from shared.contracts.vocabulary import Stage
from shared.runtime.credentials import AccessKey, AppSecret, Pseudonymizer, PseudonymKey, VerifyToken, WebhookSecret
from shared.runtime.http.connections import ConnectionLimits
from shared.runtime.http.router import MAX_BODY_BYTES
from shared.runtime.settings import KeepMediaDays, ServiceSettings, TimeZoneName, graphql_endpoint

POLLED_KINDS = (
    "work.observed",
    "work.stage_changed",
    "metadata.changed",
    "product.pub_date_changed",
    "product.publishing_status_changed",
    "launch.component_changed",
)
_KINDS = frozenset(map(consonance.short_name, consonance.KINDS))


class IngestRole(StrEnum):
    """The work of a process of ingest; ``all`` is one workload, ``web`` and ``poll`` are two."""

    ALL = "all"
    WEB = "web"
    POLL = "poll"

    @property
    def receives(self) -> bool:
        """Whether it serves the public port and watches over the webhook's coverage."""
        return self is not IngestRole.POLL

    @property
    def polls(self) -> bool:
        """Whether it reads Consonance."""
        return self is not IngestRole.WEB

    @property
    def needed(self) -> tuple[str, ...]:
        """The settings without a default that another role does without."""
        return NEEDED_TO_RECEIVE * self.receives + NEEDED_TO_POLL * self.polls


NEEDED_TO_RECEIVE = (
    "whatsapp_app_secrets",
    "whatsapp_verify_token",
    "pseudonym_key",
    "whatsapp_lines",
    "consonance_webhook_secrets",
)
NEEDED_TO_POLL = ("consonance_url", "consonance_key")


class IngestSettings(ServiceSettings):
    """Settings without a default may be absent in a role that does not need them."""

    keep_visitors_days: Annotated[
        int,
        Field(
            ge=1,
            description="For how many days people who never became contacts are kept after they last wrote, or up "
            "to a month less; then they are erased.",
        ),
    ] = 365
    keep_media_days: KeepMediaDays = 365

    ingest_role: Annotated[
        IngestRole,
        Field(
            description=(
                "`web` serves the public port, `poll` reads Consonance and opens no port but that of health, "
                "`all` does both."
            )
        ),
    ] = IngestRole.ALL

    listen_address: Annotated[
        str,
        Field(description="Where the public routes are served; in a container `0.0.0.0` or `::`."),
    ] = "127.0.0.1"
    listen_port: Annotated[int, Field(ge=0, le=65535, description="The public port.")] = 8080
    listen_connections: Annotated[
        int,
        Field(
            ge=64,
            description="How many connections the public port keeps; beyond, the one that waited longest is closed.",
        ),
    ] = 2048
    listen_body_bytes: Annotated[
        int,
        Field(
            ge=MAX_BODY_BYTES,
            description="How many bytes of bodies it holds; beyond, the connection that waited longest is closed.",
        ),
    ] = 64 * 1024 * 1024
    listen_header_seconds: Annotated[float, Field(gt=0, description="How long a sender has for a header.")] = 5
    listen_body_seconds: Annotated[float, Field(gt=0, description="How long a sender has for a body.")] = 10
    listen_idle_seconds: Annotated[
        float,
        Field(
            gt=0,
            description="How long a connection may be idle between two requests; keep a proxy's own idle time below.",
        ),
    ] = 30
    drain_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=300,
            description=(
                "How long after SIGTERM the public port stays open, while `/readyz` says 503 and each connection ends "
                "with its next response."
            ),
        ),
    ] = 5

    whatsapp_app_secrets: Annotated[
        tuple[AppSecret, ...],
        Field(
            validate_default=True,
            description="JSON list of the app's secrets (App settings, Basic): two during a rotation.",
            examples=['["…"]'],
        ),
    ] = ()
    whatsapp_verify_token: Annotated[
        VerifyToken,
        Field(validate_default=True, description="The token that Meta sends when the webhook is subscribed."),
    ] = SecretStr("")
    pseudonym_key: Annotated[
        PseudonymKey,
        Field(
            validate_default=True,
            description=(
                "A secret of 32 characters or more (`openssl rand -hex 32`). Keyed hashes made with it stand for "
                "WhatsApp's message ids, which contain phone numbers. Made once, the same on every replica."
            ),
        ),
    ] = SecretStr("")
    whatsapp_lines: Annotated[
        dict[Line, Annotated[str, Field(pattern=r"^\d+$")]],
        Field(
            default_factory=dict,
            validate_default=True,
            description="JSON object: line name → phone number id.",
            examples=['{"main": "106540352242922"}'],
        ),
    ]
    whatsapp_business_account: Annotated[
        str,
        Field(min_length=1, description="The id of the WhatsApp business account, under which coverage is published."),
    ] = "whatsapp"
    whatsapp_heartbeat_seconds: Annotated[
        float, Field(gt=0, description="How often the coverage of the webhook is published.")
    ] = 5
    whatsapp_redelivery_seconds: Annotated[
        float, Field(ge=0, description="How long WhatsApp has to deliver again before a gap in the coverage closes.")
    ] = 900

    media_store: Annotated[
        str,
        Field(
            pattern=STORE_URL,
            description=(
                "Where files of inbound messages are kept: a folder (`file:///…`), S3, Google Cloud Storage or Azure "
                "by URL; credentials as the provider's own tools read them. Empty: files are not fetched."
            ),
            examples=["s3://penrose-whatsapp/inbound"],
        ),
    ] = ""
    media_link: Annotated[
        str,
        Field(
            pattern=r"^($|https?://)",
            description="What stands in links to kept files in place of the store's URL, where people reach them.",
            examples=["https://files.example.com/whatsapp"],
        ),
    ] = ""
    media_scanner: Annotated[
        str,
        Field(
            pattern=r"^($|tcp://[^/:]+(:\d+)?$|unix:///)",
            description="clamd, which scans each file before it is kept. Empty: files are kept unscanned, and say so.",
            examples=["tcp://clamd:3310", "unix:///run/clamav/clamd.ctl"],
        ),
    ] = ""
    media_max_mb: Annotated[
        int, Field(ge=1, le=100, description="The largest file that is kept; WhatsApp brings no larger one than 100.")
    ] = 100
    media_types: Annotated[
        frozenset[str],
        Field(min_length=1, description="JSON list of the content types that are kept, judged by the content."),
    ] = ACCEPTED_TYPES
    media_hosts: Annotated[
        tuple[Annotated[str, Field(pattern=r"^(https?://[^/]+|[a-z0-9.-]+)$")], ...],
        Field(
            min_length=1,
            description=(
                "JSON list of the hosts that files are downloaded from, by HTTPS and at public addresses only. A whole "
                "origin (`http://…`) may be private."
            ),
        ),
    ] = ("lookaside.fbsbx.com",)
    media_at_once: Annotated[
        int, Field(ge=1, le=64, description="How many files one process fetches at once, with a few MB of memory each.")
    ] = 4
    whatsapp_graph_url: Annotated[
        str,
        Field(
            pattern=r"^($|https?://)",
            description="Meta's Graph API. The dispatcher needs it, and ingest where `STET_MEDIA_STORE` is set.",
            examples=["https://graph.facebook.com"],
        ),
    ] = ""
    whatsapp_graph_version: Annotated[
        str, Field(pattern=r"^($|v\d+\.\d+$)", description="Its version; needed as above.", examples=["v25.0"])
    ] = ""
    whatsapp_token: Annotated[
        AccessKey | None,
        Field(description="The token of a system user of your business at Meta; needed as above."),
    ] = None

    consonance_url: Annotated[
        str,
        Field(
            pattern=r"^https?://",
            validate_default=True,
            description="The address you log in to Consonance at, or its GraphQL endpoint.",
            examples=["https://penrose.consonance.app"],
        ),
    ] = ""
    consonance_key: Annotated[
        AccessKey, Field(validate_default=True, description="Consonance's key, one per publisher, from its support.")
    ] = SecretStr("")
    consonance_webhook_secrets: Annotated[
        tuple[WebhookSecret, ...],
        Field(
            validate_default=True,
            description="JSON list of `whsec_…`: the secrets of those who may push events (Standard Webhooks).",
            examples=['["whsec_…"]'],
        ),
    ] = ()
    consonance_poll_seconds: Annotated[
        float, Field(ge=0, description="How often Consonance is polled; 0 for never.")
    ] = 60
    consonance_polled: Annotated[
        frozenset[str],
        Field(
            description=(
                "JSON list of the kinds of event that the poll publishes; all others are pushed. The same in the roles "
                "`web` and `poll`: a pushed event of a polled kind is refused."
            )
        ),
    ] = frozenset(POLLED_KINDS)

    stages: Annotated[
        dict[str, Stage],
        Field(
            default_factory=dict,
            description="JSON object: your stage names → ours.",
            examples=['{"Copyediting": "copyedit"}'],
        ),
    ]
    approvals: Annotated[
        dict[str, ComponentState],
        Field(default_factory=dict, description="JSON object: your approval states of components → ours."),
    ]
    contact_tags: Annotated[
        dict[str, str], Field(default_factory=dict, description="JSON object: your tags of contacts → roles.")
    ]
    respond_within: Annotated[
        int, Field(ge=1, description="Working days for an answer where a pushed event names no date.")
    ] = 5
    publisher_time_zone: Annotated[TimeZoneName, Field(description="The publisher's time zone, an IANA name.")] = (
        "Europe/London"
    )
    publisher_country: Annotated[
        str | None, Field(description="The country whose holidays count for those working days (ISO 3166).")
    ] = "GB"

    @field_validator(*NEEDED_TO_RECEIVE, *NEEDED_TO_POLL, mode="wrap")
    @classmethod
    def _require_by_role(cls, value: object, check: ValidatorFunctionWrapHandler, info: ValidationInfo) -> object:
        if value not in (SecretStr(""), "", (), [], {}):
            return check(value)
        if info.field_name in info.data.get("ingest_role", IngestRole.ALL).needed:
            raise PydanticCustomError("missing", "not set")
        return value

    @model_validator(mode="after")
    def _check_media(self) -> Self:
        if self.keeps_files and not (self.whatsapp_graph_url and self.whatsapp_graph_version and self.whatsapp_token):
            needed = "STET_WHATSAPP_GRAPH_URL, STET_WHATSAPP_GRAPH_VERSION and STET_WHATSAPP_TOKEN"
            raise ValueError(f"STET_MEDIA_STORE also needs {needed}: files are downloaded with them")
        return self

    @model_validator(mode="after")
    def _check_polling(self) -> Self:
        if self.ingest_role is IngestRole.POLL and not self.consonance_poll_seconds and not self.development_clock:
            raise ValueError("STET_CONSONANCE_POLL_SECONDS 0 is not for STET_INGEST_ROLE=poll, which only polls")
        return self

    def secret_urls(self) -> list[tuple[str, str]]:
        files = [("STET_WHATSAPP_GRAPH_URL", self.whatsapp_graph_url)]
        files += [("STET_MEDIA_HOSTS", host) for host in self.media_hosts]
        polled = [("STET_CONSONANCE_URL", self.consonance_url)]
        own = files * self.keeps_files + polled * self.ingest_role.polls
        return [*super().secret_urls(), *own]

    def dependencies(self) -> dict[str, str]:
        polled = {"STET_CONSONANCE_URL": self.consonance_url} if self.ingest_role.polls else {}
        return {**super().dependencies(), **polled}

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
    def keeps_files(self) -> bool:
        """Whether this process fetches files of inbound messages."""
        return bool(self.media_store) and self.ingest_role.receives

    @property
    def consonance_endpoint(self) -> str:
        return graphql_endpoint(self.consonance_url)

    @property
    def consonance_source(self) -> str:
        """The ``source`` of polled events, whatever ``consonance_url`` is."""
        return f"https://web.consonance.app/{self.tenant}"

    @property
    def push_settings(self) -> PushSettings:
        zone = ZoneInfo(self.publisher_time_zone)
        return PushSettings(self.consonance_polled, self.respond_within, zone, self.publisher_country)

    @property
    def vocabulary(self) -> TenantVocabulary:
        return TenantVocabulary(self.stages, self.approvals, self.contact_tags)

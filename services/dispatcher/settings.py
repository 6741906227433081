"""The dispatcher's settings: the WhatsApp Cloud API, its numbers and rate limits, and when silence settles a send."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from services.dispatcher.rate_limits import NUMBER_RATE_LIMIT, RateLimit, SendLimits
from services.dispatcher.whatsapp_client import WhatsAppEndpoint
from shared.clients.graph_api import TemplateEndpoint
from shared.clients.object_stores import STORE_URL
from shared.clients.rate_card import RateCard, read_rate_card
from shared.contracts.ids import Line
from shared.runtime.connection_settings import Settings
from shared.runtime.credentials import AccessKey
from shared.runtime.settings import ServiceSettings, TimeZoneName

_LEASE_MARGIN = timedelta(seconds=5)
_MEGABYTE = 1_000_000


class CostSettings(Settings):
    """The rate card, the budget, and the time zone whose days and months count."""

    publisher_time_zone: Annotated[
        TimeZoneName,
        Field(
            description="The publisher's time zone, an IANA name; its days and months count for costs and the budget."
        ),
    ] = "Europe/London"
    rate_card: Annotated[
        Path | None,
        Field(
            description=(
                "A TOML file with WhatsApp's prices by country and category (docs/operations/cost.md). Without it "
                "messages are counted and have no cost."
            ),
            examples=["/etc/stet/rates.toml"],
        ),
    ] = None

    monthly_budget: Annotated[
        Decimal | None,
        Field(
            gt=0,
            description=(
                "What messages may cost in a calendar month, in the currency of the rate card. When it is spent, "
                "messages that are not critical wait for the next month or a higher budget. Without it nothing waits."
            ),
            examples=["500"],
        ),
    ] = None
    budget_warning_percent: Annotated[
        int, Field(gt=0, le=100, description="The share of the budget from which `StetBudgetNearlySpent` warns.")
    ] = 80

    @field_validator("rate_card")
    @classmethod
    def _check_card(cls, path: Path | None) -> Path | None:
        if path is not None:
            read_rate_card(path)
        return path

    @model_validator(mode="after")
    def _check_budget(self) -> Self:
        if self.monthly_budget is not None and self.rate_card is None:
            raise ValueError("STET_MONTHLY_BUDGET also needs STET_RATE_CARD, which says what a message costs")
        return self

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.publisher_time_zone)

    @cached_property
    def card(self) -> RateCard | None:
        return None if self.rate_card is None else read_rate_card(self.rate_card)


class DispatcherSettings(ServiceSettings, CostSettings):
    """The WhatsApp Cloud API, its numbers and rates, what messages cost, and when silence settles a send."""

    keep_messages_days: Annotated[
        int, Field(ge=7, description="For how many days messages are kept after their last status, with their texts.")
    ] = 400
    keep_cost_days: Annotated[
        int,
        Field(
            ge=62,
            description="For how many days the numbers of messages by day, country, category and rule are kept, from "
            "which costs are shown.",
        ),
    ] = 1100

    whatsapp_graph_url: Annotated[
        str,
        Field(
            pattern=r"^https?://",
            description="Meta's Graph API.",
            examples=["https://graph.facebook.com"],
        ),
    ]
    whatsapp_graph_version: Annotated[
        str, Field(pattern=r"^v\d+\.\d+$", description="Its version.", examples=["v25.0"])
    ]
    whatsapp_token: Annotated[AccessKey, Field(description="The token of a system user of your business at Meta.")]
    whatsapp_lines: Annotated[
        dict[Line, Annotated[str, Field(pattern=r"^\d+$")]],
        Field(
            min_length=1,
            description="JSON object: line name → phone number id.",
            examples=['{"main": "106540352242922"}'],
        ),
    ]
    whatsapp_rates: Annotated[
        dict[Line, Annotated[int, Field(gt=0, le=1000)]],
        Field(
            default_factory=dict,
            description="JSON object: line name → messages a second, where Meta allows a number another rate than 80."
            " Without it, a webhook that reports an upgrade counts.",
            examples=['{"main": 250}'],
        ),
    ]
    whatsapp_accounts: Annotated[
        dict[Line, Annotated[str, Field(pattern=r"^\d+$")]],
        Field(
            default_factory=dict,
            description="JSON object: line name → id of its WhatsApp business account. Needed where the lines belong to"
            " several: what Meta restricts of one account then holds only its lines, and a template counts only where"
            " the account of the line has it.",
            examples=['{"main": "102290129340398"}'],
        ),
    ]
    sends_in_flight: Annotated[int, Field(gt=0, le=2000, description="How many requests to WhatsApp run at once.")] = (
        256
    )
    send_timeout_seconds: Annotated[
        float, Field(gt=0, le=120, description="How long a request to WhatsApp may take; then the send is uncertain.")
    ] = 10.0
    unproven_after_seconds: Annotated[
        float, Field(gt=0, description="How long, on both clocks, before silence may count as evidence.")
    ] = 900.0
    whatsapp_business_account: Annotated[
        str,
        Field(
            min_length=1,
            description="The id of the WhatsApp business account of the lines that STET_WHATSAPP_ACCOUNTS does not"
            " name. Its templates are read, and what Meta says of other accounts changes nothing.",
        ),
    ] = "whatsapp"
    whatsapp_templates_seconds: Annotated[
        float,
        Field(
            ge=0,
            description=(
                "How often the list of each account's templates is read; 0 never, and then a missing template is not "
                "known before a send. It needs the number of the account in STET_WHATSAPP_BUSINESS_ACCOUNT or "
                "STET_WHATSAPP_ACCOUNTS."
            ),
        ),
    ] = 600
    document_hosts: Annotated[
        tuple[Annotated[str, Field(pattern=r"^(https?://[^/]+|[a-z0-9.-]+)$")], ...],
        Field(
            description=(
                "JSON list of the hosts from which documents that rules attach to messages are fetched, by HTTPS and at"
                " public addresses only. A whole origin (`http://…`) may be private."
            ),
            examples=['["files.penrose.example"]'],
        ),
    ] = ()
    document_store: Annotated[
        str,
        Field(
            pattern=STORE_URL,
            description=(
                "The store of documents that rules attach to messages: a folder (`file:///…`), S3, Google Cloud Storage"
                " or Azure by URL; credentials as the provider's own tools read them. A rule names a key in it."
            ),
            examples=["s3://penrose-documents/outgoing"],
        ),
    ] = ""
    document_max_mb: Annotated[
        int,
        Field(ge=1, le=100, description="The largest document that is sent; WhatsApp takes none above 100."),
    ] = 100
    limits_lifted: Annotated[
        bool, Field(description="Sends without limits of its own; for measurements with a virtual clock alone.")
    ] = False

    @model_validator(mode="after")
    def _check_lifted_limits(self) -> Self:
        """WhatsApp would answer with errors, and then with a ban."""
        if self.limits_lifted and not self.allow_development_clock:
            raise ValueError("STET_LIMITS_LIFTED also needs STET_ALLOW_DEVELOPMENT_CLOCK=1")
        return self

    @model_validator(mode="after")
    def _check_lines(self) -> Self:
        """A misspelt line would have the usual rate, and the templates of another account."""
        for setting, named in (
            ("STET_WHATSAPP_RATES", self.whatsapp_rates),
            ("STET_WHATSAPP_ACCOUNTS", self.whatsapp_accounts),
        ):
            for line in sorted(named.keys() - self.whatsapp_lines.keys()):
                raise ValueError(f"{setting} names the line “{line}”, and STET_WHATSAPP_LINES does not")
        return self

    def secret_urls(self) -> list[tuple[str, str]]:
        return [*super().secret_urls(), ("STET_WHATSAPP_GRAPH_URL", self.whatsapp_graph_url)]

    def dependencies(self) -> dict[str, str]:
        return {**super().dependencies(), "STET_WHATSAPP_GRAPH_URL": self.whatsapp_graph_url}

    def endpoint(self) -> WhatsAppEndpoint:
        return WhatsAppEndpoint(
            graph_url=self.whatsapp_graph_url,
            version=self.whatsapp_graph_version,
            token=self.whatsapp_token.get_secret_value(),
            numbers={str(line): number for line, number in self.whatsapp_lines.items()},
            timeout=timedelta(seconds=self.send_timeout_seconds),
        )

    @property
    def sends_documents(self) -> bool:
        """Whether a setting names a place that they may come from."""
        return bool(self.document_hosts or self.document_store)

    @property
    def most_document_bytes(self) -> int:
        return self.document_max_mb * _MEGABYTE

    @property
    def accounts_of_lines(self) -> Mapping[str, str]:
        """Line → its WhatsApp business account, as far as settings name it."""
        named = {line: self.whatsapp_accounts.get(line, self.whatsapp_business_account) for line in self.whatsapp_lines}
        return {str(line): account for line, account in named.items() if account.isdigit()}

    @property
    def own_accounts(self) -> Collection[str] | None:
        """The accounts of all lines; None where settings do not name that of each."""
        named = self.accounts_of_lines
        return frozenset(named.values()) if len(named) == len(self.whatsapp_lines) else None

    @property
    def accounts(self) -> Sequence[str]:
        """The accounts whose templates are read."""
        return sorted({*self.accounts_of_lines.values()})

    @property
    def reads_templates(self) -> bool:
        return bool(self.accounts) and self.whatsapp_templates_seconds > 0

    def template_endpoints(self) -> Sequence[TemplateEndpoint]:
        token = self.whatsapp_token.get_secret_value()
        return [
            TemplateEndpoint(self.whatsapp_graph_url, self.whatsapp_graph_version, account, token)
            for account in self.accounts
        ]

    def limits(self) -> SendLimits:
        rates = {str(line): RateLimit(count, NUMBER_RATE_LIMIT.per) for line, count in self.whatsapp_rates.items()}
        return SendLimits(numbers=rates, lifted=self.limits_lifted)

    @property
    def lease(self) -> timedelta:
        """Longer than a request may take: a send without an outcome by then was begun by a process that has gone."""
        return timedelta(seconds=self.send_timeout_seconds) + _LEASE_MARGIN

    @property
    def unproven_after(self) -> timedelta:
        """How long, on both clocks, before silence may count as evidence."""
        return timedelta(seconds=self.unproven_after_seconds)

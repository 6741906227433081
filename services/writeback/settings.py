"""The settings of writeback."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field, HttpUrl

from shared.runtime.credentials import AccessKey
from shared.runtime.settings import KeepChainsDays, KeepMediaDays, ServiceSettings, graphql_endpoint

SHIPPED_MAPPING = Path(__file__).parent / "mapping" / "extended.yaml"


class WritebackSettings(ServiceSettings):
    """How Consonance is written to; seconds are machine time."""

    keep_chains_days: KeepChainsDays = 730
    keep_media_days: KeepMediaDays = 365

    consonance_url: Annotated[
        HttpUrl,
        Field(
            description="The address you log in to Consonance at, or its GraphQL endpoint.",
            examples=["https://penrose.consonance.app"],
        ),
    ]
    consonance_key: Annotated[AccessKey, Field(description="Consonance's key, one per publisher, from its support.")]
    consonance_mapping: Annotated[
        Path,
        Field(
            description=(
                "The mapping file; what your Consonance cannot do becomes a manual task, never a claimed success. "
                "By default `services/writeback/mapping/extended.yaml`; `stet mapping` says what is possible."
            ),
        ),
    ] = SHIPPED_MAPPING
    consonance_timeout: Annotated[float, Field(gt=0, description="Seconds for a request to Consonance.")] = 15.0
    consonance_effect_seconds: Annotated[
        float,
        Field(
            ge=0,
            description=(
                "Seconds for which an unanswered request may still take effect; so long its outcome is unknown and "
                "the write is not repeated. The vendor publishes no limit."
            ),
        ),
    ] = 60.0
    writes_at_once: Annotated[int, Field(gt=0, le=64, description="How many writes run at once.")] = 8

    def secret_urls(self) -> list[tuple[str, str]]:
        return [*super().secret_urls(), ("STET_CONSONANCE_URL", str(self.consonance_url))]

    def dependencies(self) -> dict[str, str]:
        return {**super().dependencies(), "STET_CONSONANCE_URL": str(self.consonance_url)}

    @property
    def consonance_endpoint(self) -> str:
        return graphql_endpoint(str(self.consonance_url))

    @property
    def effect_window(self) -> timedelta:
        """The time after the start of a request in which its mutation may still take effect."""
        return timedelta(seconds=self.consonance_timeout + self.consonance_effect_seconds)

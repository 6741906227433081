"""The settings of writeback."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field, HttpUrl

from shared.runtime.credentials import AccessKey
from shared.runtime.settings import ServiceSettings, graphql_endpoint

_MAPPING = Path(__file__).parent / "mapping" / "extended.yaml"


class WritebackSettings(ServiceSettings):
    """``consonance_url`` is the login address or the GraphQL endpoint; seconds are machine time.

    A request unanswered after ``consonance_timeout`` may still land for ``consonance_may_land`` more: so long the
    outcome is unknown and the write is not repeated. The vendor publishes no limit; a minute is our choice.
    """

    consonance_url: HttpUrl
    consonance_key: AccessKey
    consonance_mapping: Path = _MAPPING
    consonance_timeout: Annotated[float, Field(gt=0)] = 15.0
    consonance_may_land: Annotated[float, Field(ge=0)] = 60.0
    writes_at_once: Annotated[int, Field(gt=0, le=64)] = 8

    def dependencies(self) -> dict[str, str]:
        return {**super().dependencies(), "STET_CONSONANCE_URL": str(self.consonance_url)}

    @property
    def consonance_endpoint(self) -> str:
        return graphql_endpoint(str(self.consonance_url))

    @property
    def attempt_lifetime(self) -> timedelta:
        """From the start of a request to the moment from which its mutation can no longer take effect."""
        return timedelta(seconds=self.consonance_timeout + self.consonance_may_land)

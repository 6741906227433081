"""The settings and the database connection of writeback's command lines."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.writeback.store import SERVICE
from shared.runtime.clock import Clock, DevelopmentClock, SystemClock
from shared.runtime.postgres import Pool, role_name
from shared.runtime.settings import PREFIX


class CommandSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", env_ignore_empty=True)

    postgres_dsn: SecretStr
    development_clock: Path | None = None

    def clock(self) -> Clock:
        return SystemClock() if self.development_clock is None else DevelopmentClock(self.development_clock)


@asynccontextmanager
async def database(settings: CommandSettings) -> AsyncIterator[Pool]:
    """With writeback's own role and schema."""
    where = {"search_path": SERVICE, "role": role_name(SERVICE), "application_name": "stet-writeback-command"}
    async with asyncpg.create_pool(
        settings.postgres_dsn.get_secret_value(),
        min_size=1,
        max_size=1,
        server_settings=where,
        target_session_attrs="read-write",
    ) as pool:
        yield pool

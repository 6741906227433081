"""The variables of rules."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from shared.settings import ServiceSettings


class RulesSettings(ServiceSettings):
    rules_dir: Path
    signing_key: Annotated[SecretStr, Field(min_length=16)]

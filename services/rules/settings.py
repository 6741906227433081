"""The variables of rules."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from shared.runtime.credentials import SigningKey
from shared.runtime.settings import ServiceSettings


class RulesSettings(ServiceSettings):
    """Buttons are signed with the first of ``signing_keys``, and known by any of them.

    ``rules_commit`` is the commit of the rule files, for the metrics, where the path of the folder does not tell it.
    """

    rules_dir: Path
    rules_commit: str | None = None
    signing_keys: Annotated[tuple[SigningKey, ...], Field(min_length=1)]

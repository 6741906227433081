"""The variables of rules."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from shared.runtime.credentials import SigningKey
from shared.runtime.settings import ServiceSettings


class RulesSettings(ServiceSettings):
    """Buttons are signed with the first of ``signing_keys``, and known by any of them."""

    rules_dir: Annotated[
        Path,
        Field(
            description="The folder of the rule files; one that does not pass the check stops the start.",
            examples=["/rules"],
        ),
    ]
    rules_commit: Annotated[
        str | None,
        Field(
            description="The commit of the rule files, for the metrics, where the path of the folder does not tell it.",
            examples=["4f0c2d1"],
        ),
    ] = None
    signing_keys: Annotated[
        tuple[SigningKey, ...],
        Field(
            min_length=1,
            description="JSON list of secrets of 16 characters or more: the first signs button ids, all are known.",
            examples=['["…"]'],
        ),
    ]
    keep_decision_inputs_days: Annotated[
        int,
        Field(
            ge=0,
            le=365,
            description="For how many days it is kept what decisions were made from, so that stet rules can explain, "
            "repeat and compare them; 0 keeps nothing.",
        ),
    ] = 14

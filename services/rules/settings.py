"""The variables of rules."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from shared.runtime.credentials import SigningKey
from shared.runtime.settings import KeepChainsDays, ServiceSettings


class RulesActivation(StrEnum):
    AUTOMATIC = "automatic"
    MANUAL = "manual"


class RulesSettings(ServiceSettings):
    """Buttons are signed with the first of ``signing_keys``, and known by any of them."""

    rules_dir: Annotated[
        Path,
        Field(
            description=(
                "The folder of the rule files. It is watched: changed files that pass the check replace those in "
                "force, others are refused. The start fails only where they are refused and none are in force yet."
            ),
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
    rules_bundle: Annotated[
        str | None,
        Field(
            pattern=r"^(https://|oci://|http://(127\.0\.0\.1|localhost)[:/]).+",
            description=(
                "Where the rule files are fetched from, instead of a folder: a tar archive with its SHA-256 behind "
                "`#sha256=`, or beside it in a file of the same name with `.sha256`; or an artifact of an OCI "
                "registry, by tag or digest."
            ),
            examples=["oci://registry.example.com/stet-rules:live"],
        ),
    ] = None
    rules_bundle_token: Annotated[
        SecretStr | None, Field(description="The bearer token for the bundle, where its address asks for one.")
    ] = None
    rules_activation: Annotated[
        RulesActivation,
        Field(
            description=(
                "`automatic`: new rules are in force once they pass the check. `manual`: they wait for "
                "`stet rules rollout`."
            )
        ),
    ] = RulesActivation.AUTOMATIC
    rules_watch_seconds: Annotated[
        float, Field(gt=0, le=3600, description="How many seconds pass between two looks at the folder or bundle.")
    ] = 2.0
    signing_keys: Annotated[
        tuple[SigningKey, ...],
        Field(
            min_length=1,
            description="JSON list of secrets of 16 characters or more: the first signs button ids, all are known.",
            examples=['["…"]'],
        ),
    ]
    keep_chains_days: KeepChainsDays = 730
    keep_decision_inputs_days: Annotated[
        int,
        Field(
            ge=0,
            le=365,
            description="For how many days it is kept what decisions were made from, so that stet rules can explain, "
            "repeat and compare them; 0 keeps nothing.",
        ),
    ] = 14

"""The manifests that are written from the code, and their text."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from dev.deploy.kafka_resources import (
    SCALED_BY_LAG,
    Resource,
    kafka_topics,
    kafka_users,
    lag_reader,
    lag_triggers,
    operator_user,
)
from dev.layout import ROOT
from shared.contracts.topics import PARTITIONS

COMPONENTS = ROOT / "deploy/k8s/components"

_HEADER = "# Written by `python -m dev.deploy` from {source}; edit that, and run it again.\n"
_TARGET_KINDS = {"rules": "StatefulSet", "writeback": "Deployment"}
_RECORDS_PER_REPLICA = {"rules": 1000, "writeback": 100}
"""The lag that one replica may have: some seconds of rules' work, and what writeback asks of Consonance in a minute."""


def generated_files() -> dict[Path, str]:
    topics = "shared/contracts/topics.py"
    return {
        COMPONENTS / "strimzi/topics.yaml": _text(topics, kafka_topics()),
        COMPONENTS / "strimzi/users.yaml": _text(topics, kafka_users()),
        COMPONENTS / "keda/kafkauser.yaml": _text(topics, [lag_reader()]),
        COMPONENTS / "operator/kafkauser.yaml": _text(topics, [operator_user()]),
        COMPONENTS / "keda/scaledobjects.yaml": _text(topics, map(_scaled_object, SCALED_BY_LAG)),
    }


def outdated_files() -> list[Path]:
    return [path for path, text in generated_files().items() if not path.exists() or path.read_text() != text]


# ------------------------------------------------------------------ resources


def _scaled_object(service: str) -> Resource:
    """It waits ten minutes before it takes a replica away: each change moves partitions between the others.

    Without a ``fallback`` the number stays as it is while KEDA cannot ask for the lag: more replicas would not bring a
    broker back, and fewer would meet its backlog.
    """
    calm = {"stabilizationWindowSeconds": 600, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 300}]}
    quick = {"stabilizationWindowSeconds": 120, "policies": [{"type": "Pods", "value": 2, "periodSeconds": 120}]}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": service},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": _TARGET_KINDS[service], "name": service},
            "minReplicaCount": 2,
            "maxReplicaCount": PARTITIONS,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": quick, "scaleDown": calm}}},
            "triggers": lag_triggers(service, _RECORDS_PER_REPLICA[service]),
        },
    }


# ------------------------------------------------------------------ text


class _Dumper(yaml.SafeDumper):
    """Lists are indented below their key, and several lines of text stay several lines, as people write YAML."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        super().increase_indent(flow, indentless=False)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> Any:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_represent: Callable[..., None] = _Dumper.add_representer
_represent(str, _represent_text)


def _text(source: str, resources: Iterable[Resource]) -> str:
    dumped: str = yaml.dump_all(
        resources, Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=96
    )
    return _HEADER.format(source=source) + dumped

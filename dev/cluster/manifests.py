"""Writes the kustomization of a run: overlays/local with the run's images, namespace, settings, rules and records."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from dev.layout import ROOT

DEPLOY = ROOT / "deploy" / "k8s"
LOCAL = DEPLOY / "overlays" / "local"
DEVELOPMENT_CLOCK = DEPLOY / "components" / "dev-clock"
RULES_FOLDER = "/etc/stet/rules"
_RULES_VOLUME = "rule-files"


@dataclass(frozen=True)
class Variant:
    """Differences from overlays/local. ``settings`` are variables by the name of their ConfigMap; ``rules`` a folder of
    rule files instead of the image's; ``records`` a file of more contacts and works for the Consonance simulator.
    """

    namespace: str
    images: Mapping[str, str]
    components: tuple[Path, ...] = ()
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    rules: Path | None = None
    records: Path | None = None


def write_kustomization(variant: Variant, folder: Path) -> Path:
    """Write it, and what it refers to, to ``folder``; returns ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    documents: dict[str, bytes] = {}
    if variant.records is not None:
        documents["records.json"] = variant.records.read_bytes()
    if variant.rules is not None:
        documents |= rule_files(variant.rules)
    for name, content in documents.items():
        (folder / name).write_bytes(content)
    with (folder / "kustomization.yaml").open("w") as file:
        YAML(typ="safe", pure=True).dump(kustomization(variant, folder), file)
    return folder


def kustomization(variant: Variant, folder: Path) -> dict[str, Any]:
    """The content of ``kustomization.yaml``; its paths are relative to ``folder``."""
    config_maps = [_merged(name, settings) for name, settings in variant.settings.items()]
    patches = []
    if variant.records is not None:
        config_maps.append({"name": "dev-records", "behavior": "replace", "files": ["records.json"]})
    if variant.rules is not None:
        names = sorted(rule_files(variant.rules))
        config_maps.append({"name": _RULES_VOLUME, "options": {"immutable": True}, "files": names})
        config_maps.append(_merged("rules", {"STET_RULES_DIR": RULES_FOLDER}))
        patches.append(_rules_patch(names))
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": variant.namespace,
        "resources": [os.path.relpath(LOCAL, folder)],
        "components": [os.path.relpath(component, folder) for component in variant.components],
        "images": [{"name": name, "newTag": tag} for name, tag in variant.images.items()],
        "configMapGenerator": config_maps,
        "patches": patches,
    }


def rule_files(rules: Path) -> dict[str, bytes]:
    """The files of a rule folder by the keys of their ConfigMap, in which a slash is not allowed."""
    files = (path for path in rules.rglob("*.yaml") if not path.name.endswith(".test.yaml"))
    return {path.relative_to(rules).as_posix().replace("/", "__"): path.read_bytes() for path in files}


def _merged(name: str, settings: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "behavior": "merge",
        "literals": [f"{variable}={value}" for variable, value in settings.items()],
    }


def _rules_patch(names: list[str]) -> dict[str, Any]:
    """Mount the rule files into the pods of rules, each at its own path."""
    items = [{"key": name, "path": name.replace("__", "/")} for name in names]
    volume = {"name": _RULES_VOLUME, "configMap": {"name": _RULES_VOLUME, "items": items}}
    mount = {"name": _RULES_VOLUME, "mountPath": RULES_FOLDER, "readOnly": True}
    operations = [
        {"op": "add", "path": "/spec/template/spec/volumes/-", "value": volume},
        {"op": "add", "path": "/spec/template/spec/containers/0/volumeMounts/-", "value": mount},
    ]
    lines: list[str] = []
    yaml = YAML(typ="safe", pure=True)
    yaml.dump(operations, _Lines(lines))
    return {"target": {"kind": "StatefulSet", "name": "rules"}, "patch": "".join(lines)}


class _Lines:
    """A target of ruamel.yaml: a stream of text or bytes."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def write(self, text: str | bytes) -> None:
        self._lines.append(text if isinstance(text, str) else text.decode())

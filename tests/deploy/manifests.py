"""The manifests of deploy/k8s as kustomize builds them: each overlay, and the base with components."""

import os
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from dev import tools
from dev.layout import ROOT

Manifest = dict[str, Any]

K8S = ROOT / "deploy/k8s"
OVERLAYS = tuple(sorted(path.parent.name for path in K8S.glob("overlays/*/kustomization.yaml")))
COMPONENTS = frozenset(path.parent.name for path in K8S.glob("components/*/kustomization.yaml"))

COMBINATIONS: tuple[tuple[str, ...], ...] = (
    (),
    ("strimzi",),
    ("cloudnative-pg",),
    ("strimzi", "keda"),
    ("strimzi", "cloudnative-pg", "operator"),
    ("tracing",),
    ("prometheus-operator",),
    ("prometheus-operator", "grafana"),
    ("rules-git-sync",),
    ("rules-image",),
    ("rules-bundle",),
    ("external-secrets",),
    ("external-secrets", "cloudnative-pg", "external-secrets-database"),
    ("media",),
    ("ingress",),
    ("ingress", "ingress-meta-mtls"),
    ("ingress", "cert-manager"),
    ("media", "dev"),
    (
        *(
            "strimzi",
            "cloudnative-pg",
            "operator",
            "keda",
            "prometheus-operator",
            "grafana",
            "tracing",
            "rules-git-sync",
            "rules-bundle",
        ),
        *("media", "external-secrets", "external-secrets-database", "ingress", "ingress-meta-mtls", "cert-manager"),
    ),
)
"""Each component alone with what it needs, and all that go together."""


@cache
def overlay(name: str) -> tuple[Manifest, ...]:
    return _manifests(tools.kustomize(K8S / "overlays" / name))


@cache
def base_with(components: tuple[str, ...]) -> tuple[Manifest, ...]:
    with TemporaryDirectory() as made:
        folder = Path(made).resolve()
        relative = os.path.relpath(K8S, folder)
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": "stet",
            "resources": [f"{relative}/base"],
            "components": [f"{relative}/components/{name}" for name in components],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return _manifests(tools.kustomize(folder))


def everything() -> dict[str, tuple[Manifest, ...]]:
    """All that can be built, by a name for the reader of a failure."""
    overlays = {f"overlays/{name}": overlay(name) for name in OVERLAYS}
    return overlays | {" + ".join(("base", *names)): base_with(names) for names in COMBINATIONS}


def distinct() -> list[Manifest]:
    """Each different manifest of all builds once."""
    found = {
        yaml.dump(manifest, Dumper=yaml.CSafeDumper): manifest for built in everything().values() for manifest in built
    }
    return list(found.values())


def of_kind(manifests: Iterable[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def place(manifest: Manifest) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def _manifests(text: str) -> tuple[Manifest, ...]:
    found: Sequence[Manifest | None] = list(yaml.load_all(text, Loader=yaml.CSafeLoader))
    return tuple(manifest for manifest in found if manifest is not None)

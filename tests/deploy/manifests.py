"""The manifests of deploy/k8s as kustomize builds them: each overlay, and the base with components."""

import os
from collections.abc import Iterable, Mapping, Sequence
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

_CHOSEN: Mapping[str, Mapping[str, Any]] = {
    "rules-bundle": {
        "name": "rules",
        "behavior": "merge",
        "literals": ["STET_RULES_BUNDLE=oci://registry.example.com/publishing/stet-rules:live"],
    },
    "rules-git-sync": {
        "name": "rules-source",
        "literals": ["GITSYNC_REPO=https://git.example.com/rules.git", f"GITSYNC_REF={'0' * 40}"],
    },
    "media": {
        "name": "ingest-web",
        "behavior": "merge",
        "literals": ["STET_MEDIA_STORE=s3://example-stet-files/received"],
    },
    "tracing": {
        "name": "stet",
        "behavior": "merge",
        "literals": ["STET_OTLP_ENDPOINT=http://otel-collector.monitoring:4318"],
    },
}
"""The values that an overlay gives beside a component, as the component's first lines say."""


@cache
def overlay(name: str) -> tuple[Manifest, ...]:
    return _manifests(tools.kustomize(K8S / "overlays" / name))


@cache
def base_with(components: tuple[str, ...]) -> tuple[Manifest, ...]:
    chosen = [_CHOSEN[name] for name in components if name in _CHOSEN]
    return built_with(components, {"generatorOptions": {"immutable": True}, "configMapGenerator": chosen})


def built_with(components: tuple[str, ...], more: Mapping[str, Any]) -> tuple[Manifest, ...]:
    """The base with components, and with ``more`` as an overlay's own part of its kustomization."""
    with TemporaryDirectory() as made:
        folder = Path(made).resolve()
        relative = os.path.relpath(K8S, folder)
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": "stet",
            "resources": [f"{relative}/base"],
            "components": [f"{relative}/components/{name}" for name in components],
            **more,
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

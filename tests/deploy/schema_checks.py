"""Checks manifests against the schemas of Kubernetes 1.31 to 1.34 and of the operators, as strictly as kubectl does."""

import json
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from dev.deploy.crd_schemas import SCHEMAS, schema_name
from tests.deploy.manifests import Manifest, place

KUBERNETES = ("1.31", "1.32", "1.33", "1.34")


def schema_problems(manifest: Manifest, version: str) -> list[str]:
    """Each fault as ``kind name: field: sentence``, also where no schema knows the kind."""
    try:
        validator = _validator(manifest["apiVersion"], manifest["kind"], version)
    except FileNotFoundError:
        return [f"{place(manifest)}: Kubernetes {version} knows no {manifest['apiVersion']} {manifest['kind']}"]
    faults: Iterable[Any] = validator.iter_errors(manifest)
    return [f"{place(manifest)}: {'.'.join(map(str, fault.absolute_path))}: {fault.message}" for fault in faults]


@cache
def _validator(api_version: str, kind: str, version: str) -> Any:
    own = SCHEMAS / schema_name(api_version, kind)
    if own.exists():
        return Draft202012Validator(json.loads(own.read_text()))
    group, _, number = api_version.rpartition("/")
    name = "-".join(part for part in (kind.lower(), group.partition(".")[0], number) if part)
    schema = json.loads((_folder(version) / f"{name}.json").read_text())
    return Draft202012Validator(schema, registry=_definitions(version))


@cache
def _definitions(version: str) -> Any:
    """The definitions that the schemas of one release refer to."""
    path = _folder(version) / "_definitions.json"
    definitions: Any = Resource.from_contents(json.loads(path.read_text()))
    return definitions @ Registry()


def _folder(version: str) -> Path:
    return Path(str(files("kubernetes_validate"))) / "kubernetes-json-schema" / f"v{version}.0-local-strict"


def all_problems(manifests: Iterable[Manifest]) -> Iterator[str]:
    for manifest in manifests:
        for version in KUBERNETES:
            for problem in schema_problems(manifest, version):
                yield f"{version}: {problem}"
